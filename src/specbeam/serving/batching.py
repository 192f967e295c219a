"""Requests that come one by one, searched in batches: a bounded queue, and one thread that owns the models.

Nothing here knows of HTTP. A request waits for others of its K, as long as `Limits.wait` at most: a beam search of one
width does not give the lists of another, so requests of different K are never searched together; each has a filter of
its own. The oldest request says whose turn it is, so none is overtaken for ever.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from specbeam.errors import SpecbeamError
from specbeam.recommendations import Recommendations

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One request."""

    prompt: list[int]
    """Token ids."""
    k: int
    only: frozenset[Any] | None = None
    """Item ids that the list may name; None: all."""
    without: frozenset[Any] = frozenset()
    """Item ids that it may not."""


@dataclass(frozen=True)
class Limits:
    """How many requests are searched at once, and how many may wait. Raises SpecbeamError for what makes no sense."""

    batch_size: int = 16
    wait: float = 0.005
    """Seconds that the oldest request waits for others, at most, while nothing is searched."""
    queue: int = 256
    """Requests that may wait; more are refused."""

    def __post_init__(self) -> None:
        for name, value in (("batch_size", self.batch_size), ("queue", self.queue)):
            if value < 1:
                raise SpecbeamError(f"{name}: expected 1 or more requests, got {value}")
        if not 0 <= self.wait < 3600:
            raise SpecbeamError(f"wait: expected seconds from 0 to an hour, got {self.wait}")


@dataclass(frozen=True)
class Batch:
    """What became of the requests that were searched at once."""

    waited: list[float]
    """Seconds that each of them was in the queue."""
    seconds: float
    """Of the search."""
    lists: list[Recommendations] | None
    """None where the search failed."""


class FullError(Exception):
    """As many requests wait as may."""


class StoppedError(Exception):
    """No more requests are taken."""


class Batcher:
    """Searches what is submitted, in a thread of its own, while used as a context manager.

    Leaving it stops it, and waits until the last search is done.
    """

    def __init__(
        self,
        search: Callable[[list[Asked]], Sequence[Recommendations]],
        limits: Limits,
        *,
        observe: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        """`search` makes the lists of requests of one K, in their order; `observe` hears of every batch, in the thread
        that searched it.
        """
        self._search, self._limits, self._observe = search, limits, observe
        self._waiting: list[_Waiting] = []
        self._stopped = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="search")

    def __enter__(self) -> "Batcher":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Take no more requests, and search those that wait at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    @property
    def stopped(self) -> bool:
        """Whether no more requests are taken."""
        return self._stopped

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether the thread searches what is submitted."""
        return self._thread.is_alive()

    def submit(self, asked: Asked) -> Future[Recommendations]:
        """The list to come. Cancel it, and unless its search has begun, nothing is searched for it.

        Where the search fails, its exception is that of the future. Raises FullError and StoppedError.
        """
        one = _Waiting(asked)
        with self._changed:
            if self._stopped:
                raise StoppedError
            self._forget_cancelled()
            if len(self._waiting) >= self._limits.queue:
                raise FullError
            self._waiting.append(one)
            self._changed.notify()
        return one.future

    def _work(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> "list[_Waiting]":
        """The next batch, when it is due; empty when nothing is to come any more."""
        with self._changed:
            while True:
                self._forget_cancelled()
                if not self._waiting and self._stopped:
                    return []
                if not self._waiting:
                    self._changed.wait()
                    continue
                oldest = self._waiting[0]
                batch = [one for one in self._waiting if one.asked.k == oldest.asked.k][: self._limits.batch_size]
                left = oldest.since + self._limits.wait - time.monotonic()
                if left > 0 and len(batch) < self._limits.batch_size and not self._stopped:
                    self._changed.wait(left)
                    continue
                self._waiting = [one for one in self._waiting if one not in batch]
                if begun := [one for one in batch if one.future.set_running_or_notify_cancel()]:
                    return begun

    def _answer(self, batch: "list[_Waiting]") -> None:
        begun, lists, failed = time.monotonic(), None, None
        try:
            lists = list(self._search([one.asked for one in batch]))
            if len(lists) != len(batch):
                raise ValueError(f"{len(lists)} lists for {len(batch)} requests")
        except Exception as error:
            # Whatever it is, it is the answer of these requests; the next ones may fare better.
            log.exception("the search of %d request(s) failed", len(batch))
            failed = error
        # Before they are answered, so that who has an answer finds it counted.
        self._observe(Batch([begun - one.since for one in batch], time.monotonic() - begun, None if failed else lists))
        for place, one in enumerate(batch):
            if failed:
                one.future.set_exception(failed)
            else:
                one.future.set_result(lists[place])

    def _forget_cancelled(self) -> None:
        self._waiting = [one for one in self._waiting if not one.future.cancelled()]


@dataclass(frozen=True, eq=False)
class _Waiting:
    asked: Asked
    future: "Future[Recommendations]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
