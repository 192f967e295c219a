"""How levels are chosen: strict (the best) and relaxed (sampled). Source: docs/method.md, "Verification".

A rule sees candidates only as aligned rows: the target's scores, the draft's scores of the same continuations, and
which of them were drafted. So one loop (specbeam.decoding.speculative) serves every rule.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from specbeam.decoding.beams import top_k


class Rule(Protocol):
    """How a search picks among scored continuations; all scores are float32 [B, n], -inf where forbidden."""

    def choose(self, scores: Tensor, k: int) -> Tensor:
        """Indices [B, min(k, n)] of the continuations that go on, by one model alone."""

    def verify(self, target: Tensor, draft: Tensor, drafted: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Indices [B, min(k, n)] that go on, and bool [B]: was the level accepted? `drafted` bool [B, n]."""


class Strict:
    """The k best. A level is accepted if and only if the target's k best were all drafted; lossless."""

    def choose(self, scores: Tensor, k: int) -> Tensor:
        """The k best, in order."""
        return top_k(scores, k)

    def verify(self, target: Tensor, draft: Tensor, drafted: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The target's k best, accepted if all of them (that exist) were drafted."""
        chosen = top_k(target, k)
        missing = ~drafted & target.isfinite()
        return chosen, ~missing.gather(1, chosen).any(1)


@dataclass
class Relaxed:
    """Sampled: candidates from softmax(scores / temperature), each drafted one kept with probability min(1, p / q).

    `choose` draws k without replacement. `verify` keeps a uniformly random k of the kept ones when there are that many
    (the level is accepted); otherwise all of them, topped up by draws without replacement from norm(max(0, p - q)), and
    from p where that residual has too few continuations left.

    p and q are both normalised over the continuations of the surviving parents (the authors' code normalises q over all
    drafted parents).
    """

    temperature: float
    generator: torch.Generator

    def choose(self, scores: Tensor, k: int) -> Tensor:
        """k draws without replacement, by the Gumbel trick."""
        keys = scores.double() / self.temperature + self._gumbel(scores)
        return keys.topk(min(k, keys.shape[1])).indices

    def verify(self, target: Tensor, draft: Tensor, drafted: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """k continuations as the class says, accepted if all (that exist) passed the test p / q."""
        log_p, log_q = ((x.double() / self.temperature).log_softmax(1) for x in (target, draft))
        kept = drafted & (self._uniform(target).log() < log_p - log_q)
        noise = self._gumbel(target)
        residual = (log_p.exp() - log_q.exp()).clamp(min=0).log()
        keys = torch.where(residual.isfinite(), residual, log_p - _TIER) + noise
        keys = torch.where(kept, noise + _TIER, keys)  # one top-k draws each tier without replacement, best tier first
        return keys.topk(min(k, keys.shape[1])).indices, kept.sum(1) >= target.isfinite().sum(1).clamp(max=k)

    def _uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.generator, dtype=torch.float64, device=like.device)

    def _gumbel(self, like: Tensor) -> Tensor:
        return -(-self._uniform(like).clamp(min=1e-300).log()).log()


_TIER = 1e7  # beyond any difference of log-probabilities over temperature, well inside float64
