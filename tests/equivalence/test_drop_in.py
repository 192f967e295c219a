"""`model.generate(..., custom_generate=recommender.custom_generate)` returns what generate returns without it."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LogitsProcessorList, MaxTimeCriteria, PreTrainedModel, StoppingCriteriaList

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model, uneven_catalogue
from specbeam import Recommender, SpecbeamError

END = 1
Identifiers = list[list[int]]


def constraint(identifiers: Identifiers, start: int) -> Callable[[int, Tensor], list[int]]:
    """The callback that programs write: the tokens that may follow those written after position `start`."""
    following = defaultdict(set)
    for tokens in identifiers:
        for place, token in enumerate(tokens):
            following[tuple(tokens[:place])].add(token)
    return lambda _, tokens: sorted(following.get(tuple(tokens[start:].tolist()), [END]))


def before(seed: int, k: int, *, normalise: str, rows: int = 1, identifiers: Identifiers, **options: Any) -> dict:
    """What a program passes to generate today, and all of what comes back is asked for."""
    batch = one_batch([random_prompt(seed + row, 1 + (seed + 5 * row) % 12) for row in range(rows)])
    return {
        "inputs": batch["prompts"],
        "attention_mask": batch["mask"].long(),
        "num_beams": k,
        "num_return_sequences": k,
        "max_new_tokens": max(map(len, identifiers)),
        "do_sample": False,
        "renormalize_logits": normalise == "children",
        "prefix_allowed_tokens_fn": constraint(identifiers, batch["prompts"].shape[1]),
        "return_dict_in_generate": True,
        "output_scores": True,
        **options,
    }


def recommender_of(
    model: PreTrainedModel, identifiers: Identifiers, normalise: str, *, draft: bool = False, **options: Any
) -> Recommender:
    drafter = tiny_model(seed=99, hidden=16, layers=1) if draft else None
    return Recommender(model, identifiers, draft=drafter, normalise=normalise, draft_beam_width=12, **options)


def assert_same(model: PreTrainedModel, recommender: Recommender, program: dict[str, Any]) -> None:
    expected = model.generate(**program)
    found = model.generate(**program, custom_generate=recommender.custom_generate)
    assert torch.equal(found.sequences, expected.sequences)
    if program["num_beams"] > 1:  # with one beam, generate searches greedily and knows no score of the sequence
        torch.testing.assert_close(found.sequences_scores, expected.sequences_scores, atol=1e-4, rtol=0)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 12),
    fewer=st.integers(0, 3),
    rows=st.integers(1, 4),
    length=st.integers(1, 5),
    normalise=st.sampled_from(["children", "vocabulary"]),
    length_penalty=st.sampled_from([0.0, 1.0, 1.7]),
    early_stopping=st.sampled_from([False, True, "never"]),
    draft=st.booleans(),
)
def test_the_drop_in_is_generate_on_batches_of_padded_prompts(
    seed: int, k: int, fewer: int, rows: int, length: int, normalise: str, length_penalty: float,
    early_stopping: bool | str, draft: bool,
) -> None:  # fmt: skip
    identifiers = random_catalogue(seed, length=length, branching=5).tolist()
    model = tiny_model(seed=seed)
    beams = {"length_penalty": length_penalty, "early_stopping": early_stopping} if k > 1 else {}
    program = before(seed, k, normalise=normalise, rows=rows, identifiers=identifiers, **beams)
    program["num_return_sequences"] = min(
        max(1, k - fewer), len(identifiers)
    )  # generate would fill up with invalid rows
    assert_same(model, recommender_of(model, identifiers, normalise, draft=draft), program)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(2, 8),
    rows=st.integers(1, 3),
    normalise=st.sampled_from(["children", "vocabulary"]),
    pad=st.sampled_from([0, 5]),
    draft=st.booleans(),
)
def test_identifiers_of_different_lengths_are_padded_as_generate_pads_them(
    seed: int, k: int, rows: int, normalise: str, pad: int, draft: bool
) -> None:
    identifiers = [list(tokens) for tokens in uneven_catalogue(seed)]
    k, model = min(k, len(identifiers)), tiny_model(seed=seed)
    program = before(
        seed, k, normalise=normalise, rows=rows, identifiers=[[*tokens, END] for tokens in identifiers],
        eos_token_id=END, pad_token_id=pad, length_penalty=0.0, early_stopping="never",
    )  # fmt: skip
    program["max_new_tokens"] += seed % 3
    assert_same(model, recommender_of(model, identifiers, normalise, draft=draft, end=END), program)


def test_tokens_alone_come_back_where_no_object_is_asked_for() -> None:
    model, identifiers = tiny_model(seed=3), random_catalogue(3).tolist()
    program = before(3, 5, normalise="children", rows=2, identifiers=identifiers, return_dict_in_generate=False)
    found = model.generate(**program, custom_generate=recommender_of(model, identifiers, "children").custom_generate)
    assert torch.equal(found, model.generate(**program))


@pytest.mark.parametrize("family", ["gpt2", "qwen3", "mistral", "gemma3_text", "opt"])
def test_the_drop_in_is_generate_for_models_of_other_families(family: str) -> None:
    model, identifiers = tiny_model(family, seed=5), random_catalogue(5).tolist()
    program = before(5, 6, normalise="children", rows=3, identifiers=identifiers)
    assert_same(model, recommender_of(model, identifiers, "children", draft=True), program)


def test_without_a_callback_the_recommenders_items_are_the_constraint() -> None:
    model, identifiers = tiny_model(seed=4), random_catalogue(4).tolist()
    program = before(4, 5, normalise="children", identifiers=identifiers)
    expected = model.generate(**program)
    del program["prefix_allowed_tokens_fn"]
    found = model.generate(**program, custom_generate=recommender_of(model, identifiers, "children").custom_generate)
    assert torch.equal(found.sequences, expected.sequences)


class Other:
    """A score processor of someone's own."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_sample": True}, "expected a beam search, these settings ask for beam_sample; set do_sample=False"),
        ({"num_beam_groups": 2}, "these settings ask for group_beam_search"),
        ({"renormalize_logits": False}, "but the recommender has normalise='children'"),
        ({"max_new_tokens": 3}, "max_new_tokens: expected 4, the length of the identifiers, got 3"),
        ({"max_new_tokens": 5}, "more needs an end token"),
        ({"eos_token_id": 9}, "eos_token_id: 9 stands inside an identifier; pass eos_token_id=None"),
        ({"repetition_penalty": 1.5}, "RepetitionPenaltyLogitsProcessor changes the scores"),
        ({"no_repeat_ngram_size": 2}, "NoRepeatNGramLogitsProcessor changes the scores"),
        ({"logits_processor": LogitsProcessorList([Other()])}, "Other changes the scores"),
        ({"stopping_criteria": StoppingCriteriaList([MaxTimeCriteria(1.0)])}, "MaxTimeCriteria stops a search midway"),
        ({"output_logits": True}, "output_logits cannot be had from it; leave it out"),
        ({"output_attentions": True}, "output_attentions cannot be had"),
        ({"position_ids": torch.arange(1, 8)[None]}, "leave position_ids out"),
        ({"attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1, 0]])}, "padding_side='left'"),
        ({"inputs_embeds": torch.zeros(1, 7, 32)}, "inputs_embeds is not passed on; leave it out"),
        ({"num_beams": 400, "num_return_sequences": 400}, "num_return_sequences=400: the catalogue has "),
        ({"prefix_allowed_tokens_fn": lambda _, tokens: [3, 4]}, "make the recommender of the same items"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_what_to_change(change: dict[str, Any], message: str) -> None:
    model, identifiers = tiny_model(seed=6), random_catalogue(6).tolist()
    program = before(6, 4, normalise="children", identifiers=identifiers) | change
    recommender = recommender_of(model, identifiers, "children")
    with pytest.raises(SpecbeamError) as refused:
        model.generate(**program, custom_generate=recommender.custom_generate)
    assert message in str(refused.value)


def test_another_model_than_the_recommenders_is_refused() -> None:
    identifiers = random_catalogue(6).tolist()
    recommender = recommender_of(tiny_model(seed=6), identifiers, "children")
    program = before(6, 4, normalise="children", identifiers=identifiers)
    with pytest.raises(SpecbeamError, match="made for another model"):
        tiny_model(seed=7).generate(**program, custom_generate=recommender.custom_generate)


@pytest.mark.parametrize("change", [{"length_penalty": 1.0}, {"early_stopping": True}])
def test_different_lengths_are_ranked_by_their_probability_or_refused(change: dict[str, Any]) -> None:
    model, identifiers = tiny_model(seed=6), [[2], [3, 4], [3, 5, 6]]
    plain = {"length_penalty": 0.0, "eos_token_id": END, "max_new_tokens": 4}
    program = before(6, 2, normalise="children", identifiers=[[*t, END] for t in identifiers], **plain | change)
    with pytest.raises(SpecbeamError, match="pass length_penalty=0.0 and early_stopping=False"):
        model.generate(
            **program, custom_generate=recommender_of(model, identifiers, "children", end=END).custom_generate
        )


def test_different_lengths_without_an_end_token_are_refused() -> None:
    model, identifiers = tiny_model(seed=6), [[2], [3, 4]]
    program = before(6, 2, normalise="children", identifiers=identifiers)
    with pytest.raises(SpecbeamError, match="make the recommender with end=..., and pass it as eos_token_id"):
        model.generate(**program, custom_generate=recommender_of(model, identifiers, "children").custom_generate)
