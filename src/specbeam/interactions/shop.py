"""A small shop to try the reading of own interactions on: a table of orders, and one of items with their texts.

Who buys what comes from the same world as the synthetic data set (specbeam.data.synthetic). An item's texts tell where
it stands there: its category is its cluster, its kind its group, and only brand and colour are its own.
"""

import csv
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from specbeam.data.synthetic import World, build_world, simulate_users
from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.settings import SyntheticSettings

log = logging.getLogger(__name__)

ORDERS, ITEMS = "orders.csv", "items.csv"
ORDER_COLUMNS = ("order_id", "customer_id", "item_id", "ordered_at", "stars")
ITEM_COLUMNS = ("item_id", "title", "brand", "category", "description", "price")
OPENED = datetime(2023, 1, 1, tzinfo=UTC)
OPEN = timedelta(days=730)
CATEGORIES = {
    "Kitchen": ("teapot", "saucepan", "chopping board", "coffee mug", "bread knife", "mixing bowl", "whisk"),
    "Garden": ("watering can", "flower pot", "pair of secateurs", "hand trowel", "seed tray", "bird feeder", "hose"),
    "Stationery": ("notebook", "fountain pen", "desk calendar", "pencil case", "sketch pad", "stapler", "ring binder"),
    "Bath": ("bath towel", "soap dish", "shower brush", "bath mat", "toothbrush mug", "linen basket", "hand mirror"),
    "Outdoor": ("rucksack", "sleeping mat", "water bottle", "head torch", "tent peg set", "camping stove", "map case"),
    "Toys": ("wooden train", "jigsaw puzzle", "spinning top", "kite", "building block set", "rag doll", "toy boat"),
    "Clothing": ("scarf", "pair of socks", "rain jacket", "cardigan", "felt hat", "apron", "pair of gloves"),
    "Lighting": ("table lamp", "string of lights", "candle holder", "reading light", "lantern", "lampshade", "torch"),
}
RANGES = ("classic", "travel", "junior", "heavy-duty", "slim", "folding", "handmade", "large", "compact", "festive")
BRANDS = ("Alder & Finch", "Birchwood", "Corvo", "Dunmore", "Elsters", "Fjordly", "Greta Holm", "Harrow", "Isolde")
COLOURS = ("red", "navy", "moss green", "cream", "slate grey", "mustard", "teal", "black", "white", "rust", "lilac")


def generate_shop(destination: Path, *, customers: int, items: int, seed: int) -> None:
    """Write orders.csv and items.csv, with the columns below, to `destination`; the same arguments give the same bytes.

    Raises SpecbeamError for fewer items than the categories need.
    """
    if items < 4 * len(CATEGORIES):
        raise SpecbeamError(f"--items: expected at least {4 * len(CATEGORIES)}, got {items}")
    generator = np.random.default_rng(seed)
    settings = SyntheticSettings(users=customers, items=items, clusters=len(CATEGORIES))
    world = build_world(settings, generator=generator)
    bought = simulate_users(world, settings, generator=generator)
    item_keys = [f"SKU-{number:05d}" for number in generator.choice(10**5, size=items, replace=False)]
    user_keys = [f"C{number:06d}" for number in generator.choice(10**6, size=customers, replace=False)]
    destination = Path(destination)
    orders = _orders(bought, user_keys, item_keys, generator)
    _write(destination / ITEMS, ITEM_COLUMNS, _items(world, item_keys, generator))
    _write(destination / ORDERS, ORDER_COLUMNS, orders)
    log.info(
        "generated a shop of %d items and %d orders of %d customers in %s", items, len(orders), customers, destination
    )


def _items(world: World, keys: Sequence[str], generator: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    names = list(CATEGORIES)
    place = {group: n for c in range(len(names)) for n, group in enumerate(np.flatnonzero(world.cluster == c).tolist())}
    for key, group in zip(keys, world.group.tolist(), strict=True):
        category = names[world.cluster[group]]
        thing = CATEGORIES[category][place[group] % len(CATEGORIES[category])]
        kind = RANGES[place[group] // len(CATEGORIES[category]) % len(RANGES)]
        brand, colour = generator.choice(BRANDS), generator.choice(COLOURS)
        title = f"{brand} {kind} {thing}, {colour}"
        description = f"A {kind} {thing} in {colour}, from our {category.lower()} department."
        yield key, title, brand, category, description, f"{generator.lognormal(2.8, 0.6):.2f}"


def _orders(
    bought: Sequence[tuple[np.ndarray, np.ndarray]],
    users: Sequence[str],
    items: Sequence[str],
    generator: np.random.Generator,
) -> list[tuple[Any, ...]]:
    """All orders, as a shop writes them down: one after the other."""
    orders = sorted(
        (time, users[user], items[item]) for user, own in enumerate(bought) for item, time in zip(*own, strict=True)
    )
    stars = generator.choice([1, 2, 3, 4, 5], size=len(orders), p=[0.03, 0.04, 0.08, 0.25, 0.6])
    return [
        (100_001 + number, user, item, f"{OPENED + time * OPEN:%Y-%m-%dT%H:%M:%SZ}", rating)
        for number, ((time, user, item), rating) in enumerate(zip(orders, stars.tolist(), strict=True))
    ]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        file.flush()
        if path.exists() and path.read_bytes() != temporary.read_bytes():
            raise SpecbeamError(f"{path}: there is another file of this name; move it away, or name another folder")
