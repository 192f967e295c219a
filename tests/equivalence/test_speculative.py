"""Strict and coupled verification return exactly what the target returns by itself, whatever the draft and the plan."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.drafters import Drafter, ModelDrafter, PriorDrafter
from specbeam.decoding.lists import Ranking, beam_search, search, speculative_search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Relaxed, RelaxedRanked, Rule, Strict
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie


def assert_row_is(found: Ranking, row: int, alone: Ranking) -> None:
    """Row `row` of a batch is the list `alone`, filled up with beams that do not exist."""
    width = alone.scores.shape[1]
    assert torch.equal(found.sequences[row, :width], alone.sequences[0])
    assert torch.equal(found.states[row, :width], alone.states[0])
    torch.testing.assert_close(found.scores[row, :width], alone.scores[0], atol=1e-4, rtol=0)
    assert not found.scores[row, width:].isfinite().any()


def assert_counts_add_up(found: Ranking, length: int) -> None:
    """Every round adds the levels it accepted and one bonus level."""
    counters = found.counters
    assert [sum(rounds) + len(rounds) for rounds in counters.accepted] == [length] * len(counters.accepted)
    assert counters.target_calls == max(map(len, counters.accepted))


def drafter_of(kind: str, seed: int, trie: Trie, normalise: str) -> Drafter:
    if kind == "prior":
        return PriorDrafter.of(trie)
    return ModelDrafter.of(Scorer.of(tiny_model(kind, seed=seed, layers=1), trie, normalise=normalise))


@st.composite
def searches(draw: st.DrawFn) -> dict:
    """Catalogues of one item and of many, models flat and peaky, plans narrow and wide, one prompt and several."""
    seed, length, width = draw(st.integers(0, 1000)), draw(st.integers(1, 8)), draw(st.integers(1, 20))
    identifiers = random_catalogue(
        seed, items=draw(st.sampled_from([1, 4, 30, 300])), length=length, branching=draw(st.sampled_from([1, 2, 12]))
    )
    widths = st.one_of(st.just(0), st.integers(width, width + 25), st.just(200))
    return {
        "seed": seed,
        "length": length,
        "beam_width": width,
        "trie": draw(st.sampled_from([Trie.of, Trie.position_wise]))(identifiers),
        "target": tiny_model(
            draw(st.sampled_from(["llama", "qwen3", "gemma3_text", "gpt2"])), seed=seed,
            peak=draw(st.sampled_from([0.0, 2.0, 6.0, 12.0])), context=4096,
        ),
        "drafter": draw(st.sampled_from(["llama", "gpt2", "prior"])),
        "plan": Plan(
            tuple(draw(st.lists(widths, max_size=length))),
            model_levels=draw(st.sampled_from([None, 0, 1, 2, 3])),
            draft_length=draw(st.sampled_from([None, 1, 2, 3])),
        ),
        "prompts": [random_prompt(seed + row, draw(st.integers(1, 20))) for row in range(draw(st.integers(1, 4)))],
    }  # fmt: skip


def assert_lossless(given: dict, rule: Rule, normalise: str) -> None:
    """The batch's lists, drafted for, are those that the target finds for each prompt alone."""
    target = Scorer.of(given["target"], given["trie"], normalise=normalise)
    drafter = drafter_of(given["drafter"], given["seed"] + 1, given["trie"], normalise)
    sizes = {"beam_width": given["beam_width"], "rule": rule}
    found = search(target, **one_batch(given["prompts"]), drafter=drafter, plan=given["plan"], **sizes)
    for row, prompt in enumerate(given["prompts"]):
        assert_row_is(found, row, search(target, prompt, **sizes))
    assert_counts_add_up(found, given["length"])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(given=searches(), normalise=st.sampled_from(["children", "vocabulary"]))
def test_strict_is_the_targets_own_beam_search_of_each_prompt(given: dict, normalise: str) -> None:
    assert_lossless(given, Strict(), normalise)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(given=searches(), softmax_temperature=st.sampled_from([0.5, 1.0, 3.0]))
def test_coupled_is_the_targets_own_stochastic_beam_search_of_each_prompt(
    given: dict, softmax_temperature: float
) -> None:
    assert_lossless(given, Coupled(given["seed"], softmax_temperature), "children")


@settings(max_examples=60, deadline=None, derandomize=True)
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
    trie = Trie.of(random_catalogue(seed, items=items, length=length, branching=branching))
    prompt = random_prompt(seed, 1 + seed % 5)
    found = speculative_search(
        target, draft, prompt, trie, beam_width=beam_width, draft_beam_width=beam_width + extra,
        draft_length=draft_length,
    )  # fmt: skip
    assert_row_is(found, 0, beam_search(target, prompt, trie, beam_width=beam_width))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(given=searches(), kind=st.sampled_from([Relaxed, RelaxedRanked]), temperature=st.sampled_from([0.5, 1.0]))
def test_a_relaxed_list_does_not_depend_on_the_other_prompts_of_its_batch(
    given: dict, kind: type[Relaxed], temperature: float
) -> None:
    target = Scorer.of(given["target"], given["trie"], normalise="children")
    plan = Plan.flat(given["beam_width"] + given["seed"] % 9, 1 + given["seed"] % 4, given["length"])
    options = {"beam_width": given["beam_width"], "rule": kind(temperature, given["seed"]), "plan": plan}
    options["drafter"] = drafter_of(given["drafter"], given["seed"] + 1, given["trie"], "children")
    found = search(target, **one_batch(given["prompts"]), **options)
    for row, prompt in enumerate(given["prompts"]):
        assert_row_is(found, row, search(target, prompt, **options))
    assert_counts_add_up(found, given["length"])


RULES = [Strict(), Coupled(3), Relaxed(1.0, 3), RelaxedRanked(0.7, 3)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("length", [1, 2, 4, 8])
@pytest.mark.parametrize("drafted", [True, False], ids=["drafted", "alone"])
def test_a_batch_of_prompts_of_different_lengths_gives_the_lists_of_its_prompts(
    rule: Rule, length: int, drafted: bool
) -> None:
    trie = Trie.of(random_catalogue(5, length=length, branching=6, items=200))
    target = Scorer.of(tiny_model(seed=5), trie, normalise="children")
    options = {"beam_width": 5, "rule": rule}
    if drafted:
        draft = ModelDrafter.of(Scorer.of(tiny_model(seed=5, layers=1), trie, normalise="children"))
        options |= {"drafter": draft, "plan": Plan.flat(8, 3, length)}
    prompts = [random_prompt(seed, size) for seed, size in enumerate((3, 12, 7, 7, 1, 30))]
    together = search(target, **one_batch(prompts), **options)
    for row, prompt in enumerate(prompts):
        alone = search(target, prompt, **options)
        assert_row_is(together, row, alone)
        if length == 2 or not drafted:  # rounds of more levels draft for the slowest prompt, and so may accept more
            assert together.counters.accepted[row] == alone.counters.accepted[0]
    if drafted and length > 2 and isinstance(rule, Strict | Coupled):
        assert len({len(rounds) for rounds in together.counters.accepted}) > 1, "all prompts finished together"


def test_exact_ties_are_broken_alike() -> None:
    target, draft, trie = tiny_model(seed=2, peak=0.0), tiny_model(seed=3), Trie.of(random_catalogue(2))
    prompt = random_prompt(2, 6)
    expected = beam_search(target, prompt, trie, beam_width=10)
    assert expected.scores[0].unique().numel() < 10, "the model was meant to leave ties"
    found = speculative_search(target, draft, prompt, trie, beam_width=10, draft_beam_width=25, draft_length=3)
    assert_row_is(found, 0, expected)


def test_searches_that_make_no_sense_are_refused() -> None:
    target, trie, prompt = tiny_model(seed=1), Trie.of(random_catalogue(1)), random_prompt(1, 5)
    sizes = {"beam_width": 5, "draft_beam_width": 10, "draft_length": 3}
    with pytest.raises(SpecbeamError, match="draft width 4 is below the beam width 5"):
        speculative_search(target, target, prompt, trie, **sizes | {"draft_beam_width": 4})
    with pytest.raises(SpecbeamError, match="draft length: expected 1 level or more, got 0"):
        speculative_search(target, target, prompt, trie, **sizes | {"draft_length": 0})
    with pytest.raises(SpecbeamError, match="training mode"):
        speculative_search(target, tiny_model(seed=2).train(), prompt, trie, **sizes)
    with pytest.raises(SpecbeamError, match="context of 8"):
        speculative_search(target, tiny_model(seed=2, context=8), random_prompt(1, 6), trie, **sizes)
