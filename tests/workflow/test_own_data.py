"""A shop of one's own, from its tables to the summary of a run."""

import json

import pandas as pd
import pytest
import yaml

from checkouts import Checkout
from specbeam.interactions.shop import generate_shop

pytestmark = pytest.mark.slow


def small(checkout: Checkout) -> None:
    """config/my-shop.yaml, with the models and numbers of the smoke config: config/small.yaml."""
    own, smoke = (
        yaml.safe_load((checkout.folder / f"config/{name}.yaml").read_text()) for name in ("my-shop", "smoke")
    )
    del smoke["ablations"]
    values = {**smoke, **{name: own[name] for name in ("run", "datasets", "own_data")}}
    values["alignment"]["objectives"] = {"atspeed_s": {}}
    values["measurement"]["beam_widths"] = [5]
    values["trajectories"]["shards"] = 1
    (checkout.folder / "config/small.yaml").write_text(yaml.safe_dump(values))


def test_orders_and_items_become_a_data_set_and_a_new_order_runs_it_again(checkout: Checkout) -> None:
    generate_shop(checkout.folder / "shop", customers=300, items=100, seed=1)
    small(checkout)
    made = checkout.folder / "results/my-shop/my_shop"
    done = checkout.snakemake(str((made / "summary.txt").relative_to(checkout.folder)), config="small")
    assert done.returncode == 0, done.stdout
    report = json.loads((made / "raw/reading.json").read_text())
    statistics = pd.read_csv(made / "prepared/statistics.csv", index_col="statistic")["value"]
    assert statistics["interactions_train"] == report["kept"]["train"]
    assert statistics["items"] == report["kept"]["items"]
    assert "atspeed_s strict" in (made / "summary.txt").read_text()

    left = checkout.planned("my_shop", config="small")  # figures, which other tests draw
    assert {rule for rule in left if not rule.startswith("plot_")} <= {"my_shop", "summarise_run", "record_search"}
    with (checkout.folder / "shop/orders.csv").open("a") as orders:
        orders.write("999999,C000001,SKU-00001,2024-12-31T00:00:00Z,1\n")
    assert {"read_interactions", "identify_items", "train_target"} <= set(checkout.planned("my_shop", config="small"))
