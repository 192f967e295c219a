"""All interactions of some files as numbers: 16 bytes each, and every key once, so that millions fit into memory."""

import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from specbeam.interactions import values
from specbeam.interactions.layouts import interaction_columns
from specbeam.interactions.paths import kind_of, matching
from specbeam.interactions.rows import Malformed, read_rows
from specbeam.settings import InteractionSettings

log = logging.getLogger(__name__)

TOLD = 1_000_000
"""Rows between two lines in the log."""


@dataclass(frozen=True)
class Interactions:
    """Interactions in the order in which they were read, and keys in that in which they came up."""

    table: pd.DataFrame
    """user, item (int32: places in the lists of keys), time (int64: microseconds since 1970)."""
    users: list[str]
    """Keys."""
    items: list[str]
    """Keys."""
    low: int
    """Rows that were left out for their rating."""


def gather(settings: InteractionSettings, *, least_rating: float | None, malformed: Malformed) -> Interactions:
    """Read all files, without rows that are rated below `least_rating`.

    Raises SpecbeamError as specbeam.interactions.rows does, and for fields that mean nothing, as `malformed` allows.
    """
    users, items, times, low = array("i"), array("i"), array("q"), 0
    user_places: dict[str, int] = {}
    item_places: dict[str, int] = {}
    for path in matching(settings.files):
        kind = kind_of(path, settings.format)
        columns = interaction_columns(settings, kind, rated=least_rating is not None)
        log.info("reading %s", path)
        for line, row in read_rows(path, kind, columns, malformed=malformed, separator=settings.separator):
            try:
                user, item, time = values.key(row[0]), values.key(row[1]), values.microseconds(row[2])
                if least_rating is not None and values.number(row[3]) < least_rating:
                    low += 1
                    continue
            except ValueError:
                malformed.add(path, line, _wrong(row, columns))
                continue
            users.append(user_places.setdefault(user, len(user_places)))
            items.append(item_places.setdefault(item, len(item_places)))
            times.append(time)
            if not len(times) % TOLD:
                log.info("%d rows", len(times))
    columns = {"user": np.asarray(users), "item": np.asarray(items), "time": np.asarray(times)}
    return Interactions(pd.DataFrame(columns), list(user_places), list(item_places), low)


def _wrong(row: Sequence[Any], columns: Sequence[str | int]) -> str:
    """Which field of a row means nothing, and why."""
    for meaning, parse, column, value in zip(
        ("user", "item", "time", "rating"),
        (values.key, values.key, values.microseconds, values.number),
        columns,
        row,
        strict=False,  # without a rating
    ):
        try:
            parse(value)
        except ValueError as error:
            return f"{meaning} (column {column}) {error}"
    raise AssertionError(f"{row} was refused for nothing")
