"""Passes of a model captured once for each shape and replayed: CUDA graphs.

A pass over a few hundred tokens is bound by launching its many small kernels; replaying a captured one launches them
all at once. A graph reads and writes fixed addresses, so its inputs are copied into place, and its cache is reused by
later searches. Shapes are kept few: capacities are rounded up, prompts are padded (`PROMPT_STEP`), and a plan's widths
do not depend on the prompt.

The capturing itself is one function, so that all of the bookkeeping is tested without a GPU.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from specbeam.decoding.cache import Empty, SlotLayer

CAPACITY_STEP = 256
"""Cache slots come in multiples of it."""
PROMPT_STEP = 32
"""Prompts are padded to multiples of it."""

Capture = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], None]]]
"""From a function without arguments to its result, and a function that computes that result anew, in place."""


def cuda_graph(function: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """Capture `function`, after warming it up on a stream of its own, as CUDA asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return result, graph.replay


class CapturedCache:
    """A cache of fixed size for B prompts, and the passes over it that have been captured, by their tokens."""

    def __init__(self, body: Any, empty: Empty, batch: int, capacity: int, capture: Capture) -> None:
        self.batch, self.capacity = batch, capacity
        room = (0, 0, 0, capacity + 1)  # one more than is ever in use, so that no layer grows
        padded = ((torch.nn.functional.pad(x.expand(batch, -1, -1, -1), room) for x in layer) for layer in empty)
        self.layers = [SlotLayer(*layer) for layer in padded]
        self._body, self._capture = body, capture
        self._passes: dict[int, tuple[dict[str, Tensor], Tensor, Callable[[], None]]] = {}

    def read(self, **inputs: Tensor) -> Tensor:
        """Last hidden states [B, tokens, size]; the next pass with as many tokens overwrites them.

        `inputs` are those of a model (TokenTree.inputs) with `capacity` slots, and `places` int64 [B, tokens], for at
        most as many prompts as the cache has rows; the other rows are computed and mean nothing.
        """
        live, tokens = inputs["input_ids"].shape
        if tokens not in self._passes:
            fixed = {name: value[:1].repeat(self.batch, *[1] * (value.ndim - 1)) for name, value in inputs.items()}
            self._passes[tokens] = (fixed, *self._capture(lambda: self._pass(**fixed)))
        fixed, hidden, replay = self._passes[tokens]
        for name, value in inputs.items():
            fixed[name][:live].copy_(value)
        replay()
        return hidden[:live]

    def keep(self, rows: Tensor) -> None:
        """Go on with the prompts `rows` alone, in the first rows."""
        for layer in self.layers:
            for stored in (layer.keys, layer.values):
                stored[: len(rows)] = stored[rows]

    def clear(self) -> None:
        """Forget everything: what is not a number would spread through the mask into a later search."""
        for layer in self.layers:
            layer.keys.zero_()
            layer.values.zero_()

    def _pass(self, places: Tensor, **inputs: Tensor) -> Tensor:
        for layer in self.layers:
            layer.expect(places, self.capacity)
        return self._body(**inputs, past_key_values=Cache(layers=self.layers), use_cache=True).last_hidden_state


TURN = threading.Lock()
"""Threads take turns, whatever their models: while one captures, no other may use the GPU."""


class Graphs:
    """The captured caches of one model; a search borrows one, alone, and gives it back."""

    def __init__(self, body: Any, empty: Empty, capture: Capture = cuda_graph) -> None:
        self._body, self._empty, self._capture = body, empty, capture
        self._free: dict[tuple[int, int], list[CapturedCache]] = defaultdict(list)

    def borrow(self, batch: int, slots: int) -> CapturedCache:
        """A cache for `batch` prompts (rounded up to a power of two) with room for at least `slots` tokens each."""
        rows, capacity = 1 << (batch - 1).bit_length(), -(-slots // CAPACITY_STEP) * CAPACITY_STEP
        free = self._free[rows, capacity]
        if not free:
            return CapturedCache(self._body, self._empty, rows, capacity, self._capture)
        free[-1].clear()
        return free.pop()

    def give_back(self, cache: CapturedCache) -> None:
        """What it holds is of no more use."""
        self._free[cache.batch, cache.capacity].append(cache)

    def grown(self, cache: CapturedCache, slots: int) -> CapturedCache:
        """Copy a cache into another with at least `slots` places, and give it back."""
        other = self.borrow(cache.batch, slots)
        for old, new in zip(cache.layers, other.layers, strict=True):
            for source, sink in ((old.keys, new.keys), (old.values, new.values)):
                sink[:, :, : cache.capacity].copy_(source[:, :, : cache.capacity])
        self.give_back(cache)
        return other


def padded(prompts: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Prompts padded on the left to a multiple of PROMPT_STEP, so that few shapes are ever captured."""
    mask = torch.ones_like(prompts, dtype=torch.bool) if mask is None else mask
    missing = (-prompts.shape[1] % PROMPT_STEP, 0)
    return torch.nn.functional.pad(prompts, missing), torch.nn.functional.pad(mask, missing)
