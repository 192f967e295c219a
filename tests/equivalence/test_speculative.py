"""Strict verification returns exactly the target's own beam search, whatever the draft."""

from unittest import mock

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models_for_tests import random_catalogue, random_prompt, tiny_model
from specbeam.decoding.beam_search import Ranking, beam_search
from specbeam.decoding.rules import Relaxed
from specbeam.decoding.speculative import speculative_search
from specbeam.decoding.support import TESTED_FAMILIES
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie


def assert_same_list(found: Ranking, expected: Ranking) -> None:
    assert torch.equal(found.sequences, expected.sequences)
    assert torch.equal(found.states, expected.states)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 50),
    family=st.sampled_from(TESTED_FAMILIES),
    prompt_length=st.integers(1, 12),
    peak=st.sampled_from([2.0, 6.0, 12.0]),
    constraint=st.sampled_from(["trie", "position"]),
    normalise=st.sampled_from(["children", "vocabulary"]),
    beam_width=st.integers(1, 20),
    extra=st.integers(0, 20),
    draft_length=st.integers(1, 4),
    items=st.sampled_from([1, 4, 30, 300]),
    length=st.integers(1, 5),
    branching=st.sampled_from([2, 12]),
)
def test_strict_is_the_targets_own_beam_search(
    seed: int, family: str, prompt_length: int, peak: float, constraint: str, normalise: str, beam_width: int,
    extra: int, draft_length: int, items: int, length: int, branching: int,
) -> None:  # fmt: skip
    target, draft = tiny_model(family, seed=seed, peak=peak), tiny_model("gpt2", seed=seed + 1, layers=1)
    identifiers = random_catalogue(seed, items=items, length=length, branching=branching)
    trie = Trie.of(identifiers) if constraint == "trie" else Trie.position_wise(identifiers)
    prompt = random_prompt(seed, prompt_length)
    expected = beam_search(target, prompt, trie, beam_width=beam_width, normalise=normalise)
    found = speculative_search(
        target, draft, prompt, trie, beam_width=beam_width, draft_beam_width=beam_width + extra,
        draft_length=draft_length, normalise=normalise,
    )  # fmt: skip
    assert_same_list(found, expected)
    counters = found.counters
    assert sum(counters.accepted) + len(counters.accepted) == length  # every round adds its bonus level
    assert counters.target_calls == len(counters.accepted)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    beam_width=st.integers(2, 9),
    extra=st.integers(0, 2),
    draft_length=st.integers(1, 3),
    items=st.integers(4, 12),
    length=st.integers(4, 5),
    branching=st.integers(2, 4),
)
@example(seed=0, beam_width=8, extra=0, draft_length=3, items=6, length=5, branching=4)
def test_levels_with_fewer_continuations_than_beams_lose_nothing(
    seed: int, beam_width: int, extra: int, draft_length: int, items: int, length: int, branching: int
) -> None:
    target, draft = tiny_model(seed=0), tiny_model("gpt2", seed=1, layers=1)
    prune = TokenTree.prune

    def watched(tree: TokenTree, base: int, nodes: torch.Tensor) -> torch.Tensor:
        assert nodes.unique().numel() == nodes.numel(), "a node kept twice would be attended to twice"
        return prune(tree, base, nodes)

    trie = Trie.of(random_catalogue(seed, items=items, length=length, branching=branching))
    prompt = random_prompt(seed, 1 + seed % 5)
    expected = beam_search(target, prompt, trie, beam_width=beam_width)
    with mock.patch.object(TokenTree, "prune", watched):
        found = speculative_search(
            target, draft, prompt, trie, beam_width=beam_width, draft_beam_width=beam_width + extra,
            draft_length=draft_length,
        )  # fmt: skip
    assert_same_list(found, expected)


def test_a_target_that_drafts_for_itself_is_accepted_whole_in_one_pass() -> None:
    target, trie = tiny_model(seed=1), Trie.of(random_catalogue(1))
    found = speculative_search(
        target, target, random_prompt(1, 8), trie, beam_width=10, draft_beam_width=10, draft_length=3
    )
    assert found.counters.accepted == [3]
    assert (found.counters.target_calls, found.counters.draft_calls, found.counters.nodes) == (1, 3, 30)


def test_exact_ties_are_broken_alike() -> None:
    target, draft, trie = tiny_model(seed=2, peak=0.0), tiny_model(seed=3), Trie.of(random_catalogue(2))
    prompt = random_prompt(2, 6)
    expected = beam_search(target, prompt, trie, beam_width=10)
    assert expected.scores[0].unique().numel() < 10, "the model was meant to leave ties"
    found = speculative_search(target, draft, prompt, trie, beam_width=10, draft_beam_width=25, draft_length=3)
    assert_same_list(found, expected)


@pytest.mark.parametrize("ranked", [1, 5, 20])
def test_relaxed_lists_are_distinct_real_items_with_the_targets_scores(ranked: int) -> None:
    target, draft, identifiers = tiny_model(seed=4), tiny_model(seed=5), random_catalogue(4)
    trie, prompt = Trie.of(identifiers), random_prompt(4, 9)
    everything = beam_search(target, prompt, trie, beam_width=len(identifiers))
    score_of = dict(zip(everything.states[0].tolist(), everything.scores[0].tolist(), strict=True))
    for seed in range(20):
        rule = Relaxed(1.0, torch.Generator().manual_seed(seed))
        found = speculative_search(
            target, draft, prompt, trie, beam_width=ranked, draft_beam_width=20, draft_length=3, rule=rule
        )
        states = found.states[0].tolist()
        assert len(states) == ranked == len(set(states))
        assert found.scores[0].tolist() == sorted(found.scores[0].tolist(), reverse=True)
        for state, score in zip(states, found.scores[0].tolist(), strict=True):
            assert score == pytest.approx(score_of[state], abs=1e-4)


def test_relaxed_with_a_small_catalogue_gives_all_of_it() -> None:
    identifiers = random_catalogue(6, items=5)
    rule = Relaxed(1.0, torch.Generator().manual_seed(0))
    found = speculative_search(
        tiny_model(seed=6), tiny_model(seed=7), random_prompt(6, 4), Trie.of(identifiers), beam_width=10,
        draft_beam_width=40, draft_length=3, rule=rule,
    )  # fmt: skip
    assert sorted(map(tuple, found.sequences[0].tolist())) == sorted(map(tuple, identifiers.tolist()))


def test_the_same_seed_gives_the_same_relaxed_list() -> None:
    target, draft, trie = tiny_model(seed=8), tiny_model(seed=9), Trie.of(random_catalogue(8))

    def sampled(seed: int) -> list[int]:
        rule = Relaxed(1.0, torch.Generator().manual_seed(seed))
        found = speculative_search(
            target, draft, random_prompt(8, 6), trie, beam_width=5, draft_beam_width=10, draft_length=3, rule=rule
        )
        return found.states[0].tolist()

    assert sampled(1) == sampled(1)
    assert len({tuple(sampled(seed)) for seed in range(10)}) > 1


def test_searches_that_make_no_sense_are_refused() -> None:
    target, trie, prompt = tiny_model(seed=1), Trie.of(random_catalogue(1)), random_prompt(1, 5)
    sizes = {"beam_width": 5, "draft_beam_width": 10, "draft_length": 3}
    with pytest.raises(SpecbeamError, match="below the beam width"):
        speculative_search(target, target, prompt, trie, **sizes | {"draft_beam_width": 4})
    with pytest.raises(SpecbeamError, match="draft length"):
        speculative_search(target, target, prompt, trie, **sizes | {"draft_length": 0})
    with pytest.raises(SpecbeamError, match="one prompt at a time"):
        speculative_search(target, target, prompt.expand(2, -1), trie, **sizes)
