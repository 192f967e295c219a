"""Walks from item to item, and the labels that a target learns from them."""

import numpy as np
import pandas as pd
import pytest
import torch

from models_for_tests import tiny_model
from specbeam.data.cooccurrence import co_occurrence
from specbeam.settings.models import NeighbourSettings
from specbeam.target.neighbours import History, Neighbours, Walk, with_neighbours
from specbeam.target.train import train_target
from tiny_run import CONFIG, settings

IDENTIFIERS = np.array([[2, 5], [2, 6], [3, 5], [3, 6], [4, 5]])
TRAIN = [[0, 1, 2], [1, 0], [2, 1]]
CERTAIN = {"decay": 1.0, "sharpness": 1.0, "share": 1.0}


def teacher(**settings):
    pairs = co_occurrence(TRAIN, items=len(IDENTIFIERS))
    return Neighbours(pairs, IDENTIFIERS, NeighbourSettings(**{**CERTAIN, **settings}))


def following(history, own=None, **settings):
    """Item -> probability."""
    items, weights = teacher(**settings).following(history, own)
    found = np.bincount(items, weights)
    return {item: pytest.approx(found[item]) for item in np.flatnonzero(found).tolist()}


def test_what_follows_is_as_likely_as_its_score_to_the_power_of_the_sharpness():
    assert following([0]) == {1: 2 / 2.5, 2: 0.5 / 2.5}
    assert following([0], sharpness=2.0) == {1: 4 / 4.25, 2: 0.25 / 4.25}


def test_the_users_own_next_item_has_what_the_share_leaves():
    assert following([0], own=4, share=0.6) == {1: 0.48, 2: 0.12, 4: 0.4}
    assert following([0], own=1, share=0.6) == {1: 0.88, 2: 0.12}
    assert following([0], own=4, share=0.0) == {4: 1.0}


def test_only_the_likeliest_candidates_can_be_drawn():
    assert following([0], candidates=1) == {1: 1.0}


def test_where_the_pairs_know_nothing_the_users_own_item_is_certain():
    assert following([3], own=4) == {4: 1.0}
    assert teacher().following([3], None) is None


def test_without_a_share_a_walk_is_the_users_own_items():
    assert teacher(share=0.0).walk([4, 0, 3], length=2).items == [4, 0, 3]


def test_a_walk_goes_on_to_its_length_and_never_twice_to_one_item():
    torch.manual_seed(0)
    for _ in range(20):
        walk = teacher(share=0.5).walk([0, 1], length=3)
        assert sorted(walk.items) == [0, 1, 2]
        assert len(walk.drawn_from) == 2


def test_a_walk_ends_where_nothing_is_known_to_follow():
    assert teacher(share=0.0).walk([3, 4], length=5).items == [3, 4]


def test_items_are_drawn_as_often_as_they_are_likely():
    torch.manual_seed(0)
    teach = teacher(share=0.6)
    drawn = [teach.walk([0, 4], length=2).items[1] for _ in range(3000)]
    assert np.bincount(drawn, minlength=5) / 3000 == pytest.approx([0, 0.48, 0.12, 0, 0.4], abs=0.03)


def test_labels_are_each_tokens_distribution_given_the_tokens_before_it():
    walk = Walk([4, 1], [(np.array([0, 1, 2]), np.array([0.2, 0.3, 0.5]))])
    places, tokens, shares = teacher().labels(walk)
    table = pd.DataFrame({"place": places, "token": tokens, "share": shares}).groupby(["place", "token"])["share"].sum()
    assert table.to_dict() == pytest.approx({(2, 2): 0.5, (2, 3): 0.5, (3, 5): 0.4, (3, 6): 0.6})


def task(**settings):
    return with_neighbours(
        [[0, 1, 2], [2, 1], [4, 4]], [[0, 1], [3, 2, 4]], train=TRAIN, identifiers=IDENTIFIERS, start=1, pad=0,
        settings=NeighbourSettings(**{**CERTAIN, **settings}), device=torch.device("cpu"),
    )  # fmt: skip


def test_training_walks_along_windows_of_different_items():
    found = task().train
    assert [sample.items for sample in found] == [[0, 1, 2], [2, 1]]
    assert [len(sample) for sample in found] == [7, 5]


def test_validation_asks_what_follows_a_history_and_draws_it_once_for_all():
    found = task(share=0.0)
    batches = [found.collate(found.valid) for _ in range(2)]
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])
    assert batches[0]["input_ids"].tolist() == [[1, 2, 5, 2, 6, 0, 0], [1, 3, 6, 3, 5, 4, 5]]
    told = [batches[0][name][batches[0]["share"] > 0].tolist() for name in ("at", "token", "share")]
    assert told == [[2, 3, 6 + 4, 6 + 5], [2, 6, 4, 5], [0.5] * 4]
    assert {sample.drawn for sample in task(share=1.0).valid} <= {0, 1, 2}


def slow_loss(model, items, first=1):
    """Mean nats a token of the items from `first` on, each over the tokens that some item has after its prefix."""
    tokens = [1, *IDENTIFIERS[items].ravel().tolist()]
    logits, values = model(input_ids=torch.tensor([tokens])).logits[0], []
    for place in range(first, len(items)):
        for depth in range(2):
            at = 1 + 2 * place + depth
            same = (IDENTIFIERS[:, :depth] == IDENTIFIERS[items[place], :depth]).all(1)
            children = sorted(set(IDENTIFIERS[same, depth].tolist()))
            values.append(logits[at - 1, children].logsumexp(0) - logits[at - 1, tokens[at]])
    return torch.stack(values).mean()


def test_the_loss_of_a_users_own_items_is_what_a_slow_loop_finds():
    found, model = task(share=0.0, items=2), tiny_model(seed=0)
    batch = found.collate([History([0, 1, 2], 7), History([2, 1], 5)])
    slow = [slow_loss(model, items) for items in ([0, 1, 2], [2, 1])]
    assert found.loss(model, batch)["loss"].item() == pytest.approx(sum(slow).item() / 2, abs=1e-5)
    slow = [slow_loss(model, items, first=len(items) - 1) for items in ([0, 1], [3, 2, 4])]
    loss = found.valid_loss(model, found.collate(found.valid))["loss"]
    assert loss.item() == pytest.approx(sum(slow).item() / 2, abs=1e-5)


def test_gradients_are_finite_where_walks_are_padded():
    found, model = task(), tiny_model(seed=0)
    found.loss(model, found.collate(found.train))["loss"].backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_the_same_random_state_draws_the_same_walks():
    found, batches = task(share=0.7), []
    for _ in range(2):
        torch.manual_seed(5)
        batches.append(found.collate(found.train))
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])


def test_a_target_trained_on_walks_learns_what_the_pairs_say(tiny_dataset, tmp_path):
    training = {**CONFIG["target"]["training"], "epochs": 4, "neighbours": {}}
    run = settings("train_target", target={**CONFIG["target"], "training": training})
    train_target(
        prepared=tiny_dataset.prepared, settings=run, model=tmp_path / "model", losses=tmp_path / "loss.csv", threads=1
    )
    losses = pd.read_csv(tmp_path / "loss.csv")["valid_loss"]
    assert losses.iloc[-1] < losses.iloc[0] - 0.03
