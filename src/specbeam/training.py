"""The training loop that the target, the draft and its alignment share: accelerate, AdamW, early stopping, resuming.

A stage brings samples, a way to batch them and a loss; the loop brings epochs, precision, accumulation, the schedule,
the choice of the best epoch, checkpoints, and the record of losses. Several processes (specbeam.launch) share every
batch: each passes its part forward and backward, and the gradients are summed.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object, send_to_device
from torch import Tensor
from transformers import PreTrainedModel

from specbeam import memory, models
from specbeam.batches import batches, split, step_seed
from specbeam.checkpoints import Checkpoints, Progress, job_of, named, part_of, settle
from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.launch import is_main
from specbeam.optimizer import adamw, moments, rate, restore_moments, sum_gradients, trained_weights
from specbeam.progress import Bar
from specbeam.settings import TrainingSettings

log = logging.getLogger(__name__)

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}

Batch = Any
Losses = dict[str, Tensor]

IGNORED = -100
"""Label of tokens that are not targets (torch's cross-entropy skips it)."""


@dataclass
class Task:
    """What a stage trains on. Samples are anything with a length (in tokens), by which batches are formed.

    Nothing here may keep a random state of its own: what is random draws from torch's, which is seeded at each step.
    """

    train: Sequence[Any]
    valid: Sequence[Any]
    collate: Callable[[list[Any]], Batch]
    """Samples to a batch of tensors on the CPU."""
    loss: Callable[[PreTrainedModel, Batch], Losses]
    """Mean losses of a batch; "loss" is minimised, the others are recorded."""
    valid_loss: Callable[[PreTrainedModel, Batch], Losses]
    """The same for validation."""
    assess: Callable[[PreTrainedModel], dict[str, float]] | None = None
    """Further measures of the model, in eval mode, after each epoch: columns of the table of losses."""
    merit: Callable[[dict[str, float]], float] = lambda row: -row["valid_loss"]
    """What a row of the table is worth, the higher the better: decides which epoch is kept, and when to stop."""
    weight: Callable[[Any], float] = lambda sample: 1
    """How much a sample counts in the mean that `loss` takes: 1 in a mean over samples, in one over tokens its number
    of targets. So a batch's loss is the same however passes and processes share it."""
    valid_weight: Callable[[Any], float] = lambda sample: 1
    """The same for `valid_loss`."""
    depends_on: Any = None
    """What losses and measures depend on besides samples and training settings: a checkpoint is of one such job."""


def fit_and_save(
    network: PreTrainedModel, task: Task, settings: TrainingSettings, *, seed: int, device: torch.device, name: str,
    model: Path, losses: Path,
) -> None:  # fmt: skip
    """`fit`, then write the model folder and the loss table, atomically; in a launch only the main process writes.

    Checkpoints lie beside the model folder, in `<model>-checkpoint`; when all is written, the last epoch's weights
    stay there.
    """
    checkpoint = model.with_name(f"{model.name}-checkpoint")
    trained, table = fit(network, task, settings, seed=seed, device=device, name=name, checkpoint=checkpoint)
    if is_main():
        models.save(trained, model)
        with replacing(losses) as temporary:
            table.to_csv(temporary, index=False)
        settle(checkpoint)


def fit(
    model: PreTrainedModel, task: Task, settings: TrainingSettings, *, seed: int, device: torch.device, name: str,
    checkpoint: Path | None = None,
) -> tuple[PreTrainedModel, pd.DataFrame]:  # fmt: skip
    """Train `model` and return it with the weights of its best epoch, and the losses.

    The losses have one row an epoch: epoch, step, train_loss, valid_loss (nats), every other loss that the task
    records, what it assesses, and `kept`, True for the epoch whose weights are returned. The order of batches depends
    on `seed` and the epoch alone.

    With a folder `checkpoint` the state is written there after every epoch, and inside one every
    `settings.checkpoint_minutes`. When the same job is called again after a kill, it goes on from there and returns
    just what it would have returned; a finished one returns at once. What another job left there (other samples,
    settings, weights to start from, code, ...) is replaced. In the end the folder holds `last.safetensors`, the weights
    of the last epoch, and those of the best one, which are what `fit` returns.

    Raises SpecbeamError when there is nothing to train on, the processes that the settings ask for were not launched,
    or a loss or gradient is not finite, or memory runs out; the last checkpoint is then from before.
    """
    if not task.train or not task.valid:
        raise SpecbeamError(
            f"{name}: nothing to train on ({len(task.train)} training, {len(task.valid)} validation samples): expected "
            "users with two training items, and some with a validation item"
        )
    if device.type == "cpu" and settings.precision == "float16":
        raise SpecbeamError(f"{name}: float16 training needs a GPU; set training.precision to bfloat16 or float32")
    fits = memory.explained(f"{name}, micro_batch_size {settings.micro_batch_size}", mend=memory.IN_TRAINING)
    with fits, torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        return _Training(model, task, settings, seed, device, name, checkpoint).run()


class _Training:
    """One call of `fit`."""

    def __init__(
        self, model: PreTrainedModel, task: Task, settings: TrainingSettings, seed: int, device: torch.device,
        name: str, checkpoint: Path | None,
    ) -> None:  # fmt: skip
        AcceleratorState._reset_state()  # or a second training in one process could not have another precision
        self.accelerator = accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=MIXED_PRECISION[settings.precision],
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],  # others wait while one assesses
        )
        if settings.processes > 1 and accelerator.num_processes == 1:
            raise SpecbeamError(
                f"{name}: training.processes is {settings.processes}, but this is a single process: start it by the "
                "command line (specbeam train-target and so on) or accelerate launch, or set processes: 1"
            )
        if settings.gradient_checkpointing and not getattr(model, "supports_gradient_checkpointing", False):
            raise SpecbeamError(
                f"{name}: {type(model).__name__} cannot compute activations again: expected "
                "training.gradient_checkpointing false, got true; turn it off"
            )
        if settings.precision == "float32":
            model = model.float()
        own = [part for part in (__name__, getattr(task.loss, "__module__", "")) if part.startswith("specbeam.")]
        job = job_of(
            model, [list(task.train), list(task.valid), task.depends_on], settings,
            modules=own, seed=seed, device=device.type, processes=accelerator.num_processes,
        )  # fmt: skip
        if any(other != job for other in gather_object([job])):
            raise SpecbeamError(f"{name}: expected all processes of a launch to have the same data and weights: {job}")
        self.checkpoints = Checkpoints(
            checkpoint, job, minutes=settings.checkpoint_minutes, writes=accelerator.is_main_process, name=name
        )
        self.model = model.to(accelerator.device)
        self.task, self.settings, self.seed, self.name = task, settings, seed, name
        self.optimizer = accelerator.prepare_optimizer(adamw(model, settings))
        self.steps = math.ceil(len(task.train) / settings.batch_size)  # an epoch
        self.at = Progress()
        self.best: dict[str, Tensor] = {}

    def run(self) -> tuple[PreTrainedModel, pd.DataFrame]:
        self._resume()
        if self.settings.gradient_checkpointing:
            self.model.activation_checkpointing_enable()
        total = self.settings.epochs * self.steps
        self.bar = Bar(total=total, initial=self._step(), desc=self.name, unit="step")
        with self.bar:
            while not self.at.finished:
                self._train_epoch()
                self._end_epoch()
        if self.settings.gradient_checkpointing:
            self.model.activation_checkpointing_disable()
        self._load(self.best)
        losses = pd.DataFrame(self.at.rows)
        losses["kept"] = losses.index == self.at.best
        return self.model.eval(), losses

    def _step(self) -> int:
        """Optimiser steps done."""
        return (self.at.epoch - 1) * self.steps + self.at.done

    def _train_epoch(self) -> None:
        """One step a batch, from the first that is not done."""
        at, process = self.at, self.accelerator.process_index
        self.model.train()
        order = batches(self.task.train, self.settings.batch_size, seed=self.seed, epoch=at.epoch)
        for samples in islice(order, at.done, None):
            torch.manual_seed(step_seed(self.seed, at.epoch, at.done, process))  # for dropout
            weight = sum(map(self.task.weight, samples))
            loss = self._train_batch(samples, weight)
            at.done, at.total, at.weight = at.done + 1, at.total + loss * weight, at.weight + weight
            self.bar.update()
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if self.checkpoints.due():
                self._write()

    def _train_batch(self, samples: list[Any], weight: float) -> float:
        """One step on this process's share, part by part; returns the mean loss of the whole batch."""
        accelerator, total, step = self.accelerator, 0.0, self._step()
        share = samples[accelerator.process_index :: accelerator.num_processes]
        for part in split(share, self.settings.micro_batch_size):
            batch = send_to_device(self.task.collate(part), accelerator.device)
            with accelerator.autocast():
                loss = self.task.loss(self.model, batch)["loss"] * (sum(map(self.task.weight, part)) / weight)
            accelerator.backward(loss)
            total += loss.item()
        total = sum(gather_object([total]))
        self._check_finite(total, "loss", step + 1)
        if accelerator.num_processes > 1:
            sum_gradients(trained_weights(self.model).values())
        norm = accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        if accelerator.scaler is None:  # it leaves out such steps itself
            self._check_finite(norm.item(), "gradient", step + 1)
        relative = rate(step, steps=self.settings.epochs * self.steps, warmup=self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * relative
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    @torch.no_grad()
    def _end_epoch(self) -> None:
        """Validate, add a row to the table, and keep the weights if they are the best."""
        at, settings = self.at, self.settings
        self.model.eval()
        valid = self._validate()
        self._check_finite(valid["loss"], "validation loss", self._step())
        losses = {"train_loss": at.total / at.weight, "valid_loss": valid.pop("loss"), **valid, **self._assess()}
        at.rows.append({"epoch": at.epoch, "step": self._step(), **losses})
        shown = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        log.info("%s: epoch %d of %d, %s", self.name, at.epoch, settings.epochs, shown)
        if at.best is None or self.task.merit(at.rows[-1]) > self.task.merit(at.rows[at.best]):
            at.best = len(at.rows) - 1
            self.best = {name: weight.cpu().clone() for name, weight in trained_weights(self.model).items()}
            self.checkpoints.write_best(at.epoch, self.best)
        elif len(at.rows) - 1 - at.best >= settings.patience:
            log.info("%s: no better epoch for %d epochs, stopping", self.name, settings.patience)
            at.finished = True
        at.finished = at.finished or at.epoch == settings.epochs
        at.epoch, at.done, at.total, at.weight = at.epoch + 1, 0, 0.0, 0.0
        self._write()

    def _validate(self) -> dict[str, float]:
        """Mean validation losses, shared out to the processes."""
        accelerator, task, totals = self.accelerator, self.task, {}
        share = list(task.valid[accelerator.process_index :: accelerator.num_processes])
        for part in split(share, self.settings.micro_batch_size):
            with accelerator.autocast():
                losses = task.valid_loss(self.model, send_to_device(task.collate(part), accelerator.device))
            for key, value in losses.items():
                totals[key] = totals.get(key, 0.0) + value.item() * sum(map(task.valid_weight, part))
        shares, weight = gather_object([totals]), sum(map(task.valid_weight, task.valid))
        return {key: sum(share.get(key, 0.0) for share in shares) / weight for key in shares[0]}

    def _assess(self) -> dict[str, float]:
        """The task's own measures, from the main process."""
        measures = [{}]
        if self.task.assess and self.accelerator.is_main_process:
            measures = [{key: float(value) for key, value in self.task.assess(self.model).items()}]
        return broadcast_object_list(measures)[0]

    def _resume(self) -> None:
        """Go on from the checkpoint, if this job left one."""
        if saved := self.checkpoints.read():
            scaler, progress = saved.progress.pop("scaler"), saved.progress
            self.at, self.best = Progress(**progress), saved.best or {}
            log.info("%s: going on after step %d", self.name, self._step())
            self._load(part_of(saved.tensors, "model"))
            restore_moments(self.optimizer, part_of(saved.tensors, "moments"))
            if scaler:
                self.accelerator.scaler.load_state_dict(scaler)
        self.accelerator.wait_for_everyone()  # nobody writes while another still reads

    def _load(self, weights: dict[str, Tensor]) -> None:
        unknown = self.model.load_state_dict(weights, strict=False).unexpected_keys  # what was not trained is not in it
        if unknown:
            raise RuntimeError(f"saved weights that the model does not know: {unknown}")

    def _write(self) -> None:
        scaler = self.accelerator.scaler
        tensors = named("model", trained_weights(self.model))
        if not self.at.finished:
            tensors |= named("moments", moments(self.optimizer))
        progress = {**asdict(self.at), "scaler": scaler.state_dict() if scaler else None}
        best = None if self.at.best is None else self.at.rows[self.at.best]["epoch"]
        self.checkpoints.write(tensors, progress, best_epoch=best)

    def _check_finite(self, value: float, what: str, step: int) -> None:
        if not math.isfinite(value):
            raise SpecbeamError(
                f"{self.name}: expected a finite {what}, got {value} at step {step}; "
                "lower the learning rate, or train in float32"
            )
