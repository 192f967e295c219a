"""Ending with the workflow that started this job.

A killed Snakemake leaves its jobs running: beside the next call's they would do the same work twice, and disturb its
timing.
"""

import os
import signal
import threading
import time
from pathlib import Path

VARIABLE = "SPECBEAM_PARENT"
"""Environment variable in which the workflow names its process to its jobs."""


def watch() -> None:
    """From now on, end this process when the one that VARIABLE names is gone; nothing without it."""
    if parent := os.environ.get(VARIABLE):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()


def _end_with(parent: int) -> None:
    above = os.getppid()  # the workflow itself, or a container's starter, which outlives it
    while os.getppid() == above and Path(f"/proc/{parent}").exists():
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
