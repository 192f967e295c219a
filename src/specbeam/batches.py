"""Which samples a training step takes, and its dropout's seed: both follow from where the step stands."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

BLOCK = 50
"""Batches whose samples are sorted by length together."""


def batches(samples: Sequence[Any], size: int, *, seed: int, epoch: int) -> Iterator[list[Any]]:
    """Shuffled batches of similar lengths (sorted within blocks of 50 batches), to save padding."""
    order = np.random.default_rng([seed, epoch])
    shuffled = order.permutation(len(samples))
    lengths = np.array([len(samples[i]) for i in shuffled])
    blocks = (range(start, min(start + BLOCK * size, len(samples))) for start in range(0, len(samples), BLOCK * size))
    chunks = []
    for block in blocks:
        in_order = np.array(block)[np.argsort(lengths[block], kind="stable")]
        chunks += [shuffled[in_order[i : i + size]] for i in range(0, len(in_order), size)]
    for number in order.permutation(len(chunks)):
        yield [samples[i] for i in chunks[number]]


def split(samples: Sequence[Any], size: int) -> list[list[Any]]:
    """The parts of a batch that one forward pass takes each."""
    return [list(samples[start : start + size]) for start in range(0, len(samples), size)]


def step_seed(*place: int) -> int:
    """A seed for the step at a place: the training's seed, epoch, step and process."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
