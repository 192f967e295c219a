"""Judging plans by a trace, and choosing the fastest: what is foretold is what the search does."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from models_for_tests import nearly, random_catalogue, random_prompt, tiny_model
from specbeam.decoding import planner
from specbeam.decoding.drafters import ModelDrafter, PriorDrafter
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.planner import Costs, choose_plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Relaxed, Strict
from specbeam.decoding.trace import Batch, Trace, best_tree, estimate
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

K = 4


@pytest.fixture(scope="module")
def trie() -> Trie:
    return Trie.of(random_catalogue(0, items=200, branching=8))


@pytest.fixture(scope="module")
def target(trie: Trie) -> Scorer:
    return Scorer.of(tiny_model(seed=0), trie, normalise="children")


@pytest.fixture(scope="module")
def drafter(trie: Trie) -> ModelDrafter:
    return ModelDrafter.of(Scorer.of(nearly(tiny_model(seed=0), 0.15), trie, normalise="children"))


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    prompts = torch.cat([random_prompt(seed, 6) for seed in range(12)])
    return [(part, torch.ones_like(part, dtype=torch.bool)) for part in prompts.split(5)]


@pytest.fixture(scope="module")
def trace(target: Scorer, drafter: ModelDrafter, batches: Sequence[Batch]) -> Trace:
    return Trace.of(target, drafter, batches, K, Strict())


@pytest.mark.parametrize(
    "plan", [Plan(), Plan((K,)), Plan((8, 8, 8)), Plan((6, 20)), Plan((8, 12, 200), model_levels=2), Plan((8, 40, 40))]
)
def test_a_trace_foretells_the_target_calls_and_nodes_of_a_plan(
    plan: Plan, trace: Trace, target: Scorer, drafter: ModelDrafter, batches: Sequence[Batch]
) -> None:
    calls, nodes = [], []
    for prompts, _ in batches:
        for prompt in prompts.split(1):
            counters = search(target, prompt, beam_width=K, drafter=drafter, plan=plan).counters
            calls.append(counters.target_calls)
            own = K * sum(start > 0 for start in np.cumsum([0, *(a + 1 for a in counters.accepted[0])])[:-1])
            nodes.append(counters.nodes - own)
    found = estimate(plan, trace, K)
    assert found.target_calls == pytest.approx(np.mean(calls), abs=0.1)
    assert found.nodes == pytest.approx(np.mean(nodes), rel=0.15)


def test_the_draft_of_this_file_is_neither_perfect_nor_useless(trace: Trace) -> None:
    assert 1.2 < estimate(Plan((8, 8, 8)), trace, K).target_calls < 3.8


def test_a_target_that_drafts_for_itself_needs_no_more_than_the_beam_width_on_the_first_drafted_level(
    target: Scorer, batches: Sequence[Batch]
) -> None:
    trace = Trace.of(target, ModelDrafter.of(target), batches, K, Strict())
    for start in range(3):
        assert (trace.needed[start, start + 1] <= K).all()


def test_the_best_tree_of_a_size_holds_the_beams_and_is_no_worse_than_the_flat_one(trace: Trace) -> None:
    for nodes in (12, 30, 60):
        plan = best_tree(trace, K, nodes)
        flat = Plan((nodes // 3,) * 3)
        assert sum(plan.widths) <= nodes
        assert min(plan.widths) >= K
        assert estimate(plan, trace, K).target_calls <= estimate(flat, trace, K).target_calls
    with pytest.raises(SpecbeamError, match="cannot hold 3 levels of 4 beams"):
        best_tree(trace, K, 11)


@pytest.mark.parametrize("rule", [Strict(), Coupled(3)])
def test_lossless_rules_are_planned_and_the_lists_stay_the_targets_own(
    rule: Strict | Coupled, target: Scorer, drafter: ModelDrafter, batches: Sequence[Batch]
) -> None:
    planned = choose_plan(target, drafter, batches, beam_width=K, rule=rule)
    assert Plan() in planned.timed
    assert planned.plan in planned.timed
    assert planned.estimates[0].seconds <= min(e.seconds for e in planned.estimates if e.plan == Plan())
    for prompts, mask in batches:
        own = search(target, prompts, mask=mask, beam_width=K, rule=rule)
        found = search(target, prompts, mask=mask, beam_width=K, rule=rule, drafter=drafter, plan=planned.plan)
        assert torch.equal(found.sequences, own.sequences)


def test_where_passes_cost_by_the_node_and_drafting_is_dear_nothing_is_drafted(
    monkeypatch: pytest.MonkeyPatch, target: Scorer, drafter: ModelDrafter, batches: Sequence[Batch]
) -> None:
    sizes = np.array([1.0, 1000.0])
    linear = dict.fromkeys([(model, prompt) for model in ("target", "draft") for prompt in (True, False)], sizes)
    monkeypatch.setattr(Costs, "of", lambda *_: Costs(sizes, linear, 0.0))
    seconds = {True: 1.0, False: 1.02}  # a plan that is faster by less than the margin
    monkeypatch.setattr(planner, "_list_seconds", lambda *args: seconds[bool(args[4].widths)])
    planned = choose_plan(target, drafter, batches, beam_width=K)
    assert planned.estimates[0].plan == Plan()
    assert planned.plan == Plan()


def test_speculation_has_to_win_by_a_margin(
    monkeypatch: pytest.MonkeyPatch, target: Scorer, drafter: ModelDrafter, batches: Sequence[Batch]
) -> None:
    for speculative, chosen in ((0.98, False), (0.9, True)):
        monkeypatch.setattr(planner, "_list_seconds", lambda *args, s=speculative: s if args[4].widths else 1.0)
        assert bool(choose_plan(target, drafter, batches, beam_width=K).plan.widths) == chosen


def test_a_drafter_without_a_model_can_be_planned_too(target: Scorer, trie: Trie, batches: Sequence[Batch]) -> None:
    planned = choose_plan(target, PriorDrafter.of(trie), batches, beam_width=K)
    assert planned.plan in planned.timed


def test_what_cannot_be_planned_is_refused(target: Scorer, drafter: ModelDrafter, batches: Sequence[Batch]) -> None:
    with pytest.raises(SpecbeamError, match="lossless rules"):
        choose_plan(target, drafter, batches, beam_width=K, rule=Relaxed(1.0, 0))
    with pytest.raises(SpecbeamError, match="got none"):
        choose_plan(target, drafter, [], beam_width=K)
