"""Two processes that share every batch train the same model as one; real ones, on this machine's loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from specbeam import launch
from specbeam.errors import SpecbeamError
from specbeam.stages import StageSettings
from specbeam.target.train import train_target
from tiny_run import CONFIG

pytestmark = pytest.mark.slow

SPECBEAM = ["-m", "specbeam"]
OUTER = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=1", "--num_processes=2"]
OUTER += ["--main_process_port=0", "--mixed_precision=no", "--dynamo_backend=no", "--module", "specbeam"]


@dataclass(frozen=True)
class Training:
    """A training of the tiny target into a folder of its own."""

    folder: Path
    prepared: Path
    processes: int

    @property
    def settings(self):
        # 125 windows or so: the last batch has fewer samples than the others, and parts are smaller than shares.
        training = {"epochs": 4, "batch_size": 9, "micro_batch_size": 3, "processes": self.processes}
        training |= {"learning_rate": 1e-2, "precision": "float32", "checkpoint_minutes": 0}
        sections = {name: CONFIG[name] for name in ("seed", "device", "prompt")}
        return {**sections, "target": {"model": CONFIG["target"]["model"], "training": training}}

    @property
    def files(self):
        return {"prepared": self.prepared, "model": self.folder / "model", "losses": self.folder / "loss.csv"}

    def command(self, program=SPECBEAM):
        files = [part for name, path in self.files.items() for part in (f"--{name}", str(path))]
        return [sys.executable, *program, "train-target", *files, "--settings", json.dumps(self.settings),
                "--threads", "2"]  # fmt: skip

    def run(self, program=SPECBEAM):
        done = subprocess.run(self.command(program), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def losses(self):
        return pd.read_csv(self.folder / "loss.csv")

    def weights(self):
        return load_file(self.folder / "model/model.safetensors")


@pytest.fixture(scope="module")
def one(tiny_dataset, tmp_path_factory):
    """The training in one process."""
    training = Training(tmp_path_factory.mktemp("one"), tiny_dataset.prepared, processes=1)
    train_target(settings=StageSettings("train_target", training.settings), threads=1, **training.files)
    return training


@pytest.fixture(scope="module")
def two(tiny_dataset, tmp_path_factory):
    """The training in two, and its log."""
    training = Training(tmp_path_factory.mktemp("two"), tiny_dataset.prepared, processes=2)
    return training, training.run()


def test_two_processes_train_the_same_model_as_one(one, two):
    _assert_equal(two[0], one)


def test_only_the_main_process_writes_and_logs(two):
    training, log = two
    assert log.count("epoch 4 of 4") == 1
    assert {path.name for path in training.folder.iterdir()} == {
        "model", "loss.csv", "model-checkpoint", "model.provenance.json",
    }  # fmt: skip


def test_a_launch_from_outside_is_honoured(one, tiny_dataset, tmp_path):
    training = Training(tmp_path, tiny_dataset.prepared, processes=1)
    assert training.run(OUTER).count("epoch 4 of 4") == 1
    _assert_equal(training, one)


def test_two_nodes_of_slurm_train_what_one_process_trains(one, tiny_dataset, tmp_path):
    training = Training(tmp_path, tiny_dataset.prepared, processes=2)
    step = {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "127.0.0.[1-2]"}
    step |= {"SLURM_JOB_ID": str(os.getpid()), "GLOO_SOCKET_IFNAME": "lo"}
    nodes = [
        subprocess.Popen(training.command(), env={**os.environ, **step, "SLURM_NODEID": rank}, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    said = [node.communicate(timeout=240)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert [b"epoch 4 of 4" in each for each in said] == [True, False]
    _assert_equal(training, one)


def test_processes_that_nodes_cannot_share_evenly_are_refused(monkeypatch):
    step = {"NUM_NODES": "2", "NUM_TASKS": "2", "NODELIST": "a,b"}
    for name, value in {"JOB_ID": "7", "NODEID": "0", **{f"STEP_{name}": of for name, of in step.items()}}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(SpecbeamError, match=r"training\.processes: expected a multiple of the 2 nodes .* got 3"):
        launch.run(train_target, 3, settings=StageSettings("train_target", {"device": "cpu"}), threads=2)


def test_killed_processes_end_together_and_are_resumed_to_the_very_same_result(two, tiny_dataset, tmp_path):
    killed = Training(tmp_path, tiny_dataset.prepared, processes=2)
    with subprocess.Popen(killed.command(), stderr=subprocess.DEVNULL) as launcher:
        _wait(lambda: (tmp_path / "model-checkpoint/last.safetensors").exists() or launcher.poll() is not None)
        workers = _children(launcher.pid)
        os.kill(launcher.pid, signal.SIGKILL)
    assert len(workers) == 2
    _wait(lambda: not any(_runs(worker) for worker in workers))
    assert not (tmp_path / "loss.csv").exists()

    assert "going on after step" in killed.run()
    whole, _ = two
    assert (tmp_path / "loss.csv").read_bytes() == (whole.folder / "loss.csv").read_bytes()
    assert all(torch.equal(weight, killed.weights()[name]) for name, weight in whole.weights().items())


def test_a_process_that_fails_ends_the_others_with_its_message_and_no_traceback(tiny_dataset, tmp_path):
    training = Training(tmp_path, tiny_dataset.prepared, 2)
    command = [part.replace('"learning_rate": 0.01', '"learning_rate": 1e30') for part in training.command()]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "specbeam: target: expected a finite" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_threads_are_divided_over_the_processes_of_a_machine(monkeypatch):
    given = {}
    for name, value in {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    settings = StageSettings("train_target", {"device": "cpu"})
    for threads, each in ((8, 4), (1, 1)):
        launch.run(lambda **options: given.update(options), 4, settings=settings, threads=threads)
        assert given["threads"] == each


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SpecbeamError, match=r"training\.processes: expected at most one for each of the 1 GPU"):
        launch.run(train_target, 2, settings=StageSettings("train_target", {"device": "cuda"}), threads=2)


def _assert_equal(first, second):
    pd.testing.assert_frame_equal(first.losses(), second.losses(), rtol=0, atol=1e-5)
    for name, weight in first.weights().items():
        torch.testing.assert_close(weight, second.weights()[name], rtol=0, atol=1e-5)


def _children(pid):
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _field(stat, 1) == str(pid)]


def _runs(pid):
    """Whether a process is there and no zombie."""
    return _field(Path(f"/proc/{pid}/stat"), 0) not in ("Z", "X", None)


def _field(stat, number):
    """One of the fields after a process's name; None when it is gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()[number]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _wait(condition, *, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
