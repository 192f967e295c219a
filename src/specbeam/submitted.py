"""Jobs that a killed Snakemake left on Slurm.

A job on this machine ends with its Snakemake (specbeam.parent); one on a cluster cannot know. So each run notes the
name under which Slurm has its jobs, and the next call on the same results ends those that are still there before it
clears and computes anything: two jobs would write the same files.
"""

import re
import subprocess
import time
from pathlib import Path

from specbeam import files
from specbeam.errors import SpecbeamError

RECORD = ".slurm-run"
"""File in a run's folder that holds the name of its jobs on Slurm, while there may be any."""

_NAME = re.compile(r"[^\s,]*[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Snakemake's names for the jobs of one call: a prefix that the user chose, perhaps, and a UUID."""


def note(folder: Path, name: str) -> None:
    """Write down the name that Slurm will know the jobs of the run in `folder` by, before any is submitted."""
    with files.replacing(folder / RECORD) as temporary:
        temporary.write_text(f"{name}\n", encoding="utf-8")


def forget(folder: Path) -> None:
    """The run in `folder` has ended, and all its jobs with it."""
    (folder / RECORD).unlink(missing_ok=True)


def end(folder: Path, *, seconds: float = 120) -> list[str]:
    """Cancel the jobs that an earlier call left of the run in `folder`, and wait until they are gone.

    Returns their Slurm ids, none when the run was not on Slurm. Call it with the run's lock held: nobody waits for
    these jobs then. Raises SpecbeamError when Slurm does not answer, or a job is still there after `seconds`.
    """
    record = folder / RECORD
    if not record.exists():
        return []
    name = files.read_text(record, expected="the name of a run's jobs on Slurm").strip()
    if not _NAME.fullmatch(name):  # `squeue --name=` lists, and scancel would end, jobs of all names
        raise SpecbeamError(
            f"{record}: expected the name of a run's jobs on Slurm, got {name[:80]!r}: it was damaged. End by hand "
            "what `squeue --me` still has of this run, then remove that file"
        )
    left = _queued(name, record)
    if left:
        _slurm("scancel", *left, record=record)
    until = time.monotonic() + seconds
    while still := left and _queued(name, record):
        if time.monotonic() > until:
            raise SpecbeamError(
                f"{folder}: expected the jobs of a killed snakemake to end within {seconds:.0f} s of scancel, but "
                f"Slurm still has {' '.join(still)}; see why with `squeue --jobs={','.join(still)}`, then call again"
            )
        time.sleep(0.5)
    forget(folder)
    return left


def _queued(name: str, record: Path) -> list[str]:
    """Ids of the jobs of that name which wait, run, or are being ended."""
    return _slurm("squeue", "--noheader", "--format=%i", f"--name={name}", record=record).split()


def _slurm(*command: str, record: Path) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise SpecbeamError(
            f"{record.parent}: jobs of an earlier snakemake may still run on Slurm, and `{command[0]}` cannot tell: "
            f"{said.strip()}. Call again where Slurm answers, or, if surely none runs, remove {record}"
        ) from None
