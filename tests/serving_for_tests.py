"""Waiting for what other threads and processes do."""

import time
from collections.abc import Callable

SOON = 60.0
"""Seconds within which comes what comes at once, on however busy a machine."""


def until(holds: Callable[[], bool]) -> None:
    """Return when `holds` does; AssertionError if that takes too long."""
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
