"""Top-K lists of a batch of prompts: by the target alone, or with a draft's help."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from specbeam.decoding import noise
from specbeam.decoding.beams import Beams
from specbeam.decoding.counters import Counters
from specbeam.decoding.drafters import Drafter, ModelDrafter
from specbeam.decoding.filters import Filters
from specbeam.decoding.graphs import TURN
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Relaxed, Rule, Strict
from specbeam.decoding.search import Round, Search, Timer, untimed
from specbeam.decoding.support import check_mask, check_search
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie


@dataclass
class Ranking:
    """The recommendation lists of B prompts, best first."""

    sequences: Tensor
    """int64 [B, K, L] token ids; NO_TOKEN (-1) behind the end of shorter identifiers."""
    scores: Tensor
    """float32 [B, K] accumulated log-probabilities; -inf where fewer than K continuations exist."""
    states: Tensor
    """int64 [B, K] trie states; `trie.rows[states]` are rows of the identifiers."""
    counters: Counters

    @classmethod
    def of(cls, beams: Beams, counters: Counters) -> "Ranking":
        """Beams sorted by score (equal scores in the order that they had), cut to those that exist in any row.

        Raises SpecbeamError if the model gave scores that are no numbers: `top_k` puts them first, so none gets lost.
        """
        if beams.scores.isnan().any():
            raise SpecbeamError("the model's scores are not numbers: decode in float32 or bfloat16, or train again")
        scores, order = beams.scores.sort(dim=1, descending=True, stable=True)
        width = int(scores.isfinite().sum(1).max())
        beams = beams.pick(order[:, :width])
        return cls(beams.sequences, beams.scores, beams.states, counters)


@torch.inference_mode()
def search(
    target: Scorer,
    prompts: Tensor,
    *,
    beam_width: int,
    drafter: Drafter | None = None,
    plan: Plan = Plan(),  # noqa: B008 - frozen
    rule: Rule | None = None,
    mask: Tensor | None = None,
    filters: Filters | None = None,
    timer: Timer = untimed,
    apart: bool = False,
    levels: list[Tensor] | None = None,
    trace: list[Round] | None = None,
) -> Ranking:
    """The top-K lists of `prompts`: the target's beam search, helped by `drafter` as far as `plan` says.

    Args:
        target: the target made ready (Scorer.of), with its trie on the same device.
        prompts: int64 [B, P], padded on the left; `mask` bool [B, P] is False at padding.
        beam_width: K.
        drafter: who drafts (specbeam.decoding.drafters); without one, plain beam search.
        plan: how much is drafted; Plan() is nothing.
        rule: Strict (default), Coupled, Relaxed or RelaxedRanked.
        filters: what each prompt may not be given (Filters.of, for this trie and these prompts); None: nothing.
        timer: takes the time of the phases draft, target, verify and constraint.
        apart: let no prompt draft more because another one does, and count each as if it was searched alone
            (Counters.each): for measurements in batches.
        levels: a list here gets, for each level but the last, the trie states int64 [B, W] of the beams, best first
            (`trie.dead` behind those that exist); only without a draft, and for identifiers of one length.
        trace: a list here gets, for each round, what was drafted and what the target chose.

    Returns:
        Ranking of min(K, items) identifiers a prompt. Raises SpecbeamError for inputs that make no sense.
    """
    rule = rule or Strict()
    check_search(target.model, prompts, target.trie, beam_width)
    if mask is not None:
        check_mask(prompts, mask)
    if drafter:
        drafter.check(prompts, target.trie, beam_width)
    plan.check(beam_width)
    _check_rule(rule, target, plan)
    if levels is not None and (drafter or any(target.trie.ending[:-1])):
        raise SpecbeamError("levels: expected no draft, and identifiers of one length")
    tree = target.tree(prompts, mask)
    with TURN if target.graphs else nullcontext():
        searched = Search(target, tree, beam_width, rule, drafter, plan, timer)
        searched.filters, searched.apart, searched.levels, searched.trace = filters, apart, levels, trace
        found, counters = searched.run(noise.streams(tree.prompts, tree.mask))
    return Ranking.of(found, counters)


def beam_search(
    model: PreTrainedModel, prompts: Tensor, trie: Trie, *, beam_width: int, normalise: str = "children",
    **options: object,
) -> Ranking:  # fmt: skip
    """Constrained beam search by `model` alone; `options` are those of `search`."""
    return search(Scorer.of(model, trie, normalise=normalise), prompts, beam_width=beam_width, **options)


def speculative_search(
    target: PreTrainedModel,
    draft: PreTrainedModel,
    prompts: Tensor,
    trie: Trie,
    *,
    beam_width: int,
    draft_beam_width: int,
    draft_length: int,
    normalise: str = "children",
    **options: object,
) -> Ranking:
    """The target's lists with the help of a draft model, drafting as the paper does: N a level, gamma levels a round.

    `draft_beam_width` N is at least K; at most L - 1 levels of `draft_length` gamma are of use. Strict (the default
    rule) returns exactly `beam_search(target, ...)`. `options` are those of `search`.
    """
    plan = Plan.flat(draft_beam_width, draft_length, trie.depth)
    drafter = ModelDrafter.of(Scorer.of(draft, trie, normalise=normalise))
    scorer = Scorer.of(target, trie, normalise=normalise)
    return search(scorer, prompts, beam_width=beam_width, drafter=drafter, plan=plan, **options)


def _check_rule(rule: Rule, target: Scorer, plan: Plan) -> None:
    if isinstance(rule, Coupled) and target.normalise != "children":
        raise SpecbeamError(
            f"coupled sampling needs a distribution over items: normalise='children', got {target.normalise!r}"
        )
    if isinstance(rule, Relaxed):
        if any(target.trie.ending[:-1]):
            raise SpecbeamError("relaxed verification is for identifiers of one length; use coupled to sample others")
        if len(set(plan.widths)) > 1 or plan.model_levels is not None:
            raise SpecbeamError(
                f"relaxed verification samples, so its draft is flat and all by the model (Plan.flat); got {plan}"
            )
