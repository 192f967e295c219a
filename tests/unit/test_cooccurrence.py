"""Item pairs: who bought what together, and next."""

import numpy as np
import pytest

from specbeam.data.cooccurrence import co_occurrence, transitions

SEQUENCES = [[0, 1, 2], [1, 0], [3]]


def dense(pairs):
    return np.stack([pairs.scores([item], decay=1.0) for item in range(len(pairs.first) - 1)])


def test_co_occurrence_counts_pairs_both_ways_by_one_over_their_distance():
    assert dense(co_occurrence(SEQUENCES, items=4)).tolist() == [
        [0, 2, 0.5, 0],
        [2, 0, 1, 0],
        [0.5, 1, 0, 0],
        [0, 0, 0, 0],
    ]


def test_transitions_count_what_came_directly_after():
    assert dense(transitions(SEQUENCES, items=4)).tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0] * 4, [0] * 4]


def test_older_items_of_a_history_count_less():
    pairs = co_occurrence([[0, 1], [2, 3]], items=4)
    assert pairs.scores([0, 2], decay=0.5).tolist() == [0, 0.5, 0, 1]
    assert pairs.scores([0, 2], decay=0.0).tolist() == [0, 0, 0, 1]


def test_a_history_recommends_none_of_its_own_items():
    assert co_occurrence([[0, 1, 2]], items=3).scores([0, 1], decay=1.0).tolist() == [0, 0, 1.5]


def test_items_that_share_an_identifier_are_no_pair():
    assert dense(co_occurrence([[0, 0, 1]], items=2)).tolist() == [[0, 1.5], [1.5, 0]]


def test_without_sequences_nothing_is_known():
    assert dense(co_occurrence([], items=2)).tolist() == [[0, 0], [0, 0]]


def test_scores_are_a_slow_loop_over_all_pairs():
    random = np.random.default_rng(0)
    sequences = [random.permutation(9)[: random.integers(1, 6)].tolist() for _ in range(30)]
    slow = np.zeros((9, 9))
    for items in sequences:
        for i, one in enumerate(items):
            for j, other in enumerate(items):
                slow[one, other] += 1 / abs(i - j) if i != j else 0
    found = co_occurrence(sequences, items=9).scores([4, 7, 1], decay=0.8)
    expected = 0.64 * slow[4] + 0.8 * slow[7] + slow[1]
    expected[[4, 7, 1]] = 0
    assert found == pytest.approx(expected)
