"""Wall time of a call, work that a GPU still does included."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def timed(call: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Seconds that `call` took, and what it returned; `device` is idle before and after."""
    wait(device)
    start = time.perf_counter()
    result = call()
    wait(device)
    return time.perf_counter() - start, result


def median_seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median of `repeats` calls after a first one that does not count."""
    return statistics.median([timed(call, device)[0] for _ in range(repeats + 1)][1:])


def wait(device: torch.device) -> None:
    """Until `device` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
