"""Plain beam search returns what transformers' generate returns: same sequences, same order, scores within 1e-4."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_for_tests import random_catalogue, random_prompt, tiny_model
from specbeam.decoding.beam_search import beam_search
from specbeam.decoding.support import TESTED_FAMILIES
from specbeam.errors import SpecbeamError
from specbeam.measurement.peers import allowed_tokens, generate
from specbeam.trie import Trie


def build(identifiers: np.ndarray, constraint: str) -> Trie:
    return Trie.of(identifiers) if constraint == "trie" else Trie.position_wise(identifiers)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 50),
    beam_width=st.integers(1, 20),
    constraint=st.sampled_from(["trie", "position"]),
    normalise=st.sampled_from(["children", "vocabulary"]),
    peak=st.sampled_from([3.0, 6.0, 12.0]),
    branching=st.sampled_from([6, 12, 20]),
    prompt_length=st.integers(1, 20),
)
def test_plain_beam_search_is_generate(
    seed: int, beam_width: int, constraint: str, normalise: str, peak: float, branching: int, prompt_length: int
) -> None:
    model, prompt = tiny_model(seed=seed, peak=peak), random_prompt(seed, prompt_length)
    identifiers = random_catalogue(seed, branching=branching)
    allowed = allowed_tokens(identifiers, constraint)
    sequences, scores = generate(
        model, prompt, allowed, beam_width=beam_width, identifier_length=4, normalise=normalise
    )
    found = beam_search(model, prompt, build(identifiers, constraint), beam_width=beam_width, normalise=normalise)
    assert torch.equal(found.sequences[0], sequences)
    torch.testing.assert_close(found.scores[0], scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", TESTED_FAMILIES)
def test_every_family_that_the_engine_accepts_agrees_with_generate(family: str) -> None:
    model, identifiers, prompt = tiny_model(family, seed=3), random_catalogue(3), random_prompt(3, 11)
    allowed = allowed_tokens(identifiers, "trie")
    sequences, scores = generate(model, prompt, allowed, beam_width=10, identifier_length=4, normalise="children")
    found = beam_search(model, prompt, Trie.of(identifiers), beam_width=10)
    assert torch.equal(found.sequences[0], sequences)
    torch.testing.assert_close(found.scores[0], scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 3, 6, 8])
def test_identifiers_of_any_length(length: int) -> None:
    model, prompt = tiny_model(seed=4), random_prompt(4, 7)
    identifiers = random_catalogue(4, length=length, items=200)
    allowed = allowed_tokens(identifiers, "trie")
    sequences, _ = generate(model, prompt, allowed, beam_width=5, identifier_length=length, normalise="children")
    assert torch.equal(beam_search(model, prompt, Trie.of(identifiers), beam_width=5).sequences[0], sequences)


@pytest.mark.parametrize("family", TESTED_FAMILIES)
def test_a_batch_of_padded_prompts_gives_the_lists_of_its_prompts(family: str) -> None:
    model, trie = tiny_model(family, seed=5), Trie.of(random_catalogue(5))
    prompts = [random_prompt(seed, length) for seed, length in enumerate((3, 12, 7))]
    padded = torch.cat([torch.nn.functional.pad(prompt, (12 - prompt.shape[1], 0)) for prompt in prompts])
    mask = torch.arange(12) >= torch.tensor([[12 - prompt.shape[1]] for prompt in prompts])
    together = beam_search(model, padded, trie, beam_width=8, mask=mask)
    for row, prompt in enumerate(prompts):
        alone = beam_search(model, prompt, trie, beam_width=8)
        assert torch.equal(together.sequences[row], alone.sequences[0])
        torch.testing.assert_close(together.scores[row], alone.scores[0], atol=1e-4, rtol=0)


def test_a_catalogue_smaller_than_the_beam_gives_all_its_items_and_no_other() -> None:
    model, identifiers = tiny_model(seed=6), random_catalogue(6, items=7)
    found = beam_search(model, random_prompt(6, 5), Trie.of(identifiers), beam_width=20)
    assert sorted(map(tuple, found.sequences[0].tolist())) == sorted(map(tuple, identifiers.tolist()))
    assert found.scores.isfinite().all()


def test_one_pass_over_the_prompt_and_one_over_the_beams_a_level() -> None:
    found = beam_search(tiny_model(seed=7), random_prompt(7, 6), Trie.of(random_catalogue(7)), beam_width=5)
    assert found.counters.target_calls == 4
    assert found.counters.nodes == 15


def test_a_model_whose_tree_attention_is_untested_is_refused() -> None:
    model = tiny_model(seed=8)
    model.config.model_type = "gemma2"
    with pytest.raises(SpecbeamError, match="gemma2.*not among those"):
        beam_search(model, random_prompt(8, 5), Trie.of(random_catalogue(8)), beam_width=3)


def test_attention_that_would_misread_the_mask_is_refused() -> None:
    model = tiny_model(seed=8)
    model.set_attn_implementation("eager")
    with pytest.raises(SpecbeamError, match="sdpa"):
        beam_search(model, random_prompt(8, 5), Trie.of(random_catalogue(8)), beam_width=3)


def test_a_sliding_window_shorter_than_prompt_and_tree_is_refused() -> None:
    model = tiny_model("mistral", seed=8)
    model.config.sliding_window = 16
    with pytest.raises(SpecbeamError, match="sliding window is 16"):
        beam_search(model, random_prompt(8, 14), Trie.of(random_catalogue(8)), beam_width=3)


def test_scores_that_are_no_numbers_are_an_error_not_a_list() -> None:
    model = tiny_model(seed=9)
    with torch.no_grad():
        model.lm_head.weight[5] = torch.nan
    with pytest.raises(SpecbeamError, match="not numbers"):
        beam_search(model, random_prompt(9, 5), Trie.of(random_catalogue(9)), beam_width=3)


def test_dropout_prompts_and_catalogues_that_do_not_fit_are_refused() -> None:
    model, trie = tiny_model(seed=8), Trie.of(random_catalogue(8))
    with pytest.raises(SpecbeamError, match="beam width"):
        beam_search(model, random_prompt(8, 5), trie, beam_width=0)
    with pytest.raises(SpecbeamError, match="context of 128"):
        beam_search(model, random_prompt(8, 126), trie, beam_width=3)
    with pytest.raises(SpecbeamError, match="do not belong together"):
        beam_search(model, random_prompt(8, 5), Trie.of(np.array([[5, 200]])), beam_width=3)
    with pytest.raises(SpecbeamError, match="eval"):
        beam_search(model.train(), random_prompt(8, 5), trie, beam_width=3)
