"""The constraint: which tokens may follow, and where they lead."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

CATALOGUE = np.array([[5, 7, 9], [5, 7, 8], [5, 6, 9], [4, 7, 9], [5, 7, 9]])


def allowed(trie: Trie, state: int, depth: int) -> dict[int, int]:
    children = trie.children(torch.tensor([state]), depth)
    return {token: after for token, after, ok in zip(*(x[0].tolist() for x in children), strict=True) if ok}


def test_children_are_the_tokens_that_some_identifier_has_next() -> None:
    trie = Trie.of(CATALOGUE)
    after_4, after_5 = allowed(trie, 0, 0)[4], allowed(trie, 0, 0)[5]
    assert list(allowed(trie, 0, 0)) == [4, 5]
    assert list(allowed(trie, after_4, 1)) == [7]
    assert list(allowed(trie, after_5, 1)) == [6, 7]
    assert list(allowed(trie, allowed(trie, after_5, 1)[7], 2)) == [8, 9]
    assert trie.widths == (2, 2, 2)
    assert trie.vocabulary == 10


def test_an_identifier_that_stands_twice_counts_once_and_is_named_by_its_first_row() -> None:
    trie = Trie.of(CATALOGUE)
    assert sorted(row for row in trie.rows.tolist() if row >= 0) == [0, 1, 2, 3]


def test_the_position_wise_constraint_names_items_that_do_not_exist() -> None:
    trie = Trie.position_wise(CATALOGUE)
    assert list(allowed(trie, 1, 1)) == [6, 7]
    states = trie.walk(torch.tensor([[4, 6, 8]]))
    assert states[0, -1] != trie.dead
    assert Trie.of(CATALOGUE).walk(torch.tensor([[4, 6, 8]]))[0].tolist()[1:] == [Trie.of(CATALOGUE).dead] * 2


def test_nothing_follows_the_dead_state() -> None:
    for trie in (Trie.of(CATALOGUE), Trie.position_wise(CATALOGUE)):
        assert allowed(trie, trie.dead, 1) == {}


@given(arrays(np.int64, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.integers(0, 6)))
def test_walking_an_identifier_ends_in_its_row_and_parents_lead_back(identifiers: np.ndarray) -> None:
    trie = Trie.of(identifiers)
    path = trie.walk(torch.from_numpy(identifiers))
    assert np.array_equal(identifiers[trie.rows[path[:, -1]].numpy()], identifiers)
    back = torch.cat([torch.zeros_like(path[:, :1]), path[:, :-1]], 1)
    assert torch.equal(trie.parents[path], back)
    assert torch.equal(trie.tokens[path - 1], torch.from_numpy(identifiers))


@given(arrays(np.int64, st.tuples(st.integers(1, 30), st.integers(2, 4)), elements=st.integers(0, 4)), st.data())
def test_exactly_the_identifiers_can_be_written(identifiers: np.ndarray, data: st.DataObject) -> None:
    trie, real = Trie.of(identifiers), set(map(tuple, identifiers.tolist()))
    tried = data.draw(arrays(np.int64, (20, identifiers.shape[1]), elements=st.integers(0, 5)))
    ends = trie.walk(torch.from_numpy(tried))[:, -1].tolist()
    assert [end != trie.dead for end in ends] == [tuple(sequence) in real for sequence in tried.tolist()]


@pytest.mark.parametrize(
    "bad", [np.empty((0, 4), dtype=int), np.array([1, 2]), np.array([[0.5]]), np.array([[-1, 2]])]
)  # fmt: skip
def test_arrays_that_are_no_identifiers_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(SpecbeamError, match="identifiers: expected"):
        Trie.of(bad)
