"""The only place that builds, loads and saves models; what is saved here is safetensors."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from specbeam import adapters, gpus, pretrained
from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.settings import ModelSettings

log = logging.getLogger(__name__)

CONTEXT = 1024
"""Positions of a model built from scratch: 200 items of history and a wide tree fit."""

FEW_BITS = ("int8", "int4")
"""Precisions that need bitsandbytes."""


def choose_device(setting: str) -> torch.device:
    """The device for "auto" (CUDA if there is one), "cpu" or "cuda"; raises SpecbeamError for a GPU that is missing."""
    if setting != "cpu":
        gpus.claim(1)
    if setting == "cuda" and not torch.cuda.is_available():
        raise SpecbeamError("device: cuda was asked for, but torch sees no GPU here; use auto or cpu")
    return torch.device("cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu")


def create(
    settings: ModelSettings, tokenizer: Any, *, seed: int, items: Sequence[str] = (), device: torch.device | None = None
) -> PreTrainedModel:
    """A model ready for training: a new Llama, or `settings.base` with rows for the tokenizer's new item tokens.

    A new row starts at the mean of the base's rows, with noise of 1e-9 of their covariance, in the embedding and in the
    head (transformers' default). Where the base's matrices have rows to spare, tokens take those as they are.
    With `settings.lora`, a peft model (see specbeam.adapters) that trains the rows of the tokens `items`; with
    `settings.quantize` its base is held in few bits, on `device`. Raises SpecbeamError for a base that cannot be
    fetched or loaded, and where few bits cannot be had.
    """
    device = device or torch.device("cpu")
    if settings.quantize == "int4" and device.type == "cpu":
        raise SpecbeamError("quantize: bitsandbytes loses the gradients of int4 weights on CPUs; take int8, or a GPU")
    few_bits = _few_bits(settings.quantize, _torch_dtype(settings.dtype), device) if settings.quantize else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _from_base(settings, tokenizer, few_bits) if settings.base else _from_scratch(settings, tokenizer)
        if settings.lora:
            return adapters.with_adapters(model, settings.lora, tokenizer.convert_tokens_to_ids([*items]))
        return model


def cut(folder: Path, layers: Sequence[int]) -> PreTrainedModel:
    """A float32 model ready for training: `layers` (counted from 0, in this order) of the model saved in `folder`.

    Embedding, final norm, head and sizes stay. Raises SpecbeamError for layers that the model does not have.
    """
    whole = _read(folder, dtype="auto")
    config, place = deepcopy(whole.config), _place_of_layers(whole)
    if missing := sorted(set(layers) - set(range(config.num_hidden_layers))):
        raise SpecbeamError(
            f"draft.model.from_target: expected layers of {folder}, which has 0 to {config.num_hidden_layers - 1}, got "
            f"{', '.join(map(str, missing))}; name only those"
        )
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[layer] for layer in layers]
    weights = {name: weight for name, weight in whole.state_dict().items() if not name.startswith(place)}
    for new, old in enumerate(layers):
        own = whole.get_submodule(f"{place}{old}").state_dict()
        weights |= {f"{place}{new}.{name}": weight for name, weight in own.items()}
    with torch.random.fork_rng():
        model = type(whole)(config).float()
    model.load_state_dict(weights)
    return model


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write config and safetensors weights to `folder`, atomically; adapters are folded into the weights first.

    Adapters on a quantised base are folded into that base loaded again in full precision, never into rounded weights.
    """
    if hasattr(model, "merge_and_unload"):
        if getattr(model.config, "quantization_config", None):
            config = model.config
            exact = _read(Path(config.name_or_path), dtype=config.dtype)
            model = adapters.moved(model, _with_rows(exact, config.vocab_size))
        model = model.merge_and_unload()
    with replacing(folder) as temporary:
        model.save_pretrained(temporary, safe_serialization=True)


def load(folder: Path, *, dtype: str, device: torch.device) -> PreTrainedModel:
    """A saved model for decoding: on `device`, in eval mode, with the attention that tree decoding needs.

    `dtype` names a precision of torch, or "int8" or "int4": then the layers' matrices are rounded to that by
    bitsandbytes, and the rest is bfloat16. Raises SpecbeamError for what cannot be loaded.
    """
    rest = _torch_dtype(dtype)
    if dtype in FEW_BITS:
        return _read(folder, dtype=rest, **_few_bits(dtype, rest, device)).eval()
    return _read(folder, dtype=rest).to(device).eval()


def parameters(model: PreTrainedModel) -> int:
    """Number of weights."""
    return sum(p.numel() for p in model.parameters())


def _read(folder: Path, **options: Any) -> PreTrainedModel:
    if not (Path(folder) / "config.json").is_file():
        raise SpecbeamError(f"{folder}: expected a model saved by save_pretrained, found no config.json")
    pretrained.refuse_unsafe(Path(folder))
    # With the config read first, these options come after its keys and win: its own may name code of the hub.
    options |= {"attn_implementation": "sdpa", "experts_implementation": None}
    options |= {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model, found = AutoModelForCausalLM.from_pretrained(folder, config=config, output_loading_info=True, **options)
    except Exception as error:  # transformers raises whatever it stumbles over
        raise SpecbeamError(f"{folder}: cannot load this model: {type(error).__name__}: {str(error)[:1000]}") from error
    if missing := sorted(found["missing_keys"]):
        raise SpecbeamError(
            f"{folder}: expected weights for all that config.json describes, found none for {len(missing)}, such as "
            f"{missing[0]}: config and weights are not of one model"
        )
    return model


def _from_base(settings: ModelSettings, tokenizer: Any, few_bits: dict[str, Any]) -> PreTrainedModel:
    folder = pretrained.files(settings.base, revision=settings.revision, weights=True)
    dtype = _torch_dtype(settings.dtype) if settings.lora else torch.float32  # what is trained needs float32
    return _with_rows(_read(folder, dtype=dtype, **few_bits), len(tokenizer))


def _with_rows(model: PreTrainedModel, tokens: int) -> PreTrainedModel:
    if tokens > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(tokens)
    return model


def _torch_dtype(name: str) -> torch.dtype:
    return torch.bfloat16 if name in FEW_BITS else getattr(torch, name)


def _few_bits(name: str, rest: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Options for transformers to round the layers' matrices while loading; the rest is in the precision `rest`.

    Raises SpecbeamError where that cannot be done.
    """
    try:
        import bitsandbytes
    except ImportError as error:
        raise SpecbeamError(
            f"{name} weights need the package bitsandbytes ({error}): pip install 'specbeam[quantize]', or choose "
            "float32, bfloat16 or float16 instead"
        ) from error
    if device.type not in bitsandbytes.supported_torch_devices:
        raise SpecbeamError(
            f"{name} weights: bitsandbytes here supports {', '.join(sorted(bitsandbytes.supported_torch_devices))}, "
            f"the device is {device.type}; choose another device, or another dtype"
        )
    if name == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=rest)
    return {"quantization_config": config, "device_map": {"": device}}


def _place_of_layers(model: PreTrainedModel) -> str:
    """Where the list of layers stands: "model.layers." in Llama, "transformer.h." in GPT-2."""
    return next(f"{name}." for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList))


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
