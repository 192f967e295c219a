"""Every model family that the engine accepts gives the lists of transformers' generate; others are refused."""

import pytest
import torch

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.lists import beam_search, search, speculative_search
from specbeam.decoding.reader import Scorer
from specbeam.decoding.support import TESTED_FAMILIES
from specbeam.errors import SpecbeamError
from specbeam.measurement.peers import allowed_tokens, generate
from specbeam.trie import Trie

IDENTIFIERS = random_catalogue(3)
TRIE = Trie.of(IDENTIFIERS)


@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@pytest.mark.parametrize("family", [*TESTED_FAMILIES, "qwen2"])  # qwen2 is not tested, but passes the probe
def test_a_padded_batch_gives_the_lists_that_generate_gives_for_each_prompt(family: str, normalise: str) -> None:
    model, allowed = tiny_model(family, seed=3), allowed_tokens(IDENTIFIERS, "trie")
    prompts = [random_prompt(seed, length) for seed, length in enumerate((11, 4, 7))]
    found = beam_search(model, trie=TRIE, beam_width=10, normalise=normalise, **one_batch(prompts))
    for row, prompt in enumerate(prompts):
        sequences, scores = generate(model, prompt, allowed, beam_width=10, identifier_length=4, normalise=normalise)
        assert torch.equal(found.sequences[row], sequences)
        torch.testing.assert_close(found.scores[row], scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", TESTED_FAMILIES)
def test_speculation_with_every_family_as_target_and_as_draft_is_lossless(family: str) -> None:
    model, other = tiny_model(family, seed=4), tiny_model("llama" if family != "llama" else "gpt2", seed=5)
    batch = one_batch([random_prompt(6, 9), random_prompt(7, 5)])
    for target, draft in ((model, other), (other, model)):
        expected = beam_search(target, trie=TRIE, beam_width=5, **batch)
        found = speculative_search(target, draft, trie=TRIE, beam_width=5, draft_beam_width=30, draft_length=3, **batch)
        assert torch.equal(found.sequences, expected.sequences)
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
def test_a_head_with_a_bias_keeps_it(normalise: str) -> None:
    model, prompt = tiny_model(seed=3), random_prompt(3, 6)
    model.lm_head.bias = torch.nn.Parameter(3 * torch.randn(160, generator=torch.Generator().manual_seed(0)))
    sequences, scores = generate(
        model, prompt, allowed_tokens(IDENTIFIERS, "trie"), beam_width=10, identifier_length=4, normalise=normalise
    )
    found = beam_search(model, prompt, TRIE, beam_width=10, normalise=normalise)
    assert torch.equal(found.sequences[0], sequences)
    torch.testing.assert_close(found.scores[0], scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_real_items_and_nearly_the_plain_list(dtype: torch.dtype) -> None:
    target, draft = (tiny_model(seed=seed).to(dtype) for seed in (1, 2))
    batch = one_batch([random_prompt(seed, 4 + seed) for seed in range(8)])
    plain = beam_search(target, trie=TRIE, beam_width=10, **batch)
    strict = speculative_search(target, draft, trie=TRIE, beam_width=10, draft_beam_width=30, draft_length=3, **batch)
    overlaps = []
    for one, other in zip(plain.states.tolist(), strict.states.tolist(), strict=True):
        assert len(set(other)) == 10
        overlaps.append(len(set(one) & set(other)) / 10)
    assert strict.scores.isfinite().all()
    assert (TRIE.rows[strict.states] >= 0).all()
    assert sum(overlaps) / len(overlaps) >= 0.9


@pytest.mark.parametrize("family", ["cohere", "granite"])
def test_a_family_whose_logits_are_not_the_heads_is_refused(family: str) -> None:
    with pytest.raises(SpecbeamError, match=f"'{family}' is untested, and it reads a token tree otherwise.*llama, "):
        Scorer.of(tiny_model(family, seed=0), TRIE, normalise="children")


def test_an_untested_family_is_refused_in_half_precision_where_it_cannot_be_probed() -> None:
    with pytest.raises(SpecbeamError, match="'qwen2' is untested.*in float32 only, not in torch.bfloat16"):
        Scorer.of(tiny_model("qwen2", seed=0).bfloat16(), TRIE, normalise="children")


def test_the_probe_sees_a_model_that_ignores_the_mask_of_the_tree() -> None:
    model = tiny_model("qwen2", seed=0)
    read = model.base_model.forward
    model.base_model.forward = lambda **inputs: read(**inputs | {"attention_mask": None})
    with pytest.raises(SpecbeamError, match="reads a token tree otherwise"):
        Scorer.of(model, TRIE, normalise="children")


def test_attention_that_would_misread_the_mask_is_refused() -> None:
    model = tiny_model(seed=8)
    model.set_attn_implementation("eager")
    with pytest.raises(SpecbeamError, match="loaded with 'eager': load it with attn_implementation='sdpa'"):
        beam_search(model, random_prompt(8, 5), TRIE, beam_width=3)


@pytest.mark.parametrize("family", ["mistral", "gemma3_text"])
def test_a_sliding_window_shorter_than_prompt_and_identifier_is_refused(family: str) -> None:
    model = tiny_model(family, seed=8)
    model.config.sliding_window = 16
    with pytest.raises(SpecbeamError, match="sliding window of 16"):
        beam_search(model, random_prompt(8, 15), TRIE, beam_width=3)


def test_a_model_without_body_or_head_is_refused() -> None:
    model = tiny_model(seed=8)
    for part in (model.base_model, _headless(model)):
        with pytest.raises(SpecbeamError, match="expected a causal language model with a body and a head"):
            Scorer.of(part, TRIE, normalise="children")


def _headless(model: torch.nn.Module) -> torch.nn.Module:
    model.get_output_embeddings = lambda: None
    return model


def test_scores_that_are_no_numbers_are_an_error_not_a_list() -> None:
    model, draft = tiny_model(seed=9), tiny_model(seed=10)
    with torch.no_grad():
        model.lm_head.weight[5] = torch.nan
    with pytest.raises(SpecbeamError, match="not numbers"):
        beam_search(model, random_prompt(9, 5), TRIE, beam_width=3)
    with pytest.raises(SpecbeamError, match="not numbers"):
        speculative_search(model, draft, random_prompt(9, 5), TRIE, beam_width=3, draft_beam_width=9, draft_length=3)


def test_a_scorer_is_made_once_and_taken_as_it_is() -> None:
    scorer = Scorer.of(tiny_model(seed=1), TRIE, normalise="children")
    assert Scorer.of(scorer, TRIE, normalise="children") is scorer
    again = search(scorer, random_prompt(1, 5), beam_width=3)
    assert torch.equal(again.states, search(scorer, random_prompt(1, 5), beam_width=3).states)


def test_logits_that_are_capped_after_the_head_are_refused() -> None:
    model = tiny_model("gemma3_text", seed=8)
    model.config.final_logit_softcapping = 1.0
    with pytest.raises(SpecbeamError, match="caps its logits"):
        beam_search(model, random_prompt(8, 5), TRIE, beam_width=3)


def test_prompts_beyond_where_positions_depend_on_the_pass_are_refused() -> None:
    model = tiny_model("phi3", seed=8)
    model.config.rope_parameters = {"rope_type": "longrope", "original_max_position_embeddings": 20}
    beam_search(model, random_prompt(8, 20 - TRIE.depth + 1), TRIE, beam_width=3)
    with pytest.raises(SpecbeamError, match="exceed 20, beyond which the positions"):
        beam_search(model, random_prompt(8, 20 - TRIE.depth + 2), TRIE, beam_width=3)


def test_what_is_no_plain_model_is_refused_with_the_way_out() -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(tiny_model(seed=8), LoraConfig(target_modules=["q_proj"])).eval()
    with pytest.raises(SpecbeamError, match="merge_and_unload"):
        beam_search(adapted, random_prompt(8, 5), TRIE, beam_width=3)
