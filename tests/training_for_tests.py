"""Small trainings: a line, and a language model that counts. Run as a program, one that is killed at a step."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from models_for_tests import tiny_model
from specbeam.settings import TrainingSettings
from specbeam.target.train import Sample, collate
from specbeam.training import Task, fit

CPU = torch.device("cpu")


class Line(torch.nn.Module):
    """y = w x + b."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(self, x):
        return self.weight * x + self.bias


def settings(**changes):
    return TrainingSettings(**{"epochs": 3, "batch_size": 8, "micro_batch_size": 8, "precision": "float32", **changes})


def points(number):
    """Samples on a line: (x, y), whose length is the same for all."""
    xs = torch.randn(number, generator=torch.Generator().manual_seed(number)).tolist()
    return [(x, 3 * x - 1) for x in xs]


def squares(model, batch):
    return {"loss": (model(batch[:, 0]) - batch[:, 1]).square().mean()}


def line_task(number=32, *, valid_loss=squares):
    return Task(points(number), points(8), torch.tensor, squares, valid_loss)


def language_task():
    """Tokens that count upwards, from anywhere: the next one is always known."""
    samples = [Sample([2 + (start + i) % 20 for i in range(4 + start % 5)], 2) for start in range(20)]

    def loss(model, batch):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return {"loss": cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())}

    return Task(samples, samples, lambda batch: collate(batch, 0), loss, loss)


def dropout_model():
    model = tiny_model(seed=2, layers=1)
    model.config.attention_dropout = 0.3
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.3
    return model


def watched(task: Task, look: Callable[[int], object]) -> Task:
    """The task, which before each training loss calls `look` with how many there were, this one included."""
    numbers = count(1)
    return replace(task, loss=lambda model, batch: (look(next(numbers)), task.loss(model, batch))[1])


def killed_at(task: Task, step: int) -> Task:
    """The task, of whose steps this one (from 1) kills the process."""
    return watched(task, lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == step else None)


def main(folder: str, minutes: str, step: str) -> None:
    """Train the language model with dropout, with checkpoints in `folder`, and be killed at `step`."""
    torch.set_num_threads(1)
    task = killed_at(language_task(), int(step))
    own = settings(checkpoint_minutes=float(minutes))
    fit(dropout_model(), task, own, seed=5, device=CPU, name="count", checkpoint=Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
