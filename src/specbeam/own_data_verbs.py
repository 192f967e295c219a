"""The verbs of data of one's own: the stages that make them a data set, and `generate-shop`, to try these on."""

from pathlib import Path
from typing import Annotated

import typer

from specbeam.job_provenance import recorded
from specbeam.options import OwnDataset, Raw, SettingsOption, Threads, own_data_of
from specbeam.stages import StageSettings


@recorded("read_interactions", output="raw")
def read_interactions(
    settings: SettingsOption,
    dataset: OwnDataset,
    raw: Annotated[Path, typer.Option(help="Folder for the files, in the format of a download.")],
) -> None:
    """Read, filter and split interactions of your own."""
    from specbeam.interactions import read as stage

    values = StageSettings.read("read_interactions", settings, dataset=dataset)
    own = own_data_of(values, dataset, part="interactions")
    stage.read_own(name=dataset, own=own, raw=raw)


@recorded("embed_items", output="embeddings")
def embed_items(
    settings: SettingsOption,
    dataset: OwnDataset,
    raw: Raw,
    embeddings: Annotated[Path, typer.Option(help="Vectors to write, one an item (safetensors).")],
    threads: Threads,
) -> None:
    """Embed your own items, for identifiers to be learned.

    From their texts, from a table of vectors, or from co-occurrence.
    """
    from specbeam.identifiers import embeddings as stage

    values = StageSettings.read("embed_items", settings, dataset=dataset)
    chosen = own_data_of(values, dataset, part="identifiers").identifiers.embeddings
    stage.embed_items(raw=raw, output=embeddings, settings=chosen, device=values.device, threads=threads)


@recorded("identify_items", output="identifiers")
def identify_items(
    settings: SettingsOption,
    dataset: OwnDataset,
    raw: Raw,
    embeddings: Annotated[Path, typer.Option(help="Vectors that `specbeam embed-items` wrote.")],
    identifiers: Annotated[Path, typer.Option(help="File to write (json); a report lies beside it (csv, txt).")],
) -> None:
    """Turn embeddings into identifiers, and report on them."""
    from specbeam.identifiers import identify as stage

    values = StageSettings.read("identify_items", settings, dataset=dataset)
    chosen = own_data_of(values, dataset, part="identifiers").identifiers
    stage.identify_items(raw=raw, embeddings=embeddings, output=identifiers, settings=chosen)


def generate_shop(
    destination: Annotated[Path, typer.Argument(help="Folder for orders.csv and items.csv.")],
    customers: Annotated[int, typer.Option(min=1, help="Customers of the shop.")] = 1500,
    items: Annotated[int, typer.Option(min=1, help="Items that it sells.")] = 800,
    seed: Annotated[int, typer.Option(min=0, help="The same one gives the same files.")] = 1,
) -> None:
    """Generate a small shop: orders, and items with texts.

    As files to try the reading of your own data on.
    """
    from specbeam.interactions import shop

    shop.generate_shop(destination, customers=customers, items=items, seed=seed)
