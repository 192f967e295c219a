"""Data sets: verified downloads, the synthetic one, sequences and splits, statistics. Knows nothing of models.

Here are only the names of the raw files, which a download, the synthetic data set and the preparation agree on.
"""

from typing import Literal

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

IDENTIFIERS = "identifiers.json"
"""Item (counted from 0) -> its identifier's tokens."""


def file_of(split: Split) -> str:
    """Name of the text file with a split's interactions: `user item item ...` a line, counted from 1."""
    return f"sequential_{split}.txt"
