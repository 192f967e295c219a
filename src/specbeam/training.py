"""The training loop that the target, the draft and its alignment share: accelerate, AdamW, early stopping.

A stage brings samples, a way to batch them and a loss; the loop brings epochs, precision, accumulation, the schedule,
the choice of the best epoch, and the record of losses.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from specbeam.errors import SpecbeamError
from specbeam.settings import TrainingSettings

log = logging.getLogger(__name__)

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}

Batch = Any
Losses = dict[str, Tensor]

IGNORED = -100
"""Label of tokens that are not targets (torch's cross-entropy skips it)."""


@dataclass
class Task:
    """What a stage trains on. Samples are anything with a length (in tokens), by which batches are formed."""

    train: Sequence[Any]
    valid: Sequence[Any]
    collate: Callable[[list[Any]], Batch]
    """Samples to a batch of tensors on the CPU."""
    loss: Callable[[PreTrainedModel, Batch], Losses]
    """Mean losses of a batch; "loss" is minimised, the others are recorded."""
    valid_loss: Callable[[PreTrainedModel, Batch], Losses]
    """The same for validation, which decides the epoch that is kept."""


def fit(
    model: PreTrainedModel, task: Task, settings: TrainingSettings, *, seed: int, device: torch.device, name: str
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """Train `model` and return it with the weights of its best epoch, and the losses.

    The losses have one row an epoch: epoch, step, train_loss, valid_loss (nats), every other loss that the task
    records, and `kept`, True for the epoch whose weights are returned. The order of batches depends on `seed` alone.
    Raises SpecbeamError when there is nothing to train on or a loss is not finite.
    """
    if not task.train or not task.valid:
        raise SpecbeamError(
            f"{name}: nothing to train on ({len(task.train)} training, {len(task.valid)} validation samples): expected "
            "users with two training items, and some with a validation item"
        )
    if device.type == "cpu" and settings.precision == "float16":
        raise SpecbeamError(f"{name}: float16 training needs a GPU; set training.precision to bfloat16 or float32")
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # for dropout, which has no generator of its own
        return _fit(model, task, settings, seed, device, name)


def _fit(
    model: PreTrainedModel, task: Task, settings: TrainingSettings, seed: int, device: torch.device, name: str
) -> tuple[PreTrainedModel, pd.DataFrame]:
    AcceleratorState._reset_state()  # or a second training in one process could not have another precision
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=MIXED_PRECISION[settings.precision])
    if settings.precision == "float32":
        model = model.float()
    order = np.random.default_rng(seed)
    steps = settings.epochs * math.ceil(len(task.train) / settings.batch_size)
    optimizer = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.learning_rate, betas=(0.9, 0.98))
    model, optimizer = accelerator.prepare(model, optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, settings.warmup))
    rows, best = [], None
    with tqdm(total=steps, desc=name, unit="step", disable=None) as progress:
        for epoch in range(1, settings.epochs + 1):
            batches = (_split(b, settings.micro_batch_size) for b in _batches(task.train, settings.batch_size, order))
            train_loss = _train_epoch(accelerator, model, task, batches, optimizer, schedule, progress, name)
            valid = _validate(accelerator, model, task, settings.micro_batch_size)
            _check_finite(valid["loss"], "validation loss", name, schedule.last_epoch)
            valid_loss = valid.pop("loss")
            step = {"epoch": epoch, "step": schedule.last_epoch}
            rows.append({**step, "train_loss": train_loss, "valid_loss": valid_loss, **valid})
            log.info("%s: epoch %d of %d, train %.4f, valid %.4f", name, epoch, settings.epochs, train_loss, valid_loss)
            if best is None or valid_loss < rows[best]["valid_loss"]:
                best, weights = len(rows) - 1, _trained_weights(accelerator.unwrap_model(model))
            elif len(rows) - 1 - best >= settings.patience:
                log.info("%s: no better validation loss for %d epochs, stopping", name, settings.patience)
                break
    model = accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # from here on its passes are not autocast
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys  # what was not trained is not in `weights`
    if unknown:
        raise RuntimeError(f"weights of the best epoch that the model does not know: {unknown}")
    losses = pd.DataFrame(rows)
    losses["kept"] = losses.index == best
    return model.eval(), losses


def _train_epoch(
    accelerator: Accelerator, model: Any, task: Task, batches: Iterator[list[list[Any]]], optimizer: Any, schedule: Any,
    progress: Any, name: str,
) -> float:  # fmt: skip
    """One step a batch, whose parts add up their gradients, each sample with the same weight; returns the mean loss."""
    model.train()
    total, count = 0.0, 0
    for parts in batches:
        size, value = sum(map(len, parts)), 0.0
        for samples in parts:
            batch = send_to_device(task.collate(samples), accelerator.device)
            with accelerator.autocast():
                loss = task.loss(model, batch)["loss"] * (len(samples) / size)
            accelerator.backward(loss)
            value += loss.item()
        _check_finite(value, "loss", name, schedule.last_epoch + 1)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total, count = total + value * size, count + size
        progress.update()
        progress.set_postfix(loss=f"{value:.3f}", refresh=False)
    return total / count


@torch.no_grad()
def _validate(accelerator: Accelerator, model: Any, task: Task, size: int) -> dict[str, float]:
    """Mean validation losses, each sample with the same weight."""
    model.eval()
    totals: dict[str, float] = {}
    for start in range(0, len(task.valid), size):
        samples = list(task.valid[start : start + size])
        with accelerator.autocast():
            losses = task.valid_loss(model, send_to_device(task.collate(samples), accelerator.device))
        for key, value in losses.items():
            totals[key] = totals.get(key, 0.0) + value.item() * len(samples)
    return {key: value / len(task.valid) for key, value in totals.items()}


def _batches(samples: Sequence[Any], size: int, order: np.random.Generator) -> Iterator[list[Any]]:
    """Shuffled batches of similar lengths (sorted within blocks of 50 batches), to save padding."""
    shuffled = order.permutation(len(samples))
    lengths = np.array([len(samples[i]) for i in shuffled])
    blocks = (range(start, min(start + 50 * size, len(samples))) for start in range(0, len(samples), 50 * size))
    chunks = []
    for block in blocks:
        in_order = np.array(block)[np.argsort(lengths[block], kind="stable")]
        chunks += [shuffled[in_order[i : i + size]] for i in range(0, len(in_order), size)]
    for number in order.permutation(len(chunks)):
        yield [samples[i] for i in chunks[number]]


def _split(samples: list[Any], size: int) -> list[list[Any]]:
    """The parts of a batch that one forward pass takes each."""
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _check_finite(value: float, what: str, name: str, step: int) -> None:
    if not math.isfinite(value):
        raise SpecbeamError(
            f"{name}: expected a finite {what}, got {value} at step {step}; "
            "lower the learning rate, or train in float32"
        )


def _trained_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """A copy, on the CPU, of the weights that training changes (of a large adapted model a small part)."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}


def _groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices only, as usual."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _rate(step: int, steps: int, warmup: float) -> float:
    """Learning rate relative to its peak: linear warm-up, then a cosine down to a tenth."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))
