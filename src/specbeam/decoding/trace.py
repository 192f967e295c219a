"""What a draft would have needed to be accepted, measured once, so that any plan can be judged without running it.

`Trace.of` runs a wide draft on some prompts and notes how wide each level would have had to be to hold the target's K
best, from every level that a round can start at. From that, `estimate` says what a plan would do, and `best_tree` finds
the plan with the fewest target calls for a given number of nodes. Lossless rules only: acceptance is then a fact of the
prompt, not a draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from specbeam.decoding.drafters import Drafter
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Rule, Strict
from specbeam.decoding.search import DraftedLevel, Round
from specbeam.errors import SpecbeamError

Batch = tuple[Tensor, Tensor]
"""Prompts int64 [B, P], padded on the left, and bool [B, P], False at padding."""

WIDEST = 12
"""A traced draft is this many times as wide as the beam."""
QUANTILES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Widths worth trying at a level: such as would have done for these shares of the prompts."""


class PassCosts(Protocol):
    """What passes and levels cost; specbeam.decoding.planner.Costs measures it."""

    level: float
    """Seconds a level beside the passes."""

    def of_pass(self, model: str, nodes: np.ndarray | float, *, prompt: bool) -> np.ndarray:
        """Seconds of a pass of "target" or "draft" over `nodes`, with the prompt or without."""


@dataclass(frozen=True)
class Estimate:
    """What a plan is expected to do for one list."""

    plan: Plan
    seconds: float
    target_calls: float
    nodes: float
    """Drafted nodes a list."""


@dataclass(frozen=True)
class Trace:
    """How a wide draft fared on U prompts, by the level s that a round starts at and the drafted level t > s.

    A narrower draft needs no more than what stands here, and a little less now and then: continuations of the sequences
    that it leaves out do not compete.
    """

    needed: np.ndarray
    """float [L, L, U]: the width that level t needed; infinite if the widest draft missed one of the K best."""
    offered: np.ndarray
    """float [L, L, U, W + 1]: continuations at level t of the first w sequences of the level above."""

    @classmethod
    def of(cls, target: Scorer, drafter: Drafter, batches: Sequence[Batch], beam_width: int, rule: Rule) -> "Trace":
        """Search every prompt once for each level that a round can start at; `rule` is Strict or Coupled.

        Raises SpecbeamError for other rules and for no prompts.
        """
        if not isinstance(rule, Strict | Coupled):
            raise SpecbeamError(f"planning is for lossless rules, Strict and Coupled; got {type(rule).__name__}")
        if not batches:
            raise SpecbeamError("planning needs some prompts like those to come, got none")
        trie, width, users = target.trie, WIDEST * beam_width, sum(len(prompts) for prompts, _ in batches)
        needed = np.full((trie.depth, trie.depth, users), np.inf)
        offered = np.zeros((trie.depth, trie.depth, users, width + 1))
        for start in range(trie.depth - 1):
            plan, first = Plan((0,) * start + (width,) * (trie.depth - 1 - start)), 0
            for prompts, mask in batches:
                rows = slice(first, first := first + len(prompts))
                for at, level in enumerate(_drafted(target, drafter, prompts, mask, beam_width, plan, rule), start + 1):
                    reached = np.zeros(len(prompts)) if level.needed is None else level.needed.cpu().numpy()
                    enough = (reached > 0) & (reached <= level.beams.scores.shape[1])
                    needed[start, at, rows] = np.where(enough, reached, np.inf)
                    each = level.scores.isfinite().sum(2).cumsum(1).cpu().numpy()
                    offered[start, at, rows] = np.pad(each, ((0, 0), (1, width - each.shape[1])), mode="edge")
                    offered[start, at, rows, 0] = 0
        return cls(needed, offered)

    def widths(self, level: int) -> list[int]:
        """Widths worth trying at `level`, 0 (draft no further) among them."""
        finite = self.needed[:level, level][np.isfinite(self.needed[:level, level])]
        if not finite.size:
            return [0]
        return sorted({0, *(int(np.ceil(x)) for x in np.quantile(finite, QUANTILES))})


def estimate(plan: Plan, trace: Trace, beam_width: int, costs: PassCosts | None = None) -> Estimate:
    """The mean over the traced prompts of what `plan` would take, round after round; no seconds without `costs`."""
    depth, users = trace.needed.shape[0], trace.needed.shape[2]
    seconds, calls, nodes = np.zeros((3, depth + 1, users))
    for start in reversed(range(depth)):
        steps = plan.steps([start], depth)
        by_model, parents = plan.model_steps([start], len(steps)), beam_width if start else 1
        alive, accepted, drafted = np.ones(users, dtype=bool), np.zeros(users, dtype=int), np.zeros(users)
        time_here, above = np.zeros(users), np.full(users, parents)
        for step, width in enumerate(steps):
            at = start + step + 1
            there = trace.offered[start, at, np.arange(users), np.minimum(above, trace.offered.shape[3] - 1)]
            if step < by_model:
                enough = trace.needed[start, at] <= width
                if costs:
                    time_here += costs.of_pass("draft", parents if step == 0 else above, prompt=start + step == 0)
            else:
                enough = there <= width
            above = np.minimum(there, width).astype(int)
            drafted += above
            alive &= enough
            accepted += alive
        if costs:
            time_here += costs.of_pass("target", parents + drafted, prompt=start == 0)
            time_here += costs.level * (len(steps) + accepted + 1)
        following = (start + accepted + 1, np.arange(users))
        seconds[start] = time_here + seconds[following]
        calls[start] = 1 + calls[following]
        nodes[start] = drafted + nodes[following]
    return Estimate(plan, seconds[0].mean(), calls[0].mean(), nodes[0].mean())


def best_tree(trace: Trace, beam_width: int, nodes: int) -> Plan:
    """The plan of fewest expected target calls whose first round drafts at most `nodes`, in the mean over prompts.

    Nodes are moved between levels, fewer at a time, as long as that helps. Raises SpecbeamError if `nodes` do not even
    hold the beams of every level.
    """
    levels = trace.needed.shape[0] - 1
    if nodes < levels * beam_width:
        raise SpecbeamError(f"a tree of {nodes} nodes cannot hold {levels} levels of {beam_width} beams: allow more")

    def rated(widths: list[int]) -> tuple[float, float]:
        found = estimate(Plan(tuple(widths)), trace, beam_width)
        return found.target_calls, found.nodes

    widths = [nodes // max(levels, 1)] * levels
    best, step = rated(widths), nodes // 4
    while step:
        moves = []
        for source in range(levels):
            for sink in range(levels):
                moved = [w - step * (i == source) + step * (i == sink) for i, w in enumerate(widths)]
                if source != sink and min(moved) >= beam_width:
                    moves.append((rated(moved), moved))
        found = min(moves, default=(best, widths))
        if found[0] < best:
            best, widths = found
        else:
            step //= 2
    return Plan(tuple(widths))


def _drafted(
    target: Scorer, drafter: Drafter, prompts: Tensor, mask: Tensor, beam_width: int, plan: Plan, rule: Rule
) -> list[DraftedLevel]:
    """The levels of the first round that drafted anything, with their needed widths."""
    trace: list[Round] = []
    search(target, prompts, mask=mask, beam_width=beam_width, drafter=drafter, plan=plan, rule=rule, trace=trace)
    return next(one.drafted for one in trace if one.drafted)
