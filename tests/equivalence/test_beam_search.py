"""Plain beam search returns what transformers' generate returns: same sequences, same order, scores within 1e-4."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.lists import beam_search
from specbeam.errors import SpecbeamError
from specbeam.measurement.peers import allowed_tokens, generate
from specbeam.trie import Trie


def build(identifiers: np.ndarray, constraint: str) -> Trie:
    return Trie.of(identifiers) if constraint == "trie" else Trie.position_wise(identifiers)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 50),
    beam_width=st.integers(1, 20),
    constraint=st.sampled_from(["trie", "position"]),
    normalise=st.sampled_from(["children", "vocabulary"]),
    peak=st.sampled_from([3.0, 6.0, 12.0]),
    branching=st.sampled_from([6, 12, 20]),
    length=st.integers(1, 6),
    prompt_length=st.integers(1, 20),
)
def test_plain_beam_search_is_generate(
    seed: int, beam_width: int, constraint: str, normalise: str, peak: float, branching: int, length: int,
    prompt_length: int,
) -> None:  # fmt: skip
    model, prompt = tiny_model(seed=seed, peak=peak), random_prompt(seed, prompt_length)
    identifiers = random_catalogue(seed, branching=branching, length=length)
    beam_width = min(beam_width, len(identifiers))  # generate would fill up with invalid rows
    sequences, scores = generate(
        model, prompt, allowed_tokens(identifiers, constraint), beam_width=beam_width, identifier_length=length,
        normalise=normalise,
    )  # fmt: skip
    found = beam_search(model, prompt, build(identifiers, constraint), beam_width=beam_width, normalise=normalise)
    real = scores > -1e6  # a level narrower than the beam leaves generate with invalid rows, too
    assert torch.equal(found.sequences[0], sequences[real])
    torch.testing.assert_close(found.scores[0], scores[real], atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 8])
def test_identifiers_of_any_length_and_a_batch_of_prompts_up_to_the_models_context(length: int) -> None:
    model, trie = tiny_model(seed=4), Trie.of(identifiers := random_catalogue(4, length=length, items=200))
    full = 128 - (length - 1)  # the last token of an identifier is never read
    prompts = [random_prompt(seed, size) for seed, size in enumerate((7, full, 1))]
    found = beam_search(model, trie=trie, beam_width=5, **one_batch(prompts))
    for row, prompt in enumerate(prompts):
        sequences, scores = generate(
            model, prompt, allowed_tokens(identifiers, "trie"), beam_width=5, identifier_length=length,
            normalise="children",
        )  # fmt: skip
        assert torch.equal(found.sequences[row], sequences)
        torch.testing.assert_close(found.scores[row], scores, atol=1e-4, rtol=0)
    with pytest.raises(SpecbeamError, match="context of 128"):
        beam_search(model, random_prompt(0, full + 1), trie, beam_width=5)


def test_a_catalogue_smaller_than_the_beam_gives_all_its_items_and_no_other() -> None:
    model, identifiers = tiny_model(seed=6), random_catalogue(6, items=7)
    found = beam_search(model, random_prompt(6, 5), Trie.of(identifiers), beam_width=20)
    assert sorted(map(tuple, found.sequences[0].tolist())) == sorted(map(tuple, identifiers.tolist()))
    assert found.scores.isfinite().all()


def test_equal_scores_stand_in_the_order_of_their_tokens() -> None:
    identifiers = np.array([[2, 7], [2, 8], [3, 7], [3, 8], [4, 7], [4, 8]])
    model = tiny_model(seed=2, peak=0.0)  # every token is as likely as every other
    found = beam_search(model, random_prompt(2, 6), Trie.of(identifiers[::-1].copy()), beam_width=4)
    assert found.scores[0].unique().numel() == 1
    assert found.sequences[0].tolist() == [[2, 7], [2, 8], [3, 7], [3, 8]]


def test_states_name_the_rows_of_the_identifiers() -> None:
    identifiers = random_catalogue(7)[::-1].copy()
    trie = Trie.of(identifiers)
    found = beam_search(tiny_model(seed=7), random_prompt(7, 6), trie, beam_width=10)
    assert np.array_equal(identifiers[trie.rows[found.states[0]]], found.sequences[0])


def test_normalised_over_children_the_scores_of_all_items_are_a_distribution() -> None:
    identifiers = random_catalogue(8, items=60)
    found = beam_search(tiny_model(seed=8), random_prompt(8, 6), Trie.of(identifiers), beam_width=60)
    assert found.scores.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_dropout_prompts_and_catalogues_that_do_not_fit_are_refused() -> None:
    model, trie, prompt = tiny_model(seed=8), Trie.of(random_catalogue(8)), random_prompt(8, 5)
    with pytest.raises(SpecbeamError, match="beam width: expected 1 or more items a list, got 0"):
        beam_search(model, prompt, trie, beam_width=0)
    for bad in (prompt[0], prompt[:, :0], prompt[:0]):
        with pytest.raises(SpecbeamError, match="prompts: expected int64 token ids of shape"):
            beam_search(model, bad, trie, beam_width=3)
    with pytest.raises(SpecbeamError, match="up to 200, the model writes 160 tokens: they do not belong together"):
        beam_search(model, prompt, Trie.of(np.array([[5, 200]])), beam_width=3)
    with pytest.raises(SpecbeamError, match="trie on meta, prompts on cpu"):
        beam_search(model, prompt, trie.to("meta"), beam_width=3)
    with pytest.raises(SpecbeamError, match=r"model.eval\(\)"):
        beam_search(model.train(), prompt, trie, beam_width=3)
