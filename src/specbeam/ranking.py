"""Recall and NDCG of recommended lists, against all of a user's test items.

A list names identifiers (rows of `Catalogue.distinct`). Items that collide share an identifier, so the targets are the
user's distinct target identifiers: two target items with one identifier count as one target, found by one hit. A row
that occurs twice in a list counts once, at its first rank; -1 (no real item) never counts; short lists are allowed.
"""

import math
from collections.abc import Iterable, Sequence


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


def _wanted(targets: Iterable[int]) -> set[int]:
    wanted = set(targets)
    if not wanted:
        raise ValueError("a user without targets has no recall: leave such users out")
    return wanted
