"""The cluster, and calls of Snakemake that submit to it."""

import os
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from checkouts import Checkout, copied
from slurm_for_tests import Cluster, missing, wait


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running Slurm. Where the machine has none, tests are skipped with a warning, or fail if it is required."""
    if lacking := missing():
        message = f"no {', '.join(lacking)} here: apt-get install slurmctld slurmd slurm-client munge"
        if os.environ.get("SPECBEAM_REQUIRE_SLURM") == "1":
            pytest.fail(message)
        warnings.warn(f"tests on a real Slurm are SKIPPED: {message}", stacklevel=1)
        pytest.skip(message)
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@dataclass(frozen=True)
class Submitting:
    """A checkout whose jobs go to the cluster, through the project's profile."""

    checkout: Checkout
    cluster: Cluster

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake, begun; its stdout holds all that the user would see."""
        paths = f"{self.checkout.folder / 'src'}:{self.cluster.folder / 'python'}"
        command = self.checkout.command(*arguments, "--profile", "workflow/profiles/slurm", "--latency-wait", "20")
        at = command.index("--cores")  # of a cluster: as many as it has
        return subprocess.Popen(
            [*command[:at], "--jobs", "4", *command[at + 2 :]],
            cwd=self.checkout.folder,
            env=self.cluster.environment(PYTHONPATH=paths, OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, begun: subprocess.Popen) -> str:
        """What a call has said when it has ended, successfully."""
        said, _ = begun.communicate(timeout=1200)
        assert begun.returncode == 0, said
        return said

    def call(self, *arguments: str) -> str:
        """A call from beginning to successful end; what it says."""
        return self.finish(self.start(*arguments))

    def jobs(self, rule: str = "") -> list[dict[str, str]]:
        """Slurm's records of this checkout's jobs, or of those of one rule or group."""
        found = self.cluster.jobs(self.checkout.folder)
        return [job for job in found if job["Comment"].startswith(f"rule_{rule}")]

    def frozen(self, rule: str, log: str) -> str:
        """Wait until a rule's newest job computes, stop its processes where they stand, and give its Slurm id."""
        wait((self.checkout.folder / "results/smoke" / log).exists, seconds=300)
        job = self.jobs(rule)[-1]["JobId"]
        wait(
            lambda: (pids := self._computing(job)) and not any(os.kill(pid, signal.SIGSTOP) for pid in pids),
            seconds=300,
        )
        return job

    def _computing(self, job: str) -> list[int]:
        listed = [int(line.split()[0]) for line in self.cluster.ask("scontrol", "listpids", job).splitlines()[1:]]
        commands = {pid: Path(f"/proc/{pid}/cmdline") for pid in listed}
        return [
            pid for pid, command in commands.items() if command.exists() and b"\0specbeam\0" in command.read_bytes()
        ]

    def copy(self, folder: Path) -> "Submitting":
        """The same checkout elsewhere, with its results and what Snakemake knows of them."""
        shutil.copytree(self.checkout.folder, folder, symlinks=True)
        return Submitting(Checkout(folder), self.cluster)


@pytest.fixture(scope="module")
def submitting(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Submitting:
    """A fresh checkout."""
    return Submitting(copied(tmp_path_factory.mktemp("submitting")), cluster)
