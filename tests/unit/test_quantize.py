"""Weights in few bits: refused where they cannot be had, merged into exact weights where they can."""

import sys
from types import SimpleNamespace

import pytest
import torch

from pretrained_for_tests import CATALOGUE, save_pretrained
from specbeam import adapters, models
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import LoraSettings, ModelSettings, parse

CPU = torch.device("cpu")
UNREACHABLE = {"base": "no/such-model", "revision": 40 * "0"}
TOKENS = torch.arange(19)[None]


@pytest.fixture
def base(tmp_path):
    return save_pretrained(tmp_path / "base")


def adapted(base, **changes):
    """A LoRA model on `base` whose adapters and rows say something."""
    settings = ModelSettings(base=str(base), lora=LoraSettings(rank=2, dropout=0), **changes)
    tokenizer = build_tokenizer(CATALOGUE, model=settings)
    model = models.create(settings, tokenizer, seed=1, items=CATALOGUE.tokens, device=CPU)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape))
    return model.eval()


def test_adapters_move_from_rounded_weights_to_the_exact_ones(base):
    exact, rounded = adapted(base), adapted(base)
    expected = exact(TOKENS).logits
    with torch.no_grad():
        for name, weight in rounded.named_parameters():
            if not weight.requires_grad and "proj" in name:
                weight.copy_((weight * 16).round() / 16)
    assert not torch.allclose(rounded(TOKENS).logits, expected, atol=1e-2)
    moved = adapters.moved(rounded, adapted(base).unload()).merge_and_unload()
    torch.testing.assert_close(moved(TOKENS).logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("installed", [None, SimpleNamespace(supported_torch_devices={"cuda"})])
def test_without_the_package_or_its_device_few_bits_are_refused_before_anything_is_fetched(
    base, monkeypatch, installed
):
    monkeypatch.setitem(sys.modules, "bitsandbytes", installed)
    message = (
        "the device is cpu" if installed else r"need the package bitsandbytes .*pip install 'specbeam\[quantize\]'"
    )
    with pytest.raises(SpecbeamError, match=f"int8 weights.*{message}"):
        models.create(ModelSettings(**UNREACHABLE, lora=LoraSettings(), quantize="int8"), range(3), seed=1)
    with pytest.raises(SpecbeamError, match=f"int4 weights.*{message}"):
        models.load(base, dtype="int4", device=CPU)


def test_training_on_int4_weights_needs_a_gpu():
    with pytest.raises(SpecbeamError, match="loses the gradients of int4 weights on CPUs; take int8, or a GPU"):
        models.create(ModelSettings(**UNREACHABLE, lora=LoraSettings(), quantize="int4"), range(3), seed=1)


@pytest.mark.parametrize("part", ["target", "draft"])
def test_a_model_whose_weights_are_all_trained_cannot_be_quantised(part):
    with pytest.raises(SpecbeamError, match=f"{part}.model: quantize is for a base that adapters train on: set lora"):
        parse({part: {"model": {"quantize": "int8"}}})


def test_int8_weights_train_adapters_that_are_merged_into_the_exact_base(base, tmp_path):
    pytest.importorskip("bitsandbytes", reason="pip install 'specbeam[quantize]'")
    exact, rounded = adapted(base), adapted(base, quantize="int8")
    assert rounded.get_submodule("base_model.model.model.layers.0.mlp.up_proj").weight.dtype == torch.int8
    models.save(rounded, tmp_path / "merged")
    plain = models.load(tmp_path / "merged", dtype="float32", device=CPU)
    torch.testing.assert_close(plain(TOKENS).logits, exact(TOKENS).logits, atol=1e-4, rtol=1e-4)
    few = models.load(tmp_path / "merged", dtype="int8", device=CPU)
    assert few.model.layers[0].mlp.up_proj.weight.dtype == torch.int8
    assert 0 < (few(TOKENS).logits - plain(TOKENS).logits).abs().max() < 0.1
