"""A workflow killed at any moment is finished by calling it again."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def _jobs_below(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def _wait(condition, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_killed_run_takes_its_jobs_along_and_the_next_call_finishes_it(checkout):
    run = checkout.folder / "results/smoke/synthetic"
    with subprocess.Popen(
        checkout.command("target"),
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        _wait(lambda: (run / "logs/train_target.log").exists(), seconds=120)
        jobs = _jobs_below(first.pid)
        os.kill(first.pid, signal.SIGKILL)
    assert jobs
    _wait(lambda: not any(Path(f"/proc/{job}").exists() for job in jobs), seconds=10)

    half_written = run / "target/.model.1.part"
    half_written.mkdir(parents=True, exist_ok=True)
    again = checkout.snakemake("target")

    assert again.returncode == 0, again.stdout
    assert (run / "target/ranking.csv").stat().st_size > 0
    assert not half_written.exists()
    assert checkout.planned("target") == {}
