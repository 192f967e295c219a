"""The stage that reads own interactions: files -> filters -> split -> a raw data set, with a report of what was read."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from specbeam import parquet
from specbeam.data import SPLITS
from specbeam.data.sequences import write_raw
from specbeam.errors import SpecbeamError
from specbeam.files import write_json
from specbeam.interactions import ITEMS, READING, USERS, select
from specbeam.interactions.items import read_texts
from specbeam.interactions.rows import Malformed
from specbeam.interactions.table import Interactions, gather
from specbeam.interactions.values import iso
from specbeam.settings.interactions import FilterSettings, InteractionSettings, ItemSettings, SplitSettings

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of reading.json."""


def read_own(
    *,
    name: str,
    interactions: InteractionSettings,
    items: ItemSettings | None,
    filters: FilterSettings,
    split: SplitSettings,
    raw: Path,
) -> None:
    """Write the data set `name` to the folder `raw`: its text files, items.parquet, users.parquet and reading.json.

    Users and items are numbered in the order of their keys. Which rows count: those that are rated enough, the first of
    duplicates, the core; then, after the split, those of users with enough training interactions. Items that occur in
    validation or test alone stay in.
    Raises SpecbeamError for bad files, and where nothing is left, or nothing in one of the splits.
    """
    raw = Path(raw)
    malformed = Malformed(f"own_data.{name}.interactions.malformed", interactions.malformed)
    found = gather(interactions, least_rating=filters.rating, malformed=malformed)
    steps = _Steps(len(found.table) + found.low + malformed.count)
    steps.drop("malformed", malformed.count)
    steps.drop("rating", found.low)
    table = steps.keep("duplicates", select.without_duplicates(found.table))
    table = steps.keep("core", select.core(table, user_core=filters.user_core, item_core=filters.item_core))
    ...
