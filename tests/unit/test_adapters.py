"""LoRA: what training changes and what it leaves, and the plain model that comes of it."""

import pytest
import torch
from transformers import LlamaForCausalLM

from pretrained_for_tests import CATALOGUE, WORDS, save_pretrained
from specbeam import models
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import LoraSettings, ModelSettings, TrainingSettings, parse
from specbeam.training import Task, fit

CPU = torch.device("cpu")
OLD = slice(len(WORDS))
NEW = slice(len(WORDS), len(WORDS) + len(CATALOGUE.tokens))


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def base(request, tmp_path_factory):
    return save_pretrained(tmp_path_factory.mktemp("base"), tied=request.param)


def adapted(base, rows="new", **changes):
    """A LoRA model on `base` and its tokenizer."""
    settings = ModelSettings(base=str(base), lora=LoraSettings(rank=2, dropout=0, rows=rows), **changes)
    tokenizer = build_tokenizer(CATALOGUE, model=settings)
    return models.create(settings, tokenizer, seed=1, items=CATALOGUE.tokens), tokenizer


def trained(model, tokenizer, precision="float32"):
    """`model` after a few steps on sequences of words and of all items' tokens."""
    texts = [["the", "user", "bought", *CATALOGUE.distinct[row]] for row in range(len(CATALOGUE.distinct))]
    samples = [tokenizer.convert_tokens_to_ids(text) for text in texts]

    def loss(model, batch):
        logits = model(input_ids=batch).logits[:, :-1]
        return {"loss": torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())}

    settings = TrainingSettings(epochs=3, learning_rate=1e-2, weight_decay=0.1, batch_size=3, precision=precision)
    task = Task(samples, samples, torch.tensor, loss, loss)
    return fit(model, task, settings, seed=1, device=CPU, name="adapter")[0]


def all_tokens(tokenizer):
    return torch.arange(len(tokenizer))[None]


def matrices(model):
    """Embedding and head as the model applies them."""
    return [part.weight.detach().clone() for part in (model.get_input_embeddings(), model.get_output_embeddings())]


@pytest.mark.parametrize("rows", ["new", "all"])
def test_training_moves_adapters_and_rows_of_items_and_no_weight_of_the_layers(base, rows):
    model, tokenizer = adapted(base, rows)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model = trained(model, tokenizer)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    for part in ("q_proj.lora_A", "q_proj.lora_B", "v_proj.lora_A", "v_proj.lora_B"):
        assert any(part in name for name in changed), part
    assert all("lora_" in name or "trainable_tokens" in name or "modules_to_save" in name for name in changed)


@pytest.mark.parametrize(("rows", "words_move"), [("new", False), ("all", True)])
def test_new_rows_are_trained_in_embedding_and_head_and_the_rows_of_words_on_demand(base, rows, words_move):
    model, tokenizer = adapted(base, rows)
    before = matrices(model)
    for old, new in zip(before, matrices(trained(model, tokenizer)), strict=True):
        assert torch.equal(old[OLD], new[OLD]) != words_move
        assert (old[NEW] != new[NEW]).any(1).all()


def test_tokens_that_take_rows_which_the_base_has_to_spare_are_trained_too(tmp_path):
    model, tokenizer = adapted(save_pretrained(tmp_path, rows=40))
    before = matrices(model)
    for old, new in zip(before, matrices(trained(model, tokenizer)), strict=True):
        assert (old != new).any(1).nonzero().flatten().tolist() == list(range(NEW.start, NEW.stop))


def test_new_rows_start_at_the_mean_of_the_words(base):
    for weight in matrices(adapted(base)[0]):
        torch.testing.assert_close(weight[NEW], weight[OLD].mean(0).expand_as(weight[NEW]), atol=1e-4, rtol=0)


def test_new_rows_alone_take_a_fraction_of_what_training_holds(base):
    def held(rows):
        weights = adapted(base, rows)[0].named_parameters()
        return sum(weight.numel() for name, weight in weights if weight.requires_grad and "lora" not in name)

    assert held("new") / held("all") == len(CATALOGUE.tokens) / (len(WORDS) + len(CATALOGUE.tokens))


@pytest.mark.parametrize("rows", ["new", "all"])
def test_a_head_that_is_the_embedding_stays_so(base, tmp_path, rows):
    model, tokenizer = adapted(base, rows)
    models.save(trained(model, tokenizer), tmp_path)
    plain = models.load(tmp_path, dtype="float32", device=CPU)
    tied = LlamaForCausalLM.from_pretrained(base).config.tie_word_embeddings
    assert torch.equal(*matrices(plain)) == tied


def test_what_is_trained_is_float32_and_the_frozen_base_is_not(base):
    model, _ = adapted(base, dtype="bfloat16")
    assert {(p.requires_grad, p.dtype) for p in model.parameters()} == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("rows", ["new", "all"])
def test_merged_adapters_load_as_a_plain_model_with_the_same_outputs(base, tmp_path, rows):
    model, tokenizer = adapted(base, rows)
    model = trained(model, tokenizer)
    expected = model(all_tokens(tokenizer)).logits.detach()
    models.save(model, tmp_path / "merged")
    plain = models.load(tmp_path / "merged", dtype="float32", device=CPU)
    assert type(plain) is LlamaForCausalLM
    torch.testing.assert_close(plain(all_tokens(tokenizer)).logits, expected, atol=1e-4, rtol=1e-4)
    names = sorted(path.name for path in (tmp_path / "merged").iterdir())
    assert names == ["config.json", "generation_config.json", "model.safetensors"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_adapters_on_a_bfloat16_base_can_be_trained_in_either_precision(base, tmp_path, precision):
    model, tokenizer = adapted(base, dtype="bfloat16")
    models.save(trained(model, tokenizer, precision), tmp_path / "merged")
    plain = models.load(tmp_path / "merged", dtype="bfloat16", device=CPU)
    assert plain(all_tokens(tokenizer)).logits.isfinite().all()


def test_adapters_without_a_base_are_refused():
    with pytest.raises(SpecbeamError, match="lora adapts a pretrained model: set base"):
        parse({"target": {"model": {"lora": {"rank": 4}}}})


def test_projections_that_the_model_does_not_have_are_named(base):
    settings = ModelSettings(base=str(base), lora=LoraSettings(modules=["c_attn"]))
    with pytest.raises(SpecbeamError, match=r"lora.modules: .*c_attn"):
        models.create(settings, build_tokenizer(CATALOGUE, model=settings), seed=1, items=CATALOGUE.tokens)
