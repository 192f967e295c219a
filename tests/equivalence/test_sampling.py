"""Sampled lists: coupled is an exact sample without replacement, relaxed is near one (fixed seeds, thousands of runs).

The noise of each run is fixed, so these tests either always pass or never do.
"""

import math

import pytest
import torch

from inclusion import (
    chi_square_p_value,
    distance,
    inclusion,
    item_probabilities,
    pair_probabilities,
    sampled_lists,
)  # fmt: skip
from models_for_tests import nearly, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.drafters import Drafter, ModelDrafter, PriorDrafter
from specbeam.decoding.lists import Ranking, beam_search, search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Relaxed, RelaxedRanked
from specbeam.trie import Trie

RUNS = 6000
EVEN = [[2, 5, 8], [2, 5, 9], [2, 6, 8], [3, 5, 8], [3, 7, 9], [4, 5, 8]]
UNEVEN = [[2, 1], [2, 5, 1], [2, 5, 8, 1], [3, 1], [3, 7, 9, 1], [4, 5, 1]]  # 1 is the end token
PROMPT = random_prompt(0, 3)


def scorer(trie: Trie, *, seed: int, peak: float = 4.0) -> Scorer:
    return Scorer.of(tiny_model(seed=seed, peak=peak), trie, normalise="children")


def draft_of(kind: str, trie: Trie) -> Drafter:
    return PriorDrafter.of(trie) if kind == "prior" else ModelDrafter.of(scorer(trie, seed=2))


@pytest.mark.parametrize("identifiers", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("kind", ["model", "prior"])
def test_coupled_draws_pairs_without_replacement_as_computed_by_brute_force(
    identifiers: list[list[int]], temperature: float, kind: str
) -> None:
    trie = Trie.of(identifiers)
    target = scorer(trie, seed=1)
    lists = sampled_lists(
        target, PROMPT, Coupled(5, temperature), beam_width=2, runs=RUNS, drafter=draft_of(kind, trie),
        plan=Plan((2, 3, 3)),
    )  # fmt: skip
    expected = pair_probabilities(item_probabilities(target.model, PROMPT, identifiers, temperature))
    drawn = [tuple(pair) for pair in lists.sort(1).values.tolist()]
    counts = torch.tensor([drawn.count(pair) for pair in expected])
    assert counts.sum() == RUNS
    assert min(expected.values()) * RUNS > 5, "chi-square needs more runs"
    assert chi_square_p_value(counts, torch.tensor(list(expected.values()))) > 1e-3


def test_one_item_drawn_by_coupled_follows_the_targets_distribution_and_the_test_tells_others_apart() -> None:
    trie = Trie.of(EVEN)
    target, other = scorer(trie, seed=1), scorer(trie, seed=2)
    drafter, plan = ModelDrafter.of(other), Plan((2, 2))
    lists = sampled_lists(target, PROMPT, Coupled(6), beam_width=1, runs=RUNS, drafter=drafter, plan=plan)
    counts = torch.bincount(lists[:, 0], minlength=len(EVEN))
    assert chi_square_p_value(counts, item_probabilities(target.model, PROMPT, EVEN)) > 1e-3
    assert chi_square_p_value(counts, item_probabilities(other.model, PROMPT, EVEN)) < 1e-9


@pytest.mark.parametrize("kind", [Relaxed, RelaxedRanked])
def test_one_relaxed_draft_a_level_is_a_draw_from_the_target(kind: type[Relaxed]) -> None:
    """K = N = 1: ordinary speculative sampling, which is exact, and needs no correction for several candidates."""
    trie = Trie.of(EVEN)
    target, drafter = scorer(trie, seed=1), ModelDrafter.of(scorer(trie, seed=2))
    for plan in (Plan((1,)), Plan((1, 1))):
        lists = sampled_lists(target, PROMPT, kind(1.0, 8), beam_width=1, runs=RUNS, drafter=drafter, plan=plan)
        counts = torch.bincount(lists[:, 0], minlength=len(EVEN))
        assert chi_square_p_value(counts, item_probabilities(target.model, PROMPT, EVEN)) > 1e-3


BROAD = [[2 + first, 20 + second] for first in range(8) for second in range(2)]


@pytest.mark.parametrize("beam_width", [1, 3])
def test_the_wider_the_draft_the_further_is_relaxed_from_the_targets_own_sample_and_coupled_never_is(
    beam_width: int,
) -> None:
    trie = Trie.of(BROAD)
    target = scorer(trie, seed=3, peak=6.0)
    draft = Scorer.of(nearly(tiny_model(seed=3, peak=6.0), 0.3), trie, normalise="children")
    options = {"beam_width": beam_width, "runs": RUNS}

    def far(kind: type, width: int) -> float:
        """From the target's own sampled beam search of the same rule with another seed."""
        own = sampled_lists(target, PROMPT, kind(1), **options)
        helped = sampled_lists(
            target, PROMPT, kind(2), **options, drafter=ModelDrafter.of(draft), plan=Plan.flat(width, 1, 2)
        )
        return distance(own, helped, len(BROAD))

    def relaxed(seed: int) -> Relaxed:
        return Relaxed(1.0, seed)

    def ranked(seed: int) -> Relaxed:
        return RelaxedRanked(1.0, seed)

    two_runs = (sampled_lists(target, PROMPT, relaxed(seed), **options) for seed in (3, 4))
    floor = distance(*two_runs, len(BROAD))
    few, many = beam_width + 2, 8
    assert floor < 0.05
    assert far(Coupled, many) < 1.5 * floor
    assert 1.5 * floor < far(relaxed, few) < far(relaxed, many)
    assert far(relaxed, many) < far(ranked, many)  # no sample: it goes on with the likeliest
    if beam_width == 1:
        assert far(relaxed, 1) < 1.5 * floor


def test_an_items_chance_to_be_on_a_relaxed_list_is_its_share_of_runs() -> None:
    lists = torch.tensor([[0, 2], [2, 3], [0, 2], [1, 2]])
    assert inclusion(lists, 5).tolist() == [0.5, 0.25, 1, 0.25, 0]
    assert distance(lists, lists.flip(0), 5) == 0
    assert distance(lists, torch.full_like(lists, 4), 5) == 1


def sampled(rule: Relaxed | Coupled, *, items: int = 300, beam_width: int = 5, width: int = 20) -> Ranking:
    trie = Trie.of(random_catalogue(4, items=items))
    drafter = ModelDrafter.of(scorer(trie, seed=5))
    return search(
        scorer(trie, seed=4), PROMPT, beam_width=beam_width, rule=rule, drafter=drafter,
        plan=Plan.flat(width, 3, 4),
    )  # fmt: skip


@pytest.mark.parametrize("beam_width", [1, 5, 20])
@pytest.mark.parametrize("kind", [Relaxed, RelaxedRanked])
def test_relaxed_lists_are_distinct_real_items_with_the_targets_scores(kind: type[Relaxed], beam_width: int) -> None:
    trie = Trie.of(random_catalogue(4))
    everything = beam_search(tiny_model(seed=4, peak=4.0), PROMPT, trie, beam_width=300)
    score_of = dict(zip(everything.states[0].tolist(), everything.scores[0].tolist(), strict=True))
    for seed in range(5):
        found = sampled(kind(1.0, seed), beam_width=beam_width)
        states, scores = found.states[0].tolist(), found.scores[0].tolist()
        assert len(states) == beam_width == len(set(states))
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([score_of[state] for state in states], abs=1e-4)


@pytest.mark.parametrize("rule", [Relaxed(1.0, 0), RelaxedRanked(1.0, 0), Coupled(0)], ids=lambda r: type(r).__name__)
def test_a_sample_of_more_items_than_there_are_is_all_of_them(rule: Relaxed | Coupled) -> None:
    identifiers = random_catalogue(4, items=5)
    found = sampled(rule, items=5, beam_width=10, width=40)
    assert sorted(map(tuple, found.sequences[0].tolist())) == sorted(map(tuple, identifiers.tolist()))
    assert math.isclose(found.scores.exp().sum().item(), 1, abs_tol=1e-5)


@pytest.mark.parametrize("kind", [lambda seed: Relaxed(1.0, seed), Coupled])
def test_the_same_seed_gives_the_same_list_and_others_give_others(kind: type) -> None:
    def states(seed: int) -> tuple[int, ...]:
        return tuple(sampled(kind(seed)).states[0].tolist())

    assert states(1) == states(1)
    assert len({states(seed) for seed in range(10)}) > 5
