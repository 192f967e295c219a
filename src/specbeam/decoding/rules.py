"""How levels are chosen and verified. Source: docs/method.md, "Verification".

A rule gives every continuation a KEY; a search goes on with the K largest. So one loop (specbeam.decoding.search)
serves them all:

- `Strict`: the key is the score. The K best, lossless.
- `Coupled`: the score perturbed by Gumbel noise, the same for draft and target. Exact sampling without replacement.
- `Relaxed`: the paper's sampled verification.
- `RelaxedRanked`: the same test, but the best of the accepted go on.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from specbeam.decoding import noise
from specbeam.decoding.beams import Candidates
from specbeam.errors import SpecbeamError


class Rule(Protocol):
    """What a search asks of a rule. Keys are [B, n] for n candidates, -inf where there is none."""

    softmax_temperature: float
    """Logits are divided by it before the softmax that makes scores."""

    def keys(self, candidates: Candidates) -> Tensor:
        """Keys by one model alone: for drafting, for the bonus level, and for a search without a draft."""

    def verify(self, target: Candidates, draft: Tensor, drafted: Tensor) -> tuple[Tensor, Tensor]:
        """Keys [B, n] of the target's candidates, and bool [B, n]: those that pass.

        `draft` float32 [B, n] holds the draft's scores of the same candidates, `drafted` says which were drafted. A
        level is accepted if the K of largest key all pass.
        """


class Strict:
    """The k best. A level is accepted if and only if the target's k best were all drafted; lossless."""

    softmax_temperature = 1.0

    def keys(self, candidates: Candidates) -> Tensor:
        """The scores themselves."""
        return candidates.scores

    def verify(self, target: Candidates, draft: Tensor, drafted: Tensor) -> tuple[Tensor, Tensor]:
        """The target's scores; what was drafted passes."""
        return target.scores, drafted


@dataclass(frozen=True)
class Coupled:
    """Stochastic beam search: K items drawn from the target without replacement, exactly, for any draft.

    The keys are log-probabilities perturbed by Gumbel noise, drawn top-down such that a node's children have its own
    key as their maximum (Kool et al., "Stochastic Beams and Where to Find Them", ICML 2019, algorithm 1). Noise depends
    on (seed, prompt, prefix) alone, so draft and target share it, and verification is strict: the sample is the very
    one that the target draws by itself with this seed. It needs `normalise: children`, a distribution over items.
    """

    seed: int
    softmax_temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.softmax_temperature)

    def keys(self, candidates: Candidates) -> Tensor:
        """float64: Gumbel(score) for each candidate, conditional on the maximum under a parent being its key."""
        free = candidates.scores.double() + noise.gumbel(_states(candidates, self.seed, "choose"))
        under = free.view(candidates.edges.shape)
        most = under.amax(2, keepdim=True)
        parent = candidates.beams.keys.double().unsqueeze(2)
        # Kool et al., appendix B.3: -log(exp(-parent) - exp(-most) + exp(-free)), in a form that does not overflow
        slack = parent - under + (-torch.expm1(under - most)).log()
        keys = parent - slack.clamp(min=0) - torch.log1p(torch.exp(-slack.abs()))
        keys = torch.where(candidates.beams.levels.view(-1, 1, 1) == 0, under, keys)  # the root's maximum is free
        return keys.flatten(1).masked_fill(candidates.scores == -torch.inf, -torch.inf)

    def verify(self, target: Candidates, draft: Tensor, drafted: Tensor) -> tuple[Tensor, Tensor]:
        """The target's perturbed scores; what was drafted passes."""
        return self.keys(target), drafted


@dataclass(frozen=True)
class Relaxed:
    """Sampled: candidates from softmax(scores / temperature), each drafted one accepted with probability min(1, p/q).

    Drafting draws without replacement. Verification goes on with a uniformly random k of the accepted ones when there
    are that many (the level is accepted); otherwise with all of them, topped up by draws without replacement from
    norm(max(0, p - q)), and from p where that residual has too few continuations left. p and q are both normalised over
    the continuations of the surviving parents (the authors' code normalises q over all drafted parents).
    """

    temperature: float
    seed: int
    softmax_temperature = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def keys(self, candidates: Candidates) -> Tensor:
        """float64: the Gumbel trick, so that the k largest are k draws without replacement."""
        return candidates.scores.double() / self.temperature + noise.gumbel(_states(candidates, self.seed, "choose"))

    def verify(self, target: Candidates, draft: Tensor, drafted: Tensor) -> tuple[Tensor, Tensor]:
        """Keys in three tiers: accepted, residual, rest; the accepted pass."""
        draft = draft.masked_fill(~target.exists(), -torch.inf)  # below a beam that does not exist, it means nothing
        log_p, log_q = ((x.double() / self.temperature).log_softmax(1) for x in (target.scores, draft))
        accepted = drafted & (noise.uniform(_states(target, self.seed, "accept")).log() < log_p - log_q)
        drawn = noise.gumbel(_states(target, self.seed, "top up"))
        residual = (log_p.exp() - log_q.exp()).clamp(min=0).log()
        keys = torch.where(residual.isfinite(), residual, log_p - _TIER) + drawn
        keys = torch.where(accepted, self._order(target.scores.double(), drawn) + _TIER, keys)
        # One score that is no number makes every probability one: it has to come first, so that it is seen.
        return torch.where(target.scores.isnan(), torch.inf, keys.masked_fill(keys.isnan(), -torch.inf)), accepted

    def _order(self, scores: Tensor, drawn: Tensor) -> Tensor:
        """Which of the accepted go on: any."""
        return drawn


class RelaxedRanked(Relaxed):
    """`Relaxed`, but of more than k accepted candidates those of the highest target score go on: better recall."""

    def _order(self, scores: Tensor, drawn: Tensor) -> Tensor:
        """Which of the accepted go on: the likeliest."""
        return scores


def rule_of(verification: str, temperature: float = 1.0, seed: int = 0) -> Rule:
    """The rule by its name: strict, coupled, relaxed or relaxed-ranked. SpecbeamError for any other.

    `temperature` (COLDEST or more) and `seed` are those of the sampled ones; Strict has no use for them.
    """
    rules: dict[str, Rule] = {
        "strict": Strict(),
        "coupled": Coupled(seed, temperature),
        "relaxed": Relaxed(temperature, seed),
        "relaxed-ranked": RelaxedRanked(temperature, seed),
    }
    if verification not in rules:
        raise SpecbeamError(f"verification: expected one of {', '.join(rules)}, got {verification!r}")
    return rules[verification]


def _check_temperature(temperature: float) -> None:
    if not temperature >= COLDEST:
        raise SpecbeamError(
            f"temperature: expected a number of {COLDEST} or more, got {temperature}; for the best, use strict"
        )


COLDEST = 1e-30
"""The least temperature: sums of logits over it stay well inside float32."""
_TIER = 1e7  # beyond any score and any drawn number, well inside float64
_PURPOSES = {"choose": 1, "accept": 2, "top up": 3}


def _states(candidates: Candidates, seed: int, purpose: str) -> Tensor:
    """int64 [B, n]: the generator's state of each candidate for one purpose."""
    beams = candidates.beams
    parents = noise.prefixes(beams.sequences, beams.levels, noise.mix(beams.streams, seed))
    tokens = candidates.trie.padded_tokens[candidates.edges]
    return noise.mix(noise.mix(parents.unsqueeze(2), tokens), _PURPOSES[purpose]).flatten(1)
