"""Item-to-item recommenders by counting: what else was bought by who bought this, and what was bought next.

Both are baselines (specbeam.baselines); the first can also teach the target (specbeam.target.neighbours).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ItemPairs:
    """How strongly each item speaks for each other one: a sparse matrix [items, items], row by row."""

    first: np.ndarray
    """int64 [items + 1]: where each item's entries start."""
    others: np.ndarray
    """int64 [entries]: the items that it speaks for, ascending."""
    weights: np.ndarray
    """float64 [entries]: how strongly."""

    @classmethod
    def of(cls, sources: np.ndarray, others: np.ndarray, weights: np.ndarray, *, items: int) -> "ItemPairs":
        """From pairs of items, each [pairs]; the weights of equal pairs add up."""
        pairs, place = np.unique(np.asarray(sources) * items + np.asarray(others), return_inverse=True)
        first = np.searchsorted(pairs, np.arange(items + 1) * items)
        return cls(first, pairs % items, np.bincount(place, weights, minlength=len(pairs)))

    def scores(self, history: Sequence[int], *, decay: float) -> np.ndarray:
        """float64 [items]: the sum of the rows of `history` (oldest first), each `decay` times the next one's weight.

        Items of the history itself score 0: nothing is recommended twice.
        """
        scores = np.zeros(len(self.first) - 1)
        for age, item in enumerate(reversed(history)):
            row = slice(self.first[item], self.first[item + 1])
            scores[self.others[row]] += decay**age * self.weights[row]
        scores[list(history)] = 0
        return scores


def co_occurrence(sequences: Iterable[Sequence[int]], *, items: int) -> ItemPairs:
    """All pairs of items that one user bought, both ways, weighted by 1 / (their distance in the sequence)."""
    earlier, later, distance = _pairs(sequences)
    weights = np.tile(1 / distance, 2)
    return ItemPairs.of(np.concatenate([earlier, later]), np.concatenate([later, earlier]), weights, items=items)


def transitions(sequences: Iterable[Sequence[int]], *, items: int) -> ItemPairs:
    """How often an item was bought directly after another one."""
    earlier, later, distance = _pairs(sequences)
    adjacent = distance == 1
    return ItemPairs.of(earlier[adjacent], later[adjacent], np.ones(adjacent.sum()), items=items)


def _pairs(sequences: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of different items in a sequence: the earlier, the later, and how many places lie between, plus 1."""
    parts = [(np.zeros(0, dtype=np.int64),) * 3]
    for sequence in sequences:
        bought = np.asarray(sequence, dtype=np.int64)
        one, other = np.triu_indices(len(bought), k=1)
        parts.append((bought[one], bought[other], other - one))
    earlier, later, distance = map(np.concatenate, zip(*parts, strict=True))
    different = earlier != later  # of items that share an identifier
    return earlier[different], later[different], distance[different]
