"""Which interactions count: functions of a table with user, item (int32) and time (int64), which return fewer rows."""

import numpy as np
import pandas as pd

from specbeam.data import SPLITS
from specbeam.data.time_split import borders, parts
from specbeam.settings import SplitSettings

MICROSECONDS = 1_000_000


def without_duplicates(table: pd.DataFrame) -> pd.DataFrame:
    """Of rows with the same user, item and time, the first."""
    return table[~table.duplicated()]


def core(table: pd.DataFrame, *, user_core: int, item_core: int) -> pd.DataFrame:
    """The largest part in which every user has `user_core` interactions and every item `item_core`."""
    while len(table):
        enough = _sizes(table["user"]) >= user_core
        enough &= _sizes(table["item"]) >= item_core
        if enough.all():
            break
        table = table[enough]
    return table


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Each user's rows together, the earliest first; those of one time as they were read."""
    return table.iloc[np.lexsort((table["time"], table["user"]))]


def split(table: pd.DataFrame, settings: SplitSettings) -> tuple[np.ndarray, list[int]]:
    """Part a table in order: int [rows], places in SPLITS, and the two borders in time, where there are.

    A time equal to a border counts as after it. Leave-one-out trains on all that users with fewer than three have.
    """
    if settings.by == "leave-one-out":
        from_end = _sizes(table["user"]) - 1 - table.groupby("user", sort=False).cumcount().to_numpy()
        part = np.where(_sizes(table["user"]) < len(SPLITS), 0, np.clip(2 - from_end, 0, 2))
        return part, []
    times = table["time"].to_numpy()
    if settings.by == "date":
        at = np.array([round(date.timestamp() * MICROSECONDS) for date in (settings.valid, settings.test)])
    else:
        at = borders(times, settings.shares)
    return parts(times, at), [int(border) for border in np.ceil(at)]


def with_training(table: pd.DataFrame, part: np.ndarray, *, least: int) -> np.ndarray:
    """bool [rows]: whether the row's user has `least` training interactions."""
    trained = np.bincount(table["user"], part == SPLITS.index("train"))
    return trained[table["user"]] >= least


def leaks(table: pd.DataFrame, part: np.ndarray) -> tuple[int, int]:
    """Rows of a table in order that are no earlier than some of a later split: of the same user, and of any user.

    Made from the times alone, whatever rule split them. Of the same user, equal times are no leak.
    """
    times, user = table["time"].to_numpy(), table["user"].to_numpy()
    own = int(((np.diff(part) < 0) & (np.diff(user) == 0)).sum())
    anyone = 0
    for place in range(len(SPLITS) - 1):
        if (later := times[part > place]).size:
            anyone += int((times[part == place] >= later.min()).sum())
    return own, anyone


def _sizes(codes: pd.Series) -> np.ndarray:
    """int [rows]: how many rows have the code of this one."""
    return np.bincount(codes)[codes]
