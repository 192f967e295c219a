"""A killed training goes on to the very same result; what another job left is never misread."""

import logging
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import training_for_tests
from pretrained_for_tests import CATALOGUE, save_pretrained
from specbeam import models
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import LoraSettings, ModelSettings
from specbeam.target.train import Sample
from specbeam.training import fit, fit_and_save
from training_for_tests import (
    CPU,
    Line,
    dropout_model,
    language_task,
    line_task,
    points,
    settings,
    squares,
    watched,
)  # fmt: skip

STEPS = 4  # an epoch of 32 points


class EndOfProcessError(Exception):
    """Stands for whatever ends a process."""


def train(folder, task=None, *, seed=1, model=None, **changes):
    """Weights, losses and the number of steps made of a training of the line."""
    made = []
    task = watched(task or line_task(), made.append)
    own = settings(**{"checkpoint_minutes": 0, **changes})
    line, losses = fit(model or Line(), task, own, seed=seed, device=CPU, name="line", checkpoint=folder)
    return torch.cat([line.weight.data, line.bias.data]), losses, len(made)


def stopped_at(task, step):
    """The task, of which a step (from 1) raises."""

    def stop(number):
        if number == step:
            raise EndOfProcessError

    return watched(task, stop)


def interrupted(folder, step, task=None, **changes):
    """Train until the step of that number, from 1, is to be made."""
    with pytest.raises(EndOfProcessError):
        train(folder, stopped_at(task or line_task(), step), **changes)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("minutes", "replayed"), [(0, 0), (1000, 1)], ids=["checkpoint at each step", "checkpoint at each epoch"]
)
def test_a_training_killed_in_mid_epoch_ends_with_the_same_weights_and_losses(tmp_path, minutes, replayed):
    program = [sys.executable, training_for_tests.__file__, tmp_path, str(minutes), "5"]  # 3 steps are an epoch
    killed = subprocess.run(program, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    def run(task, folder):
        own = settings(checkpoint_minutes=minutes)
        model, losses = fit(dropout_model(), task, own, seed=5, device=CPU, name="count", checkpoint=folder)
        return model.state_dict(), losses

    made = []
    weights, losses = run(watched(language_task(), made.append), tmp_path)
    expected, expected_losses = run(language_task(), None)
    assert len(made) == 9 - 4 + replayed
    pd.testing.assert_frame_equal(losses, expected_losses, check_exact=True)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("step", [1, 2, STEPS, STEPS + 1, STEPS + 2, 2 * STEPS + 1, 3 * STEPS])
def test_wherever_it_is_interrupted_a_training_makes_only_the_steps_that_are_left(tmp_path, step):
    weights, losses, _ = train(None)
    interrupted(tmp_path, step)
    resumed_weights, resumed_losses, made = train(tmp_path)
    assert made == 3 * STEPS - (step - 1)
    assert torch.equal(resumed_weights, weights)
    assert resumed_losses.equals(losses)


def test_inside_an_epoch_there_are_checkpoints_only_when_the_minutes_have_passed(tmp_path):
    for minutes, expected in ((0, True), (1000, False)):
        interrupted(tmp_path / str(minutes), 2, checkpoint_minutes=minutes)
        assert (tmp_path / str(minutes) / "last.safetensors").exists() == expected


def test_the_best_epoch_from_before_an_interruption_is_still_the_one_that_is_kept(tmp_path):
    def valid_loss(model, batch):
        return {"loss": -squares(model, batch)["loss"]}  # worse every epoch

    task = line_task(valid_loss=valid_loss)
    weights, losses, _ = train(None, task)
    interrupted(tmp_path, 2 * STEPS + 2, task)
    resumed, resumed_losses, _ = train(tmp_path, task)
    assert losses["kept"].tolist() == resumed_losses["kept"].tolist() == [True, False, False]
    assert torch.equal(resumed, weights)


def test_early_stopping_counts_the_epochs_from_before_an_interruption(tmp_path):
    task = line_task(valid_loss=lambda model, batch: {"loss": torch.tensor(1.0)})
    interrupted(tmp_path, 2 * STEPS + 2, task, epochs=9, patience=2)
    _, losses, _ = train(tmp_path, task, epochs=9, patience=2)
    assert losses["epoch"].tolist() == [1, 2, 3]


def test_a_finished_training_returns_its_result_without_a_step(tmp_path):
    weights, losses, _ = train(tmp_path)
    again, losses_again, made = train(tmp_path)
    assert made == 0
    assert torch.equal(again, weights)
    pd.testing.assert_frame_equal(losses_again, losses, check_exact=True)


def test_the_last_and_the_best_epoch_are_kept_and_nothing_else(tmp_path):
    at_epochs = []
    task = line_task(valid_loss=lambda model, batch: {"loss": torch.tensor([2.0, 1.0, 3.0][len(at_epochs)])})
    task.assess = lambda model: at_epochs.append(model.weight.item()) or {}
    weights, _, _ = train(tmp_path, task)
    assert files(tmp_path) == ["best-2.safetensors", "last.safetensors"]
    assert load_file(tmp_path / "last.safetensors").keys() == {"model/weight", "model/bias"}
    assert load_file(tmp_path / "last.safetensors")["model/weight"].item() == at_epochs[2]
    assert load_file(tmp_path / "best-2.safetensors")["weight"].item() == at_epochs[1] == weights[0]


OTHERS = {
    "settings": {"learning_rate": 0.002},
    "data": {"task": line_task(31)},
    "data, since the loss depends on it": {"task": replace(line_task(), depends_on=["alpha", 0.1])},
    "seed": {"seed": 2},
}


@pytest.mark.parametrize("kind", [*OTHERS, "model"])
def test_what_another_job_left_is_ignored_with_the_reason_in_the_log(tmp_path, caplog, kind):
    def other():
        if kind != "model":
            return OTHERS[kind]
        line = Line()
        line.weight.data += 1
        return {"model": line}

    interrupted(tmp_path, STEPS + 2)
    with caplog.at_level(logging.INFO):
        weights, losses, made = train(tmp_path, **other())
    assert f"is of a job with other {kind.partition(',')[0]}: training from the start" in caplog.text
    expected, expected_losses, _ = train(None, **other())
    assert made == 3 * STEPS
    assert torch.equal(weights, expected)
    assert losses.equals(expected_losses)


def test_code_and_libraries_that_changed_make_another_job(tmp_path, caplog, monkeypatch):
    interrupted(tmp_path, 2)
    monkeypatch.setattr("specbeam.checkpoints.code_digest", lambda module: f"new {module}")
    monkeypatch.setattr("specbeam.checkpoints.version", lambda name: "6.0")
    with caplog.at_level(logging.INFO):
        _, _, made = train(tmp_path)
    assert "is of a job with other code, libraries" in caplog.text
    assert made == 3 * STEPS


def test_the_time_between_checkpoints_makes_no_other_job(tmp_path):
    interrupted(tmp_path, 3)
    assert train(tmp_path, checkpoint_minutes=5)[2] == 3 * STEPS - 2


@pytest.mark.parametrize("content", [b"", b"no tensors", None], ids=["empty", "text", "cut short"])
def test_a_checkpoint_that_cannot_be_read_is_named_in_the_log_and_replaced(tmp_path, caplog, content):
    interrupted(tmp_path, 3)
    last = tmp_path / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-1] if content is None else content)
    assert train(tmp_path)[2] == 3 * STEPS
    assert f"line: {tmp_path} cannot be read" in caplog.text
    assert train(tmp_path)[2] == 0


def test_a_loss_that_is_not_finite_leaves_the_checkpoint_before_it(tmp_path):
    steps = []

    def fails(model, batch):
        return {"loss": squares(model, batch)["loss"] * (float("nan") if len(steps) == STEPS + 3 else 1)}

    task = watched(line_task(), steps.append)
    task.loss = lambda model, batch, inner=task.loss: (inner(model, batch), fails(model, batch))[1]
    with pytest.raises(SpecbeamError, match="expected a finite loss, got nan at step 7"):
        train(tmp_path, task)
    weights, losses, made = train(tmp_path)
    expected, expected_losses, _ = train(None)
    assert made == 3 * STEPS - (STEPS + 2)
    assert torch.equal(weights, expected)
    assert losses.equals(expected_losses)


def test_when_model_and_losses_are_written_the_last_epoch_is_left_and_the_next_call_trains_again(tmp_path):
    made = []

    def run():
        files = {"model": tmp_path / "model", "losses": tmp_path / "loss.csv"}
        task = watched(language_task(), made.append)
        fit_and_save(dropout_model(), task, settings(), seed=5, device=CPU, name="count", **files)
        return [Path(path).read_bytes() for path in (tmp_path / "loss.csv", tmp_path / "model/model.safetensors")]

    first = run()
    assert files(tmp_path / "model-checkpoint") == ["last.safetensors"]
    assert run() == first
    assert len(made) == 2 * 9


def test_no_folder_keeps_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(None)
    assert not files(tmp_path)


def test_adapters_are_resumed_on_a_base_that_no_checkpoint_holds(tmp_path):
    own = ModelSettings(base=str(save_pretrained(tmp_path / "base")), lora=LoraSettings(rank=2, dropout=0.3))
    tokenizer = build_tokenizer(CATALOGUE, model=own)
    task = language_task()
    task.train = task.valid = [Sample([token % len(tokenizer) for token in s.tokens], 2) for s in task.train]

    def run(folder, task):
        model = models.create(own, tokenizer, seed=1, items=CATALOGUE.tokens)
        training = settings(checkpoint_minutes=0, learning_rate=0.1)
        return fit(model, task, training, seed=1, device=CPU, name="adapters", checkpoint=folder)[0].state_dict()

    with pytest.raises(EndOfProcessError):
        run(tmp_path / "state", stopped_at(task, 5))
    assert not any("base_layer" in name for name in load_file(tmp_path / "state/last.safetensors"))
    weights, expected = run(tmp_path / "state", task), run(None, task)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@dataclass(frozen=True)
class Point:
    """A sample with arrays in it."""

    at: np.ndarray
    label: list[torch.Tensor]

    def __len__(self):
        return 1


def test_samples_are_told_apart_by_the_arrays_in_them(tmp_path):
    def task(moved):
        samples = [Point(np.array([x]), [torch.tensor(y)]) for x, y in points(8)]
        samples[3].label[0] += moved
        collate = lambda batch: torch.tensor([[point.at[0], point.label[0]] for point in batch])  # noqa: E731
        return replace(line_task(), train=samples, valid=samples, collate=collate)

    interrupted(tmp_path, 2, task(0.0))
    assert train(tmp_path, task(0.0))[2] == 2
    assert train(tmp_path, task(1e-3))[2] == 3
