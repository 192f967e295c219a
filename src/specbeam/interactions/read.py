"""The stage that reads own interactions: files -> filters -> split -> a raw data set, and a report of what was read."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from specbeam import parquet
from specbeam.data import ITEMS, SPLITS, USERS
from specbeam.data.sequences import write_raw
from specbeam.errors import SpecbeamError
from specbeam.files import write_json
from specbeam.interactions import READING, select
from specbeam.interactions.items import read_texts
from specbeam.interactions.rows import Malformed
from specbeam.interactions.table import gather
from specbeam.interactions.values import iso
from specbeam.settings import OwnDataSettings, SplitSettings

log = logging.getLogger(__name__)

FORMAT = 2
"""Version of reading.json."""


def read_own(*, name: str, own: OwnDataSettings, raw: Path) -> None:
    """Write the data set `name` to the folder `raw`: its text files, items.parquet, users.parquet and reading.json.

    Users and items are numbered in the order of their keys. Which rows count: those that are rated enough, the first of
    duplicates, the core; then, after the split, those of users with enough training interactions. Items that occur in
    validation or test alone stay in.
    Raises SpecbeamError for bad files, and where nothing is left, or nothing in one of the splits.
    """
    raw, filters = Path(raw), own.filters
    malformed = Malformed(f"own_data.{name}.interactions.malformed", own.interactions.malformed)
    found = gather(own.interactions, least_rating=filters.rating, malformed=malformed)
    steps = _Steps(name, rows=len(found.table) + found.low + malformed.count)
    steps.dropped |= {"malformed": malformed.count, "rating": found.low}
    table = steps.left("duplicates", select.without_duplicates(found.table))
    table = steps.left("core", select.core(table, user_core=filters.user_core, item_core=filters.item_core))
    table = select.in_order(table)
    part, borders = select.split(table, own.split)
    trained = select.with_training(table, part, least=filters.training)
    table, part = steps.left("training", table[trained]), part[trained]
    leaks = _checked(table, part, own.split)
    _refuse_empty(name, part, borders)

    user, users = _numbered(table["user"], found.users)
    item, keys = _numbered(table["item"], found.items)
    report: dict[str, Any] = {
        "format": FORMAT,
        "rows": steps.rows,
        "dropped": steps.dropped,
        "malformed_lines": malformed.examples,
        "kept": _kept(table, part),
        "split": {"by": own.split.by, "borders": [iso(border) for border in borders], "leaks_across_users": leaks},
    }
    texts: list[str | None] = [None] * len(keys)
    if own.items:
        malformed = Malformed(f"own_data.{name}.items.malformed", own.items.malformed)
        texts, counts = read_texts(own.items, keys, malformed=malformed)
        report["items"] = {**counts, "malformed": malformed.count, "malformed_lines": malformed.examples}

    order = np.argsort(user, kind="stable")
    write_raw(raw, {split: _sequences(user[order], item[order], part[order] == n) for n, split in enumerate(SPLITS)})
    parquet.write(_table("user", users), raw / USERS)
    parquet.write(_table("item", keys).append_column("text", pa.array(texts, pa.string())), raw / ITEMS)
    write_json(raw / READING, report)
    for part_of_report, value in report.items():
        log.info("%s: %s", part_of_report, value)


class _Steps:
    """How many rows every step has dropped, in order."""

    def __init__(self, name: str, *, rows: int) -> None:
        self.name, self.rows, self.dropped = name, rows, dict[str, int]()

    def left(self, step: str, table: pd.DataFrame) -> pd.DataFrame:
        """`table`, which is what `step` has left; raises SpecbeamError if that is nothing."""
        self.dropped[step] = self.rows - sum(self.dropped.values()) - len(table)
        if table.empty:
            took = ", ".join(f"{step} {count:,}" for step, count in self.dropped.items() if count) or "nothing"
            raise SpecbeamError(
                f"own_data.{self.name}: expected interactions that pass the filters, none of {self.rows:,} rows does; "
                f"left out were: {took}; lower the filters"
            )
        return table


def _checked(table: pd.DataFrame, part: np.ndarray, split: SplitSettings) -> int:
    """Training and validation rows that are no earlier than some of a later split, of whatever user."""
    own, anyone = select.leaks(table, part)
    if own or (anyone and split.by != "leave-one-out"):
        raise AssertionError(f"the split by {split.by} leaks: {own} rows of one user, {anyone} across users")
    if anyone:
        log.warning(
            "leave-one-out leaks across users: %d of %d training and validation interactions are no earlier than the "
            "first of a later split; global-time does not", anyone, int((part < len(SPLITS) - 1).sum()),
        )  # fmt: skip
    return anyone


def _refuse_empty(name: str, part: np.ndarray, borders: list[int]) -> None:
    counts = np.bincount(part, minlength=len(SPLITS))
    for split, count in zip(SPLITS, counts, strict=True):
        if not count:
            at = f", the borders are {' and '.join(map(iso, borders))}" if borders else ""
            raise SpecbeamError(
                f"own_data.{name}.split: expected interactions in every split, there are none in {split}{at}; choose "
                "other shares or dates, or lower the filters"
            )


def _numbered(codes: pd.Series, keys: list[str]) -> tuple[np.ndarray, list[str]]:
    """Codes that occur, as numbers from 0 in the order of their keys: the codes so renamed, and the keys in order."""
    there = sorted(np.unique(codes).tolist(), key=keys.__getitem__)
    numbers = np.zeros(len(keys), dtype=np.int64)
    numbers[there] = np.arange(len(there))
    return numbers[codes], [keys[code] for code in there]


def _sequences(user: np.ndarray, item: np.ndarray, within: np.ndarray) -> Iterator[list[int]]:
    """Each user's items of one split, of rows that are ordered by user."""
    ends = np.cumsum(np.bincount(user[within], minlength=user[-1] + 1))
    own, start = item[within], 0
    for end in ends.tolist():
        yield own[start:end].tolist()
        start = end


def _kept(table: pd.DataFrame, part: np.ndarray) -> dict[str, Any]:
    trained = table["item"][part == 0]
    return {
        "interactions": len(table),
        **{split: int((part == n).sum()) for n, split in enumerate(SPLITS)},
        "users": table["user"].nunique(),
        "items": table["item"].nunique(),
        "items_without_training": table["item"].nunique() - trained.nunique(),
        "first": iso(int(table["time"].min())),
        "last": iso(int(table["time"].max())),
    }


def _table(numbers: str, keys: list[str]) -> pa.Table:
    return pa.table({numbers: pa.array(range(len(keys)), pa.int64()), "key": pa.array(keys, pa.string())})
