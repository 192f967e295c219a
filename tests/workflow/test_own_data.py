"""A shop of one's own, from its tables to the summary of a run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from checkouts import SMALL, SMALL_RUN, small

pytestmark = pytest.mark.slow


def test_orders_and_items_become_a_data_set_and_a_new_order_runs_it_again(tmp_path: Path) -> None:
    checkout = small(tmp_path, datasets=("my_shop",))
    made = checkout.folder / SMALL_RUN / "my_shop"
    done = checkout.snakemake(str((made / "summary.txt").relative_to(checkout.folder)), config=SMALL)
    assert done.returncode == 0, done.stdout
    report = json.loads((made / "raw/reading.json").read_text())
    statistics = pd.read_csv(made / "prepared/statistics.csv", index_col="statistic")["value"]
    assert statistics["interactions_train"] == report["kept"]["train"]
    assert statistics["items"] == report["kept"]["items"]
    assert "atspeed_s strict" in (made / "summary.txt").read_text()

    left = checkout.planned("my_shop", config=SMALL)  # figures, which other tests draw
    assert {rule for rule in left if not rule.startswith("plot_")} <= {"my_shop", "summarise_run", "record_search"}
    with (checkout.folder / "shop/orders.csv").open("a") as orders:
        orders.write("999999,C000001,SKU-00001,2024-12-31T00:00:00Z,1\n")
    assert {"read_interactions", "identify_items", "train_target"} <= set(checkout.planned("my_shop", config=SMALL))
