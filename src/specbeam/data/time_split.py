"""The global split in time: the same borders for all users, so that nothing trained on is later than what is tested."""

from collections.abc import Sequence

import numpy as np


def borders(times: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The percentiles of all `times` that part them by `shares`: float64 [len(shares) - 1], linearly interpolated."""
    # Rounded, since 0.7 + 0.1 is a little less than 0.8, and a percentile of that may lie before a time that it hits.
    return np.quantile(times, np.round(np.cumsum(shares[:-1]), 12))


def parts(times: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """int [times]: how many borders are at or before each time; a time equal to a border counts as after it."""
    return np.searchsorted(borders, times, side="right")
