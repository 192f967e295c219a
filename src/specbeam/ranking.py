"""Recall and NDCG of recommended lists, against all of a user's test items.

A list names identifiers (rows of `Catalogue.distinct`). Items that collide share an identifier, so the targets are the
user's distinct target identifiers: two target items with one identifier count as one target, found by one hit. A row
that occurs twice in a list counts once, at its first rank; -1 (no real item) never counts; short lists are allowed.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

RESAMPLES = 1000


def recall_at(ranked: Sequence[int], targets: Iterable[int], k: int) -> float:
    """Share of the distinct `targets` that are among the first `k` of `ranked`."""
    wanted = _wanted(targets)
    return len(wanted.intersection(ranked[:k])) / len(wanted)


def ndcg_at(ranked: Sequence[int], targets: Iterable[int], k: int) -> float:
    """Discounted cumulative gain of the first `k` of `ranked`, over that of the best list of min(k, targets) hits."""
    wanted = _wanted(targets)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))
    gain = 0.0
    for rank, row in enumerate(ranked[:k]):
        if row in wanted:
            wanted.discard(row)
            gain += 1 / math.log2(rank + 2)
    return gain / ideal


def rate(
    name: str, k: int, lists: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], seed: int
) -> dict[str, Any]:
    """One row of the ranking table: mean Recall@k and NDCG@k over users, with 95 % bootstrap intervals."""
    row: dict[str, Any] = {"recommender": name, "K": k, "users": len(lists)}
    for metric, function in (("recall", recall_at), ("ndcg", ndcg_at)):
        values = np.array([function(ranked, targets, k) for ranked, targets in zip(lists, wanted, strict=True)])
        draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
        row[metric] = values.mean()
        row[f"{metric}_low"], row[f"{metric}_high"] = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return row


def _wanted(targets: Iterable[int]) -> set[int]:
    wanted = set(targets)
    if not wanted:
        raise ValueError("a user without targets has no recall: leave such users out")
    return wanted
