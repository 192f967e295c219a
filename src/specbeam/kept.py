"""What a job on Slurm has finished, kept aside until the call of Snakemake that wanted it ends well.

Jobs that share a submission fail together: Snakemake removes the results of all of them, and the next attempt runs all
again. So each keeps copies of its results, and an equal job, with the same code, settings and inputs, takes them back.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specbeam import files

SUFFIX = ".kept"


def beside(result: Path) -> Path:
    """The folder where what belongs to `result` is kept."""
    return result.with_name(f".{result.name}{SUFFIX}")


def identity(job: Mapping[str, Any], inputs: Sequence[Path]) -> str:
    """What two jobs share whose results are the same: `job`, and the sizes and times of all files in `inputs`."""
    seen = {}
    for place in inputs:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                seen[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
    return json.dumps({"job": job, "inputs": seen}, sort_keys=True)


def keep(results: Sequence[Path], job: str) -> None:
    """Copy the files `results` of the job of that identity, in the folder beside the first."""
    with files.replacing(beside(results[0])) as folder:
        folder.mkdir()
        copies = [Path(shutil.copy2(path, folder / str(number))) for number, path in enumerate(results)]
        (folder / "job").write_text(_sealed(job, copies), encoding="utf-8")


def take(results: Sequence[Path], job: str) -> bool:
    """Put `results` back in their places if the job of that identity has left them; whether it has.

    What was damaged since counts as not left.
    """
    folder = beside(results[0])
    copies = [folder / str(number) for number in range(len(results))]
    if not all(path.is_file() for path in (folder / "job", *copies)):
        return False
    if (folder / "job").read_bytes() != _sealed(job, copies).encode():
        return False
    for copy, path in zip(copies, results, strict=True):
        with files.replacing(path) as temporary:
            shutil.copy2(copy, temporary)
    return True


def _sealed(job: str, copies: Sequence[Path]) -> str:
    """The job, and a digest of each of its results."""
    digests = []
    for path in copies:
        with path.open("rb") as content:
            digests.append(hashlib.file_digest(content, "blake2b").hexdigest())
    return "\n".join([job, *digests])


def forget(run: Path) -> None:
    """Nothing in the folder `run` is wanted any more."""
    for folder in list(run.rglob(f".*{SUFFIX}")):
        files.remove(folder)
