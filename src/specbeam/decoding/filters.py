"""Searches over a part of the trie: the identifiers that each prompt may be given, with nothing built anew.

A state is alive while an allowed identifier ends at it or behind it. A search that follows only edges into living
states IS the search over the trie of the allowed identifiers: softmax, order and acceptance know no others. Whoever
drafts or verifies asks one place for edges (specbeam.decoding.search), so strict stays lossless relative to a filter.

A large part of the catalogue (a region, what is in stock) is a `Part`, made once for many searches. What a prompt
leaves out of it (already bought) is a few dead edges, found on the paths of those identifiers: their number is what
that costs, not the catalogue's.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from specbeam.trie import Trie


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a trie's identifiers."""

    trie: Trie
    leaves: np.ndarray
    """int32 [states + 1]: how many of them end at or behind each state; 0 for the root, which no edge leads to."""
    alive: Tensor | None
    """bool [edges + C]: whether an edge leads to one of them, padded like Trie.columns; None: all edges do."""

    @classmethod
    def of(cls, trie: Trie, rows: np.ndarray | None = None) -> "Part":
        """The identifiers `rows`, distinct; None: all."""
        last, parents = trie.ancestry
        states, leaves = last if rows is None else last[rows], np.zeros(len(trie.rows), dtype=np.int32)
        for _ in range(trie.depth):
            leaves += np.bincount(states, minlength=len(leaves)).astype(np.int32)
            states = parents[states]
        leaves[0] = 0
        if rows is None:
            return cls(trie, leaves, None)
        alive = np.pad(leaves[1:-1] > 0, (0, max(trie.widths)))  # state s > 0 ends edge s - 1
        return cls(trie, leaves, torch.from_numpy(alive).to(trie.tokens.device))

    def dead(self, rows: Sequence[int]) -> tuple[list[int], int]:
        """The edges, ascending, to nothing but `rows`, distinct identifiers of this part.

        And how many of them, at most, go out of one state. It goes up from an identifier as far as all else is gone.
        """
        last, parents = self.trie.ancestry
        lost, dead, of_one = {}, [], Counter()
        for state in map(last.item, rows):
            gone = 1
            while state:
                lost[state] = gone = lost.get(state, 0) + gone
                if gone < self.leaves.item(state):
                    break
                dead.append(state - 1)
                state = parents.item(state)
                of_one[state] += 1
        return sorted(dead), max(of_one.values(), default=0)


@dataclass(frozen=True, eq=False)
class Filters:
    """Which edges each of B prompts may follow."""

    parts: tuple[tuple[Tensor, Tensor], ...]
    """`Part.alive`, and bool [B, 1, 1]: the prompts that it does NOT bind."""
    dead: Tensor
    """int64, ascending: dead edges, each plus the `shift` of its prompt; then n numbers beyond all of them."""
    nth: Tensor
    """int64 [n]: 0, 1, ..., for the n dead edges that go out of one state at most."""
    levels: frozenset[int]
    """Depths of the states that dead edges go out of: mostly the last ones, since a prefix dies with all its items."""
    shift: Tensor
    """int64 [B, 1, 1]: what tells the prompts' edges apart."""

    @classmethod
    def of(cls, parts: Sequence[Part], left_out: Sequence[Sequence[int]]) -> "Filters | None":
        """For each prompt a part of the same trie, and the identifiers (distinct rows of the part) that it leaves out.

        None if nothing is left out of the trie.
        """
        trie, dead, most = parts[0].trie, [], 0
        device, span = trie.tokens.device, len(trie.tokens) + max(trie.widths)
        for prompt, (part, rows) in enumerate(zip(parts, left_out, strict=True)):
            edges, of_one = part.dead(rows)
            dead += [edge + span * prompt for edge in edges]
            most = max(most, of_one)
        bound = {id(part): part for part in parts if part.alive is not None}
        if not dead and not bound:
            return None
        free = {key: torch.tensor([id(part) != key for part in parts], device=device) for key in bound}
        return cls(
            tuple((part.alive, free[key].view(-1, 1, 1)) for key, part in bound.items()),
            torch.tensor([*dead, *[2 * span * len(parts)] * most], device=device),
            torch.arange(most, device=device),
            frozenset(bisect_right(trie.last_edges, edge % span) for edge in dead),
            torch.arange(0, span * len(parts), span, device=device).view(-1, 1, 1),
        )

    def allow(self, edges: Tensor, exists: Tensor, levels: Iterable[int]) -> Tensor:
        """bool [B, W, C]: which of `edges` [B, W, C], out of states at `levels`, exist and may be followed."""
        for alive, free in self.parts:
            exists = exists & (alive[edges] | free)
        if not self.levels.isdisjoint(levels):  # those of a state stand side by side
            first, width = edges[..., :1] + self.shift, edges.shape[2]
            places = torch.searchsorted(self.dead, first) + self.nth
            columns = (self.dead[places] - first).clamp(max=width)
            exists = pad(exists, (0, 1)).scatter(2, columns, False)[..., :width]
        return exists

    def keep(self, rows: Tensor) -> "Filters":
        """Those of the prompts `rows` only."""
        return replace(self, parts=tuple((alive, free[rows]) for alive, free in self.parts), shift=self.shift[rows])
