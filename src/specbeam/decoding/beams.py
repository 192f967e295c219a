"""Beams, their continuations, and the one documented order among them.

Order: higher score first; equal scores by the parent's rank, then by the smaller token id. A beam that does not exist
(fewer continuations than asked for) has score -inf and the trie's dead state; it can never become an item.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from specbeam.trie import Children


@dataclass
class Beams:
    """W beams of B searches after t tokens."""

    sequences: Tensor
    """int64 [B, W, t]."""
    scores: Tensor
    """float32 [B, W]: sum of log-probabilities; -inf marks a beam that does not exist."""
    states: Tensor
    """int64 [B, W]: trie states."""
    nodes: Tensor
    """int64 [B, W]: the beams' last tokens as nodes of the tree that they were grown on."""

    @classmethod
    def root(cls, batch: int, device: torch.device | str) -> "Beams":
        """The one empty beam of each search, standing at the prompt's last token."""
        zeros = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        return cls(zeros.new_zeros(batch, 1, 0), zeros.float(), zeros, zeros)

    @property
    def level(self) -> int:
        """t, the tokens written so far."""
        return self.sequences.shape[2]


@dataclass
class Candidates:
    """All continuations of some beams by one token, as B rows of W * C (parent after parent, tokens ascending)."""

    scores: Tensor
    """float32 [B, W * C]: accumulated log-probabilities, -inf where the constraint forbids."""
    tokens: Tensor
    states: Tensor
    parents: Tensor
    """int64 [B, W * C]: rank of the parent beam."""

    def take(self, indices: Tensor, beams: Beams) -> tuple[Beams, Tensor]:
        """The continuations `indices` [B, k] as beams (nodes still the parents'), and their parents' ranks [B, k]."""
        scores, tokens, states, parents = (
            x.gather(1, indices) for x in (self.scores, self.tokens, self.states, self.parents)
        )
        history = beams.sequences.gather(1, parents.unsqueeze(-1).expand(-1, -1, beams.level))
        sequences = torch.cat([history, tokens.unsqueeze(-1)], 2)
        return Beams(sequences, scores, states, beams.nodes.gather(1, parents)), parents


def expand(logits: Tensor, beams: Beams, children: Children, normalise: str) -> Candidates:
    """Score the `children` [B, W, C] of `beams` from their next-token `logits` [B, W, vocabulary].

    `normalise="vocabulary"`: log-softmax over the full vocabulary, forbidden tokens dropped afterwards (transformers'
    prefix constraint). `normalise="children"`: log-softmax over the allowed tokens (its `renormalize_logits=True`).
    """
    log_p = logits.gather(2, children.tokens)
    if normalise == "children":
        log_p = log_p.masked_fill(~children.allowed, torch.finfo(log_p.dtype).min).log_softmax(-1)
    else:
        log_p = log_p - logits.logsumexp(-1, keepdim=True)
    scores = (beams.scores.unsqueeze(-1) + log_p).masked_fill(~children.allowed, -torch.inf)
    parents = torch.arange(scores.shape[1], device=scores.device).view(1, -1, 1).expand_as(scores)
    return Candidates(*(x.flatten(1) for x in (scores, children.tokens, children.states, parents)))


def top_k(scores: Tensor, k: int) -> Tensor:
    """Indices [B, k] of the k best of float32 `scores` [B, n], in order; equal scores by the smaller index.

    Each score becomes an integer that sorts alike, with the index in its low bits, so that no two are
    equal and every device gives the same order. What is not a number comes first.
    """
    scores = scores.nan_to_num(torch.inf, torch.inf, -torch.inf) + 0.0  # + 0.0 turns -0.0 into 0.0
    bits = scores.view(torch.int32).long()
    rank = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    index = torch.arange(scores.shape[-1], device=scores.device)
    return ((rank << 32) - index).topk(min(k, scores.shape[-1])).indices
