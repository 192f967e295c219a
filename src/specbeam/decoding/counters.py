"""What a search did, in raw counts, and where its time went. Rates are derived where they are shown."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class Counters:
    """Counts of one search over a batch of prompts."""

    target_calls: int = 0
    """Forward passes of the target."""
    draft_calls: int = 0
    """Forward passes of the draft."""
    nodes: int = 0
    """Tree nodes that the target read for the prompt that took longest, the prompt itself not counted."""
    accepted: list[list[int]] = field(default_factory=list)
    """For each prompt, levels accepted in each round, without the bonus level that every round adds."""
    each: list["Counters"] = field(default_factory=list)
    """The counts of each prompt as if it was searched alone; of a search with `apart` only."""


class Phases:
    """Exclusive seconds by phase: entering an inner phase stops the outer one's clock.

    Only for runs that are not timed themselves; it waits for a GPU at every change of phase.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time of the block for `name`."""
        self._switch()
        self._stack.append(name)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def _switch(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now
