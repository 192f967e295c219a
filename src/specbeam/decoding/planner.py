"""Which tree to draft, and whether to draft at all: chosen by measured cost and measured acceptance.

`choose_plan` needs some prompts like those to come. It

1. traces a wide draft on them: how wide each level would have had to be to hold the target's K best, from every level
   that a round can start at;
2. measures what a pass of target and draft costs on this device, by the number of nodes;
3. works out the expected time of a list for many plans: widths by level, draft lengths, and whether the trie completes
   the last level without the draft's model;
4. times the best of them against plain beam search on the same prompts, interleaved, and takes the fastest. Speculation
   has to win by a margin, so that it is never slower than plain beam search by more than noise.
"""

import itertools
import logging
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from specbeam.clock import median_seconds, timed
from specbeam.decoding.drafters import Drafter
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.rules import Rule, Strict
from specbeam.decoding.trace import Batch, Estimate, Trace, estimate
from specbeam.decoding.tree import ROOT, TokenTree

log = logging.getLogger(__name__)

MARGIN = 0.03
"""Speculation has to be faster than plain beam search by this share."""
FINALISTS = 4
REPEATS = 3


@dataclass(frozen=True)
class Planned:
    """The plan chosen, and why."""

    plan: Plan
    timed: dict[Plan, float]
    """Measured seconds a list of plain beam search (Plan()) and of the finalists."""
    estimates: list[Estimate]
    """All plans that were thought of, fastest first."""


@dataclass(frozen=True)
class Costs:
    """Seconds a list on this device, at one batch size; sizes between the measured ones are interpolated."""

    sizes: np.ndarray
    """Nodes of a pass."""
    passes: dict[tuple[str, bool], np.ndarray]
    """("target" or "draft", whether the pass reads the prompt) -> seconds of a pass, by size."""
    level: float
    """Seconds a level beside the passes: look-ups, order, bookkeeping."""

    @classmethod
    def of(cls, target: Scorer, draft: Scorer | None, batch: Batch, beam_width: int) -> "Costs":
        """Measure passes over some sizes of trees below the prompts of `batch`; a drafter without model costs none."""
        sizes = [1, *(beam_width * n for n in (1, 3, 6, 12, 24))]
        passes = {}
        for name, scorer in (("target", target), ("draft", draft)):
            for with_prompt in (True, False):
                nodes = [size - with_prompt for size in sizes]  # beside the root
                options = {"with_prompt": with_prompt, "repeats": REPEATS}
                seconds = [pass_seconds(scorer, batch, n, **options) if scorer else 0.0 for n in nodes]
                passes[name, with_prompt] = np.array(seconds) / len(batch[0])
        plain = statistics.median(_list_seconds(target, None, batch, beam_width, Plan(), Strict()) for _ in range(5))
        depth, own = target.trie.depth, passes["target", True][0]
        own += (target.trie.depth - 1) * np.interp(beam_width, sizes, passes["target", False])
        return cls(np.array(sizes), passes, max(0.0, plain / len(batch[0]) - own) / depth)

    def of_pass(self, model: str, nodes: np.ndarray | float, *, prompt: bool) -> np.ndarray:
        """Seconds of a pass over `nodes`."""
        return np.interp(nodes, self.sizes, self.passes[model, prompt])


def estimates(trace: Trace, costs: Costs, beam_width: int) -> list[Estimate]:
    """Plans found by changing one level at a time as long as that helps, from several starts; fastest first."""
    depth = trace.needed.shape[0]
    choices = [trace.widths(level) for level in range(1, depth)]
    known: dict[Plan, Estimate] = {}

    def rated(widths: Sequence[int], model_levels: int | None) -> Estimate:
        drafted = list(itertools.takewhile(bool, widths))
        plan = Plan(tuple(max(width, beam_width) for width in drafted), model_levels=model_levels if drafted else None)
        if plan not in known:
            known[plan] = estimate(plan, trace, beam_width, costs)
        return known[plan]

    rated([], None)
    for model_levels in (None, depth - 2):
        for share in (0.0, 0.5, 1.0):
            widths = [choice[int(share * (len(choice) - 1))] for choice in choices]
            best, before = rated(widths, model_levels), None
            while best is not before:
                before = best
                for level, choice in enumerate(choices):
                    for width in choice:
                        tried = [*widths[:level], width, *widths[level + 1 :]]
                        if rated(tried, model_levels).seconds < best.seconds:
                            best, widths = rated(tried, model_levels), tried
    return sorted(known.values(), key=lambda found: found.seconds)


def choose_plan(
    target: Scorer, drafter: Drafter, batches: Sequence[Batch], *, beam_width: int, rule: Rule | None = None
) -> Planned:
    """The fastest plan on this device for prompts like those of `batches`, all of the batch size to come.

    `rule` is Strict (default) or Coupled: only what is lossless is planned. Some dozens of prompts do. Raises
    SpecbeamError for other rules and for no prompts.
    """
    rule = rule or Strict()
    trace = Trace.of(target, drafter, batches, beam_width, rule)
    costs = Costs.of(target, getattr(drafter, "scorer", None), batches[len(batches) // 2], beam_width)
    found = estimates(trace, costs, beam_width)
    finalists = _finalists(found)
    timed: dict[Plan, list[float]] = {plan: [] for plan in finalists}
    order = random.Random(0)
    for repeat in range(REPEATS + 1):
        for batch in batches:
            for plan in order.sample(finalists, len(finalists)):
                seconds = _list_seconds(target, drafter, batch, beam_width, plan, rule)
                if repeat:
                    timed[plan].append(seconds)
    per_list = {plan: sum(values) / REPEATS / trace.needed.shape[2] for plan, values in timed.items()}
    fastest = min(per_list, key=per_list.__getitem__)
    if per_list[fastest] > (1 - MARGIN) * per_list[Plan()]:
        fastest = Plan()
    log.info("plan %s: %.2f ms a list, plain %.2f ms", fastest, 1e3 * per_list[fastest], 1e3 * per_list[Plan()])
    return Planned(fastest, per_list, found)


def _finalists(found: Sequence[Estimate]) -> list[Plan]:
    """Plain beam search, and the best plan of each number of drafted levels, with and without completion."""
    kinds: dict[tuple[int, int | None], Plan] = {}
    for each in found:
        kinds.setdefault((sum(width > 0 for width in each.plan.widths), each.plan.model_levels), each.plan)
    speculative = [plan for plan in kinds.values() if any(plan.widths)]
    return [Plan(), *speculative[:FINALISTS]]


@torch.inference_mode()
def pass_seconds(scorer: Scorer, batch: Batch, nodes: int, *, with_prompt: bool, repeats: int) -> float:
    """Median seconds of one pass over `nodes` nodes of a tree: with the prompt and the root, or after them."""
    # Attention sees the whole cache under a mask, so where in the tree the nodes hang makes no difference to time.
    prompts, mask = batch
    tree, root = scorer.tree(prompts, mask), torch.full_like(prompts[:, :1], ROOT)
    attached = tree.attach(scorer.trie.tokens[:1].expand(len(prompts), nodes), root.expand(-1, nodes))
    if with_prompt:
        asked = torch.cat([root, attached], 1)
        return median_seconds(lambda: _read_once(scorer, tree, asked), prompts.device, repeats)
    reader = Reader(scorer, tree)
    reader.read(root)
    seconds = median_seconds(lambda: reader.read(attached), prompts.device, repeats)
    reader.close()
    return seconds


def _read_once(scorer: Scorer, tree: TokenTree, nodes: Tensor) -> None:
    reader = Reader(scorer, tree)
    reader.read(nodes)
    reader.close()


def _list_seconds(
    target: Scorer, drafter: Drafter | None, batch: Batch, beam_width: int, plan: Plan, rule: Rule
) -> float:
    prompts, mask = batch
    options = {"mask": mask, "beam_width": beam_width, "drafter": drafter, "plan": plan, "rule": rule}
    return timed(partial(search, target, prompts, **options), prompts.device)[0]
