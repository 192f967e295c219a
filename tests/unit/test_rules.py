"""Choosing and verifying levels: order, and the statistics of sampling (fixed seeds, 4 sigma)."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from specbeam.decoding.beams import Beams, Candidates, top_k
from specbeam.decoding.rules import Coupled, Relaxed, RelaxedRanked, Rule, Strict
from specbeam.trie import Trie

DRAWS = 20_000
P, Q = (0.2, 0.5, 0.3), (0.6, 0.3, 0.1)


@given(
    st.lists(st.sampled_from([-torch.inf, -3.5, -1.0, -0.0, 0.0, 1e-30, 2.0]), min_size=1, max_size=40),
    st.integers(1, 40),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_order_is_by_key_then_by_index(values: list[float], k: int, dtype: torch.dtype) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    found = top_k(torch.tensor([values], dtype=dtype), k)[0].tolist()
    if dtype == torch.float32:
        assert found == expected
    else:  # keys with noise in them are never equal
        assert [values[i] for i in found] == [values[i] for i in expected]
        assert len(set(found)) == len(found)


def test_what_is_not_a_number_comes_first_so_that_it_is_seen() -> None:
    for dtype in (torch.float32, torch.float64):
        assert top_k(torch.tensor([[1.0, torch.nan, 9.0]], dtype=dtype), 1).tolist() == [[1]]


def candidates(*probabilities: float, rows: int = DRAWS) -> Candidates:
    """The same first-level continuations for `rows` searches whose noise is unrelated."""
    beams = Beams.root(torch.arange(rows), 1)
    trie = Trie.of([[2 + token] for token in range(len(probabilities))])
    edges, _ = trie.edges(beams.states, len(probabilities))
    return Candidates(beams, edges, torch.tensor([probabilities]).log().expand(rows, -1), trie)


def these(*drafted: int, of: int, rows: int = DRAWS) -> Tensor:
    return torch.tensor([[candidate in drafted for candidate in range(of)]]).expand(rows, -1)


def chosen(keys: Tensor, k: int) -> Tensor:
    return top_k(keys, k)


def assert_frequency(hits: Tensor, probability: float) -> None:
    spread = 4 * (probability * (1 - probability) / len(hits)) ** 0.5 + 1e-9
    assert hits.double().mean().item() == pytest.approx(probability, abs=spread)


def assert_plackett_luce(pairs: Tensor, p: tuple[float, ...]) -> None:
    for first, second in itertools.permutations(range(len(p)), 2):
        hits = (pairs == torch.tensor([first, second])).all(1)
        assert_frequency(hits, p[first] * p[second] / (1 - p[first]))


def test_strict_chooses_by_score_and_passes_what_was_drafted() -> None:
    target = candidates(0.1, 0.4, 0.3, 0.2, rows=1)
    assert torch.equal(Strict().keys(target), target.scores)
    keys, passed = Strict().verify(target, target.scores, drafted := these(0, 2, of=4, rows=1))
    assert torch.equal(keys, target.scores)
    assert torch.equal(passed, drafted)


@pytest.mark.parametrize("rule", [Relaxed(1.0, 7), RelaxedRanked(1.0, 7), Coupled(7)], ids=lambda r: type(r).__name__)
def test_sampling_without_replacement_follows_plackett_luce(rule: Rule) -> None:
    p = (0.5, 0.3, 0.2)
    assert_plackett_luce(chosen(rule.keys(candidates(*p)), 2), p)


def test_another_seed_is_another_sample_and_the_same_seed_the_same() -> None:
    def sample(rule: Rule) -> Tensor:
        return chosen(rule.keys(candidates(*P)), 1)

    for kind in (Coupled, lambda seed: Relaxed(1.0, seed)):
        assert torch.equal(sample(kind(1)), sample(kind(1)))
        assert_frequency((sample(kind(1)) == sample(kind(2)))[:, 0], sum(p * p for p in P))  # as if independent


def test_temperature_sharpens_the_sample() -> None:
    keys = Relaxed(0.5, 0).keys(candidates(0.6, 0.4))
    assert_frequency(chosen(keys, 1)[:, 0] == 0, 0.36 / (0.36 + 0.16))


@pytest.mark.parametrize("kind", [Relaxed, RelaxedRanked])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_drafted_candidate_is_accepted_with_probability_p_over_q(kind: type[Relaxed], temperature: float) -> None:
    sharp_p, sharp_q = ([x ** (1 / temperature) for x in probabilities] for probabilities in (P, Q))
    for candidate in range(3):
        ratio = (sharp_p[candidate] / sum(sharp_p)) / (sharp_q[candidate] / sum(sharp_q))
        drafted = these(candidate, of=3)
        keys, passed = kind(temperature, 3).verify(candidates(*P), candidates(*Q).scores, drafted)
        assert_frequency(passed[:, candidate], min(1, ratio))
        assert not (passed & ~drafted).any()
        assert (chosen(keys, 1)[passed[:, candidate]] == candidate).all()


def test_after_a_rejection_the_draw_follows_the_positive_part_of_p_minus_q() -> None:
    p, q = (0.1, 0.5, 0.3, 0.1), (0.6, 0.2, 0.1, 0.1)
    keys, passed = Relaxed(1.0, 0).verify(candidates(*p), candidates(*q).scores, these(0, of=4))
    drawn = chosen(keys, 1)[~passed[:, 0], 0]
    for candidate, probability in enumerate((0, 0.6, 0.4, 0)):  # (0, 0.3, 0.2, 0), normalised
        assert_frequency(drawn == candidate, probability)


def test_more_missing_ones_are_drawn_from_the_residual_without_replacement() -> None:
    p, q = (0.1, 0.45, 0.25, 0.2), (0.7, 0.1, 0.1, 0.1)
    keys, passed = Relaxed(1.0, 0).verify(candidates(*p), candidates(*q).scores, these(0, of=4))
    residual = (0.35 / 0.6, 0.15 / 0.6, 0.1 / 0.6)
    assert_plackett_luce(chosen(keys, 2)[~passed[:, 0]] - 1, residual)


@pytest.mark.parametrize("kind", [Relaxed, RelaxedRanked])
def test_one_candidate_drawn_from_q_and_verified_is_a_draw_from_p(kind: type[Relaxed]) -> None:
    rule, q = kind(1.0, 5), candidates(*Q)
    drafted = torch.zeros(DRAWS, 3, dtype=torch.bool).scatter(1, chosen(rule.keys(q), 1), True)
    keys, _ = rule.verify(candidates(*P), q.scores, drafted)
    for candidate, probability in enumerate(P):
        assert_frequency(chosen(keys, 1)[:, 0] == candidate, probability)


def test_of_more_than_k_accepted_a_uniformly_random_k_go_on() -> None:
    p = candidates(0.4, 0.3, 0.2, 0.1)
    keys, passed = Relaxed(1.0, 0).verify(p, p.scores, these(0, 1, 2, of=4))
    picked = chosen(keys, 2)
    assert passed.gather(1, picked).all()
    for candidate in range(3):
        assert_frequency((picked == candidate).any(1), 2 / 3)


def test_of_more_than_k_accepted_the_ranked_rule_goes_on_with_the_likeliest() -> None:
    p = candidates(0.2, 0.3, 0.4, 0.1)
    keys, passed = RelaxedRanked(1.0, 0).verify(p, p.scores, these(0, 1, 2, of=4))
    picked = chosen(keys, 2)
    assert passed.gather(1, picked).all()
    assert (picked == torch.tensor([2, 1])).all()


def test_the_accepted_stand_before_any_draw_and_draws_from_the_residual_before_those_from_p() -> None:
    p, q = candidates(0.1, 0.2, 0.3, 0.4), candidates(0.1, 0.3, 0.2, 0.4)
    keys, passed = Relaxed(1.0, 0).verify(p, q.scores, these(0, of=4))
    assert passed[:, 0].all()
    assert (chosen(keys, 2) == torch.tensor([0, 2])).all()  # 2 alone has p > q


def test_a_residual_of_zero_is_topped_up_from_p_without_repeating_the_accepted() -> None:
    p = candidates(0.5, 0.3, 0.2)
    keys, passed = Relaxed(1.0, 0).verify(p, p.scores, these(0, of=3))
    picked = chosen(keys, 2)
    assert (picked[:, 0] == 0).all()
    assert_frequency(picked[:, 1] == 1, 0.6)
    assert not passed.gather(1, picked).all(1).any()


@pytest.mark.parametrize("rule", [Strict(), Coupled(0), Relaxed(1.0, 0), RelaxedRanked(1.0, 0)])
def test_continuations_that_do_not_exist_come_last_in_every_rule(rule: Rule) -> None:
    p, q = candidates(0.7, 0.0, 0.3), candidates(0.1, 0.0, 0.9)
    verified, passed = rule.verify(p, q.scores, these(0, 1, 2, of=3))
    for keys in (rule.keys(p), verified):
        picked = chosen(keys, 3)
        assert (picked[:, 2] == 1).all()
        assert (keys[:, 1] == -torch.inf).all()
        assert not keys.isnan().any()
    assert not (passed & ~p.exists()).any() or isinstance(rule, Strict | Coupled)


@pytest.mark.parametrize("kind", [Relaxed, RelaxedRanked])
def test_at_any_temperature_what_is_accepted_goes_before_the_rest(kind: type[Relaxed]) -> None:
    p = candidates(1.0, 1.0, 1.0, rows=1)
    p.scores = torch.tensor([[-100.0, -50.0, 0.0]])
    verified, passed = kind(1e-6, 0).verify(p, torch.tensor([[-200.0, -50.0, 0.0]]), these(0, of=3, rows=1))
    assert passed.tolist() == [[True, False, False]]
    assert chosen(verified, 1).tolist() == [[0]]


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=6), st.floats(-200, 50), st.integers(0, 10**6))
def test_coupled_children_have_their_parents_key_as_their_maximum(logits: list[float], key: float, seed: int) -> None:
    trie = Trie.of([[2, 3 + token] for token in range(len(logits))])
    beams = Beams(*(torch.zeros(1, 1, *more) for more in ((2,), (), ())), *torch.ones(2, 1, 1).long(),
                  levels=torch.tensor([1]), streams=torch.tensor([5]))  # fmt: skip
    beams.sequences, beams.keys = torch.tensor([[[2, -1]]]), torch.tensor([[key]], dtype=torch.float64)
    beams.scores = torch.tensor([[-4.0]])
    edges, _ = trie.edges(beams.states, len(logits))
    scores = -4.0 + torch.tensor([logits]).log_softmax(1)
    keys = Coupled(seed).keys(Candidates(beams, edges, scores, trie))
    assert keys.max().item() == pytest.approx(key, abs=1e-9)
    assert not keys.isnan().any()
