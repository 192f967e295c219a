"""A job ends with the workflow that started it, also where a container's starter stands between them and lives on."""

import subprocess
import sys
import time

from specbeam import parent

JOB = "import time; from specbeam import parent; parent.watch(); print('runs', flush=True); time.sleep(30)"
STARTED = ["bash", "-c", '"$@" & wait $!', "starter", sys.executable, "-c", JOB]


def test_a_job_ends_when_the_process_that_its_variable_names_is_gone(monkeypatch):
    with subprocess.Popen(["sleep", "30"]) as workflow:
        monkeypatch.setenv(parent.VARIABLE, str(workflow.pid))
        with subprocess.Popen(STARTED, stdout=subprocess.PIPE) as starter:
            assert starter.stdout.readline() == b"runs\n"
            time.sleep(1.5)  # longer than a look at the process takes to come
            assert starter.poll() is None
            workflow.kill()
            workflow.wait()
            assert starter.wait() == 143  # SIGTERM


def test_a_job_that_no_workflow_started_goes_on(monkeypatch):
    monkeypatch.delenv(parent.VARIABLE, raising=False)
    with subprocess.Popen(STARTED[-3:], stdout=subprocess.PIPE) as job:
        assert job.stdout.readline() == b"runs\n"
        time.sleep(1.5)
        assert job.poll() is None
        job.kill()
