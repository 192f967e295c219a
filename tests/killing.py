"""Processes of a running workflow, waiting for what they do, and what was killed of them."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

KILLED: Counter[tuple[str, str]] = Counter()
"""(stage, what was killed) -> kills that met the stage while it ran."""


def _parents() -> dict[int, int]:
    """Process -> its parent; what has ended and waits to be asked how is left out."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    return [child for child, parent in _parents().items() if parent == pid]


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, those that it started itself first."""
    parents, found = _parents(), [pid]
    for above in found:  # grows on the way
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def words(pid: int) -> list[str]:
    """The command line of a process, empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill(pid: int) -> None:
    """Kill -9; what has ended is left alone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait(condition: Callable[[], object], *, seconds: float) -> None:
    """Return once `condition` holds; the test fails if it takes longer than `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
