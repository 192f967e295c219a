"""The training loop: what is learned, which epoch is kept, when it stops, and that it can be repeated."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from models_for_tests import VOCABULARY, tiny_model
from specbeam.errors import SpecbeamError
from specbeam.target.train import _loss
from specbeam.training import Task, fit
from training_for_tests import CPU, Line, dropout_model, language_task, line_task, points, settings, squares


def train(task, seed=1, **changes):
    model, losses = fit(Line(), task, settings(**changes), seed=seed, device=CPU, name="line")
    return torch.cat([model.weight.data, model.bias.data]), losses


def scripted(values, weights):
    """A validation loss that gives `values` in turn, and notes the model's weight each time."""
    left = iter(values)

    def loss(model, batch):
        weights.append(model.weight.item())
        return {"loss": torch.tensor(next(left))}

    return loss


def test_a_language_model_learns_what_can_be_learned():
    model = tiny_model(seed=1, layers=1, peak=1.0)
    _, losses = fit(model, language_task(), settings(epochs=25, learning_rate=1e-2), seed=1, device=CPU, name="count")
    assert losses["train_loss"].iloc[0] > 0.8 * math.log(VOCABULARY)
    assert losses["valid_loss"].min() < 0.5


def test_losses_have_a_row_an_epoch_with_steps_and_one_kept():
    _, losses = train(line_task(20), epochs=4)
    assert list(losses.columns) == ["epoch", "step", "train_loss", "valid_loss", "kept"]
    assert losses["epoch"].tolist() == [1, 2, 3, 4]
    assert losses["step"].tolist() == [3, 6, 9, 12]  # 20 samples are 3 batches of at most 8
    assert losses["kept"].sum() == 1


def test_other_losses_of_the_task_are_recorded():
    task = line_task(valid_loss=lambda model, batch: {**squares(model, batch), "alignment": torch.tensor(0.25)})
    _, losses = train(task)
    assert losses["alignment"].tolist() == [0.25] * 3


def test_the_weights_of_the_best_epoch_are_returned():
    seen = []
    weights, losses = train(line_task(valid_loss=scripted([3.0, 1.0, 2.0, 2.5], seen)), epochs=4)
    assert losses["kept"].tolist() == [False, True, False, False]
    assert weights[0].item() == seen[1] != seen[3]


def test_training_stops_when_validation_has_not_improved_for_patience_epochs():
    _, losses = train(line_task(valid_loss=scripted([3.0, 1.0, 2.0, 1.0, 0.0], [])), epochs=5, patience=2)
    assert losses["valid_loss"].tolist() == [3, 1, 2, 1]  # an equal loss is no better one


def test_training_goes_on_when_validation_improves_within_patience():
    _, losses = train(line_task(valid_loss=scripted([3.0, 4.0, 2.0, 3.0, 1.0], [])), epochs=5, patience=2)
    assert len(losses) == 5
    assert losses["kept"].tolist() == [False] * 4 + [True]


def test_the_returned_model_is_in_eval_mode_and_computes_in_float32():
    model, _ = fit(
        tiny_model(seed=1, layers=1), language_task(), settings(precision="bfloat16"), seed=1, device=CPU, name="count"
    )
    tokens = torch.tensor([[3, 4, 5]])
    again = tiny_model(seed=1, layers=1)
    again.load_state_dict(model.state_dict())
    assert not model.training
    torch.testing.assert_close(model(tokens).logits, again(tokens).logits)


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    def run(seed):
        model, losses = fit(dropout_model(), language_task(), settings(), seed=seed, device=CPU, name="count")
        return model.state_dict(), losses

    (first, first_losses), (second, second_losses), (other, _) = run(5), run(5), run(6)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first_losses.equals(second_losses)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    train(line_task())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("micro", [1, 3, 4, 8, 100], ids=lambda micro: f"{micro} at a time")
def test_how_many_samples_a_pass_takes_does_not_change_the_result(micro):
    expected, expected_losses = train(line_task(21))  # the last batch is smaller than the others
    weights, losses = train(line_task(21), micro_batch_size=micro)
    torch.testing.assert_close(weights, expected)
    assert losses["train_loss"].tolist() == pytest.approx(expected_losses["train_loss"].tolist(), rel=1e-5)
    assert losses["step"].tolist() == expected_losses["step"].tolist()


def test_fewer_samples_than_a_batch_still_train():
    weights, losses = train(line_task(3), batch_size=64, micro_batch_size=1)
    assert losses["step"].tolist() == [1, 2, 3]
    assert weights.abs().min() > 0


def test_every_sample_is_seen_once_an_epoch():
    seen = []
    task = Task(
        points(19), points(4), torch.tensor, lambda m, b: seen.extend(b[:, 0].tolist()) or squares(m, b), squares
    )
    train(task, epochs=2, micro_batch_size=3)
    everything = sorted(torch.tensor(task.train)[:, 0].tolist())
    assert sorted(seen[:19]) == sorted(seen[19:]) == everything
    assert seen[:19] != seen[19:]


def test_validation_gives_every_sample_the_same_weight():
    task = line_task()
    task.valid = points(5)
    task.valid_loss = lambda model, batch: {"loss": batch[:, 0].mean()}
    _, losses = train(task, epochs=1, batch_size=4, micro_batch_size=4)
    assert losses["valid_loss"][0] == pytest.approx(torch.tensor(task.valid)[:, 0].mean().item(), rel=1e-5)


def test_batches_hold_samples_of_similar_lengths():
    lengths = []
    task = language_task()
    task.collate = lambda batch, inner=task.collate: lengths.append({len(s) for s in batch}) or inner(batch)
    fit(tiny_model(seed=1, layers=1), task, settings(epochs=1, batch_size=4), seed=1, device=CPU, name="count")
    assert all(max(batch) - min(batch) <= 1 for batch in lengths[:5])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_training_loss_that_is_not_finite_stops_with_a_message(value):
    task = Task(points(8), points(8), torch.tensor, lambda m, b: {"loss": squares(m, b)["loss"] * value}, squares)
    with pytest.raises(SpecbeamError, match=f"line: expected a finite loss, got {value} at step 1; lower the learning"):
        train(task)


def test_a_validation_loss_that_is_not_finite_stops_with_a_message():
    with pytest.raises(SpecbeamError, match="expected a finite validation loss, got nan"):
        train(line_task(valid_loss=scripted([math.nan], [])))


@pytest.mark.parametrize(("count", "valid"), [(0, 3), (3, 0)])
def test_training_on_nothing_is_refused(count, valid):
    task = Task(points(count), points(valid), torch.tensor, squares, squares)
    with pytest.raises(
        SpecbeamError, match=rf"line: nothing to train on \({count} training, {valid} validation samples"
    ):
        train(task)


def test_frozen_weights_stay_as_they_were():
    model = Line()
    model.bias.requires_grad_(False)
    model, _ = fit(model, line_task(), settings(), seed=1, device=CPU, name="line")
    assert model.bias.item() == 0 != model.weight.item()


def test_measures_of_the_task_are_columns_and_are_taken_in_eval_mode_after_each_epoch():
    taken = []

    def assess(model):
        taken.append(model.weight.item())
        return {"accepted": len(taken) / 4, "training": model.training}

    weights, losses = train(replace(line_task(), assess=assess))
    assert losses["accepted"].tolist() == [0.25, 0.5, 0.75]
    assert losses["training"].tolist() == [0, 0, 0]
    assert taken[-1] == weights[0].item()


def test_merit_decides_which_epoch_is_kept_and_when_to_stop():
    accepted = iter([1.0, 2.0, 1.5, 2.0, 3.0])
    task = replace(line_task(), assess=lambda _: {"accepted": next(accepted)}, merit=lambda row: row["accepted"])
    _, losses = train(task, epochs=5, patience=2)
    assert losses["kept"].tolist() == [False, True, False, False]


def test_samples_count_by_their_weight_however_a_batch_is_split():
    """Token means: parts with more targets count more."""
    task = replace(language_task(), weight=lambda sample: len(sample) - 1, valid_weight=lambda sample: len(sample) - 1)
    task.loss = task.valid_loss = _loss("labels")

    def run(micro):
        own = settings(batch_size=20, micro_batch_size=micro)
        return fit(tiny_model(seed=1, layers=1), task, own, seed=1, device=CPU, name="count")[1]

    pd.testing.assert_frame_equal(run(3), run(20), rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradient_checkpointing_keeps_fewer_activations_and_gives_the_same(precision):
    def run(again):
        kept = []
        task = language_task()
        inner = task.loss

        def loss(model, batch):
            with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
                return inner(model, batch)

        task.loss = loss
        own = settings(gradient_checkpointing=again, precision=precision)
        model, losses = fit(dropout_model(), task, own, seed=5, device=CPU, name="count")
        assert not model.is_activation_checkpointing
        return model.state_dict(), losses, sum(kept)

    (plain, plain_losses, plain_kept), (weights, losses, kept) = run(False), run(True)
    assert kept < 0.5 * plain_kept
    pd.testing.assert_frame_equal(losses, plain_losses)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, plain[name])


def test_gradient_checkpointing_of_a_model_that_has_none_is_refused():
    with pytest.raises(SpecbeamError, match="Line cannot compute activations again: .* turn it off"):
        train(line_task(), gradient_checkpointing=True)


def test_a_gradient_that_is_not_finite_stops_with_a_message():
    task = replace(line_task(), loss=lambda model, _: {"loss": model.weight.abs().sqrt().sum()})  # 0 has no slope there
    with pytest.raises(SpecbeamError, match="expected a finite gradient, got nan at step 1"):
        train(task)


def test_several_processes_that_nobody_launched_are_refused():
    with pytest.raises(SpecbeamError, match=r"training\.processes is 2, but this is a single process: start it by"):
        train(line_task(), processes=2)
