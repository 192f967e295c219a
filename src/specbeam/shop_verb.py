"""`specbeam generate-shop`: files such as a shop has, to try the reading of one's own data on."""

from pathlib import Path
from typing import Annotated

import typer

Destination = Annotated[Path, typer.Argument(help="Folder for orders.csv and items.csv.")]
Customers = Annotated[int, typer.Option(min=1, help="Customers of the shop.")]
Items = Annotated[int, typer.Option(min=1, help="Items that it sells.")]
Seed = Annotated[int, typer.Option(min=0, help="The same one gives the same files.")]


def generate_shop(destination: Destination, customers: Customers = 1500, items: Items = 800, seed: Seed = 1) -> None:
    """Generate a small shop: orders, and items with texts.

    As files to try the reading of your own data on.
    """
    from specbeam.interactions import shop

    shop.generate_shop(destination, customers=customers, items=items, seed=seed)
