"""How far passes of a model are from what the device could do at best (the roofline model).

A pass has to read all weights once and to do its arithmetic, and does both at once: it cannot take less than the longer
of the two. Both rates are measured here, on this device. Not counted, so that the bound stays one: the keys and values
read, the attention over them, and the embedding's rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from torch import nn

from specbeam.clock import timed
from specbeam.decoding.plan import Plan
from specbeam.decoding.planner import pass_seconds
from specbeam.decoding.reader import Scorer
from specbeam.decoding.trace import Batch
from specbeam.trie import Trie

READ_AT_LEAST, READ_AT_MOST = 1 << 20, 4 << 30
"""Bytes of the tensor whose reading is timed: as many as the weights, so that both fit the same caches, or neither."""
ATTEMPTS = 7
"""A rate is that of the fastest of so many attempts."""


@dataclass(frozen=True)
class Weights:
    """What a pass of a model has to read and to compute."""

    body: int
    """Weights without embeddings and head: two operations each a token."""
    head: int
    """Weights of the head's rows in use: two operations each a scored token."""
    size: int
    """Bytes a weight."""

    @classmethod
    def of(cls, scorer: Scorer) -> "Weights":
        """Count them; of a mixture of experts all count, though a token uses few."""
        modules = scorer.model.base_model.modules()
        body = sum(
            weight.numel()
            for module in modules
            if not isinstance(module, nn.Embedding)
            for weight in module.parameters(recurse=False)
        )
        return cls(body, scorer.weight.numel(), scorer.weight.element_size())

    @property
    def bytes(self) -> int:
        """Of body and head."""
        return (self.body + self.head) * self.size


@dataclass(frozen=True)
class Roofline:
    """What a device can do at best."""

    bandwidth: float
    """Bytes read a second."""
    rate: float
    """Floating-point operations a second, of a large matrix product."""
    read: int
    """Bytes of the tensor that was read for it."""

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype, *, weight_bytes: int) -> "Roofline":
        """Measure `device`: reading as many bytes as the weights have, and a matrix product in `dtype`."""
        read = min(max(weight_bytes, READ_AT_LEAST), READ_AT_MOST) // 8 * 8
        stored = torch.ones(read // 4, device=device)
        side = 8192 if device.type == "cuda" else 1024
        factor = torch.randn(side, side, device=device).to(dtype)
        return cls(
            read / _fastest(stored.sum, device), 2 * side**3 / _fastest(partial(factor.mm, factor), device), read
        )

    def bound(self, weights: Weights, *, tokens: int, scored: int) -> tuple[float, str]:
        """The least seconds of a pass over `tokens`, `scored` of them by the head, and what sets that limit."""
        reading = weights.bytes / self.bandwidth
        computing = 2 * (weights.body * tokens + weights.head * scored) / self.rate
        return max((reading, "bandwidth"), (computing, "arithmetic"))


def _fastest(call: Callable[[], object], device: torch.device) -> float:
    call()
    return min(timed(call, device)[0] for _ in range(ATTEMPTS))


class Passes:
    """Median times of passes of models over one batch of prompts, each measured once."""

    def __init__(self, batch: Batch, repeats: int) -> None:
        self.batch = batch
        self._repeats = repeats
        self._known: dict[tuple[int, int, bool], float] = {}

    def seconds(self, scorer: Scorer, nodes: int, *, with_prompt: bool) -> float:
        """Seconds of one pass over `nodes` nodes of a tree: with the prompt and the root, or after them."""
        key = (id(scorer), nodes, with_prompt)
        if key not in self._known:
            options = {"with_prompt": with_prompt, "repeats": self._repeats}
            self._known[key] = pass_seconds(scorer, self.batch, nodes, **options)
        return self._known[key]


def pass_table(
    passes: Passes, scorer: Scorer, roofline: Roofline, *, beam_widths: Sequence[int], trees: Mapping[str, int]
) -> pd.DataFrame:
    """Measured and least seconds of the passes that a search makes, one row each.

    The passes: the prompt; the K nodes of a level, for each of `beam_widths`; the prompt together with each tree of
    `trees` (name -> nodes). Columns: batch, pass, nodes (a prompt), tokens, scored, seconds, bound, over_bound, limit.
    """
    (size, length), weights, rows = passes.batch[0].shape, Weights.of(scorer), []
    asked = [("prompt", 0, True), *((f"a level of K = {k}", k, False) for k in beam_widths)]
    asked += [(f"prompt and {name}", nodes, True) for name, nodes in trees.items()]
    for name, nodes, with_prompt in asked:
        tokens, scored = size * (nodes + length * with_prompt), size * (nodes + with_prompt)
        seconds = passes.seconds(scorer, nodes, with_prompt=with_prompt)
        bound, limit = roofline.bound(weights, tokens=tokens, scored=scored)
        measured = {"seconds": seconds, "bound": bound, "over_bound": seconds / bound, "limit": limit}
        rows.append({"batch": size, "pass": name, "nodes": nodes, "tokens": tokens, "scored": scored, **measured})
    return pd.DataFrame(rows)


def ceiling(passes: Passes, target: Scorer, draft: Scorer | None, plan: Plan, beam_width: int) -> float:
    """How many times faster than plain beam search `plan` could be, were all that it drafts accepted.

    Passes alone: those of plain beam search, over one pass of the target over prompt and tree and the passes of the
    `draft` (None: a drafter without a model).
    """
    depth = target.trie.depth
    widths = capped(plan, target.trie)
    if not widths:
        return 1.0
    plain = passes.seconds(target, 0, with_prompt=True)
    plain += (depth - 1) * passes.seconds(target, beam_width, with_prompt=False)
    speculative = passes.seconds(target, sum(widths), with_prompt=True)
    missing = depth - 1 - len(widths)  # what the first round does not reach is taken as read level by level
    speculative += missing * passes.seconds(target, beam_width, with_prompt=False)
    by_model = plan.model_steps([0], len(widths)) if draft else 0
    if by_model:
        speculative += passes.seconds(draft, 0, with_prompt=True)
        speculative += sum(passes.seconds(draft, width, with_prompt=False) for width in widths[: by_model - 1])
    return plain / speculative


def capped(plan: Plan, trie: Trie) -> list[int]:
    """Nodes at each level that the first round of `plan` drafts, no more than the trie can have."""
    widths, above = [], 1
    for level, width in enumerate(plan.steps([0], trie.depth)):
        above = min(width, above * trie.widths[level])
        widths.append(above)
    return widths
