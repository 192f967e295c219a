from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from specbeam.catalogue import Catalogue
from specbeam.data.popularity import popularity_ranking
from specbeam.data.sequences import history_and_targets, read_raw
from specbeam.data.statistics import statistics
from specbeam.data.synthetic import generate, split_by_time
from specbeam.errors import SpecbeamError
from specbeam.settings import SyntheticSettings

SMALL = SyntheticSettings(users=150, items=120, clusters=6, mean_length=8)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Users and catalogue of the embedded default, as large as `make run` makes it."""
    folder = tmp_path_factory.mktemp("embedded")
    generate(settings=SyntheticSettings(), seed=1, destination=folder)
    return read_raw(folder), Catalogue.load(folder / "identifiers.json")


def bytes_of(folder, *, seed):
    generate(settings=SMALL, seed=seed, destination=folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    first = bytes_of(tmp_path / "first", seed=3)
    np.random.seed(0)  # global state must not matter
    assert bytes_of(tmp_path / "again", seed=3) == first
    assert bytes_of(tmp_path / "other", seed=4) != first
    assert set(first) == {*(f"sequential_{split}.txt" for split in ("train", "valid", "test")), "identifiers.json"}


def test_the_trie_is_shaped_like_the_real_ones(embedded):
    values = statistics(*embedded)
    assert values["distinct_tokens_1"] == SyntheticSettings().clusters
    assert 40 <= values["mean_children_1"] <= 100
    assert values["mean_children_2"] == pytest.approx(1.71, abs=0.1)
    assert values["mean_children_3"] == pytest.approx(1.08, abs=0.02)
    assert all(values[f"distinct_tokens_{n}"] <= 256 for n in (1, 2, 3, 4))
    assert 3 <= values["colliding_identifiers"] <= 0.005 * values["items"]


def test_users_are_split_in_time_as_the_real_ones(embedded):
    users, _ = embedded
    values = statistics(*embedded)
    assert users["train"].map(len).min() >= 2
    total = sum(values[f"interactions_{split}"] for split in ("train", "valid", "test"))
    assert values["interactions_train"] / total == pytest.approx(0.88, abs=0.05)  # Beauty 0.88, Games 0.88
    assert 0.1 <= values["users_with_test_target"] / values["users"] <= 0.25  # Beauty 0.18, Games 0.18
    assert 0.3 <= values["share_of_test_users_with_several_targets"] <= 0.7
    everything = users["train"] + users["valid"] + users["test"]
    assert all(len(items) == len(set(items)) for items in everything)


def test_popularity_is_skewed(embedded):
    users, catalogue = embedded
    counts = Counter(item for items in users["train"] for item in items)
    top = sum(count for _, count in counts.most_common(len(catalogue.identifiers) // 10))
    assert 0.4 <= top / counts.total() <= 0.7


def recall_at_10(users, catalogue, rank):
    asked = history_and_targets(users, "test")
    recalls = []
    for history, targets in zip(asked["history"], asked["targets"], strict=True):
        rows = set(catalogue.rows(targets))
        recalls.append(len(rows & set(rank(catalogue.row_of[history[-1]])[:10])) / len(rows))
    return np.mean(recalls)


def test_the_next_item_can_be_learned_last_item_transitions_beat_popularity_three_times(embedded):
    users, catalogue = embedded
    popular = popularity_ranking(users, catalogue, 20)
    following = defaultdict(Counter)
    for items in users["train"]:
        rows = catalogue.rows(items)
        for row, after in pairwise(rows):
            following[row][after] += 1

    def transitions(last):
        best = [row for row, _ in following[last].most_common(10)]
        return [*best, *(row for row in popular if row not in best)]

    baseline = recall_at_10(users, catalogue, lambda last: popular)
    assert baseline > 0.01
    assert recall_at_10(users, catalogue, transitions) > 3 * baseline


def test_similar_items_share_prefixes_the_next_item_follows_from_the_prefix(embedded):
    """The first two tokens of the next item depend on those of the last one far more than by chance."""
    users, catalogue = embedded
    pairs = Counter()
    for items in users["train"]:
        prefixes = [catalogue.identifiers[item][:2] for item in items]
        pairs.update(pairwise(prefixes))
    best = defaultdict(int)
    for (before, _), count in pairs.items():
        best[before] = max(best[before], count)
    assert sum(best.values()) / pairs.total() > 0.3


def test_a_time_equal_to_a_border_counts_as_after_it():
    times = np.arange(11.0)  # borders: exactly 8 and 9
    splits = split_by_time([(np.arange(100, 111), times)])
    assert splits == {"train": [list(range(100, 108))], "valid": [[108]], "test": [[109, 110]]}


def test_items_are_put_in_time_order_and_users_with_one_training_item_are_dropped():
    early = (np.array([5, 3, 4]), np.array([0.3, 0.1, 0.2]))
    late = (np.array([1, 2]), np.array([0.4, 9.0]))
    splits = split_by_time([late, early])
    assert splits["train"] == [[3, 4, 5]]
    assert splits["test"] == [[]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SyntheticSettings(items=20, clusters=6), "synthetic.clusters: expected at most items / 4 = 5, got 6"),
        (SyntheticSettings(users=1, items=50, clusters=5, mean_length=4), "synthetic.users: expected enough users"),
    ],
)
def test_settings_that_leave_no_room_are_refused(tmp_path, settings, message):
    with pytest.raises(SpecbeamError) as error:
        generate(settings=settings, seed=2, destination=tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "settings",
    [
        SyntheticSettings(users=60, items=8, clusters=1, mean_length=4),
        SyntheticSettings(users=60, items=1500, clusters=2, mean_length=5),
        SyntheticSettings(users=60, items=64, clusters=16, mean_length=30),
    ],
)
def test_extreme_shapes_give_a_valid_data_set_with_a_collision(tmp_path, settings, seed):
    generate(settings=settings, seed=seed, destination=tmp_path)
    catalogue = Catalogue.load(tmp_path / "identifiers.json")
    assert len(catalogue.identifiers) == settings.items
    assert catalogue.collisions
    items = {item for split in ("train", "valid", "test") for items in read_raw(tmp_path)[split] for item in items}
    assert items <= set(catalogue.identifiers)
