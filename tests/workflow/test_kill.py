"""A workflow killed at any moment is finished by calling it again."""

import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from killing import children, wait
from specbeam.measurement import records

pytestmark = pytest.mark.slow


def _kill_at(checkout, log: str) -> None:
    """Run Snakemake until a job whose log matches has begun, kill it, and see that it takes all its jobs along."""
    logs = checkout.folder / "results/smoke/synthetic/logs"
    assert not list(logs.glob(log)), f"{log}: began in an earlier part, so this would wait in vain"
    with subprocess.Popen(
        checkout.command(),
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as workflow:
        wait(lambda: list(logs.glob(log)) or workflow.poll() is not None, seconds=300)
        jobs = children(workflow.pid)
        os.kill(workflow.pid, signal.SIGKILL)
    assert jobs, f"{log}: nothing ran when the workflow was killed"
    wait(lambda: not any(Path(f"/proc/{job}").exists() for job in jobs), seconds=60)


MOMENTS = (
    "prepare_dataset.log",
    "train_target.log",
    "record_trajectories/*.log",
    "align_draft/*/*.log",
    "time_methods/*.log",
    "summarise_run.log",
)
"""Logs of jobs at which one run is killed; each begins only after the one before has ended."""


def test_a_run_killed_in_one_stage_after_the_other_ends_like_an_undisturbed_one(checkout, finished):
    for log in MOMENTS:
        _kill_at(checkout, log)
    killed, whole = (place.folder / "results/smoke/synthetic" for place in (checkout, finished))
    half_written = killed / "target/.model.1.part"
    half_written.mkdir()
    last = checkout.snakemake()

    assert last.returncode == 0, last.stdout
    assert not half_written.exists()
    assert checkout.planned() == {}
    assert _files(killed) == _files(whole)
    for path in ("target/lists.parquet", "target/ranking.csv", "target/loss.csv", "drafts/atspeed_s/seed-1/loss.csv"):
        assert (killed / path).read_bytes() == (whole / path).read_bytes(), path
    for kind in ("evaluation", "timing"):
        assert_frame_equal(_measured(killed, kind), _measured(whole, kind), check_exact=True)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _measured(folder: Path, kind: str) -> pd.DataFrame:
    """All records of a kind, without seconds."""
    frame = records.read(sorted((folder / "measurement" / kind).rglob("*.parquet")), kind)
    return frame.drop(columns=["seconds", *records.PHASES], errors="ignore")
