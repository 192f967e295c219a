"""Identifiers of different lengths: with an end token they are transformers' generate with eos_token_id."""

from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from models_for_tests import one_batch, random_prompt, tiny_model, uneven_catalogue
from specbeam.decoding.drafters import ModelDrafter, PriorDrafter
from specbeam.decoding.lists import Ranking, beam_search, search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Relaxed, RelaxedRanked, Strict
from specbeam.errors import SpecbeamError
from specbeam.trie import NO_TOKEN, Trie

END = 1


@torch.inference_mode()
def generate(
    model: PreTrainedModel, prompt: Tensor, identifiers: list[list[int]], *, beam_width: int, normalise: str
) -> tuple[list[list[int]], Tensor]:
    """transformers' finished beams, best first, and their scores."""
    following = defaultdict(set)
    for tokens in identifiers:
        for place, token in enumerate([*tokens, END]):
            following[tuple(tokens[:place])].add(token)
    start = prompt.shape[1]
    found = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        generation_config=GenerationConfig(
            num_beams=beam_width, num_return_sequences=beam_width, do_sample=False, eos_token_id=END, pad_token_id=0,
            max_new_tokens=max(map(len, identifiers)) + 1, length_penalty=0.0, early_stopping="never",
            renormalize_logits=normalise == "children", output_scores=True, return_dict_in_generate=True,
        ),
        prefix_allowed_tokens_fn=lambda _, tokens: sorted(following.get(tuple(tokens[start:].tolist()), [END])),
    )  # fmt: skip
    real = found.sequences_scores > -1e6  # generate fills up with invalid rows
    sequences = [row[: row.index(END) + 1] for row in found.sequences[real][:, start:].tolist()]  # cut the padding
    return sequences, found.sequences_scores[real]


def written(found: Ranking, row: int) -> list[list[int]]:
    real = found.sequences[row][found.scores[row].isfinite()].tolist()
    return [[token for token in tokens if token != NO_TOKEN] for tokens in real]


def assert_is_generate(
    identifiers: list, model: PreTrainedModel, prompt: Tensor, beam_width: int, normalise: str
) -> None:
    sequences, scores = generate(model, prompt, identifiers, beam_width=beam_width, normalise=normalise)
    trie = Trie.of(identifiers, end=END)
    found = beam_search(model, prompt, trie, beam_width=beam_width, normalise=normalise)
    assert written(found, 0) == sequences
    torch.testing.assert_close(found.scores[0], scores, atol=1e-4, rtol=0)
    assert [[*identifiers[row], END] for row in trie.rows[found.states[0]]] == sequences


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    items=st.sampled_from([3, 10, 40, 150]),
    longest=st.integers(1, 5),
    branching=st.sampled_from([2, 4, 9]),
    beam_width=st.integers(2, 12),
    peak=st.sampled_from([3.0, 6.0]),
    normalise=st.sampled_from(["children", "vocabulary"]),
)
def test_with_an_end_token_the_list_is_that_of_generate(
    seed: int, items: int, longest: int, branching: int, beam_width: int, peak: float, normalise: str
) -> None:
    identifiers = uneven_catalogue(seed, items=items, longest=longest, branching=branching)
    model, prompt = tiny_model(seed=seed, peak=peak), random_prompt(seed, 1 + seed % 9)
    assert_is_generate(identifiers, model, prompt, beam_width, normalise)


@pytest.mark.parametrize("seed", range(25))
def test_identifiers_that_end_early_take_no_place_in_the_beam_from_those_that_go_on(seed: int) -> None:
    """In one of five such catalogues the list would be another if they did."""
    identifiers = uneven_catalogue(seed, items=150, longest=4, branching=4)
    assert_is_generate(identifiers, tiny_model(seed=seed, peak=3.0), random_prompt(seed, 1 + seed % 9), 3, "children")


RULES = {"strict": Strict(), "coupled": Coupled(1)}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    items=st.sampled_from([1, 3, 10, 40]),
    longest=st.integers(1, 5),
    branching=st.sampled_from([2, 4]),
    beam_width=st.integers(1, 12),
    rule=st.sampled_from(sorted(RULES)),
    extra=st.integers(0, 10),
    draft_length=st.integers(1, 5),
    model_levels=st.sampled_from([None, 0, 1, 2]),
    by_model=st.booleans(),
)
def test_speculation_on_a_padded_batch_gives_the_lists_of_its_prompts(
    seed: int, items: int, longest: int, branching: int, beam_width: int, rule: str, extra: int, draft_length: int,
    model_levels: int | None, by_model: bool,
) -> None:  # fmt: skip
    identifiers = uneven_catalogue(seed, items=items, longest=longest, branching=branching)
    trie = Trie.of(identifiers, end=END)
    target, draft = (Scorer.of(tiny_model(seed=seed + i), trie, normalise="children") for i in range(2))
    prompts = [random_prompt(seed + row, 1 + (seed + 3 * row) % 8) for row in range(3)]
    sizes = {"beam_width": beam_width, "rule": RULES[rule]}
    drafting = {
        "drafter": ModelDrafter.of(draft) if by_model else PriorDrafter.of(trie),
        "plan": Plan((beam_width + extra,) * trie.depth, model_levels=model_levels, draft_length=draft_length),
    }
    found = search(target, **one_batch(prompts), **sizes, **drafting)
    assert found.states.shape[1] == min(beam_width, len(identifiers))
    for row, prompt in enumerate(prompts):  # what is lossless does not depend on the draft
        alone = search(target, prompt, **sizes)
        assert torch.equal(found.states[row], alone.states[0])
        torch.testing.assert_close(found.scores[row], alone.scores[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("rule", [Relaxed(1.0, 1), RelaxedRanked(1.0, 1)])
def test_relaxed_verification_of_identifiers_of_different_lengths_is_refused(rule: Relaxed) -> None:
    trie = Trie.of(uneven_catalogue(0), end=END)
    with pytest.raises(SpecbeamError, match="identifiers of one length; use coupled"):
        beam_search(tiny_model(seed=0), random_prompt(0, 5), trie, beam_width=3, rule=rule)


def test_without_an_end_token_all_of_a_prefix_free_catalogue_can_be_written() -> None:
    identifiers = [[2], [3, 4], [3, 5, 6, 7], [3, 5, 6, 8], [4, 4]]
    found = beam_search(tiny_model(seed=1), random_prompt(1, 6), Trie.of(identifiers), beam_width=9)
    assert sorted(written(found, 0)) == identifiers
    assert found.scores.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_a_short_identifier_leaves_its_place_in_the_beam_to_others() -> None:
    model, prompt = tiny_model(seed=0, peak=0.0), random_prompt(1, 6)  # flat: the short item is the likeliest
    found = beam_search(model, prompt, Trie.of([[2], [3, 4, 5], [3, 4, 6]]), beam_width=2)
    assert written(found, 0) == [[2], [3, 4, 5]]
    assert found.scores[0].exp().tolist() == pytest.approx([0.5, 0.25])
