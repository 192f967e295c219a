"""Kills of every stage at random moments, many in one run; then one plain call ends like a run that nothing disturbed.

    SPECBEAM_KILLS=50 pytest tests/workflow/test_kills.py

kills as many times, spread evenly over the stages, which takes about ten minutes; SPECBEAM_KILLS_SEED draws other
moments. Without the variable it is skipped: test_kill.py is what runs at every change.
"""

import logging
import os
import random
import subprocess
import time

import pandas as pd
import pytest

from checkouts import EVERYTHING, SMALL, SMALL_RUN, Checkout, small
from killing import KILLED, descendants, kill, wait, words
from same_results import assert_same

log = logging.getLogger(__name__)

KILLS, SEED = (int(os.environ.get(name, usual)) for name, usual in (("SPECBEAM_KILLS", 0), ("SPECBEAM_KILLS_SEED", 1)))

STAGES = {
    "generate_synthetic": ["generate-synthetic"],
    "read_interactions": ["read-interactions"],
    "embed_items": ["embed-items"],
    "identify_items": ["identify-items"],
    "prepare_dataset": ["prepare"],
    "train_target": ["train-target"],
    "rate_baselines": ["rate-baselines"],
    "recommend_items": ["infer-target"],
    "record_trajectories": ["record-trajectories", "train"],
    "record_validation": ["record-trajectories", "valid"],
    "train_draft": ["train-draft"],
    "align_draft": ["align"],
    "evaluate_draft": ["evaluate"],
    "record_search": ["record-search"],
    "time_methods": ["time"],
    "plot_figure": ["plot"],
    "plot_ablations": ["plot", "ablations"],
    "summarise_run": ["summarise"],
    "write_page": ["page"],
}
"""Rules, in the order of a run, and what tells their jobs' command lines apart: the verb, and a word behind it."""
VICTIMS = {"the job": 2, "snakemake and all its jobs": 2, "snakemake": 1}
"""What is killed, and how often of five times."""


@pytest.mark.skipif(not KILLS, reason="takes ten minutes: set SPECBEAM_KILLS=50 to kill so many times")
def test_a_run_killed_at_random_moments_of_every_stage_ends_like_an_undisturbed_one(undisturbed, tmp_path):
    whole, killed = undisturbed, small(tmp_path)
    draw, usual = random.Random(SEED), _durations(whole)
    assert usual.keys() == STAGES.keys(), "a stage is missing here"
    for number, stage in enumerate(STAGES):
        for _ in range(KILLS // len(STAGES) + (number < KILLS % len(STAGES))):
            _kill(killed, stage, usual[stage], draw)
    done = killed.snakemake(*EVERYTHING, config=SMALL)

    assert done.returncode == 0, done.stdout
    assert killed.planned(*EVERYTHING, config=SMALL) == {}
    assert sum(KILLED.values()) >= KILLS
    assert_same(whole.folder / SMALL_RUN, killed.folder / SMALL_RUN)


def _kill(place: Checkout, stage: str, usual: float, draw: random.Random) -> None:
    """Kill one job of `stage` while it runs. Where it was done before its moment came, it is made to run again."""
    for again in ([], *[["--forcerun", stage, "--until", stage]] * 5):
        victim = draw.choices([*VICTIMS], weights=[*VICTIMS.values()])[0]
        if _killed(place, stage, draw.random() * usual, victim, again):
            KILLED[stage, victim] += 1
            log.info("%s: killed %s, kill %d", stage, victim, KILLED.total())
            return
    pytest.fail(f"{stage}: was never running when its moment came")


def _killed(place: Checkout, stage: str, seconds: float, victim: str, again: list[str]) -> bool:
    """Run Snakemake until a job of `stage` has run for `seconds`, and kill; whether the job was still running then."""
    command = place.command(*EVERYTHING, *again, config=SMALL)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=place.folder, env=place.environment(), **quiet) as workflow:
        wait(lambda: _jobs(workflow.pid, stage) or workflow.poll() is not None, seconds=1800)
        jobs = _jobs(workflow.pid, stage)
        time.sleep(seconds if jobs else 0)
        job = next((pid for pid in jobs if _is(pid, stage)), None)
        everything = [workflow.pid, *descendants(workflow.pid)]
        chosen = {"the job": [job], "snakemake": [workflow.pid]}.get(victim, everything)
        for pid in chosen if job else everything:
            kill(pid)
        workflow.wait(timeout=1800)
    wait(lambda: not any(map(words, everything)), seconds=60)  # what outlives Snakemake ends by itself
    return job is not None


def _jobs(workflow: int, stage: str) -> list[int]:
    return [pid for pid in descendants(workflow) if _is(pid, stage)]


def _is(pid: int, stage: str) -> bool:
    """Whether a process runs the verb of a stage, and not of one whose command line says more."""
    _, *said = words(pid) or [""]
    if said[:2] != ["-m", "specbeam"]:
        return False
    fitting = [name for name, (verb, *more) in STAGES.items() if said[2:3] == [verb] and {*more} <= {*said[3:]}]
    return max(fitting, key=lambda name: len(STAGES[name]), default="") == stage


def _durations(place: Checkout) -> dict[str, float]:
    """The mean seconds of each rule's jobs."""
    found: dict[str, list[float]] = {}
    for path in (place.folder / SMALL_RUN).rglob("benchmarks/**/*.tsv"):
        parts = path.relative_to(place.folder / SMALL_RUN).with_suffix("").parts
        rule = next(part for part in parts[parts.index("benchmarks") + 1 :] if part in STAGES)
        found.setdefault(rule, []).append(pd.read_csv(path, sep="\t")["s"].item())
    return {rule: sum(found[rule]) / len(found[rule]) for rule in STAGES if rule in found}
