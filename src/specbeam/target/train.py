"""Language-model training on users' histories: the target; specbeam.target.draft trains the draft by it too."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from specbeam import models
from specbeam.data.prepared import Prepared, load
from specbeam.data.sequences import history_and_targets
from specbeam.prompts import PromptBuilder
from specbeam.settings import LanguageModelSettings
from specbeam.target.neighbours import with_neighbours
from specbeam.training import IGNORED, Task, fit_and_save

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """One sequence of tokens of which the last `item_length` name the item to predict."""

    tokens: list[int]
    item_length: int

    def __len__(self) -> int:
        return len(self.tokens)


def train_target(*, prepared: Path, settings: Any, model: Path, losses: Path, threads: int) -> None:
    """Fine-tune the target on a prepared data set; writes the model folder and the loss table, atomically."""
    torch.set_num_threads(threads)
    data = load(prepared)
    task, _ = task_of(data, settings, settings.target.training)
    network = models.create(
        settings.target.model, data.tokenizer, seed=settings.seed, items=data.catalogue.tokens,
        device=models.choose_device(settings.device),
    )  # fmt: skip
    files = {"model": model, "losses": losses}
    learn(task, network, settings.target, settings, seed=settings.seed, name="target", **files)


def language_model_task(
    users: pd.DataFrame, builder: PromptBuilder, *, samples: str, history: int, loss_on_prompt: bool
) -> Task:
    """Next-token cross-entropy (nats a token); validation counts the tokens of the first validation item alone."""
    train = history_and_targets(users, "train")
    if samples == "sequence":
        train = _windows(users, history)
    valid = history_and_targets(users, "valid")
    return Task(
        train=_samples(train, builder),
        valid=_samples(valid, builder),
        collate=lambda batch: collate(batch, builder.pad_id),
        loss=_loss("labels" if loss_on_prompt else "item_labels"),
        valid_loss=_loss("item_labels"),
        weight=(lambda sample: len(sample) - 1) if loss_on_prompt else _item_length,
        valid_weight=_item_length,
    )


def collate(samples: list[Sample], pad: int) -> dict[str, Tensor]:
    """Right-padded `input_ids`, `attention_mask`, and labels of all tokens and of the item's tokens alone, [B, T]."""
    length = max(len(sample) for sample in samples)
    tokens = torch.full((len(samples), length), pad)
    labels, item_labels = torch.full_like(tokens, IGNORED), torch.full_like(tokens, IGNORED)
    for row, sample in enumerate(samples):
        end, ids = len(sample), torch.tensor(sample.tokens)
        tokens[row, :end] = labels[row, :end] = ids
        item_labels[row, end - sample.item_length : end] = ids[-sample.item_length :]
    mask = torch.arange(length) < torch.tensor([[len(sample)] for sample in samples])
    return {"input_ids": tokens, "attention_mask": mask.long(), "labels": labels, "item_labels": item_labels}


def _item_length(sample: Sample) -> int:
    return sample.item_length


def _loss(labels: str) -> Callable[[PreTrainedModel, dict[str, Tensor]], dict[str, Tensor]]:
    def loss(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        targets = batch[labels][:, 1:]
        return {"loss": F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)}

    return loss


def _windows(users: pd.DataFrame, history: int) -> pd.DataFrame:
    """Every training item in one window of at most history + 1 items, counted from the end.

    A first item that would stand alone is left out: without a history it is no sample.
    """
    rows = []
    for user, items in zip(users["user"], users["train"], strict=True):
        for end in range(len(items), 1, -(history + 1)):
            window = items[max(0, end - history - 1) : end]
            if len(window) > 1:
                rows.append({"user": user, "history": window[:-1], "targets": window[-1:]})
    return pd.DataFrame(rows, columns=["user", "history", "targets"])


def _samples(pairs: pd.DataFrame, builder: PromptBuilder) -> list[Sample]:
    samples = []
    for history, targets in zip(pairs["history"], pairs["targets"], strict=True):
        item = builder.item_tokens(targets[0])
        samples.append(Sample(builder(history) + item, len(item)))
    return samples


def task_of(data: Prepared, settings: Any, training: LanguageModelSettings) -> tuple[Task, PromptBuilder]:
    """What `training` makes of a data set (by settings.prompt, and for walks .device).

    Also returns the prompts' builder.
    """
    prompt = settings.prompt
    builder = PromptBuilder(
        style=prompt.style, history=prompt.history, tokenizer=data.tokenizer, catalogue=data.catalogue
    )
    if training.neighbours:
        device = models.choose_device(settings.device)
        return _walks(data, builder, prompt.history, training.neighbours, device), builder
    task = language_model_task(
        data.users, builder, samples=training.samples, history=prompt.history, loss_on_prompt=training.loss_on_prompt
    )
    return task, builder


def _walks(data: Prepared, builder: PromptBuilder, history: int, settings: Any, device: torch.device) -> Task:
    train, valid = _windows(data.users, history), history_and_targets(data.users, "valid")
    pairs = zip(valid["history"], valid["targets"], strict=True)
    return with_neighbours(
        [data.catalogue.rows(h + t) for h, t in zip(train["history"], train["targets"], strict=True)],
        [data.catalogue.rows(h[-history:] + t) for h, t in pairs],
        train=[data.catalogue.rows(items) for items in data.users["train"]],
        identifiers=builder.identifiers, settings=settings, start=builder.start_id, pad=builder.pad_id, device=device,
    )  # fmt: skip


def learn(
    task: Task, network: PreTrainedModel, own: Any, settings: Any, *, seed: int, model: Path, losses: Path, name: str
) -> None:
    """Train `network` by the section `own` of the settings; writes the model and its losses, atomically.

    Killed, it goes on from its last checkpoint when it is called again (specbeam.training.fit_and_save).
    """
    log.info("%s: %d weights", name, models.parameters(network))
    device = models.choose_device(settings.device)
    fit_and_save(network, task, own.training, seed=seed, device=device, name=name, model=model, losses=losses)
