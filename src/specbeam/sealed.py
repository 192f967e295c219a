"""Tensors and text in a safetensors file that bears a digest of all of it: what was damaged is refused, not misread."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from specbeam.errors import SpecbeamError
from specbeam.files import replacing

SEAL = "blake2b"
"""Key of the digest among the texts."""


def write(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write `tensors` (from any device) and `texts`, both by name, atomically."""
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary, {**texts, SEAL: _digest(plain, texts)})


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the texts; raises SpecbeamError, naming the file, if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            texts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: expected a file of tensors here, found none") from None
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise SpecbeamError(
            f"{path}: expected a file of tensors, got: {str(error)[:300]}; delete it and make it again"
        ) from error
    seal = texts.pop(SEAL, "none")
    if seal != (found := _digest(tensors, texts)):
        raise SpecbeamError(f"{path}: damaged, or of another specbeam: expected the digest {seal[:64]}, found {found}")
    return tensors, texts


def _digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(repr(sorted(texts.items())).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        if tensor.numel():  # one without elements cannot be viewed as bytes
            digest.update(tensor.cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
