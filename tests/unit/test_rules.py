"""Choosing and verifying levels: order, and the statistics of sampling (fixed seeds, 4 sigma)."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specbeam.decoding.beams import top_k
from specbeam.decoding.rules import Relaxed, Strict

DRAWS = 20_000


@given(
    st.lists(st.sampled_from([-torch.inf, -3.5, -1.0, -0.0, 0.0, 1e-30, 2.0]), min_size=1, max_size=40),
    st.integers(1, 40),
)
def test_order_is_by_score_then_by_index(values: list[float], k: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert top_k(torch.tensor([values]), k)[0].tolist() == expected


def test_strict_accepts_a_level_only_if_all_of_the_targets_best_were_drafted() -> None:
    target = torch.tensor([[0.1, 3.0, 2.0, 1.0]])
    for drafted, accepted in (([0, 1, 1, 0], True), ([1, 1, 0, 1], False), ([1, 1, 1, 1], True), ([0, 0, 0, 0], False)):
        chosen, verdict = Strict().verify(target, target, torch.tensor([drafted]).bool(), 2)
        assert chosen.tolist() == [[1, 2]]
        assert verdict.tolist() == [accepted]


def test_strict_does_not_miss_continuations_that_do_not_exist() -> None:
    target = torch.tensor([[2.0, -torch.inf, 1.0]])
    chosen, accepted = Strict().verify(target, target, torch.tensor([[True, False, True]]), 3)
    assert chosen.tolist() == [[0, 2, 1]]
    assert accepted.tolist() == [True]


def scores(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log().expand(DRAWS, -1)


def relaxed(temperature: float = 1.0) -> Relaxed:
    return Relaxed(temperature, torch.Generator().manual_seed(0))


def assert_frequency(hits: torch.Tensor, probability: float) -> None:
    spread = 4 * (probability * (1 - probability) / len(hits)) ** 0.5 + 1e-9
    assert hits.double().mean().item() == pytest.approx(probability, abs=spread)


def test_sampling_without_replacement_follows_plackett_luce() -> None:
    p = (0.5, 0.3, 0.2)
    pairs = relaxed().choose(scores(*p), 2)
    for first, second in itertools.permutations(range(3), 2):
        hits = (pairs == torch.tensor([first, second])).all(1)
        assert_frequency(hits, p[first] * p[second] / (1 - p[first]))


def test_temperature_sharpens_the_sample() -> None:
    assert_frequency(relaxed(0.5).choose(scores(0.6, 0.4), 1)[:, 0] == 0, 0.36 / (0.36 + 0.16))


def test_a_drafted_candidate_is_accepted_with_probability_p_over_q() -> None:
    p, q = scores(0.2, 0.5, 0.3), scores(0.6, 0.3, 0.1)
    for candidate, expected in ((0, 0.2 / 0.6), (1, 1.0), (2, 1.0)):
        drafted = (torch.arange(3) == candidate).expand(DRAWS, -1)
        chosen, accepted = relaxed().verify(p, q, drafted, 1)
        assert_frequency(accepted, expected)
        assert (chosen[accepted] == candidate).all()


def test_after_a_rejection_the_draw_follows_the_positive_part_of_p_minus_q() -> None:
    p, q = scores(0.2, 0.5, 0.3), scores(0.6, 0.3, 0.1)
    drafted = (torch.arange(3) == 0).expand(DRAWS, -1)
    chosen, accepted = relaxed().verify(p, q, drafted, 1)
    drawn = chosen[~accepted, 0]
    assert_frequency(drawn == 1, 0.5)  # residual (0, 0.2, 0.2), normalised
    assert not (drawn == 0).any()


def test_one_candidate_drawn_from_q_and_verified_is_a_draw_from_p() -> None:
    p, q = (0.2, 0.5, 0.3), (0.6, 0.3, 0.1)
    rule = relaxed()
    drafted = torch.zeros(DRAWS, 3, dtype=torch.bool).scatter(1, rule.choose(scores(*q), 1), True)
    chosen, _ = rule.verify(scores(*p), scores(*q), drafted, 1)
    for candidate, probability in enumerate(p):
        assert_frequency(chosen[:, 0] == candidate, probability)


def test_when_more_than_k_are_accepted_a_uniformly_random_k_go_on() -> None:
    p = scores(0.4, 0.3, 0.2, 0.1)
    chosen, accepted = relaxed().verify(p, p, torch.tensor([True, True, True, False]).expand(DRAWS, -1), 2)
    assert accepted.all()
    for candidate in range(3):
        assert_frequency((chosen == candidate).any(1), 2 / 3)


def test_a_residual_of_zero_is_topped_up_from_p_without_repeating_the_accepted() -> None:
    p = scores(0.5, 0.3, 0.2)
    chosen, accepted = relaxed().verify(p, p, torch.tensor([True, False, False]).expand(DRAWS, -1), 2)
    assert not accepted.any()
    assert (chosen[:, 0] == 0).all()
    assert_frequency(chosen[:, 1] == 1, 0.6)


def test_fewer_continuations_than_k_are_all_taken_and_the_level_is_accepted() -> None:
    p = torch.tensor([[0.0, -torch.inf, -1.0]])
    chosen, accepted = relaxed().verify(p, p, torch.tensor([[True, False, True]]), 3)
    assert sorted(chosen[0, :2].tolist()) == [0, 2]
    assert accepted.tolist() == [True]
