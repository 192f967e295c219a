"""What a language model is trained on: windows of histories, their tokens and their labels."""

import pandas as pd
import pytest
import torch

from models_for_tests import tiny_model
from specbeam.target.train import IGNORED, Sample, collate, language_model_task


class Builder:
    """Prompts like the compact ones: a start token, then two tokens an item."""

    pad_id = 0

    def __call__(self, items):
        return [1, *(token for item in items for token in self.item_tokens(item))]

    def item_tokens(self, item):
        return [10 + item, 40 + item]


def users(*trains, valid=(9,)):
    rows = [{"user": user, "train": list(train), "valid": list(valid), "test": []} for user, train in enumerate(trains)]
    return pd.DataFrame(rows)


def task(table, *, samples, history=3, loss_on_prompt=True):
    return language_model_task(table, Builder(), samples=samples, history=history, loss_on_prompt=loss_on_prompt)


def items_of(sample):
    return [token - 10 for token in sample.tokens[1::2]]


def test_last_item_samples_are_one_a_user_who_has_a_history():
    found = task(users([1, 2, 3], [4], [5, 6]), samples="last_item").train
    assert [items_of(sample) for sample in found] == [[1, 2, 3], [5, 6]]


def test_sequence_samples_cut_a_history_into_windows_counted_from_its_end():
    found = task(users(range(1, 8), [5, 6], [4]), samples="sequence").train
    assert [items_of(sample) for sample in found] == [[4, 5, 6, 7], [1, 2, 3], [5, 6]]


def test_a_first_item_that_would_stand_alone_is_no_sample():
    assert [items_of(sample) for sample in task(users(range(5)), samples="sequence").train] == [[1, 2, 3, 4]]


def test_validation_asks_for_the_first_validation_item_after_all_of_training():
    found = task(users([1, 2, 3], valid=(7, 8)), samples="sequence").valid
    assert [items_of(sample) for sample in found] == [[1, 2, 3, 7]]


def test_a_batch_is_padded_on_the_right_and_padding_is_no_target():
    batch = collate([Sample([1, 11, 41, 12, 42], 2), Sample([1, 13, 43], 2)], pad=0)
    assert batch["input_ids"].tolist() == [[1, 11, 41, 12, 42], [1, 13, 43, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[1, 11, 41, 12, 42], [1, 13, 43, IGNORED, IGNORED]]
    assert batch["item_labels"].tolist() == [[IGNORED] * 3 + [12, 42], [IGNORED, 13, 43, IGNORED, IGNORED]]


@pytest.mark.parametrize(("loss_on_prompt", "start"), [(True, 1), (False, 5)], ids=["prompt", "item alone"])
def test_the_loss_is_the_mean_over_the_tokens_that_count(loss_on_prompt, start):
    model, table = tiny_model(seed=1, layers=1), users([1, 2, 3])
    tasked = task(table, samples="last_item", loss_on_prompt=loss_on_prompt)
    (sample,) = tasked.train
    log_p = model(torch.tensor([sample.tokens])).logits[0].log_softmax(-1)
    expected = -torch.stack([log_p[at - 1, sample.tokens[at]] for at in range(start, len(sample.tokens))]).mean()
    short = Sample(sample.tokens[-2:], 1)  # padding beside it must not matter to the longer one
    torch.testing.assert_close(tasked.loss(model, tasked.collate([sample]))["loss"], expected)
    batch = {name: rows[:1] for name, rows in tasked.collate([sample, short]).items()}
    torch.testing.assert_close(tasked.loss(model, batch)["loss"], expected)


def test_validation_counts_the_item_alone_whatever_training_counts():
    model = tiny_model(seed=1, layers=1)
    losses = []
    for loss_on_prompt in (True, False):
        tasked = task(users([1, 2, 3]), samples="last_item", loss_on_prompt=loss_on_prompt)
        losses.append(tasked.valid_loss(model, tasked.collate(tasked.valid))["loss"].item())
    assert losses[0] == losses[1]
