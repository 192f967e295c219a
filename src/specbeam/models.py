"""The only place that builds, loads and saves models; what is saved here is safetensors."""

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.settings import LoraSettings, ModelSettings

log = logging.getLogger(__name__)

CONTEXT = 1024
"""Positions of a model built from scratch: 200 items of history and a wide tree fit."""


def choose_device(setting: str) -> torch.device:
    """The device for "auto" (CUDA if there is one), "cpu" or "cuda"; raises SpecbeamError for a GPU that is missing."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise SpecbeamError("device: cuda was asked for, but torch sees no GPU here; use auto or cpu")
    return torch.device("cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu")


def create(settings: ModelSettings, tokenizer: Any, *, seed: int) -> PreTrainedModel:
    """A model ready for training: a new Llama, or `settings.base` with rows for the tokenizer's new item tokens.

    With `settings.lora`, a peft model: adapters on the named projections, and the embedding and the head trained whole,
    because adapters alone would leave the new item tokens at their random start.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _from_base(settings, tokenizer) if settings.base else _from_scratch(settings, tokenizer)
        return _with_adapters(model, settings.lora) if settings.lora else model


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write config and safetensors weights to `folder`, atomically; adapters are folded into the weights first."""
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    with replacing(folder) as temporary:
        model.save_pretrained(temporary, safe_serialization=True)


def load(folder: Path, *, dtype: str, device: torch.device) -> PreTrainedModel:
    """A saved model for decoding: on `device`, in eval mode, with the attention that tree decoding needs."""
    if not (Path(folder) / "config.json").is_file():
        raise SpecbeamError(f"{folder}: expected a model saved by save_pretrained, found no config.json")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="sdpa", use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SpecbeamError(f"{folder}: cannot load this model: {error}") from error
    return model.to(device).eval()


def parameters(model: PreTrainedModel) -> int:
    """Number of weights."""
    return sum(p.numel() for p in model.parameters())


def _from_scratch(settings: ModelSettings, tokenizer: Any) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.intermediate_size,
        attention_dropout=settings.dropout,
        max_position_embeddings=CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def _from_base(settings: ModelSettings, tokenizer: Any) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(
            settings.base,
            revision=settings.revision or "main",
            dtype=getattr(torch, settings.dtype) if settings.lora else torch.float32,  # what is trained needs float32
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise SpecbeamError(
            f"cannot load {settings.base} (revision {settings.revision}): expected a hub model that you may read, or a "
            f"folder with config.json and safetensors weights. {error}"
        ) from error
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    return model


def _with_adapters(model: PreTrainedModel, lora: LoraSettings) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    names = {module: name for name, module in model.named_modules()}
    trained = {names[m].rpartition(".")[2] for m in (model.get_input_embeddings(), model.get_output_embeddings())}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.modules,
        modules_to_save=sorted(trained),
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # peft keeps whole modules in the base's precision
    return adapted
