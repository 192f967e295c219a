"""Recall and NDCG by hand."""

import math

import pytest

from specbeam.ranking import ndcg_at, recall_at


def test_recall_is_the_share_of_all_targets_that_were_found():
    assert recall_at([5, 6, 7, 8], [6, 8, 9], 4) == pytest.approx(2 / 3)
    assert recall_at([5, 6, 7, 8], [6, 8, 9], 3) == pytest.approx(1 / 3)
    assert recall_at([5, 6, 7, 8], [1], 4) == 0


def test_ndcg_weighs_hits_by_rank_against_the_best_list_possible():
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    assert ndcg_at([5, 6, 7, 8], [6, 8, 9], 4) == pytest.approx(gain / (1 + 1 / math.log2(3) + 1 / math.log2(4)))
    assert ndcg_at([5, 6, 7, 8], [6, 8, 9], 2) == pytest.approx(1 / math.log2(3) / (1 + 1 / math.log2(3)))
    assert ndcg_at([9, 8, 6], [6, 8, 9], 3) == 1


def test_k_smaller_than_the_number_of_targets_can_still_be_perfect_in_ndcg_but_not_in_recall():
    assert ndcg_at([1], [1, 2, 3, 4], 1) == 1
    assert recall_at([1], [1, 2, 3, 4], 1) == 0.25


def test_a_row_that_occurs_twice_counts_once_at_its_first_rank():
    assert recall_at([4, 4, 4], [4, 5], 3) == 0.5
    assert ndcg_at([4, 4, 5], [4, 5], 3) == pytest.approx((1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3)))


def test_recall_and_ndcg_never_exceed_one():
    assert recall_at([4, 4], [4], 2) == 1
    assert ndcg_at([4, 4], [4], 2) == 1


def test_lists_shorter_than_k_are_allowed():
    assert recall_at([3], [3, 4], 10) == 0.5
    assert ndcg_at([3], [3, 4], 10) == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert recall_at([], [3], 10) == ndcg_at([], [3], 10) == 0


def test_rows_that_are_no_items_take_a_rank_but_are_never_hits():
    assert recall_at([-1, -1, 3], [3], 2) == 0
    assert ndcg_at([-1, 3], [3], 2) == pytest.approx(1 / math.log2(3))


def test_target_items_that_collide_are_one_target_found_by_one_hit():
    row = 7  # two of the user's three items bear this identifier
    assert recall_at([row], [row, row, 8], 1) == 0.5
    assert ndcg_at([row, 8], [row, row, 8], 2) == 1


def test_a_user_without_targets_is_refused():
    with pytest.raises(ValueError, match="leave such users out"):
        recall_at([1], [], 1)
