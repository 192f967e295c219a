"""Data sets: verified downloads, the synthetic one, sequences and splits, statistics. Knows nothing of models.

Here are only the names of the raw files, which a download, the synthetic data set and the preparation agree on.
"""

from typing import Literal

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

IDENTIFIERS = "identifiers.json"
"""Item (counted from 0) -> its identifier's tokens."""

ITEMS = "items.parquet"
"""Items of own data: item (int64, counted from 0), key (string: what it is called there), text (string or null).
In prepared data too, if there is one in the raw."""
USERS = "users.parquet"
"""Users of own data: user (int64, counted from 0), key (string)."""


def file_of(split: Split) -> str:
    """Name of the text file with a split's interactions: `user item item ...` a line, counted from 1."""
    return f"sequential_{split}.txt"
