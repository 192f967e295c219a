"""The constraint: which tokens may follow, and where they lead."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from specbeam.errors import SpecbeamError
from specbeam.trie import NO_TOKEN, Identifiers, Trie

CATALOGUE = np.array([[5, 7, 9], [5, 7, 8], [5, 6, 9], [4, 7, 9], [5, 7, 9]])
END = 9
uneven = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=30)


def allowed(trie: Trie, state: int, depth: int) -> dict[int, int]:
    children = trie.children(torch.tensor([state]), depth)
    return {token: after for token, after, ok in zip(*(x[0].tolist() for x in children), strict=True) if ok}


def filled(identifiers: list[list[int]], *, end: int | None = None) -> torch.Tensor:
    """int64 [items, L], NO_TOKEN behind the shorter ones."""
    rows = [[*tokens, *([end] if end is not None else [])] for tokens in identifiers]
    return torch.tensor(list(zip(*itertools.zip_longest(*rows, fillvalue=NO_TOKEN), strict=True)))


def test_children_are_the_tokens_that_some_identifier_has_next() -> None:
    trie = Trie.of(CATALOGUE)
    after_4, after_5 = allowed(trie, 0, 0)[4], allowed(trie, 0, 0)[5]
    assert list(allowed(trie, 0, 0)) == [4, 5]
    assert list(allowed(trie, after_4, 1)) == [7]
    assert list(allowed(trie, after_5, 1)) == [6, 7]
    assert list(allowed(trie, allowed(trie, after_5, 1)[7], 2)) == [8, 9]
    assert (trie.widths, trie.depth, trie.vocabulary) == ((2, 2, 2), 3, 10)
    assert trie.alphabet.tolist() == [4, 5, 6, 7, 8, 9]


def test_an_identifier_that_stands_twice_counts_once_and_is_named_by_its_first_row() -> None:
    trie = Trie.of(CATALOGUE)
    assert sorted(row for row in trie.rows.tolist() if row >= 0) == [0, 1, 2, 3]


def test_the_position_wise_constraint_names_items_that_do_not_exist() -> None:
    trie = Trie.position_wise(CATALOGUE)
    assert list(allowed(trie, 1, 1)) == [6, 7]
    states = trie.walk(torch.tensor([[4, 6, 8]]))
    assert states[0, -1] != trie.dead
    assert Trie.of(CATALOGUE).walk(torch.tensor([[4, 6, 8]]))[0].tolist()[1:] == [Trie.of(CATALOGUE).dead] * 2


def test_the_position_wise_constraint_needs_identifiers_of_one_length() -> None:
    with pytest.raises(SpecbeamError, match="of one length"):
        Trie.position_wise([[1, 2], [3]])


def test_nothing_follows_the_dead_state() -> None:
    for trie in (Trie.of(CATALOGUE), Trie.position_wise(CATALOGUE), Trie.of([[1], [1, 2]], end=END)):
        assert allowed(trie, trie.dead, 1) == {}


def test_an_end_token_tells_an_identifier_from_those_that_it_begins() -> None:
    trie = Trie.of([[3], [3, 4], [5, 4, 3]], end=END)
    after_3 = allowed(trie, 0, 0)[3]
    assert list(allowed(trie, after_3, 1)) == [4, END]
    assert trie.rows[allowed(trie, after_3, 1)[END]] == 0
    assert trie.rows[after_3] == -1
    assert trie.depth == 4
    assert trie.ending == (0, 1 / 3, 1 / 2, 1)  # edges that end an identifier, of all at that depth


def test_without_an_end_token_an_identifier_that_begins_another_is_refused_by_its_row() -> None:
    with pytest.raises(SpecbeamError, match="number 2 is the beginning of another: give an end token"):
        Trie.of([[1, 2, 3], [2, 2], [1, 2]])
    assert Trie.of([[1, 2, 3], [2, 2], [1, 3]]).depth == 3  # prefix-free


@given(uneven)
def test_walking_an_identifier_with_its_end_leads_to_its_row_and_parents_lead_back(identifiers: list) -> None:
    trie, written = Trie.of(identifiers, end=END), filled(identifiers, end=END)
    path = trie.walk(written)
    assert [identifiers[row] for row in trie.rows[path[:, -1]]] == identifiers
    back = torch.cat([torch.zeros_like(path[:, :1]), path[:, :-1]], 1)
    real = written != NO_TOKEN
    assert torch.equal(trie.parents[path][real], back[real])
    assert torch.equal(trie.tokens[path - 1][real], written[real])
    assert torch.equal(path[:, 1:][~real[:, 1:]], path[:, :-1][~real[:, 1:]])  # behind the end the last state stays


@given(uneven)
def test_edges_and_tokens_of_a_depth_are_those_of_all_prefixes_of_that_length(identifiers: list) -> None:
    trie, written = Trie.of(identifiers, end=END), filled(identifiers, end=END)
    path = trie.walk(written)
    for depth, (edges, tokens) in enumerate(zip(trie.edges_at, trie.tokens_at, strict=True)):
        real = written[:, depth] != NO_TOKEN
        assert tokens.tolist() == sorted(set(written[real, depth].tolist()))
        assert list(range(edges.start, edges.stop)) == sorted(set((path[real, depth] - 1).tolist()))  # they end there


@given(arrays(np.int64, st.tuples(st.integers(1, 30), st.integers(2, 4)), elements=st.integers(0, 4)), st.data())
def test_exactly_the_identifiers_can_be_written(identifiers: np.ndarray, data: st.DataObject) -> None:
    trie, real = Trie.of(identifiers), set(map(tuple, identifiers.tolist()))
    tried = data.draw(arrays(np.int64, (20, identifiers.shape[1]), elements=st.integers(0, 5)))
    ends = trie.walk(torch.from_numpy(tried))[:, -1].tolist()
    assert [end != trie.dead for end in ends] == [tuple(sequence) in real for sequence in tried.tolist()]


@given(uneven)
def test_edges_columns_and_ends_say_the_same_as_children(identifiers: list) -> None:
    trie = Trie.of(identifiers, end=END)
    states, width = torch.arange(trie.dead + 1), max(trie.widths)
    edges, exists = trie.edges(states, width)
    assert torch.equal(trie.padded_tokens[edges][exists], trie.tokens[edges[exists]])
    assert torch.equal(trie.alphabet[trie.columns[edges]][exists], trie.tokens[edges[exists]])
    assert torch.equal(trie.ends[edges][exists], trie.rows[trie.targets[edges[exists]]] >= 0)
    assert int(exists.sum()) == len(trie.tokens)


def test_a_large_catalogue_equals_a_dictionary_on_samples() -> None:
    random = np.random.default_rng(0)
    identifiers = random.integers(0, 60, size=(100_000, 4)) + np.arange(4) * 60
    trie, following, first = Trie.of(identifiers), {}, {}
    for row, tokens in enumerate(identifiers.tolist()):
        first.setdefault(tuple(tokens), row)
        for depth, token in enumerate(tokens):
            following.setdefault(tuple(tokens[:depth]), set()).add(token)
    sample = random.choice(len(identifiers), 300, replace=False)
    path = trie.walk(torch.from_numpy(identifiers[sample])).tolist()
    for states, tokens in zip(path, identifiers[sample].tolist(), strict=True):
        assert trie.rows[states[-1]] == first[tuple(tokens)]
        for depth, state in enumerate([0, *states[:-1]]):
            assert list(allowed(trie, state, depth)) == sorted(following[tuple(tokens[:depth])])
    assert (trie.rows >= 0).sum() == len(first)
    unreal = identifiers[sample] + random.integers(0, 2, size=(300, 4))
    ends = trie.walk(torch.from_numpy(unreal))[:, -1]
    assert [end != trie.dead for end in ends.tolist()] == [tuple(tokens) in first for tokens in unreal.tolist()]


@pytest.mark.parametrize(
    "bad", [np.empty((0, 4), dtype=int), np.array([1, 2]), np.array([[0.5]]), [], torch.tensor([1.5])]
)  # fmt: skip
def test_arrays_that_are_no_identifiers_are_refused(bad: Identifiers) -> None:
    with pytest.raises(SpecbeamError, match="identifiers: expected integers of shape"):
        Trie.of(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([[1, 2], [3, -5]], "token ids of 0 or more, row 1 has -5"),
        ([[1, 2], [], [3]], r"expected token ids, row 1 is \[\]"),
        (np.array([[1, 2, 3], [1, -1, 2]]), r"then -1 only; row 1 is \[ 1 -1  2\]"),
        ([[1], ["a"]], r"expected token ids, row 1 is \['a'\]"),
        ([[1], [0.5]], r"expected token ids, row 1 is \[0.5\]"),
        ([[1], 2], "expected token ids, row 1 is 2"),
        ([[1], [[2]]], r"expected token ids, row 1 is \[\[2\]\]"),
    ],
)
def test_a_row_that_is_no_identifier_is_named(bad: Identifiers, message: str) -> None:
    with pytest.raises(SpecbeamError, match=f"identifiers: .*{message}"):
        Trie.of(bad)


def test_an_end_token_inside_an_identifier_is_refused() -> None:
    with pytest.raises(SpecbeamError, match="9, the end token, stands inside an identifier"):
        Trie.of([[1, 2], [3, 9]], end=END)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_lists_arrays_and_tensors_give_the_same_trie(kind: type) -> None:
    trie, expected = Trie.of(kind(CATALOGUE.tolist())), Trie.of(CATALOGUE)
    assert all(np.array_equal(a, b) for a, b in zip(vars(trie).values(), vars(expected).values(), strict=True))
