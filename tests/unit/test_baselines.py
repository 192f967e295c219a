"""What a target has to beat: lists of counts and of SASRec, rated on all test users."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from specbeam.baselines.rate import baselines, rate_baselines, recommend
from specbeam.baselines.sasrec import SasRec, scores, train_sasrec
from specbeam.data.prepared import load
from specbeam.data.sequences import history_and_targets
from specbeam.ranking import recall_at
from specbeam.settings.baselines import SasrecSettings
from specbeam.stages import StageSettings

SIZES = {"hidden_size": 16, "heads": 2, "layers": 1, "dropout": 0.0, "history": 6}
TRAINING = {"learning_rate": 1e-2, "batch_size": 16, "micro_batch_size": 16, "precision": "float32"}
CYCLE = 7


def cycles(count, length=5):
    return [[(start + step) % CYCLE for step in range(length)] for start in range(count)]


@pytest.fixture(scope="module")
def model():
    settings = SasrecSettings(**SIZES, **TRAINING, epochs=30)
    valid = [(items[:-1], items[-1]) for length in (2, 3) for items in cycles(CYCLE, length)]
    return train_sasrec(cycles(21), valid, items=CYCLE, settings=settings, seed=1, device=torch.device("cpu"))


def test_sasrec_learns_a_cycle(model):
    histories = [[start, (start + 1) % CYCLE][: 1 + start % 2] for start in range(CYCLE)]
    expected = [(history[-1] + 1) % CYCLE for history in histories]
    assert scores(model, histories).argmax(1).tolist() == expected


def test_sasrec_reads_the_last_items_alone(model):
    long = [5, 5, 5, 1, 2, 3, 4, 5, 6]
    assert torch.allclose(scores(model, [long]), scores(model, [long[-6:]]), atol=1e-5)


def test_sasrec_scores_a_history_the_same_in_any_batch(model):
    together = scores(model, [[1], [2, 3, 4, 5, 6], [4, 5]])
    assert torch.allclose(together[0], scores(model, [[1]])[0], atol=1e-5)


def test_sasrec_sees_nothing_of_what_comes_later():
    torch.manual_seed(0)
    model = SasRec(CYCLE, SasrecSettings(**SIZES)).eval()
    lengths = torch.tensor([4])
    one, other = (model.scores(model(torch.tensor([[1, 2, 3, last]]), lengths)) for last in (4, 5))
    assert torch.allclose(one[:, :3], other[:, :3], atol=1e-5)
    assert not torch.allclose(one[:, 3], other[:, 3], atol=1e-3)


def test_of_the_settings_to_try_the_one_with_the_best_validation_ndcg_recommends(caplog):
    caplog.set_level("INFO", logger="specbeam.baselines.sasrec")
    search = {"learning_rate": [1e-7, 1e-2], "hidden_size": [16, 32]}
    settings = SasrecSettings(**SIZES, **TRAINING, epochs=20, search=search)
    valid = [(items[:-1], items[-1]) for items in cycles(CYCLE, 3)]
    model = train_sasrec(cycles(21), valid, items=CYCLE, settings=settings, seed=1, device=torch.device("cpu"))
    tries = [(float(line.args[0]), line.args[1]) for line in caplog.records]
    assert [tried for _, tried in tries] == [
        {"learning_rate": rate, "hidden_size": size} for rate in (1e-7, 1e-2) for size in (16, 32)
    ]
    best = max(tries, key=lambda each: each[0])[1]
    assert best["learning_rate"] == 1e-2
    assert model.items.embedding_dim == best["hidden_size"]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"width": [1]}, "search: expected names of SASRec's settings, got width"),
        ({"dropout": [0.1, 2.0]}, "less than 1"),
        ({"heads": [1, 3]}, "hidden_size must be a multiple of heads, got 64 and 3"),
        ({"dropout": []}, "at least 1 item"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_trained(search, message):
    with pytest.raises(ValueError, match=message):
        SasrecSettings(search=search)


def test_lists_go_by_score_then_popularity_then_row_and_leave_out_the_history():
    popular = np.array([1, 5, 5, 9, 0])
    lists = recommend(lambda part: np.array([[7.0, 0, 0, 0, 3]]), [[3]], k=9, popular=popular, name="counts")
    assert lists == [[0, 4, 1, 2]]


@pytest.fixture(scope="module")
def settings():
    run = {"seed": 1, "device": "cpu", "measurement": {"beam_widths": [2, 5]}}
    return StageSettings("rate_baselines", {**run, "baselines": {"sasrec": {**SIZES, **TRAINING, "epochs": 1}}})


@pytest.fixture(scope="module")
def ranking(tiny_dataset, settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("baselines") / "ranking.csv"
    rate_baselines(prepared=tiny_dataset.prepared, ranking=path, settings=settings, threads=1)
    return pd.read_csv(path)


def test_every_baseline_is_rated_at_every_k_over_all_test_users(ranking, tiny_dataset):
    asked = history_and_targets(load(tiny_dataset.prepared).users, "test")
    assert set(ranking["users"]) == {len(asked)}
    names = ["transitions", "cooccurrence", "sasrec"]
    assert list(zip(ranking["recommender"], ranking["K"], strict=True)) == [(name, k) for name in names for k in (2, 5)]
    assert (ranking["recall_low"] <= ranking["recall"]).all()
    assert (ranking["recall"] <= ranking["recall_high"]).all()


def test_co_occurrence_is_rated_as_a_slow_loop_rates_it(ranking, tiny_dataset, settings):
    data = load(tiny_dataset.prepared)
    counts = baselines(data, settings)["cooccurrence"]
    bought = Counter(row for items in data.users["train"] for row in data.catalogue.rows(items))
    found = []
    for history, targets in history_and_targets(data.users, "test")[["history", "targets"]].itertuples(index=False):
        rows = data.catalogue.rows(history)
        scored = counts([rows])[0]
        others = set(range(len(data.catalogue.distinct))) - set(rows)
        best = sorted(others, key=lambda row: (-scored[row], -bought[row], row))
        found.append(recall_at(best, data.catalogue.rows(targets), 5))
    rated = ranking.set_index(["recommender", "K"]).loc[("cooccurrence", 5), "recall"]
    assert rated == pytest.approx(np.mean(found))


def test_without_settings_of_sasrec_there_is_none(tiny_dataset):
    settings = StageSettings("rate_baselines", {"seed": 1})
    assert list(baselines(load(tiny_dataset.prepared), settings)) == ["transitions", "cooccurrence"]


def test_heads_must_divide_the_hidden_size():
    with pytest.raises(ValueError, match="hidden_size must be a multiple of heads, got 16 and 3"):
        SasrecSettings(hidden_size=16, heads=3)
