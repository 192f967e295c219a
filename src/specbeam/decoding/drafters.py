"""Who drafts: anything that can score the continuations of beams.

`ModelDrafter` is the paper's small language model; `PriorDrafter` needs none, it knows how much of the catalogue lies
behind each branch of the trie. How many nodes are drafted of what they score is the plan's affair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from specbeam.decoding.beams import Beams, Candidates, expand
from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.support import check_search
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

Children = tuple[Tensor, Tensor]


class Draft(Protocol):
    """A drafter at work on one batch of prompts."""

    calls: int
    """Forward passes so far."""

    def expand(self, beams: Beams, children: Children, temperature: float, unread: int) -> Candidates:
        """The scored continuations of `beams` along `children` (see beams.expand), logits divided by `temperature`.

        `unread`: so many of each beam's last tokens have not been shown to this method yet.
        """

    def keep(self, rows: Tensor) -> None:
        """Go on with the prompts `rows` only."""

    def close(self) -> None:
        """The search is over."""


class Drafter(Protocol):
    """What can draft for any batch of prompts."""

    prior: "PriorDrafter"
    """Completes the levels that the plan does not give to a model."""

    def check(self, prompts: Tensor, trie: Trie, beam_width: int) -> None:
        """Raise SpecbeamError if it cannot draft for these prompts and this trie."""

    def start(self, tree: TokenTree) -> Draft:
        """Begin on the prompts of `tree`, which target and draft grow together."""


@dataclass(frozen=True)
class PriorDrafter:
    """Drafts by the share of the catalogue behind each branch of the trie, whatever the prompt; costs no pass."""

    trie: Trie
    log_p: Tensor
    """float32 [edges + C]: log-probability of each edge after its state, padded like Trie.columns."""
    calls: int = 0

    @classmethod
    def of(cls, trie: Trie, popularity: Sequence[float] | None = None) -> "PriorDrafter":
        """The share of items, each counted once and `popularity` [identifiers] times more.

        Raises SpecbeamError if `popularity` does not have one value of at least 0 an identifier. Under the
        position-wise constraint all continuations are alike.
        """
        first_edge, rows = trie.first_edge.cpu().numpy(), trie.rows.cpu().numpy()
        mass = np.ones(len(rows)) if (rows < 0).all() else _mass(first_edge, rows, popularity)
        behind, counts = mass[trie.targets.cpu().numpy()], np.diff(first_edge)
        parents = counts > 0
        total = np.repeat(np.add.reduceat(behind, first_edge[:-1][parents]), counts[parents])
        log_p = torch.from_numpy(np.log(behind / total)).float()
        return cls(trie, torch.nn.functional.pad(log_p, (0, max(trie.widths))).to(trie.tokens.device))

    @property
    def prior(self) -> "PriorDrafter":
        """Itself."""
        return self

    def check(self, prompts: Tensor, trie: Trie, beam_width: int) -> None:
        """Raise SpecbeamError for another trie than its own."""
        if trie is not self.trie:
            raise SpecbeamError("target and draft were made for different tries: make both with the same")

    def start(self, tree: TokenTree) -> "PriorDrafter":
        """Nothing to begin."""
        return self

    def expand(self, beams: Beams, children: Children, temperature: float, unread: int) -> Candidates:
        """The continuations of `beams` by their share of the catalogue."""
        edges, allowed = children
        scores = beams.scores.unsqueeze(-1) + self.log_p[edges]
        return Candidates(beams, edges, scores.masked_fill(~allowed, -torch.inf).flatten(1), self.trie)

    def keep(self, rows: Tensor) -> None:
        """Nothing is held of any prompt."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class ModelDrafter:
    """Drafts with a small language model that shares the target's item tokens, and reads the same prompts."""

    scorer: Scorer
    prior: PriorDrafter

    @classmethod
    def of(cls, scorer: Scorer, popularity: Sequence[float] | None = None) -> "ModelDrafter":
        """With a prior of the catalogue (PriorDrafter.of) for levels that the trie completes."""
        return cls(scorer, PriorDrafter.of(scorer.trie, popularity))

    def check(self, prompts: Tensor, trie: Trie, beam_width: int) -> None:
        """Raise SpecbeamError for another trie than its own, and for prompts that its model cannot read."""
        self.prior.check(prompts, trie, beam_width)
        check_search(self.scorer.model, prompts, trie, beam_width)

    def start(self, tree: TokenTree) -> "_ModelDraft":
        """Begin with an empty cache."""
        return _ModelDraft(Reader(self.scorer, tree))


@dataclass
class _ModelDraft:
    reader: Reader

    @property
    def calls(self) -> int:
        return self.reader.calls

    def expand(self, beams: Beams, children: Children, temperature: float, unread: int) -> Candidates:
        scorer, nodes = self.reader.scorer, beams.nodes
        logits = self.reader.read(self.reader.tree.lineage(nodes, unread) if unread > 1 else nodes)
        return expand(logits[:, -nodes.shape[1] :], beams, scorer, children, temperature)

    def keep(self, rows: Tensor) -> None:
        self.reader.keep(rows)

    def close(self) -> None:
        self.reader.close()


def _mass(first_edge: np.ndarray, rows: np.ndarray, popularity: Sequence[float] | None) -> np.ndarray:
    """float64 [states + 1]: items at and behind each state; states are numbered level by level."""
    items = int(rows.max()) + 1
    weights = np.ones(items) if popularity is None else 1 + np.asarray(popularity, dtype=float)
    if weights.shape != (items,) or not (weights >= 1).all():
        raise SpecbeamError(f"popularity: expected {items} values of 0 or more, one an identifier; got {weights.shape}")
    mass = np.where(rows >= 0, weights[rows], 0.0)
    levels = [(0, 1)]
    while (following := (levels[-1][1], first_edge[levels[-1][1]] + 1))[0] < following[1]:
        levels.append(following)
    for low, high in reversed(levels):
        sums = np.concatenate([[0.0], np.cumsum(mass[1:])])  # sums[e]: mass behind the edges before e
        mass[low:high] += sums[first_edge[low + 1 : high + 1]] - sums[first_edge[low:high]]
    return mass
