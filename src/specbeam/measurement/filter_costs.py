"""What a filter costs: lists with one and without, in turn, and the time that it takes of them."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from specbeam.clock import timed, wait
from specbeam.decoding.counters import Phases
from specbeam.subsets import Shelf

LEFT_OUT = 50
"""Items that each prompt leaves out, drawn at random."""


def costs(
    shelf: Shelf, make: Callable[..., object], prompts: int, *, device: torch.device, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """A row for each filter of a batch's lists: 50 items left out of each, or half of the catalogue out of all.

    `make` makes the lists of `prompts` prompts, with `filters` and `timer` as in specbeam.decoding.lists.search. The
    filters take turns, in random order, with no filter; the first turn does not count, and all seconds are medians.
    `subset_seconds` made the half, once. `filter_seconds` are what each batch then takes for its filter: making it,
    and what the look-ups took longer than without; `share` is theirs of the `unfiltered_seconds` of a batch, `seconds`
    is the whole batch with the filter.
    """
    order, items = random.Random(seed), list(range(len(shelf.items)))
    start = time.perf_counter()
    half = shelf.subset(items[::2])
    wait(device)
    build = time.perf_counter() - start
    few = [order.sample(items, min(LEFT_OUT, len(items) // 2)) for _ in range(prompts)]
    filters: dict[str, tuple[Any, Any]] = {"": (None, None), f"{LEFT_OUT} items": (None, few), "half": (half, None)}
    taken: dict[str, list[Sequence[float]]] = {name: [] for name in filters}
    for _ in range(repeats + 1):
        for name in order.sample(list(filters), len(filters)):
            taken[name].append(_seconds(shelf, make, filters[name], prompts, device))
    medians = {name: np.median(seconds[1:], axis=0).tolist() for name, seconds in taken.items()}
    unfiltered, usual = medians.pop("")
    rows = []
    for name, (seconds, constraint) in medians.items():
        own = {"filter": name, "subset_seconds": build if name == "half" else 0.0, "filter_seconds": constraint - usual}
        times = {"seconds": seconds, "unfiltered_seconds": unfiltered, "share": own["filter_seconds"] / unfiltered}
        rows.append(own | times)
    return rows


def _seconds(
    shelf: Shelf, make: Callable[..., object], filter: tuple[Any, Any], prompts: int, device: torch.device
) -> tuple[float, float]:
    """Seconds of all of a batch, and of its filter and the constraint."""
    phases = Phases()

    def whole() -> None:
        with phases("constraint"):
            filters = shelf.of_search(shelf.filters(*filter, prompts))
        make(filters=filters, timer=phases)

    return timed(whole, device)[0], phases.seconds["constraint"]
