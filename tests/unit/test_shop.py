"""The generated shop: looks like one, and can be learned from."""

import pandas as pd
import pytest

from own_interactions import read, texts_in
from specbeam.errors import SpecbeamError
from specbeam.interactions.shop import CATEGORIES, generate_shop
from specbeam.settings import load


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generate_shop("shop", customers=300, items=120, seed=1)
    return tmp_path / "shop"


def test_the_same_arguments_give_the_same_files_and_another_seed_others(shop, tmp_path):
    for name, seed in (("again", 1), ("other", 2)):
        generate_shop(tmp_path / name, customers=300, items=120, seed=seed)
    for file in ("orders.csv", "items.csv"):
        assert (shop / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
        assert (shop / file).read_bytes() != (tmp_path / "other" / file).read_bytes()


def test_orders_stand_in_order_of_time_and_are_of_items_that_there_are(shop):
    orders, items = (pd.read_csv(shop / f"{name}.csv") for name in ("orders", "items"))
    assert pd.to_datetime(orders["ordered_at"]).is_monotonic_increasing
    assert set(orders["item_id"]) <= set(items["item_id"])
    assert items["item_id"].is_unique
    assert set(items["category"]) == set(CATEGORIES)
    assert (items["price"] > 0).all()


def test_customers_keep_to_few_categories(shop):
    orders, items = (pd.read_csv(shop / f"{name}.csv") for name in ("orders", "items"))
    bought = orders.merge(items, on="item_id").groupby("customer_id")["category"]
    assert (bought.agg(lambda own: own.value_counts(normalize=True).iloc[0])).mean() > 0.5


def test_the_config_of_the_example_reads_it(shop, tmp_path, request):
    run = load(request.config.rootpath / "config/my-shop.yaml")
    report = read(tmp_path / "raw", run.own_data["my_shop"])
    assert report["rows"] == len(pd.read_csv(shop / "orders.csv"))
    assert all(report["kept"][split] for split in ("train", "valid", "test"))
    assert None not in texts_in(tmp_path / "raw").values()


def test_a_file_of_the_users_own_is_left_as_it_is(tmp_path):
    (tmp_path / "orders.csv").write_text("mine")
    with pytest.raises(SpecbeamError, match="orders.csv: there is another file of this name; move it away"):
        generate_shop(tmp_path, customers=10, items=40, seed=1)
    assert (tmp_path / "orders.csv").read_text() == "mine"
    (tmp_path / "orders.csv").unlink()
    generate_shop(tmp_path, customers=10, items=40, seed=1)
    generate_shop(tmp_path, customers=10, items=40, seed=1)


def test_too_few_items_for_the_categories_are_refused(tmp_path):
    with pytest.raises(SpecbeamError, match="--items: expected at least 32, got 31"):
        generate_shop(tmp_path, customers=10, items=31, seed=1)
