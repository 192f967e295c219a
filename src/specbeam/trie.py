"""The constraint on what may be generated, as flat tensors: one vectorised look-up for any number of beams.

A `Trie` is a deterministic automaton in compressed sparse rows. State 0 is the root; the edges out of a state are one
slice, sorted by token. `Trie.of` builds the trie of all identifiers (only real items can be written);
`Trie.position_wise` builds the weaker constraint of the authors' timing runs (any token seen at that position).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from specbeam.errors import SpecbeamError


class Children(NamedTuple):
    """The continuations of some states, padded to the widest state of that depth."""

    tokens: Tensor
    """int64 [..., C]: the token on each edge."""
    states: Tensor
    """int64 [..., C]: the state after it; `Trie.dead` where there is no edge."""
    allowed: Tensor
    """bool [..., C]: whether the edge exists."""


@dataclass(frozen=True)
class Trie:
    """Automaton over token ids; see the module's docstring. All tensors lie on one device."""

    first_edge: Tensor
    """int64 [states + 2]: edges of state s are first_edge[s] to first_edge[s + 1]; the last state is dead."""
    tokens: Tensor
    """int64 [edges]: the token on each edge."""
    targets: Tensor
    """int64 [edges]: the state that each edge leads to."""
    rows: Tensor
    """int64 [states + 1]: row of the identifier that ends in a state, -1 elsewhere."""
    widths: tuple[int, ...]
    """Most children of any state, by depth; its length is the identifier length L."""
    vocabulary: int
    """One more than the largest token id: what a model must be able to write."""

    @classmethod
    def of(cls, identifiers: np.ndarray | Tensor) -> "Trie":
        """Trie of `identifiers`, int [items, L]; states are numbered level by level, so state s > 0 ends edge s - 1.

        Rows that occur twice count once (the first one names it). Raises SpecbeamError for an empty or ragged array.
        """
        identifiers = _checked(identifiers)
        order = np.lexsort(identifiers.T[::-1])
        ordered = identifiers[order]
        fresh = np.ones(ordered.shape, dtype=bool)  # does row i start a new prefix of length t + 1?
        fresh[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
        prefix = np.cumsum(fresh, axis=0) - 1
        counts = [1, *(prefix[-1] + 1)]
        start = np.cumsum([0, *counts])  # first state of each depth
        sources, tokens, widths = [], [], []
        for depth in range(ordered.shape[1]):
            new = fresh[:, depth]
            parent = np.zeros(new.sum(), dtype=np.int64) if depth == 0 else prefix[new, depth - 1]
            sources.append(start[depth] + parent)
            tokens.append(ordered[new, depth])
            widths.append(int(np.bincount(parent).max()))
        rows = np.full(start[-1] + 1, -1, dtype=np.int64)
        rows[start[-2] : start[-1]] = order[fresh[:, -1]]
        targets = np.arange(1, start[-1])
        return cls._build(np.concatenate(sources), np.concatenate(tokens), targets, rows, tuple(widths))

    @classmethod
    def position_wise(cls, identifiers: np.ndarray | Tensor) -> "Trie":
        """The weaker constraint: at position t any token that some identifier has there; it admits unreal items."""
        identifiers = _checked(identifiers)
        tokens = [np.unique(column) for column in identifiers.T]
        depths = np.concatenate([np.full(len(column), depth) for depth, column in enumerate(tokens)])
        rows = np.full(identifiers.shape[1] + 2, -1, dtype=np.int64)
        return cls._build(depths, np.concatenate(tokens), depths + 1, rows, tuple(len(column) for column in tokens))

    @classmethod
    def _build(
        cls, sources: np.ndarray, tokens: np.ndarray, targets: np.ndarray, rows: np.ndarray, widths: tuple[int, ...]
    ) -> "Trie":
        first_edge = np.searchsorted(sources, np.arange(len(rows) + 1))
        arrays = (np.ascontiguousarray(x, dtype=np.int64) for x in (first_edge, tokens, targets, rows))
        return cls(*map(torch.from_numpy, arrays), widths=widths, vocabulary=int(tokens.max()) + 1)

    @property
    def depth(self) -> int:
        """L, the tokens in an identifier."""
        return len(self.widths)

    @property
    def dead(self) -> int:
        """The state without a way on, for beams that do not exist."""
        return self.rows.shape[0] - 1

    @cached_property
    def parents(self) -> Tensor:
        """int64 [states]: the state before each state, -1 for the root; of a trie only, where there is just one."""
        sources = torch.searchsorted(
            self.first_edge, torch.arange(len(self.tokens), device=self.tokens.device), right=True
        )
        return torch.cat([sources.new_tensor([-1]), sources - 1])

    def to(self, device: torch.device | str) -> "Trie":
        """The same trie with its tensors on `device`."""
        tensors = (x.to(device) for x in (self.first_edge, self.tokens, self.targets, self.rows))
        return Trie(*tensors, widths=self.widths, vocabulary=self.vocabulary)

    def children(self, states: Tensor, depth: int) -> Children:
        """All continuations of `states` [...], which stand at `depth`, padded to `widths[depth]`."""
        first = self.first_edge[states].unsqueeze(-1)
        count = self.first_edge[states + 1].unsqueeze(-1) - first
        offset = torch.arange(self.widths[depth], device=states.device)
        allowed = offset < count
        edges = torch.where(allowed, first + offset, 0)
        return Children(self.tokens[edges], torch.where(allowed, self.targets[edges], self.dead), allowed)

    def walk(self, sequences: Tensor) -> Tensor:
        """States [..., t] after each token of `sequences` int [..., t], from the root on; `dead` once off the trie."""
        states = torch.zeros_like(sequences[..., 0])
        path = []
        for depth in range(sequences.shape[-1]):
            children = self.children(states, depth)
            match = children.allowed & (children.tokens == sequences[..., depth, None])
            states = torch.where(match, children.states, self.dead).amin(-1)
            path.append(states)
        return torch.stack(path, -1)


def _checked(identifiers: np.ndarray | Tensor) -> np.ndarray:
    array = np.asarray(identifiers)
    if array.ndim != 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.integer):
        raise SpecbeamError(
            f"identifiers: expected integers of shape [items, tokens an identifier], got {array.dtype} {array.shape}"
        )
    if array.min() < 0:
        raise SpecbeamError(f"identifiers: expected token ids of 0 or more, got {array.min()}")
    return array
