"""What the items of a data set are called in the user's own files: keys. Inside specbeam, items are numbers."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from specbeam import parquet
from specbeam.errors import SpecbeamError
from specbeam.interactions import values


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
                    f"item {repr(key)[:80]}: expected the key of an item, as text, such as {self.keys[0][:80]!r}"
                )
        return [self._numbers[key] for key in keys]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {key: item for item, key in enumerate(self.keys)}


def read_items(path: Path) -> pd.DataFrame | None:
    """Rows of `item`, `key` (text) and perhaps `text`, by item; None without a file.

    Raises SpecbeamError for a table that lacks a column or has other values in it, does not number items from 0 on, or
    has a key twice.
    """
    if not path.exists():
        return None
    table = parquet.read(path, expected="items", again="read the raw data again")
    names = [name for name in table.schema.names if name in ("item", "key", "text")]
    if len(set(names)) < len(names) or not {"item", "key"} <= set(names):
        found = ", ".join(table.schema.names)[:300]
        raise SpecbeamError(f"{path}: expected columns item, key and perhaps text, each once, got {found}")
    items = parquet.values(table["item"])
    if {type(item) for item in items} != {int} or sorted(items) != list(range(len(items))):
        raise SpecbeamError(f"{path}: expected items numbered from 0 on, without gaps; read the raw data again")
    keys = _checked(table, "key", values.key, path)
    if len(set(keys)) < len(keys):
        twice = Counter(keys).most_common(1)[0][0]
        raise SpecbeamError(f"{path}: expected a key for each item alone, {twice[:80]!r} is there twice; rename one")
    texts = {"text": _checked(table, "text", _text, path)} if "text" in names else {}
    return pd.DataFrame({"item": items, "key": keys, **texts}).sort_values("item", ignore_index=True)


def _checked(table: pa.Table, name: str, check: Callable[[Any], Any], path: Path) -> list[Any]:
    """What `check` makes of the values of a column; where it refuses one, file, row and column are named."""
    found = []
    for row, value in enumerate(parquet.values(table[name]), start=1):
        try:
            found.append(check(value))
        except ValueError as error:
            raise SpecbeamError(f"{path}: row {row}: {name} {error}; read the raw data again") from error
    return found


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"is {ascii(value)[:80]}; expected text, or none")
    return value
