"""The lists that a recommender returns."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from specbeam.decoding.counters import Counters
from specbeam.decoding.lists import Ranking
from specbeam.items import Items
from specbeam.subsets import Filter, Shelf


@dataclass(frozen=True)
class Recommendations:
    """One list, best first."""

    items: list[Any]
    """Item ids. Items that share an identifier follow one another, with one score."""
    scores: list[float]
    """Of each item: the log-probability of its identifier (under coupled sampling, of the tempered distribution)."""
    identifiers: list[tuple[int, ...]]
    """Of each item: its token ids."""
    accepted: list[int]
    """Levels accepted in each round, without the bonus level that every round adds."""
    counters: Counters
    """Of the whole batch that the list was made in."""

    @property
    def target_calls(self) -> int:
        """Passes of the target that this list took: one a round."""
        return len(self.accepted)


def named(found: Ranking, shelf: Shelf, filters: Sequence[Filter], k: int) -> list[Recommendations]:
    """The lists of a batch, of the items that each prompt's filter allows."""
    rows = shelf.trie.rows[found.states].tolist()
    each = zip(rows, found.scores.tolist(), found.counters.accepted, filters, strict=True)
    return [
        Recommendations(
            *columns(zip(row, scores, strict=True), shelf.items, k, filter.allows), accepted, found.counters
        )
        for row, scores, accepted, filter in each
    ]


def columns(
    found: Iterable[tuple[int, float]], items: Items, k: int, allows: Callable[[Any], bool] = lambda item: True
) -> tuple[list[Any], list[float], list[tuple[int, ...]]]:
    """Items, scores and identifiers of a list, from the row (-1: none) and the score of each identifier, best first.

    An identifier stands for all of its items that are allowed, so the list is cut to k once more.
    """
    places = [
        (item, score, items.identifiers[row])
        for row, score in found
        if row >= 0
        for item in items.bearers[row]
        if allows(item)
    ][:k]
    return tuple([place[part] for place in places] for part in range(3))
