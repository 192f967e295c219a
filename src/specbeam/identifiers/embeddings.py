"""The stage that embeds the items of a raw data set, from their texts, a table or co-occurrence."""

import logging
from pathlib import Path

import pandas as pd
import torch

from specbeam import sealed
from specbeam.data import ITEMS, SPLITS, file_of
from specbeam.data.item_keys import read_items
from specbeam.data.sequences import read_raw
from specbeam.errors import SpecbeamError
from specbeam.identifiers import TENSOR
from specbeam.identifiers.co_occurrence import from_co_occurrence
from specbeam.identifiers.quantise import checked
from specbeam.identifiers.table import from_table
from specbeam.identifiers.text import from_texts
from specbeam.settings import EmbeddingSettings

log = logging.getLogger(__name__)

NUMBERS = 1_000_000
"""So many numbers of items are embedded whether they occur or not; of more, one in MOST must occur."""
MOST = 10


def embed_items(*, raw: Path, output: Path, settings: EmbeddingSettings, device: str, threads: int) -> None:
    """Write a vector for each item of the raw data set `raw` to `output`: `embeddings`, float32 [items, width].

    Items are those of items.parquet; without it, all numbers up to the highest that occurs in any split. Raises
    SpecbeamError for what the source lacks.
    """
    raw = Path(raw)
    users = read_raw(raw)
    table = read_items(raw / ITEMS)
    occurring = _count(users)
    if table is None:
        _refuse_gaps(users, occurring, raw)
    items = occurring if table is None else len(table)
    if items < occurring:
        raise SpecbeamError(
            f"{raw / ITEMS}: expected a row for every item, found {items}, and item {occurring - 1} in the splits; "
            "read the raw data again"
        )
    if settings.source == "text":
        texts = _texts(table, raw / ITEMS)
        how = {"model": settings.model, "revision": settings.revision, "batch_size": settings.batch_size}
        vectors = from_texts(texts, **how, device=device, threads=threads)
    elif settings.source == "table":
        keys = [str(item) for item in range(items)] if table is None else table["key"].tolist()
        vectors = from_table(Path(settings.file), item=settings.item, vector=settings.vector, keys=keys)
    else:
        vectors = from_co_occurrence(users["train"], items=items, size=settings.size)
    sealed.write(output, {TENSOR: torch.from_numpy(checked(vectors))}, {"from": settings.source})
    log.info("embedded %d items by %d numbers in %s", *vectors.shape, output)


def _texts(table: pd.DataFrame | None, path: Path) -> list[str]:
    if table is None or "text" not in table or table["text"].isna().all():
        raise SpecbeamError(
            f"{path}: expected a column `text` with texts, since identifiers.embeddings is from text; name the "
            "columns that make it in the items of own_data, or take embeddings from a table or from co-occurrence"
        )
    return table["text"].fillna("").astype(str).tolist()


def _count(users: pd.DataFrame) -> int:
    """Items up to the highest number that occurs."""
    return 1 + max(max(items, default=-1) for split in SPLITS for items in users[split])


def _refuse_gaps(users: pd.DataFrame, items: int, raw: Path) -> None:
    """Raise SpecbeamError for a number so high that vectors for all below it would be out of proportion, or a typo."""
    if items <= NUMBERS:
        return
    occur = len(set().union(*(own for split in SPLITS for own in users[split])))
    if items <= MOST * occur:
        return
    user, split = next((user, split) for split in SPLITS for user, own in zip(users["user"], users[split], strict=True)
                       if items - 1 in own)  # fmt: skip
    raise SpecbeamError(
        f"{raw / file_of(split)}: user {user + 1}: expected items numbered from 1 on, with few gaps, got {items}, and "
        f"{occur} items in all; correct it, or number items anew"
    )
