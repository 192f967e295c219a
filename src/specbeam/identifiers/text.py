"""Embeddings of items from their texts, through a sentence-transformers model: a folder, or a pinned one of the hub.

As in specbeam.pretrained: safetensors weights alone, and no code of the model's repository.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specbeam import pretrained
from specbeam.errors import SpecbeamError
from specbeam.files import read_json
from specbeam.models import choose_device
from specbeam.progress import Bar

log = logging.getLogger(__name__)

OPTIONS = (
    *("model_args", "model_kwargs", "config_args", "config_kwargs"),
    *("tokenizer_args", "processor_kwargs", "tokenizer_name_or_path"),
)
"""Settings by which an encoder would have a say in how it is loaded: they may switch code of the hub on."""


def from_texts(
    texts: Sequence[str], *, model: str, revision: str | None, batch_size: int, device: str, threads: int
) -> np.ndarray:
    """float32 [texts, width]: what the model makes of each text, in its own pooling and length.

    `device` is as in the settings. Raises SpecbeamError if the model cannot be loaded, or fails on the texts.
    """
    import torch

    torch.set_num_threads(threads)
    encoder = _load(model, revision=revision, device=str(choose_device(device)))
    if empty := sum(not text.strip() for text in texts):
        log.warning("%d of %d items have no text: their vectors are those of the empty text", empty, len(texts))
    parts = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    try:
        vectors = [
            encoder.encode(list(part), batch_size=batch_size, convert_to_numpy=True, show_progress_bar=False)
            for part in Bar(parts, desc="texts")
        ]
        return np.concatenate(vectors).astype(np.float32)
    except Exception as error:  # such as an IndexError for a tokenizer of another model
        raise SpecbeamError(
            f"cannot encode texts with {model}: {type(error).__name__}: {str(error)[:500]}; do its tokenizer and its "
            "weights belong together? Choose another model, or a smaller batch_size if memory ran out"
        ) from error


def _load(model: str, *, revision: str | None, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    folder = pretrained.files(model, revision=revision, weights=True)
    for part in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        pretrained.refuse_unsafe(part)
        _refuse_pickles(part)
        _refuse_options(part)
    try:
        return SentenceTransformer(
            str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "attn_implementation": None, "experts_implementation": None},
        )
    except Exception as error:  # of many packages, each with errors of its own
        raise SpecbeamError(
            f"cannot load {model}: expected a sentence-transformers model, or a transformers encoder, in {folder}, got "
            f"{type(error).__name__}: {str(error)[:500]}; choose another model"
        ) from error


def _refuse_pickles(folder: Path) -> None:
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if pickled and not list(folder.glob("model*.safetensors")):
        raise SpecbeamError(
            f"{pickled[0]}: expected safetensors weights beside it, found none. Pickled weights are not loaded: take a "
            "revision with safetensors, or save the model again with sentence-transformers"
        )


def _refuse_options(folder: Path) -> None:
    for path in sorted(folder.glob("sentence_*_config.json")):
        settings = read_json(path)
        for name in OPTIONS:
            if isinstance(settings, dict) and settings.get(name):
                raise SpecbeamError(
                    f"{path}: expected settings of an encoder, found {name}, which says how and from where it is to be "
                    "loaded; choose another model, or empty it in a copy of your own"
                )
