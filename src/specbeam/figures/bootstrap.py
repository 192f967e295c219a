"""Ratios of sums over users, with 95 % intervals by resampling the users.

Every number in the figures is such a ratio: a mean (over ones), accepted levels over rounds, seconds over seconds.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 1000


def ratio_of_sums(numerator: ArrayLike, denominator: ArrayLike | float = 1.0) -> tuple[float, float, float]:
    """Sum of `numerator` over sum of `denominator` and the ends of its 95 % percentile interval.

    Both are one value a user, shape [users]; users are drawn with replacement, numerator and denominator of a user
    together. The draws depend on the number of users alone, so equal data give equal intervals, and two ratios over
    the same users are resampled alike.
    """
    above = np.asarray(numerator, dtype=float)
    below = np.broadcast_to(np.asarray(denominator, dtype=float), above.shape)
    draws = _draws(len(above))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (draws @ above) / (draws @ below)
    low, high = np.nanpercentile(ratios, [2.5, 97.5])
    return float(above.sum() / below.sum()), float(low), float(high)


@lru_cache(maxsize=4)
def _draws(users: int) -> np.ndarray:
    """How often each user occurs in each resample, shape [RESAMPLES, users]."""
    generator = np.random.default_rng(20250101)
    return generator.multinomial(users, np.full(users, 1 / users), size=RESAMPLES).astype(float)
