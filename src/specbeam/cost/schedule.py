"""When jobs end that wait for each other and share a number of workers."""

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A job as the scheduler sees it."""

    name: str
    seconds: float
    after: tuple[str, ...] = ()
    workers: int = 1
    """That it takes while it runs; none for what needs no GPU."""


def longest_chain(tasks: Sequence[Task]) -> list[Task]:
    """Tasks that wait each for the one before and take longest together; `tasks` come after those they wait for."""
    before: dict[str, list[Task]] = {}
    for task in tasks:
        chain = max((before[name] for name in task.after), key=_seconds, default=[])
        before[task.name] = [*chain, task]
    return max(before.values(), key=_seconds, default=[])


def wall(tasks: Sequence[Task], workers: int) -> float:
    """Seconds until all are done; free workers take the ready task with the longest way to the end.

    A task that asks for more workers than there are gets all of them, and takes as much longer.
    """
    urgency, followers = _urgency(tasks), defaultdict(list)
    waiting = {task.name: len(task.after) for task in tasks}
    for task in tasks:
        for name in task.after:
            followers[name].append(task)
    ready = [(-urgency[task.name], task.name, task) for task in tasks if not task.after]
    heapq.heapify(ready)
    running: list[tuple[float, str, int]] = []
    now, free = 0.0, workers
    while ready or running:
        while ready and (taken := min(ready[0][2].workers, workers)) <= free:
            task = heapq.heappop(ready)[2]
            free -= taken
            heapq.heappush(running, (now + task.seconds * max(task.workers, 1) / max(taken, 1), task.name, taken))
        now, done, taken = heapq.heappop(running)
        free += taken
        for task in followers[done]:
            waiting[task.name] -= 1
            if not waiting[task.name]:
                heapq.heappush(ready, (-urgency[task.name], task.name, task))
    return now


def _urgency(tasks: Sequence[Task]) -> Mapping[str, float]:
    """Seconds from a task's start to the end of the longest chain after it."""
    left: dict[str, float] = defaultdict(float)
    for task in reversed(tasks):
        left[task.name] += task.seconds
        for name in task.after:
            left[name] = max(left[name], left[task.name])
    return left


def _seconds(chain: Sequence[Task]) -> float:
    return sum(task.seconds for task in chain)
