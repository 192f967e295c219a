"""GPUs of one machine, each for one job at a time.

Snakemake counts GPUs (`--resources gpu=4`) but does not say which a job has, and every job would take the first. So a
job takes free ones itself, by locks that the kernel drops with the process. On a cluster the scheduler does this.
"""

import fcntl
import os
import tempfile
import time
from pathlib import Path
from typing import IO

from specbeam.errors import SpecbeamError

VARIABLE = "SPECBEAM_GPUS"
"""Environment variable in which the workflow lists the GPUs that its jobs share, as CUDA_VISIBLE_DEVICES would."""
_held: list[IO[str]] = []


def claim(count: int) -> None:
    """Take `count` of the GPUs that VARIABLE lists, until this process ends, and let CUDA see no other.

    Waits until so many are free; call it before CUDA starts. Does nothing without the variable, or when called again.
    Raises SpecbeamError when fewer are listed.
    """
    listed = os.environ.get(VARIABLE, "")
    if not listed:
        return
    gpus = listed.split(",")
    if count > len(gpus):
        raise SpecbeamError(f"expected at most the {len(gpus)} GPU(s) that there are for all jobs, got {count} for one")
    folder = Path(tempfile.gettempdir()) / f"specbeam-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while len(taken := _free(gpus, count, folder)) < count:
        for handle in taken.values():
            handle.close()
        time.sleep(0.5)
    _held.extend(taken.values())
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    del os.environ[VARIABLE]


def _free(gpus: list[str], count: int, folder: Path) -> dict[str, IO[str]]:
    """Up to `count` GPUs that nobody holds, now locked."""
    taken: dict[str, IO[str]] = {}
    for gpu in gpus:
        if len(taken) == count:
            break
        handle = (folder / f"{gpu}.lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
        else:
            taken[gpu] = handle
    return taken
