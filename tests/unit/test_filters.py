"""Filters: which edges they close, what they cost, what they refuse; and other catalogues for the same models."""

from typing import Any

import numpy as np
import pytest
import torch

from models_for_tests import random_catalogue, random_prompt, tiny_model
from specbeam import Items, Recommender, SpecbeamError
from specbeam.decoding.filters import Filters, Part
from specbeam.decoding.reader import Reader
from specbeam.measurement import lookups
from specbeam.trie import Trie

CATALOGUE = random_catalogue(1, items=60)
PROMPTS = [random_prompt(seed, 4 + seed)[0].tolist() for seed in range(3)]
SHOP = {"shoe": [5, 6, 7], "hat": [5, 6, 8], "cap": [5, 9, 9], "scarf": [5, 6, 8], "coat": [8, 9, 9]}


def recommender(*, items: Any = CATALOGUE, draft: bool = True, **options: Any) -> Recommender:
    drafter = tiny_model(seed=2, hidden=16, layers=1) if draft else None
    return Recommender(tiny_model(seed=1), Items.of(items), draft=drafter, draft_beam_width=20, **options)


def written(trie: Trie, part: Part, left_out: list[int]) -> tuple[list[int], int]:
    """The tokens on the edges that are dead, and the most of them out of one state."""
    edges, most = part.dead(left_out)
    return trie.tokens[edges].tolist(), most


def test_an_edge_is_dead_as_soon_as_all_identifiers_behind_it_are_left_out() -> None:
    trie = Trie.of([[2, 3], [2, 4], [5, 6], [7, 8]])
    whole = Part.of(trie)
    assert written(trie, whole, [0]) == ([3], 1)
    assert written(trie, whole, [0, 1]) == ([2, 3, 4], 2)
    assert written(trie, whole, [0, 2]) == ([5, 3, 6], 1)
    assert written(trie, Part.of(trie, np.array([0, 2])), [0]) == ([2, 3], 1)  # the part has nothing else behind 2


def test_edges_to_other_parts_of_the_catalogue_are_closed_for_the_prompts_that_have_one() -> None:
    trie = Trie.of([[2, 3], [2, 4], [5, 6]])
    whole, part = Part.of(trie), Part.of(trie, np.array([1]))
    filters = Filters.of([part, whole, whole], [[], [2], []])
    edges, exists = trie.edges(torch.zeros(3, 1, dtype=torch.int64), 2)
    assert filters.allow(edges, exists, [0]).squeeze(1).tolist() == [[True, False], [True, False], [True, True]]
    for order, expected in (([2, 0], [[True, True], [True, False]]), ([1, 2], [[True, False], [True, True]])):
        kept = filters.keep(torch.tensor(order))
        assert kept.allow(edges[:2], exists[:2], [0]).squeeze(1).tolist() == expected


def test_levels_without_a_dead_edge_are_not_looked_at() -> None:
    trie = Trie.of([[2, 3], [2, 4], [5, 6]])
    whole = Part.of(trie)
    assert [Filters.of([whole], [rows]).levels for rows in ([0], [2], [0, 1])] == [{1}, {0, 1}, {0, 1}]
    edges, exists = trie.edges(torch.zeros(1, 1, dtype=torch.int64), 2)
    assert Filters.of([whole], [[0]]).allow(edges, exists, [0]) is exists


def test_a_filter_of_nothing_is_none() -> None:
    whole = Part.of(Trie.of([[2, 3]]))
    assert Filters.of([whole, whole], [[], []]) is None


def test_of_items_that_collide_only_those_that_are_allowed_are_named() -> None:
    made, prompt = recommender(items=SHOP), [3, 4]
    assert {"hat", "scarf"} <= set(made([prompt], k=5)[0].items)
    (found,) = made([prompt], k=5, without=["hat"])
    assert sorted(found.items) == ["cap", "coat", "scarf", "shoe"]
    assert sorted(made([prompt], k=5, only=["hat", "cap"])[0].items) == ["cap", "hat"]
    assert made([prompt], k=5, only=["hat", "cap"], without=["hat", "scarf"])[0].items == ["cap"]


def test_of_fewer_than_k_items_the_list_is_shorter_and_of_none_empty() -> None:
    made = recommender(items=SHOP)
    lists = made(PROMPTS, k=4, only=[["coat"], [], None], without=[[], [], {"cap", "hat"}])
    assert [sorted(found.items) for found in lists] == [["coat"], [], ["coat", "scarf", "shoe"]]
    (none,) = made(PROMPTS[:1], k=4, without=list(SHOP))
    assert (none.items, none.scores, none.identifiers) == ([], [], [])


def test_a_subset_serves_any_number_of_lists_and_one_filter_all_prompts() -> None:
    made = recommender()
    some = made.subset(range(0, 60, 2))
    assert made.subset(np.arange(0, 60, 2)).items == some.items == frozenset(range(0, 60, 2))
    shared = made(PROMPTS, k=5, only=some, without=np.array([0, 2]))
    each = made(PROMPTS, k=5, only=[some] * 3, without=[[0, 2], {0, 2}, np.array([0, 2])])
    assert [found.items for found in shared] == [found.items for found in each]
    assert not {item for found in shared for item in found.items} & {0, 2, *range(1, 60, 2)}


def test_without_repeats_no_list_names_an_item_of_its_history() -> None:
    made = recommender(items=SHOP, start=1)
    histories = [["hat", "cap"], ["coat"], []]
    lists = made.for_histories(histories, 9, repeats=False, without=[["shoe"], [], []])
    expected = [{"scarf", "coat"}, {"shoe", "hat", "cap", "scarf"}, set(SHOP)]
    assert [set(found.items) for found in lists] == expected
    assert set(made.for_histories([["hat"]], 9)[0].items) == set(SHOP)
    own = recommender(items=SHOP, prompt=lambda history: [3, 4])  # knows items that the catalogue does not have
    assert set(own.for_histories([["sold out", "hat"]], 9, repeats=False)[0].items) == set(SHOP) - {"hat"}


def test_without_a_filter_nothing_is_asked_or_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filters, "allow", None)
    made = recommender()
    with lookups.noting(made.target.trie) as before:
        made(PROMPTS, k=5)
        made(PROMPTS, k=5, without=[], only=None)
        made(PROMPTS, k=5, without=[[], set(), None], only=[None] * 3)
    assert len(before) > 0
    assert "ancestry" not in vars(made.target.trie)


def test_a_filter_asks_no_more_look_ups_of_the_trie() -> None:
    made, counts = recommender(draft=False), []
    for options in ({}, {"without": [1, 2]}, {"only": range(30)}):
        with lookups.noting(made.target.trie) as asked:
            made(PROMPTS, k=5, **options)
        counts.append(len(asked))
    assert counts == [4, 4, 4]  # one a level


def test_passes_have_the_same_shapes_whatever_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """So captured passes and compiled models are used again. On a CPU the host may look, and drafts no dead nodes."""
    monkeypatch.setattr("specbeam.decoding.search.looking_is_free", lambda device: False)
    read, shapes = Reader.read, []
    monkeypatch.setattr(Reader, "read", lambda reader, nodes: shapes.append(nodes.shape) or read(reader, nodes))
    made, seen = recommender(), []
    for options in ({}, {"without": [[1], [2, 3, 4], []]}, {"only": range(40)}):
        shapes.clear()
        made(PROMPTS, k=5, **options)
        seen.append(list(shapes[:4]))  # the first round: later ones depend on what was accepted
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": [600]}, "item 600: expected an item of the catalogue"),
        ({"only": [600]}, "item 600: expected an item of the catalogue"),
        ({"only": range(5), "without": ["x"]}, "item 'x': expected an item of the catalogue"),
        ({"without": [[1], [2]]}, "without: expected item ids for all prompts, or a list or set of them for each of 3"),
        ({"without": [[1], 2, 3]}, r"without: expected item ids .* got \[\[1\], 2, 3\]"),
        ({"without": 5}, "without: expected a collection of item ids, such as \\[5, 9\\], got 5"),
        ({"without": "hat"}, "without: expected a collection of item ids, such as \\[5, 9\\], got 'hat'"),
        (
            {"without": [{"item": 5}]},
            r"without: expected a collection of item ids, such as \[5, 9\], got \[\{'item': 5\}\]",
        ),
        ({"only": [None]}, "only: expected item ids for all prompts"),
        ({"only": recommender().subset([1])}, "only: this subset is of another catalogue"),
    ],
)
def test_filters_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        recommender()(PROMPTS, k=2, **options)


def test_another_catalogue_shares_the_models_and_leaves_this_one_as_it_was() -> None:
    made = recommender(items=SHOP, start=1)
    made.plans[3, 1] = made.plan(3, 1)
    before = made.for_histories([["hat"]], 9)[0]
    swapped = made.with_items({**SHOP, "glove": [8, 10, 11]})
    for old, new in ((made.target, swapped.target), (made.drafter.scorer, swapped.drafter.scorer)):
        assert new.model is old.model
        assert (new.body, new.empty, new.graphs) == (old.body, old.empty, old.graphs)
    (found,) = swapped.for_histories([["hat", "glove"]], 9)
    assert set(found.items) == {*SHOP, "glove"}
    assert made.for_histories([["hat"]], 9)[0].items == before.items
    assert swapped.plans == made.plans
    swapped.plans.clear()
    assert made.plans
    with pytest.raises(SpecbeamError, match="this subset is of another catalogue"):
        swapped([[3]], only=made.subset(["hat"]))


def test_a_catalogue_that_the_models_cannot_write_is_refused() -> None:
    made = recommender(items=SHOP)
    with pytest.raises(SpecbeamError, match="token ids up to 500, LlamaForCausalLM knows 160 tokens"):
        made.with_items({"glove": [8, 500]})
    with pytest.raises(SpecbeamError, match="is the beginning of another: give an end token"):
        made.with_items({"glove": [8], "sock": [8, 9]})


def test_another_catalogue_may_bring_its_own_prompts() -> None:
    made = recommender(items=SHOP, prompt=lambda history: [len(history)])
    assert made.with_items(SHOP).prompt(["hat"]) == [1]
    assert made.with_items(SHOP, prompt=lambda history: [7, 7]).prompt(["hat"]) == [7, 7]
