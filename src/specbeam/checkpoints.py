"""Where a training stands, on disk: after a kill it goes on from there, to the very same result.

A folder holds `last.safetensors` (weights, AdamW's moments and, as JSON in the file's header, everything else) and
`best-<epoch>.safetensors` (the weights of the best epoch so far). Each is replaced atomically; a best epoch is written
before the state that names it, and removed only after one that names another. Random states are not kept: the order of
batches and every step's dropout follow from the seed and from where the step stands.
"""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specbeam import sealed
from specbeam.digest import code_digest
from specbeam.errors import SpecbeamError
from specbeam.files import parse_json
from specbeam.settings import TrainingSettings

log = logging.getLogger(__name__)

LAST = "last.safetensors"
WITHOUT_EFFECT = {"checkpoint_minutes"}
"""Settings that change nothing about the result."""


@dataclasses.dataclass
class Progress:
    """Where a training stands, besides its weights and moments."""

    epoch: int = 1
    done: int = 0
    """Steps of this epoch."""
    total: float = 0.0
    """Their losses, each times its batch's weight."""
    weight: float = 0.0
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """The table of losses, an epoch each."""
    best: int | None = None
    """Index of the best row."""
    finished: bool = False


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a folder held: tensors on the CPU by name, the JSON beside them, and the weights of its best epoch."""

    tensors: dict[str, Tensor]
    progress: dict[str, Any]
    best: dict[str, Tensor] | None


class Checkpoints:
    """The checkpoints of one job in `folder` (None keeps none); a process that does not write (`writes`) reads them.

    `job` is what the result depends on (`job_of`): what another job left is ignored, with the reason in the log, and
    replaced at the next write. `due()` says every so many `minutes` that it is time to write.
    """

    def __init__(self, folder: Path | None, job: Mapping[str, str], *, minutes: float, writes: bool, name: str) -> None:
        self._folder, self._job, self._seconds, self._name = folder, dict(job), 60 * minutes, name
        self._writes = writes and folder is not None
        self._written = time.monotonic()

    def due(self) -> bool:
        """Whether this process writes, and the last write was long enough ago."""
        return self._writes and time.monotonic() - self._written >= self._seconds

    def read(self) -> Saved | None:
        """What this same job left here; None, with the reason in the log, for anything else."""
        if self._folder is None or not (self._folder / LAST).exists():
            return None
        try:
            return self._read()
        except SpecbeamError as error:
            log.warning("%s: %s cannot be read (%s): training from the start", self._name, self._folder, error)
            return None

    def _read(self) -> Saved | None:
        tensors, header = sealed.read(self._folder / LAST)
        job, progress = (_parsed(header, part, self._folder / LAST) for part in ("job", "progress"))
        if "best" not in header:
            raise SpecbeamError(f"{self._folder / LAST}: does not name its best epoch")
        if other := sorted(key for key in job.keys() | self._job if job.get(key) != self._job.get(key)):
            log.info("%s: %s is of a job with other %s: training from the start", self._name, self._folder,
                     ", ".join(other))  # fmt: skip
            return None
        best = None if header["best"] == "none" else self._folder / Path(header["best"]).name
        if progress.get("finished") and not (best and best.exists()):
            log.info("%s: %s is of a finished job: training from the start", self._name, self._folder)
            return None
        weights, texts = sealed.read(best) if best else (None, header)
        if texts.get("job") != header["job"]:  # a kill between another job's two files left this one
            raise SpecbeamError(f"{best}: is of another job")
        return Saved(tensors, progress, weights)

    def write_best(self, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of an epoch that is better than those before it; the next `write` names it."""
        if self._writes:
            sealed.write(self._folder / _best(epoch), weights, {"job": json.dumps(self._job)})

    def write(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any], *, best_epoch: int | None) -> None:
        """Replace the state; `best_epoch` is None before the first epoch's end."""
        if not self._writes:
            return
        best = "none" if best_epoch is None else _best(best_epoch)
        header = {"job": json.dumps(self._job), "progress": json.dumps(progress), "best": best}
        sealed.write(self._folder / LAST, tensors, header)
        settle(self._folder, keep=best)
        self._written = time.monotonic()


def settle(folder: Path, *, keep: str | None = None) -> None:
    """Remove the best epochs but `keep`. Without any, what is left of a finished job is its last epoch's weights."""
    for path in folder.glob(_best("*")):
        if path.name != keep:
            path.unlink()


def job_of(
    model: torch.nn.Module, samples: Sequence[Any], settings: TrainingSettings, *, modules: Sequence[str], **others: Any
) -> dict[str, str]:
    """Digests of all that a training's result depends on, by kind.

    The model and its weights before training, the `samples` (numbers, arrays, tensors, and dataclasses and lists of
    them), the settings, the code of specbeam's `modules`, the versions of libraries, and `others` as they
    print.
    """
    values = settings.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    scalings = [repr(getattr(module, "scaling", None)) for module in model.modules()]  # LoRA's alpha / rank
    return {
        "model": _digest([str(model), str(getattr(model, "config", "")), scalings, *model.named_parameters()]),
        "data": _digest(samples),
        "settings": _digest(json.dumps(values, sort_keys=True)),
        "code": _digest([code_digest(module) for module in modules]),
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "numpy")),
        **{key: str(value) for key, value in others.items()},
    }


def named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one part of a state, under names of their own."""
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def part_of(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """What `named` was given for a part."""
    start = f"{part}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _parsed(header: Mapping[str, str], part: str, path: Path) -> dict[str, Any]:
    found = parse_json(header.get(part, ""), source=f"{path}: {part}")
    if not isinstance(found, dict):
        raise SpecbeamError(f"{path}: {part}: expected an object, {{...}}, got {header[part][:40]!r}")
    return found


def _best(epoch: int | str) -> str:
    return f"best-{epoch}.safetensors"


def _digest(value: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _feed(digest, getattr(value, field.name))
    elif isinstance(value, list | tuple) and not all(isinstance(part, int | float | str) for part in value):
        digest.update(f"{len(value)}".encode())
        for part in value:
            _feed(digest, part)
    else:
        digest.update(repr(value).encode())
