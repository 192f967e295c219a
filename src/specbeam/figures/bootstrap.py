"""Ratios of sums over users, averaged over the seeds of drafts, with 95 % intervals by resampling users and seeds.

Every number in the figures is such a ratio: a mean (over ones), accepted levels over rounds, seconds over seconds.
"""

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from specbeam.errors import SpecbeamError

RESAMPLES = 1000


def ratio_of_sums(numerator: ArrayLike, denominator: ArrayLike | float = 1.0) -> tuple[float, float, float]:
    """Sum of `numerator` over sum of `denominator` and the ends of its 95 % percentile interval.

    Both are one value a user, shape [users], or [seeds, users]: then the mean over seeds of each one's ratio. Users are
    drawn with replacement, numerator and denominator of a user together and for all seeds alike, and so are seeds. The
    draws depend on the number of users and seeds alone, so equal data give equal intervals, and two ratios over the
    same users are resampled alike.
    """
    above, below = _by_seed_and_user(numerator, denominator)
    low, high = np.nanpercentile(_resampled(above, below), [2.5, 97.5])
    return _mean(above, below), float(low), float(high)


Ratio = tuple[ArrayLike, ArrayLike | float]
"""Numerator and denominator, as `ratio_of_sums` takes them."""


def difference_of_ratios(first: Ratio, second: Ratio) -> tuple[float, float, float]:
    """Ratio of sums of `second` less that of `first`, and the ends of its 95 % percentile interval.

    Paired: both are over the same users and seeds, in the same order, and every resample draws them alike.
    """
    pairs = [_by_seed_and_user(*ratio) for ratio in (first, second)]
    before, after = (_resampled(*pair) for pair in pairs)
    low, high = np.nanpercentile(after - before, [2.5, 97.5])
    return _mean(*pairs[1]) - _mean(*pairs[0]), float(low), float(high)


def _by_seed_and_user(numerator: ArrayLike, denominator: ArrayLike | float) -> tuple[np.ndarray, np.ndarray]:
    above = np.atleast_2d(np.asarray(numerator, dtype=float))
    return above, np.broadcast_to(np.asarray(denominator, dtype=float), above.shape)


def _mean(above: np.ndarray, below: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float((above.sum(1) / below.sum(1)).mean())


def _resampled(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The mean over seeds of the ratios of sums over users, a resample each, shape [RESAMPLES]."""
    seeds, users = above.shape
    drawn, weights = _draws(users, seed=20250101), _draws(seeds, seed=20250102) / seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (drawn @ above.T) / (drawn @ below.T)  # [RESAMPLES, seeds]
        return np.where(weights > 0, ratios * weights, 0).sum(1)


def by_seed(records: pd.DataFrame, value: str) -> np.ndarray:
    """The column `value` of records with `draft_seed` and `user` as [seeds, users].

    Raises SpecbeamError if the seeds were not measured on the same users.
    """
    table = records.pivot(index="draft_seed", columns="user", values=value)
    if table.isna().any(axis=None):
        counts = ", ".join(f"seed {seed}: {count}" for seed, count in table.notna().sum(axis=1).items())
        raise SpecbeamError(f"expected records of the same users for every seed, got users {counts}; evaluate again")
    return table.to_numpy()


@lru_cache(maxsize=8)
def _draws(count: int, *, seed: int) -> np.ndarray:
    """How often each of `count` things occurs in each resample, shape [RESAMPLES, count]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
