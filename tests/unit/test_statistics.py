import pandas as pd
import pytest

from specbeam.catalogue import Catalogue
from specbeam.data.popularity import popularity_ranking
from specbeam.data.sequences import history_and_targets, read_raw
from specbeam.data.statistics import save_statistics, statistics
from specbeam.ranking import ndcg_at, recall_at

# What is known of the authors' files; means and shares to the digits given there.
REAL = {
    "beauty": {
        "users": 19_383,
        "items": 12_035,
        "distinct_identifiers": 12_023,
        "interactions_train": 122_241,
        "interactions_valid": 9_316,
        "interactions_test": 7_313,
        "users_with_valid_target": 4_295,
        "users_with_test_target": 3_553,
        "users_with_one_training_interaction": 0,
        "distinct_tokens_1": 91,
        "distinct_tokens_2": 256,
        "distinct_tokens_3": 256,
        "distinct_tokens_4": 256,
        "distinct_prefixes_1": 91,
        "distinct_prefixes_2": 6_539,
        "distinct_prefixes_3": 11_172,
        "distinct_prefixes_4": 12_023,
        "mean_children_0": 91,
        "mean_children_1": pytest.approx(72, abs=0.5),
        "mean_children_2": pytest.approx(1.71, abs=0.005),
        "mean_children_3": pytest.approx(1.08, abs=0.005),
        "colliding_identifiers": 9,
        "colliding_items": 21,
        "share_of_test_users_with_several_targets": pytest.approx(0.426, abs=0.0005),
        "share_of_cold_test_targets": pytest.approx(0.252, abs=0.0005),
    },
    "games": {
        "users": 49_156,
        "items": 17_332,
        "distinct_identifiers": 17_289,
        "interactions_train": 299_987,
        "interactions_valid": 22_609,
        "interactions_test": 19_733,
        "users_with_valid_target": 9_609,
        "users_with_test_target": 8_696,
        "users_with_one_training_interaction": 3_382,
        "distinct_tokens_1": 248,
        "distinct_tokens_2": 256,
        "distinct_tokens_3": 254,
        "distinct_tokens_4": 256,
        "distinct_prefixes_1": 248,
        "distinct_prefixes_2": 11_317,
        "distinct_prefixes_3": 16_628,
        "distinct_prefixes_4": 17_289,
        "mean_children_0": 248,
        "mean_children_1": pytest.approx(46, abs=0.5),
        "mean_children_2": pytest.approx(1.47, abs=0.005),
        "mean_children_3": pytest.approx(1.04, abs=0.005),
        "colliding_identifiers": 41,
        "colliding_items": 84,
        "share_of_test_users_with_several_targets": pytest.approx(0.476, abs=0.0005),
        "share_of_cold_test_targets": pytest.approx(0.286, abs=0.0005),
    },
}
POPULARITY = {"beauty": (0.0087, 0.0052), "games": (0.0068, 0.0039)}


@pytest.fixture(scope="module", params=list(REAL))
def real(request, mirror):
    """Name, users and catalogue of a real data set."""
    folder = mirror / request.param
    return request.param, read_raw(folder), Catalogue.load(folder / f"{request.param}.LCRec-1e-3lr.json")


@pytest.mark.mirror
def test_the_real_data_sets_have_the_published_statistics(real):
    dataset, users, catalogue = real
    values = statistics(users, catalogue)
    assert {name: values[name] for name in REAL[dataset]} == REAL[dataset]


@pytest.mark.mirror
def test_no_user_of_the_real_data_sets_takes_an_item_twice(real):
    _, users, _ = real
    everything = users["train"] + users["valid"] + users["test"]
    assert all(len(items) == len(set(items)) for items in everything)


@pytest.mark.mirror
def test_popularity_reaches_its_measured_floor_on_the_real_data_sets(real):
    dataset, users, catalogue = real
    popular = popularity_ranking(users, catalogue, 10)
    targets = [catalogue.rows(items) for items in history_and_targets(users, "test")["targets"]]
    recall = sum(recall_at(popular, rows, 10) for rows in targets) / len(targets)
    ndcg = sum(ndcg_at(popular, rows, 10) for rows in targets) / len(targets)
    assert (recall, ndcg) == pytest.approx(POPULARITY[dataset], abs=2e-4)


CATALOGUE = Catalogue.of(
    {0: ["<a_1>", "<b_1>"], 1: ["<a_1>", "<b_1>"], 2: ["<a_1>", "<b_2>"], 3: ["<a_2>", "<b_1>"], 4: ["<a_3>", "<b_3>"]}
)
USERS = pd.DataFrame(
    {"user": [0, 1, 2], "train": [[0, 2], [1, 3], [2]], "valid": [[3], [], []], "test": [[4, 1], [2], []]}
)


def test_a_small_data_set_is_counted_by_hand():
    values = statistics(USERS, CATALOGUE)
    assert values["users_with_one_training_interaction"] == 1
    assert values["users_with_test_target"] == 2
    assert values["distinct_prefixes_1"] == 3
    assert values["distinct_prefixes_2"] == 4
    assert values["mean_children_1"] == pytest.approx(4 / 3)
    assert (values["colliding_identifiers"], values["colliding_items"]) == (1, 2)
    assert values["share_of_test_users_with_several_targets"] == 0.5
    assert values["share_of_cold_test_targets"] == pytest.approx(1 / 3)


def test_a_data_set_without_test_users_has_shares_of_zero():
    values = statistics(USERS.iloc[2:], CATALOGUE)
    assert values["share_of_test_users_with_several_targets"] == 0
    assert values["share_of_cold_test_targets"] == 0


def test_the_saved_table_has_whole_counts(tmp_path):
    save_statistics({"users": 3, "share": 0.25}, tmp_path / "statistics.csv")
    assert (tmp_path / "statistics.csv").read_text() == "statistic,value\nusers,3\nshare,0.25\n"


def test_popularity_counts_training_interactions_by_identifier_and_breaks_ties_by_row():
    # rows: 0 = items 0 and 1 (two interactions), 1 = item 2 (two), 2 = item 3 (one), 3 = item 4 (none)
    assert popularity_ranking(USERS, CATALOGUE, 3) == [0, 1, 2]
    assert popularity_ranking(USERS.iloc[1:], CATALOGUE, 10) == [0, 1, 2, 3]
    assert popularity_ranking(USERS.iloc[2:], CATALOGUE, 2) == [1, 0]
