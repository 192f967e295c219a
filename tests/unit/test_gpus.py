"""Jobs of one machine take GPUs of their own."""

import os
import subprocess
import sys

import pytest

from specbeam import gpus
from specbeam.errors import SpecbeamError

CLAIM = """
import os, sys
from specbeam import gpus
gpus.claim(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES", "all"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path):
    """Start a process that claims GPUs and then waits."""
    running = []

    def start(count, listed):
        own = {**os.environ, "TMPDIR": str(tmp_path), gpus.VARIABLE: listed}
        own.pop("CUDA_VISIBLE_DEVICES", None)
        command = [sys.executable, "-c", CLAIM, str(count)]
        running.append(subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_jobs_beside_each_other_see_different_gpus(job):
    seen = [job(count, "0,1,2,3").stdout.readline().strip() for count in (1, 2, 1)]
    assert seen == ["0", "1,2", "3"]


def test_a_killed_job_leaves_its_gpu_to_the_next_which_waits_for_it(job):
    first = job(1, "GPU-7")
    assert first.stdout.readline().strip() == "GPU-7"
    second = job(1, "GPU-7")
    assert second.poll() is None
    first.kill()
    assert second.stdout.readline().strip() == "GPU-7"


def test_without_a_list_all_gpus_are_seen(job):
    assert job(1, "").stdout.readline().strip() == "all"


def test_more_gpus_than_there_are_would_be_waited_for_in_vain(monkeypatch):
    monkeypatch.setenv(gpus.VARIABLE, "0,1")
    with pytest.raises(SpecbeamError, match=r"at most the 2 GPU\(s\) .* got 3"):
        gpus.claim(3)
