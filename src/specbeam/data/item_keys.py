"""What the items of a data set are called in the user's own files: keys. Inside specbeam, items are numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from specbeam import parquet
from specbeam.errors import SpecbeamError


@dataclass(frozen=True)
class ItemKeys:
    """Keys, and perhaps texts, by number of item. Read them with `read`."""

    keys: list[str]
    texts: list[str | None]

    @classmethod
    def read(cls, path: Path) -> "ItemKeys | None":
        """Those of a table of items; None without a file. Raises SpecbeamError as `read_items`."""
        table = read_items(path)
        if table is None:
            return None
        texts = [text if isinstance(text, str) else None for text in table.get("text", [None] * len(table))]
        return cls(table["key"].tolist(), texts)

    def numbers(self, keys: Sequence[Any]) -> list[int]:
        """The items that have these keys; raises SpecbeamError for one that none has: a number is no key."""
        for key in keys:
            if key not in self._numbers:
                raise SpecbeamError(
                    f"item {key!r:.200}: expected the key of an item, as text, such as {self.keys[0]!r:.200}"
                )
        return [self._numbers[key] for key in keys]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {key: item for item, key in enumerate(self.keys)}


def read_items(path: Path) -> pd.DataFrame | None:
    """Rows of `item`, `key` (text) and perhaps `text`, by item; None without a file.

    Raises SpecbeamError for a table that lacks a column, does not number items from 0 on, or has a key twice.
    """
    if not path.exists():
        return None
    table = parquet.read(path, expected="items", again="read the raw data again").to_pandas()
    if not {"item", "key"} <= set(table.columns):
        raise SpecbeamError(f"{path}: expected columns item and key, got {', '.join(map(str, table.columns))[:300]}")
    table = table.sort_values("item", ignore_index=True)
    if table["item"].tolist() != list(range(len(table))):
        raise SpecbeamError(f"{path}: expected items numbered from 0 on, without gaps; read the raw data again")
    table = table.assign(key=table["key"].astype(str))
    if table["key"].duplicated().any():
        twice = table["key"][table["key"].duplicated()].iloc[0]
        raise SpecbeamError(f"{path}: expected a key for each item alone, {twice!r} is there twice; rename one")
    return table
