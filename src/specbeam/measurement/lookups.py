"""The constraint's share of a list's time, and a catalogue of a million items to measure it on."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from specbeam.clock import median_seconds, wait
from specbeam.errors import SpecbeamError
from specbeam.items import Items
from specbeam.subsets import Shelf
from specbeam.trie import Trie

IDENTIFIER_LENGTH = 4
BRANCHING = 256
"""Tokens at each position of the synthetic catalogue, if the model has so many."""
ROUNDS = 20
"""The look-ups of a list are timed so many times in a row."""

LookUp = tuple[Tensor, int]
"""States [B, W], and the width that their edges are padded to."""


@contextmanager
def noting(trie: Trie) -> Iterator[list[LookUp]]:
    """Every look-up in `trie` within the block; the very trie, since target and draft have to share it."""
    asked: list[LookUp] = []
    edges = trie.edges

    def noted(states: Tensor, width: int) -> tuple[Tensor, Tensor]:
        asked.append((states, width))
        return edges(states, width)

    object.__setattr__(trie, "edges", noted)  # the trie is frozen
    try:
        yield asked
    finally:
        object.__delattr__(trie, "edges")


def share(trie: Trie, make: Callable[[], object], device: torch.device, repeats: int) -> dict[str, float]:
    """Time of the look-ups in `trie` that `make` does, and of all that it does.

    A look-up finds the edges out of a level's beams, and the logit of each (Trie.edges, Trie.columns).

    The look-ups are repeated on the very states and widths that it asked for. Returns lookups (how many),
    lookup_seconds, seconds and share.
    """
    with noting(trie) as asked:
        make()
    seconds = median_seconds(make, device, repeats)
    alone = statistics.median([_seconds(trie, asked, device) for _ in range(repeats + 1)][1:])
    return {"lookups": len(asked), "lookup_seconds": alone, "seconds": seconds, "share": alone / seconds}


@torch.inference_mode()
def _seconds(trie: Trie, asked: list[LookUp], device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        for states, width in asked:
            trie.columns[trie.edges(states, width)[0]]
    wait(device)
    return (time.perf_counter() - start) / ROUNDS


def synthetic_identifiers(items: int, *, length: int, branching: int, first_token: int, seed: int) -> np.ndarray:
    """Distinct random identifiers int64 [items, length]: `branching` tokens, the same at every position."""
    capacity = branching**length
    if items > capacity:
        raise SpecbeamError(
            f"{items} items: expected at most the {capacity} that {branching} tokens at {length} positions can name"
        )
    generator = np.random.default_rng(seed)
    numbers = np.unique(generator.integers(capacity, size=items))
    while len(numbers) < items:
        more = generator.integers(capacity, size=items - len(numbers))
        numbers = np.unique(np.concatenate([numbers, more]))
    places = branching ** np.arange(length - 1, -1, -1)
    return first_token + numbers[:, None] // places % branching


def synthetic_shelf(items: int, vocabulary: int, device: torch.device, seed: int) -> tuple[Shelf, float]:
    """`items` random items that a model of `vocabulary` tokens can write, and the seconds of building their trie."""
    branching = min(BRANCHING, vocabulary)
    identifiers = synthetic_identifiers(items, length=IDENTIFIER_LENGTH, branching=branching, first_token=0, seed=seed)
    start = time.perf_counter()
    trie = Trie.of(identifiers).to(device)
    wait(device)
    seconds = time.perf_counter() - start
    named = Items(list(map(tuple, identifiers.tolist())), [(item,) for item in range(items)])
    return Shelf(named, trie), seconds
