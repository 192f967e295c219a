"""Models: built, adapted, saved as safetensors, and loaded as they were."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from specbeam import models
from specbeam.catalogue import Catalogue
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import LoraSettings, ModelSettings, TrainingSettings, parse
from specbeam.training import Task, fit

CPU = torch.device("cpu")
WORDS = ["<pad>", "<s>", "</s>", "<unk>", "the", "user", "bought"]
CATALOGUE = Catalogue.of({str(item): [f"<a_{item % 3}>", f"<b_{item}>"] for item in range(9)})
SMALL = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def base(request, tmp_path_factory):
    """A local folder with a tiny pretrained Llama and its tokenizer."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base")
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=len(WORDS), tie_word_embeddings=request.param, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def scratch():
    settings = ModelSettings(**SMALL)
    return settings, build_tokenizer(CATALOGUE, model=settings)


def adapted(base, **changes):
    """A LoRA model on `base` and its tokenizer."""
    settings = ModelSettings(base=str(base), lora=LoraSettings(rank=2, dropout=0), **changes)
    tokenizer = build_tokenizer(CATALOGUE, model=settings)
    return models.create(settings, tokenizer, seed=1), tokenizer


def trained(model, tokenizer, precision="float32"):
    """`model` after a few steps on sequences of all items' tokens."""
    items = [tokenizer.convert_tokens_to_ids([*CATALOGUE.distinct[row]]) for row in range(len(CATALOGUE.distinct))]

    def loss(model, batch):
        logits = model(input_ids=batch).logits[:, :-1]
        return {"loss": torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())}

    settings = TrainingSettings(epochs=3, learning_rate=1e-2, weight_decay=0, batch_size=3, precision=precision)
    task = Task(items, items, torch.tensor, loss, loss)
    return fit(model, task, settings, seed=1, device=CPU, name="adapter")[0]


def all_tokens(tokenizer):
    return torch.arange(len(tokenizer))[None]


def test_a_model_from_scratch_has_the_sizes_asked_for(scratch):
    settings, tokenizer = scratch
    model = models.create(settings, tokenizer, seed=1)
    assert model.get_input_embeddings().weight.shape == (len(tokenizer), 16)
    assert (model.config.num_hidden_layers, model.config.intermediate_size) == (1, 32)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert models.parameters(model) == sum(weight.numel() for weight in model.state_dict().values())


def test_the_seed_decides_the_weights_and_nothing_else_does(scratch):
    def build(seed):
        torch.rand(seed)
        return models.create(*scratch, seed=seed).lm_head.weight

    assert torch.equal(build(1), build(1))
    assert not torch.equal(build(1), build(2))


def test_building_leaves_the_global_random_state_alone(scratch):
    before = torch.get_rng_state()
    models.create(*scratch, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_saved_model_comes_back_the_same_from_safetensors_alone(scratch, tmp_path):
    model = models.create(*scratch, seed=1).eval()
    models.save(model, tmp_path / "model")
    again = models.load(tmp_path / "model", dtype="float32", device=CPU)
    assert not again.training
    assert torch.equal(again(all_tokens(scratch[1])).logits, model(all_tokens(scratch[1])).logits)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_is_loaded_in_the_precision_asked_for(scratch, tmp_path):
    models.save(models.create(*scratch, seed=1), tmp_path / "model")
    assert models.load(tmp_path / "model", dtype="bfloat16", device=CPU).dtype == torch.bfloat16


def test_saving_replaces_what_was_there(scratch, tmp_path):
    settings, tokenizer = scratch
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "left.bin").write_bytes(b"old")
    models.save(models.create(settings, tokenizer, seed=2), tmp_path / "model")
    assert not (tmp_path / "model" / "left.bin").exists()


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(SpecbeamError, match="expected a model saved by save_pretrained, found no config.json"):
        models.load(tmp_path, dtype="float32", device=CPU)


@pytest.mark.parametrize("keep", [0, 100, -10], ids=["empty", "a few bytes", "all but the end"])
def test_damaged_weights_are_named(scratch, tmp_path, keep):
    models.save(models.create(*scratch, seed=1), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(SpecbeamError, match="model: cannot load this model"):
        models.load(tmp_path / "model", dtype="float32", device=CPU)


def test_pickled_weights_are_not_loaded(scratch, tmp_path):
    model = models.create(*scratch, seed=1)
    models.save(model, tmp_path / "model")
    torch.save(model.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(SpecbeamError, match="cannot load this model"):
        models.load(tmp_path / "model", dtype="float32", device=CPU)


def test_a_pretrained_model_gets_rows_for_the_item_tokens_and_keeps_its_own(base):
    settings = ModelSettings(base=str(base))
    tokenizer = build_tokenizer(CATALOGUE, model=settings)
    model = models.create(settings, tokenizer, seed=1)
    own = LlamaForCausalLM.from_pretrained(base)
    assert len(tokenizer) == len(WORDS) + len(CATALOGUE.tokens)
    for ours, theirs in ((model.get_input_embeddings(), own.get_input_embeddings()), (model.lm_head, own.lm_head)):
        assert ours.weight.shape[0] == len(tokenizer)
        assert torch.equal(ours.weight[: len(WORDS)], theirs.weight)


def test_a_model_with_room_for_the_tokens_is_not_resized(base):
    settings = ModelSettings(base=str(base))
    assert models.create(settings, range(3), seed=1).config.vocab_size == len(WORDS)


def test_weights_that_are_trained_are_float32_whatever_they_decode_in(base):
    settings = ModelSettings(base=str(base), dtype="bfloat16")
    tokenizer = build_tokenizer(CATALOGUE, model=settings)
    assert {p.dtype for p in models.create(settings, tokenizer, seed=1).parameters()} == {torch.float32}
    model, _ = adapted(base, dtype="bfloat16")
    assert {(p.requires_grad, p.dtype) for p in model.parameters()} == {(True, torch.float32), (False, torch.bfloat16)}


def test_adapters_train_the_item_rows_and_leave_the_rest_frozen(base):
    model, tokenizer = adapted(base)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model = trained(model, tokenizer)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all("lora_" in name or "modules_to_save" in name for name in changed)
    for part in ("embed_tokens", "lm_head", "q_proj", "v_proj"):
        assert any(part in name for name in changed), part
    rows = tokenizer.convert_tokens_to_ids(list(CATALOGUE.tokens))
    name = next(name for name in changed if "embed_tokens" in name)
    firsts = [row for row in rows if tokenizer.convert_ids_to_tokens(row).startswith("<a_")]
    assert (dict(model.named_parameters())[name][firsts] != before[name][firsts]).any(1).all()


def test_merged_adapters_load_as_a_plain_model_with_the_same_outputs(base, tmp_path):
    model, tokenizer = adapted(base)
    model = trained(model, tokenizer)
    expected = model(all_tokens(tokenizer)).logits.detach()
    models.save(model, tmp_path / "merged")
    plain = models.load(tmp_path / "merged", dtype="float32", device=CPU)
    assert type(plain) is LlamaForCausalLM
    torch.testing.assert_close(plain(all_tokens(tokenizer)).logits, expected, atol=1e-5, rtol=1e-5)
    assert not list((tmp_path / "merged").glob("adapter*"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_adapters_on_a_bfloat16_base_can_be_trained_in_either_precision(base, tmp_path, precision):
    model, tokenizer = adapted(base, dtype="bfloat16")
    models.save(trained(model, tokenizer, precision), tmp_path / "merged")
    plain = models.load(tmp_path / "merged", dtype="bfloat16", device=CPU)
    assert plain(all_tokens(tokenizer)).logits.isfinite().all()


def test_a_base_that_cannot_be_loaded_is_named(scratch, tmp_path):
    with pytest.raises(
        SpecbeamError, match=r"cannot load .*: expected a hub model that you may read, or a folder with"
    ):
        models.create(ModelSettings(base=str(tmp_path)), scratch[1], seed=1)


@pytest.mark.parametrize("name", ["someone/model", "model", "/no/such/folder"])
def test_a_base_that_is_no_folder_needs_a_revision(name):
    with pytest.raises(
        SpecbeamError, match=f"target.model: base '{name}' is no folder here; for a hub model, set revision"
    ):
        parse({"target": {"model": {"base": name}}})
    parse({"target": {"model": {"base": name, "revision": "0123456"}}})


def test_adapters_without_a_base_are_refused():
    with pytest.raises(SpecbeamError, match="lora adapts a pretrained model: set base"):
        parse({"target": {"model": {"lora": {"rank": 4}}}})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    assert models.choose_device("auto") == models.choose_device("cpu") == CPU
    with pytest.raises(SpecbeamError, match="device: cuda was asked for, but torch sees no GPU here; use auto or cpu"):
        models.choose_device("cuda")
