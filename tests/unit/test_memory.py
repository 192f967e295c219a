"""Where memory runs out: decoding goes on with fewer prompts at once, training says what to change.

The tests ask torch for more memory than any machine has, so the errors are its own.
"""

import logging
from contextlib import contextmanager

import pytest
import torch

from models_for_tests import tiny_model
from specbeam import memory, training
from specbeam.errors import SpecbeamError
from specbeam.items import Items
from specbeam.recommender import Recommender
from training_for_tests import CPU, Line, line_task, settings

TOO_MUCH = 2**50
ITEMS = Items.of([[1, 4], [1, 5], [2, 4], [3, 6]])


@contextmanager
def only(model, prompts):
    """Let a forward pass of more than so many prompts run out of memory."""

    def full(_, arguments):
        if len(arguments[0]) > prompts:
            torch.empty(TOO_MUCH)

    hook = model.get_input_embeddings().register_forward_pre_hook(full)
    yield
    hook.remove()


def lists(made):
    return [(one.items, pytest.approx(one.scores, abs=1e-5)) for one in made]


@pytest.mark.parametrize("fitting", [1, 2, 3, 5])
def test_a_search_that_runs_out_of_memory_goes_on_with_fewer_prompts_to_the_same_lists(caplog, fitting):
    model = tiny_model("llama", seed=1, layers=1)
    recommender = Recommender(model, ITEMS, batch_size=5)
    prompts = [[1, 2], [2], [3, 1, 2], [4], [5, 5], [6], [7, 1]]
    expected = recommender(prompts, k=3)
    with only(model, fitting), caplog.at_level(logging.WARNING):
        assert [(one.items, one.scores) for one in recommender(prompts, k=3)] == lists(expected)
    tried = [record.args[1:] for record in caplog.records]
    assert tried == {1: [(5, 2), (2, 1)], 2: [(5, 2)], 3: [(5, 2)], 5: []}[fitting]


def test_a_single_prompt_that_does_not_fit_ends_with_what_to_change():
    model = tiny_model("llama", seed=1, layers=1)
    recommender = Recommender(model, ITEMS)
    with only(model, 0), pytest.raises(SpecbeamError, match="ran out of it .*; choose a smaller K or N"):
        recommender([[1], [2]], k=2)


def test_a_training_that_runs_out_of_memory_says_what_to_change_and_keeps_its_checkpoint(tmp_path):
    task = line_task()
    passes = []

    def loss(model, batch, inner=task.loss):
        passes.append(1)
        if len(passes) == 6:
            torch.empty(TOO_MUCH)
        return inner(model, batch)

    task.loss = loss
    own = settings(checkpoint_minutes=0)
    with pytest.raises(SpecbeamError, match="line, micro_batch_size .* ran out of it .*; lower training.micro_batch"):
        training.fit(Line(), task, own, seed=1, device=CPU, name="line", checkpoint=tmp_path)
    assert (tmp_path / "last.safetensors").exists()


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def work(part):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(memory.halving(work, [1, 2], 2, name="search"))
    assert memory.is_out(MemoryError())
    assert memory.is_out(torch.OutOfMemoryError("CUDA out of memory"))
