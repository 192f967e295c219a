"""The lists that a recommender returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from specbeam.decoding.counters import Counters
from specbeam.decoding.lists import Ranking
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
    """The lists of a batch, of the items that each prompt's filter allows.

    An identifier stands for all of its items, so lists are cut to k once more.
    """
    rows = shelf.trie.rows[found.states].tolist()
    lists = []
    for row, scores, accepted, filter in zip(
        rows, found.scores.tolist(), found.counters.accepted, filters, strict=True
    ):
        places = [
            (item, score, shelf.items.identifiers[at])
            for at, score in zip(row, scores, strict=True)
            if at >= 0
            for item in shelf.items.bearers[at]
            if filter.allows(item)
        ][:k]
        items, values, identifiers = ([place[part] for place in places] for part in range(3))
        lists.append(Recommendations(items, values, identifiers, accepted, found.counters))
    return lists
