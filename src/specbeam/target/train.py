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
from specbeam.files import replacing
from specbeam.prompts import PromptBuilder
from specbeam.settings import LanguageModelSettings
from specbeam.training import IGNORED, Task, fit

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
    task, _ = task_of(data, settings.prompt, settings.target.training)
    learn(task, settings.target, data.tokenizer, settings, model=model, losses=losses, name="target")


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


def task_of(data: Prepared, prompt: Any, training: LanguageModelSettings) -> tuple[Task, PromptBuilder]:
    """What the settings `prompt` and `training` make of a data set, and the prompts' builder."""
    builder = PromptBuilder(
        style=prompt.style, history=prompt.history, tokenizer=data.tokenizer, catalogue=data.catalogue
    )
    task = language_model_task(
        data.users, builder, samples=training.samples, history=prompt.history, loss_on_prompt=training.loss_on_prompt
    )
    return task, builder


def learn(task: Task, own: Any, tokenizer: Any, settings: Any, *, model: Path, losses: Path, name: str) -> None:
    """Train the model that the section `own` of the settings describes; writes it and its losses, atomically."""
    network = models.create(own.model, tokenizer, seed=settings.seed)
    log.info("%s: %d weights", name, models.parameters(network))
    device = models.choose_device(settings.device)
    network, table = fit(network, task, own.training, seed=settings.seed, device=device, name=name)
    models.save(network, model)
    with replacing(losses) as temporary:
        table.to_csv(temporary, index=False)
