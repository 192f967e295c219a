"""What a search refuses before it begins, and what it takes."""

import pytest
import torch

from models_for_tests import FAMILIES, random_prompt, tiny_model
from specbeam.decoding.support import TESTED_FAMILIES, check_attention, check_mask, check_search, check_trie
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

TRIE = Trie.of([[2, 5], [2, 6], [3, 5]])


def test_the_table_of_tested_families_names_models_that_the_tests_build() -> None:
    for family in TESTED_FAMILIES:
        assert tiny_model(family, seed=0).config.model_type == family
    assert not {"qwen2", "cohere", "granite"} & {*TESTED_FAMILIES}
    assert {*TESTED_FAMILIES} <= {*FAMILIES}


def test_only_the_attention_that_takes_a_mask_of_our_own_will_do() -> None:
    model = tiny_model(seed=0)
    check_attention(model)
    for other in ("eager", "flex_attention"):
        model.config._attn_implementation_internal = other
        with pytest.raises(SpecbeamError, match=f"loaded with '{other}': .*set_attn_implementation"):
            check_attention(model)


def test_a_sliding_window_bounds_prompt_and_identifier_however_wide_the_tree() -> None:
    model = tiny_model("mistral", seed=0)
    check_search(model, random_prompt(0, 100), TRIE, 50)
    model.config.sliding_window = 16
    check_search(model, random_prompt(0, 15), TRIE, 50)
    with pytest.raises(SpecbeamError, match="a prompt of 16 tokens .* exceed the model's sliding window of 16"):
        check_search(model, random_prompt(0, 16), TRIE, 50)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1, 1]], "got torch.int64"),
        ([[True, True]], r"got torch.bool \(1, 2\)"),
        ([[True, True, False]], "on the left"),
        ([[True, False, True]], "on the left"),
        ([[False, False, False]], "on the left"),
    ],
)
def test_a_mask_that_does_not_pad_the_left_is_refused(mask: list, message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        check_mask(random_prompt(0, 3), torch.tensor(mask))
    check_mask(random_prompt(0, 3), torch.tensor([[False, True, True]]))


def test_prompt_and_identifier_may_fill_the_context_to_the_last_token_that_is_read() -> None:
    for family in ("llama", "gpt2", "opt"):
        model = tiny_model(family, seed=0, context=16)
        check_search(model, random_prompt(0, 15), TRIE, 1)
        with pytest.raises(SpecbeamError, match="a prompt of 16 tokens and an identifier of 2 exceed .* context of 16"):
            check_search(model, random_prompt(0, 16), TRIE, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beam_width": 0}, "beam width: expected 1 or more items a list, got 0"),
        ({"prompts": torch.tensor([2, 3])}, r"prompts: expected int64 token ids of shape .* \(2,\)"),
        ({"prompts": torch.empty(1, 0, dtype=torch.int64)}, r"of shape \(1, 0\)"),
        ({"prompts": torch.empty(0, 3, dtype=torch.int64)}, r"of shape \(0, 3\)"),
        ({"prompts": torch.ones(1, 3)}, "got torch.float32"),
        ({"trie": TRIE.to("meta")}, r"trie on meta, prompts on cpu: move one with .to\(device\)"),
    ],
)
def test_what_no_search_can_work_on_is_refused_with_what_was_expected(change: dict, message: str) -> None:
    given = {"prompts": random_prompt(0, 5), "trie": TRIE, "beam_width": 3}
    check_search(tiny_model(seed=0), **given)
    with pytest.raises(SpecbeamError, match=message):
        check_search(tiny_model(seed=0), **given | change)


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(SpecbeamError, match=r"dropout would change the lists: call model.eval\(\)"):
        check_search(tiny_model(seed=0).train(), random_prompt(0, 5), TRIE, 3)


def test_a_catalogue_that_the_model_cannot_write_is_refused() -> None:
    check_trie(tiny_model(seed=0), Trie.of([[2, 159]]))
    with pytest.raises(SpecbeamError, match="token ids up to 160, the model writes 160 tokens: they do not belong"):
        check_trie(tiny_model(seed=0), Trie.of([[2, 160]]))
