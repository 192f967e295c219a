"""The constraint on what may be generated, as flat tensors: one vectorised look-up for any number of beams.

A `Trie` is a deterministic automaton in compressed sparse rows. State 0 is the root; the edges out of a state are one
slice, sorted by token. `Trie.of` builds the trie of all identifiers (only real items can be written);
`Trie.position_wise` builds the weaker constraint of the authors' timing runs (any token seen at that position).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from specbeam.errors import SpecbeamError

NO_TOKEN = -1
"""Stands behind the end of an identifier that is shorter than others."""

Identifiers = np.ndarray | Tensor | Sequence[Sequence[int]]


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
    alphabet: Tensor
    """int64 [A]: the distinct tokens, ascending."""
    widths: tuple[int, ...]
    """Most children of any state, by depth; its length L is that of the longest identifier."""
    ending: tuple[float, ...]
    """Share of the edges at each depth that end an identifier; the last is 1."""
    vocabulary: int
    """One more than the largest token id: what a model must be able to write."""

    @classmethod
    def of(cls, identifiers: Identifiers, *, end: int | None = None) -> "Trie":
        """Trie of `identifiers`: an int array [items, L], or one sequence of token ids an item, of any lengths.

        `end` is a token that is written after every identifier (an end-of-sequence token); without it, no identifier
        may be the beginning of another. States are numbered level by level, so state s > 0 ends edge s - 1. Identifiers
        that occur twice count once (the first names them). Raises SpecbeamError for what is no list of identifiers.
        """
        identifiers = _checked(identifiers, end)
        order = np.lexsort(identifiers.T[::-1])
        ordered = identifiers[order]
        written = np.pad(ordered != NO_TOKEN, ((0, 0), (0, 1)))
        fresh = np.ones(ordered.shape, dtype=bool)  # does row i start a new prefix of length t + 1?
        fresh[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
        fresh &= written[:, :-1]
        prefix = np.cumsum(fresh, axis=0) - 1
        start = np.cumsum([0, 1, *(prefix[-1] + 1)])  # first state of each depth
        sources, tokens, widths, ending = [], [], [], []
        rows = np.full(start[-1] + 1, -1, dtype=np.int64)
        for depth in range(ordered.shape[1]):
            new = fresh[:, depth]
            parent = np.zeros(new.sum(), dtype=np.int64) if depth == 0 else prefix[new, depth - 1]
            last = new & ~written[:, depth + 1]
            sources.append(start[depth] + parent)
            tokens.append(ordered[new, depth])
            widths.append(int(np.bincount(parent).max()))
            ending.append(float(last.sum() / new.sum()))
            rows[start[depth + 1] + prefix[last, depth]] = order[last]
        trie = cls._build(
            np.concatenate(sources), np.concatenate(tokens), np.arange(1, start[-1]), rows, widths, ending
        )
        _refuse_beginnings(trie)
        return trie

    @classmethod
    def position_wise(cls, identifiers: Identifiers) -> "Trie":
        """The weaker constraint: at position t any token that some identifier has there; it admits unreal items.

        All identifiers must have one length.
        """
        identifiers = _checked(identifiers, None)
        if (identifiers == NO_TOKEN).any():
            raise SpecbeamError("the position-wise constraint needs identifiers of one length: use the trie")
        tokens = [np.unique(column) for column in identifiers.T]
        depths = np.concatenate([np.full(len(column), depth) for depth, column in enumerate(tokens)])
        rows = np.full(identifiers.shape[1] + 2, -1, dtype=np.int64)
        widths = [len(column) for column in tokens]
        ending = [*(0.0 for _ in widths[1:]), 1.0]
        return cls._build(depths, np.concatenate(tokens), depths + 1, rows, widths, ending)

    @classmethod
    def _build(
        cls, sources: np.ndarray, tokens: np.ndarray, targets: np.ndarray, rows: np.ndarray, widths: list[int],
        ending: list[float],
    ) -> "Trie":  # fmt: skip
        first_edge = np.searchsorted(sources, np.arange(len(rows) + 1))
        alphabet = np.unique(tokens)
        arrays = (np.ascontiguousarray(x, dtype=np.int64) for x in (first_edge, tokens, targets, rows, alphabet))
        tensors = map(torch.from_numpy, arrays)
        return cls(*tensors, widths=tuple(widths), ending=tuple(ending), vocabulary=int(alphabet[-1]) + 1)

    @property
    def depth(self) -> int:
        """L, the tokens in the longest identifier."""
        return len(self.widths)

    @property
    def dead(self) -> int:
        """The state without a way on, for beams that do not exist."""
        return self.rows.shape[0] - 1

    @cached_property
    def parents(self) -> Tensor:
        """int64 [states]: the state before each state, -1 for the root; of a trie only, where there is just one."""
        edges = torch.arange(len(self.tokens), device=self.tokens.device)
        sources = torch.searchsorted(self.first_edge, edges, right=True)
        return torch.cat([sources.new_tensor([-1]), sources - 1])

    @cached_property
    def ancestry(self) -> tuple[np.ndarray, np.ndarray]:
        """int32 [identifiers], the state that each ends in, and [states], `parents` with the root as its own.

        In the host's memory; of a trie only. Identifiers are numbered as in `rows`.
        """
        rows = self.rows.cpu().numpy()
        last = np.zeros(rows.max() + 1, dtype=np.int32)
        last[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
        return last, self.parents.cpu().numpy().clip(min=0).astype(np.int32)

    @cached_property
    def edges_at(self) -> tuple[slice, ...]:
        """For each depth, the edges out of its states; of a trie only, whose states are numbered level by level."""
        first, last, found = 0, 1, []
        for _ in range(self.depth):
            start, stop = self.first_edge[[first, last]].tolist()
            found.append(slice(start, stop))
            first, last = start + 1, stop + 1  # state s > 0 ends edge s - 1
        return tuple(found)

    @cached_property
    def last_edges(self) -> list[int]:
        """For each depth, the end of its edges in `edges_at`."""
        return [edges.stop for edges in self.edges_at]

    @cached_property
    def tokens_at(self) -> tuple[Tensor, ...]:
        """For each depth int64 [W]: the distinct tokens that some identifier has there, ascending; of a trie only."""
        return tuple(self.tokens[edges].unique() for edges in self.edges_at)

    @cached_property
    def columns(self) -> Tensor:
        """int64 [edges + C]: the position of each edge's token in `alphabet`; C is the largest width.

        The zeros at its end let `edges` of the last states reach beyond the last edge.
        """
        columns = torch.searchsorted(self.alphabet, self.tokens)
        return torch.nn.functional.pad(columns, (0, max(self.widths)))

    @cached_property
    def padded_tokens(self) -> Tensor:
        """int64 [edges + C]: `tokens`, padded like `columns`."""
        return torch.nn.functional.pad(self.tokens, (0, max(self.widths)))

    @cached_property
    def ends(self) -> Tensor:
        """bool [edges + C]: whether an edge ends an identifier, padded like `columns`."""
        leaf = self.first_edge[1:] == self.first_edge[:-1]
        return torch.nn.functional.pad(leaf[self.targets], (0, max(self.widths)))

    def to(self, device: torch.device | str) -> "Trie":
        """The same trie with its tensors on `device`."""
        values = (getattr(self, field.name) for field in fields(self))
        return Trie(*(value.to(device) if isinstance(value, Tensor) else value for value in values))

    def edges(self, states: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """The edges [..., C] out of `states` [...], padded to `width` C, and bool [..., C]: does the edge exist?

        Padding is a number below edges + C, and means nothing.
        """
        first = self.first_edge[states]
        count = self.first_edge[states + 1] - first
        offset = torch.arange(width, device=states.device)
        return first.unsqueeze(-1) + offset, offset < count.unsqueeze(-1)

    def children(self, states: Tensor, depth: int) -> Children:
        """All continuations of `states` [...], which stand at `depth`, padded to `widths[depth]`."""
        edges, allowed = self.edges(states, self.widths[depth])
        edges = torch.where(allowed, edges, 0)
        return Children(self.tokens[edges], torch.where(allowed, self.targets[edges], self.dead), allowed)

    def walk(self, sequences: Tensor) -> Tensor:
        """States [..., t] after each token of `sequences` int [..., t], from the root on; `dead` once off the trie.

        Behind an identifier's end (NO_TOKEN) its last state is repeated.
        """
        states = torch.zeros_like(sequences[..., 0])
        path = []
        for depth in range(sequences.shape[-1]):
            token = sequences[..., depth]
            children = self.children(states, depth)
            match = children.allowed & (children.tokens == token.unsqueeze(-1))
            following = torch.where(match, children.states, self.dead).amin(-1)
            states = torch.where(token == NO_TOKEN, states, following)
            path.append(states)
        return torch.stack(path, -1)


def _checked(identifiers: Identifiers, end: int | None) -> np.ndarray:
    """int64 [items, L], NO_TOKEN behind the shorter ones, `end` written behind all."""
    array = np.asarray(identifiers) if isinstance(identifiers, np.ndarray | Tensor) else _padded(identifiers)
    if array.ndim != 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.integer):
        raise SpecbeamError(
            f"identifiers: expected integers of shape [items, tokens an identifier], got {array.dtype} {array.shape}"
        )
    written = array != NO_TOKEN
    if array.min(initial=0, where=written) < 0:
        row, place = np.argwhere(written & (array < 0))[0]
        raise SpecbeamError(f"identifiers: expected token ids of 0 or more, row {row} has {array[row, place]}")
    lengths = written.cumprod(1).sum(1)
    odd = (lengths == 0) | (lengths != written.sum(1))
    if odd.any():
        raise SpecbeamError(
            f"identifiers: expected tokens, then {NO_TOKEN} only; row {odd.argmax()} is {array[odd][0]}"
        )
    if end is None:
        return array
    if (array == end).any():
        raise SpecbeamError(f"identifiers: {end}, the end token, stands inside an identifier")
    longer = np.pad(array, ((0, 0), (0, 1)), constant_values=NO_TOKEN)
    longer[np.arange(len(longer)), lengths] = end
    return longer


def _padded(identifiers: Sequence[Sequence[int]]) -> np.ndarray:
    rows = [np.asarray(tokens) for tokens in identifiers]
    for row, tokens in enumerate(rows):
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            raise SpecbeamError(f"identifiers: expected token ids, row {row} is {identifiers[row]!r}")
    padded = np.full((len(rows), max(map(len, rows), default=0)), NO_TOKEN, dtype=np.int64)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = tokens
    return padded


def _refuse_beginnings(trie: Trie) -> None:
    """Raise SpecbeamError where an identifier ends at a state that has a way on: it could never be told to stop."""
    inner = (trie.rows[:-1] >= 0) & (trie.first_edge[1:-1] > trie.first_edge[:-2])
    if inner.any():
        raise SpecbeamError(
            f"identifiers: number {int(trie.rows[:-1][inner][0])} is the beginning of another: give an end token "
            "(end=...) that is written after every identifier"
        )
