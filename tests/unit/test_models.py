"""Models: built, adapted, saved as safetensors, and loaded as they were."""

import pytest
import torch
from transformers import LlamaForCausalLM

from pretrained_for_tests import CATALOGUE, WORDS, save_pretrained
from specbeam import models
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import ModelSettings, parse

CPU = torch.device("cpu")
SMALL = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def base(request, tmp_path_factory):
    return save_pretrained(tmp_path_factory.mktemp("base"), tied=request.param)


@pytest.fixture
def scratch():
    settings = ModelSettings(**SMALL)
    return settings, build_tokenizer(CATALOGUE, model=settings)


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


def test_a_base_that_cannot_be_loaded_is_named(scratch, tmp_path):
    with pytest.raises(SpecbeamError, match=r"cannot load .*: expected safetensors weights .*, found none"):
        models.create(ModelSettings(base=str(tmp_path)), scratch[1], seed=1)


@pytest.mark.parametrize("name", ["someone/model", "model", "/no/such/folder"])
def test_a_base_that_is_no_folder_needs_a_revision(name):
    with pytest.raises(
        SpecbeamError, match=f"target.model: base '{name}' is no folder here; for a hub model, set revision"
    ):
        parse({"target": {"model": {"base": name}}})
    parse({"target": {"model": {"base": name, "revision": 40 * "0"}}})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    assert models.choose_device("auto") == models.choose_device("cpu") == CPU
    with pytest.raises(SpecbeamError, match="device: cuda was asked for, but torch sees no GPU here; use auto or cpu"):
        models.choose_device("cuda")
