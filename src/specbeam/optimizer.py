"""AdamW for training: which weights it changes, its learning rate at each step, and its moments by name."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from specbeam.settings import TrainingSettings


def adamw(model: torch.nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, as usual."""
    trained = trained_weights(model).values()
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def trained_weights(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The weights that training changes, by name (of a large adapted model a small part)."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Over the processes of a launch, in place; a process without a share of the batch gives zeros."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    for work in [torch.distributed.all_reduce(gradient, async_op=True) for gradient in gradients]:
        work.wait()


def rate(step: int, *, steps: int, warmup: float) -> float:
    """Learning rate of a step (from 0) relative to its peak: linear warm-up, then a cosine down to a tenth."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


def moments(optimizer: Any) -> dict[str, Tensor]:
    """An optimizer's state as named tensors: "3.exp_avg" is the first moment of its fourth parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, own in state.items() for key, value in own.items()}


def restore_moments(optimizer: Any, named: dict[str, Tensor]) -> None:
    """Put back what `moments` gave."""
    whole = optimizer.state_dict()
    whole["state"] = {}
    for name, value in named.items():
        index, _, key = name.partition(".")
        whole["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(whole)
