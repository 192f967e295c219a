import time

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from specbeam.catalogue import Catalogue
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.prompts import NATURAL_TEMPLATE, PromptBuilder
from specbeam.settings import ModelSettings

CATALOGUE = Catalogue.of({0: ["<a_1>", "<b_2>"], 1: ["<a_0>", "<b_9>"], 2: ["<a_1>", "<b_2>"], 3: ["<a_1>", "<b_10>"]})


@pytest.fixture(scope="module")
def item_tokenizer():
    return build_tokenizer(CATALOGUE, model=ModelSettings())


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """Folder of a byte-level text tokenizer without a pad token, as many pretrained models have it."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"]
    )
    tokenizer.train_from_iterator([NATURAL_TEMPLATE] * 3, trainer)
    folder = tmp_path_factory.mktemp("base")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return folder


def builder(tokenizer, *, style="compact", history=20):
    return PromptBuilder(style=style, history=history, tokenizer=tokenizer, catalogue=CATALOGUE)


def test_a_compact_prompt_is_a_start_token_and_the_items_tokens_oldest_first(item_tokenizer):
    prompt = builder(item_tokenizer)([1, 3])
    assert item_tokenizer.convert_ids_to_tokens(prompt) == ["<bos>", "<a_0>", "<b_9>", "<a_1>", "<b_10>"]


def test_only_the_most_recent_items_are_in_a_prompt(item_tokenizer):
    build = builder(item_tokenizer, history=2)
    assert build([0, 0, 1, 3]) == build([1, 3])


def test_a_compact_prompt_may_have_no_history(item_tokenizer):
    assert builder(item_tokenizer)([]) == [item_tokenizer.bos_token_id]


def test_identifiers_hold_the_token_ids_of_every_row(item_tokenizer):
    build = builder(item_tokenizer)
    assert build.identifiers.dtype == "int64"
    decoded = [tuple(item_tokenizer.convert_ids_to_tokens(row)) for row in build.identifiers.tolist()]
    assert tuple(decoded) == CATALOGUE.distinct
    assert build.identifiers.tolist() == sorted(build.identifiers.tolist())


def test_colliding_items_have_the_same_tokens(item_tokenizer):
    build = builder(item_tokenizer)
    assert build.item_tokens(0) == build.item_tokens(2) != build.item_tokens(3)


def test_a_natural_prompt_is_the_papers_instruction_and_ends_where_the_item_begins(text_model):
    tokenizer = build_tokenizer(CATALOGUE, model=ModelSettings(base=str(text_model)))
    build = builder(tokenizer, style="natural", history=2)
    prompt = build([0, 1, 3])
    assert tokenizer.decode(prompt) == "<s>" + NATURAL_TEMPLATE.format(history="<a_0><b_9>, <a_1><b_10>")
    assert NATURAL_TEMPLATE.endswith("### Response:")
    for item in (1, 3):
        tokens = build.item_tokens(item)
        assert any(prompt[n : n + 2] == tokens for n in range(len(prompt)))


def test_the_items_tokens_follow_a_natural_prompt_as_if_the_text_had_been_encoded_in_one_piece(text_model):
    tokenizer = build_tokenizer(CATALOGUE, model=ModelSettings(base=str(text_model)))
    build = builder(tokenizer, style="natural")
    together = tokenizer(build.text([0, 1]) + "<a_1><b_10>", add_special_tokens=False)["input_ids"]
    assert build([0, 1]) + build.item_tokens(3) == [tokenizer.bos_token_id, *together]


def test_a_pretrained_tokenizer_keeps_its_ids_and_pads_with_a_token_that_it_has(text_model):
    from transformers import AutoTokenizer

    before = AutoTokenizer.from_pretrained(text_model)
    after = build_tokenizer(CATALOGUE, model=ModelSettings(base=str(text_model)))
    assert len(after) == len(before) + len(CATALOGUE.tokens)
    assert after("predict the next item")["input_ids"] == before("predict the next item")["input_ids"]
    assert builder(after).pad_id == after.eos_token_id


def test_natural_prompts_refuse_a_tokenizer_without_words(item_tokenizer):
    with pytest.raises(SpecbeamError, match="does not know English"):
        builder(item_tokenizer, style="natural")


def test_natural_prompts_refuse_an_empty_history(text_model):
    tokenizer = build_tokenizer(CATALOGUE, model=ModelSettings(base=str(text_model)))
    with pytest.raises(SpecbeamError, match="at least one item"):
        builder(tokenizer, style="natural")([])


def test_an_item_outside_the_catalogue_is_refused(item_tokenizer):
    with pytest.raises(SpecbeamError, match="item 4"):
        builder(item_tokenizer)([0, 4])


def test_a_tokenizer_of_another_catalogue_is_refused():
    other = build_tokenizer(Catalogue.of({0: ["<a_1>", "<b_2>"]}), model=ModelSettings())
    with pytest.raises(SpecbeamError, match="it lacks 3, <a_0> among them"):
        builder(other)


def test_a_tokenizer_that_cannot_start_a_prompt_gets_a_pad_token_but_is_refused(tmp_path):
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}))).save_pretrained(tmp_path)
    tokenizer = build_tokenizer(CATALOGUE, model=ModelSettings(base=str(tmp_path)))
    assert tokenizer.pad_token == "<pad>"
    with pytest.raises(SpecbeamError, match="expected a tokenizer with bos_token_id or eos_token_id"):
        builder(tokenizer)


def test_thousands_of_compact_prompts_take_well_below_a_second(item_tokenizer):
    build = builder(item_tokenizer)
    start = time.process_time()
    for _ in range(5000):
        build([0, 1, 2, 3] * 5)
    assert time.process_time() - start < 0.5
