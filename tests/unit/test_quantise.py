"""Residual quantisation finds structure that was planted, and its codes, whatever the vectors, are in range."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planted_for_tests import planted, random_quantiser
from specbeam.errors import SpecbeamError
from specbeam.identifiers.collisions import constrained, extra_token
from specbeam.identifiers.quantise import rq_kmeans
from specbeam.identifiers.rq_vae import rq_vae
from specbeam.settings import RqVaeSettings

TINY_VAE = RqVaeSettings(hidden=[16], latent=8, epochs=60, batch_size=64, learning_rate=1e-2)


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two labellings group items alike, whatever their labels are."""
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def test_rq_kmeans_finds_planted_codes_level_by_level_and_gives_the_vectors_back():
    truth, vectors = planted(items=400, sizes=(3, 4))
    quantiser = rq_kmeans(vectors, [3, 4], seed=1)
    codes = quantiser.nearest()
    assert same_partition(codes[:, 0], truth[:, 0])
    assert same_partition(codes[:, 0] * 4 + codes[:, 1], truth[:, 0] * 4 + truth[:, 1])
    *_, kept = quantiser.sums(codes)
    np.testing.assert_allclose(kept, vectors, atol=0.05)


def test_rq_vae_finds_the_planted_first_level_and_decodes_near_the_vectors():
    truth, vectors = planted(items=300, sizes=(3, 4))
    quantiser = rq_vae(vectors, [3, 4], settings=TINY_VAE, seed=1)
    codes = quantiser.nearest()
    assert same_partition(codes[:, 0], truth[:, 0])
    *_, kept = quantiser.sums(codes)
    unexplained = np.square(vectors - quantiser.decode(kept)).sum() / np.square(vectors - vectors.mean(0)).sum()
    assert unexplained < 0.1


@pytest.mark.parametrize("method", ["rq-kmeans", "rq-vae"])
def test_equal_seeds_give_equal_codes_and_another_seed_others(method):
    vectors = np.random.default_rng(1).standard_normal((120, 6)).astype("f4")

    def codes(seed: int) -> list[list[int]]:
        if method == "rq-kmeans":
            return rq_kmeans(vectors, [8, 8], seed=seed).nearest().tolist()
        return rq_vae(vectors, [8, 8], settings=TINY_VAE.model_copy(update={"epochs": 2}), seed=seed).nearest().tolist()

    assert codes(1) == codes(1)
    assert codes(1) != codes(2)


@pytest.mark.parametrize("vectors", [np.ones((1, 3)), np.ones((40, 3)), np.eye(3)], ids=["one", "equal", "few"])
def test_fewer_different_items_than_codewords_are_told_apart_all_the_same(vectors):
    quantiser = rq_kmeans(vectors, [8, 8], seed=1)
    assert [codebook.shape for codebook in quantiser.codebooks] == [(8, 3), (8, 3)]
    assert len(np.unique(constrained(quantiser), axis=0)) == len(vectors)
    learned = rq_vae(vectors, [8, 8], settings=TINY_VAE.model_copy(update={"epochs": 1}), seed=1)
    assert len(np.unique(constrained(learned), axis=0)) == len(vectors)


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (np.zeros((0, 3)), "at least one item, got the shape (0, 3)"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "finite embeddings, that of item 1 is not"),
        (np.array([[1.0, np.inf]]), "finite embeddings, that of item 0 is not"),
    ],
)
def test_embeddings_that_are_none_are_refused(vectors, told):
    with pytest.raises(SpecbeamError) as refused:
        rq_kmeans(vectors, [2], seed=1)
    assert told in str(refused.value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    items=st.integers(1, 60),
    sizes=st.lists(st.integers(2, 6), min_size=1, max_size=4),
    width=st.integers(1, 4),
    alike=st.integers(0, 60),
    seed=st.integers(0, 9),
)
def test_constrained_codes_are_in_range_and_never_equal(items, sizes, width, alike, seed):
    quantiser = random_quantiser(items=items, sizes=tuple(sizes), width=width, seed=seed)
    quantiser.vectors[:alike] = 0
    if items > quantiser.room:
        with pytest.raises(SpecbeamError, match=f"expected codes for {items} items"):
            constrained(quantiser)
        return
    codes = constrained(quantiser)
    assert codes.shape == (items, len(sizes))
    assert (codes >= 0).all()
    assert (codes < np.array(sizes)).all()
    assert len(np.unique(codes, axis=0)) == items


def test_items_that_do_not_collide_keep_their_nearest_codes():
    quantiser = random_quantiser(items=30, sizes=(64, 64, 64))
    nearest = quantiser.nearest()
    _, place, counts = np.unique(nearest, axis=0, return_inverse=True, return_counts=True)
    assert (counts[place] == 1).all()
    assert constrained(quantiser).tolist() == nearest.tolist()


def test_the_last_level_is_assigned_at_the_least_total_distance_that_any_assignment_has():
    quantiser = random_quantiser(items=4, sizes=(5,))
    cost = np.square(quantiser.vectors[:, None] - quantiser.codebooks[0][None]).sum(2)
    best = min(cost[range(4), chosen].sum() for chosen in itertools.permutations(range(5), 4))
    assert cost[range(4), constrained(quantiser)[:, 0]].sum() == pytest.approx(best)


def test_a_prefix_that_is_full_keeps_its_nearest_items_and_sends_the_others_to_the_next():
    # Of the six nearest to the first codeword, three fit below it; the second is the next for the rest.
    quantiser = random_quantiser(items=6, sizes=(3, 3), width=1)
    quantiser.vectors[:, 0] = [3.4, 3.1, 3.45, 3.0, 3.3, 3.2]
    quantiser.codebooks[0][:, 0] = [3.0, 4.0, 8.0]
    assert constrained(quantiser)[:, 0].tolist() == [1, 0, 1, 0, 1, 0]


def test_who_stays_below_a_full_prefix_is_told_by_distance_not_by_length():
    # All three are nearest to the first codeword, which has room for two; the longest lies farthest from it.
    quantiser = random_quantiser(items=3, sizes=(2, 2), width=2)
    quantiser.vectors[:] = [[1, 0], [5, 0], [1.1, 0]]
    quantiser.codebooks[0][:] = [[1, 0], [0, 3]]
    assert constrained(quantiser)[:, 0].tolist() == [0, 1, 0]


def test_an_extra_token_numbers_items_of_equal_codes_from_the_most_popular_on():
    codes = np.array([[1, 2], [1, 2], [3, 4], [1, 2]])
    assert extra_token(codes, np.array([5, 9, 1, 7])).tolist() == [[1, 2, 2], [1, 2, 0], [3, 4, 0], [1, 2, 1]]
