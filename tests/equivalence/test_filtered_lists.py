"""A filtered list is the list of a recommender of the allowed items alone, whoever drafts and whatever the rule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models_for_tests import random_catalogue, random_prompt, tiny_model, uneven_catalogue
from specbeam import Items, Plan, Recommendations, Recommender

END = 1
Catalogue = dict[str, list[int]]


def catalogue(seed: int, *, uneven: bool, branching: int, items: int) -> Catalogue:
    """Random items, each tenth of which shares the identifier of another."""
    if uneven:
        identifiers = [list(tokens) for tokens in uneven_catalogue(seed, items=items, branching=branching)]
    else:
        identifiers = random_catalogue(seed, items=items, branching=branching, length=3).tolist()
    return {f"item {place}": tokens for place, tokens in enumerate(identifiers + identifiers[::10])}


def few(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    return {"without": random.choice(list(items), size=min(4, len(items)), replace=False)}


def a_branch(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    first = items[random.choice(list(items))][0]
    return {"without": [item for item, tokens in items.items() if tokens[0] == first]}


def half(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    return {"only": [item for item in items if random.random() < 0.5]}


def half_less_a_branch(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    return half(items, random) | a_branch(items, random)


def two_left(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    return {"without": random.permutation(list(items))[2:]}


def none_left(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    return {"only": list(items)[:5], "without": list(items)[:5]}


def all_left(items: Catalogue, random: np.random.Generator) -> dict[str, Any]:
    return {}


KINDS: dict[str, Callable[[Catalogue, np.random.Generator], dict[str, Any]]] = {
    kind.__name__: kind for kind in (all_left, few, a_branch, half, half_less_a_branch, two_left, none_left)
}
PLANS = {
    "no draft": None,
    "nothing": Plan(),
    "flat": Plan((14, 14, 14), draft_length=2),
    "shaped": Plan((9, 20, 30)),
    "completed": Plan((12, 60), model_levels=1),
    "by the prior": Plan((15, 15), model_levels=0),
}


def of_the_allowed_alone(
    models: dict[str, Any], items: Catalogue, filter: dict[str, Any], **options: Any
) -> Recommender | None:
    """The plain way to filter: a catalogue, trie and recommender built anew."""
    left = {x: items[x] for x in filter.get("only", items) if x not in filter.get("without", [])}
    return Recommender(items=Items.of(left), **models, **options) if left else None


def assert_same(found: Recommendations, expected: Recommendations | None) -> None:
    assert found.items == (expected.items if expected else [])
    if expected:
        assert found.identifiers == expected.identifiers
        assert found.scores == pytest.approx(expected.scores, abs=1e-4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    uneven=st.booleans(),
    branching=st.sampled_from([2, 4, 9]),
    items=st.sampled_from([6, 40, 150]),
    k=st.integers(1, 9),
    plan=st.sampled_from(sorted(PLANS)),
    verification=st.sampled_from(["strict", "strict", "coupled"]),
    normalise=st.sampled_from(["children", "children", "vocabulary"]),
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=4, max_size=4),
)
@example(3, True, 4, 40, 5, "shaped", "strict", "children", ["few", "half", "none_left", "two_left"])
@example(3, False, 4, 150, 9, "flat", "coupled", "children", ["a_branch", "half_less_a_branch", "all_left", "few"])
def test_each_list_of_a_batch_is_that_of_its_own_allowed_items_alone(
    seed: int, uneven: bool, branching: int, items: int, k: int, plan: str, verification: str, normalise: str,
    kinds: list[str],
) -> None:  # fmt: skip
    named = catalogue(seed, uneven=uneven, branching=branching, items=items)
    verification = "strict" if normalise == "vocabulary" else verification
    how = {"normalise": normalise, "end": END if uneven else None}
    draft = tiny_model(seed=seed + 1, hidden=16, layers=1) if PLANS[plan] else None
    target = tiny_model(seed=seed)
    recommender = Recommender(target, Items.of(named), draft=draft, plan=PLANS[plan], **how)
    filters = [KINDS[kind](named, np.random.default_rng([seed, place])) for place, kind in enumerate(kinds)]
    prompts = [random_prompt(seed + place, 1 + (seed + 3 * place) % 8)[0].tolist() for place in range(len(kinds))]
    lists = recommender(
        prompts,
        k,
        verification=verification,
        only=[filter.get("only") for filter in filters],
        without=[list(filter.get("without", [])) for filter in filters],
    )
    for prompt, filter, found in zip(prompts, filters, lists, strict=True):
        alone = of_the_allowed_alone({"target": target}, named, filter, **how)  # plain beam search
        assert_same(found, alone and alone(prompt, k, verification=verification)[0])


@pytest.mark.parametrize("verification", ["relaxed", "relaxed-ranked"])
@pytest.mark.parametrize("kind", ["few", "a_branch", "half_less_a_branch", "two_left"])
@pytest.mark.parametrize("seed", range(4))
def test_sampled_verification_is_that_of_the_allowed_items_alone(verification: str, kind: str, seed: int) -> None:
    named = catalogue(seed, uneven=False, branching=4, items=60)
    models = {"target": tiny_model(seed=seed), "draft": tiny_model(seed=seed + 1, hidden=16, layers=1)}
    filter = KINDS[kind](named, np.random.default_rng(seed))
    prompts = [random_prompt(seed + place, 5)[0].tolist() for place in range(3)]
    flat = {"draft_beam_width": 10, "draft_length": 2}
    how = {"k": 4, "verification": verification, "temperature": 1.5, "seed": seed}
    lists = Recommender(items=Items.of(named), **models, **flat)(prompts, **how, **filter)
    alone = of_the_allowed_alone(models, named, filter, **flat)
    for found, expected in zip(lists, alone(prompts, **how), strict=True):
        assert_same(found, expected)
        assert found.accepted == expected.accepted


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), uneven=st.booleans(), drafted=st.booleans(), more=st.booleans())
def test_another_catalogue_with_the_same_models_is_a_recommender_made_for_it(
    seed: int, uneven: bool, drafted: bool, more: bool
) -> None:
    named, others = (catalogue(s, uneven=uneven, branching=4, items=60) for s in (seed, seed + 1))
    after = {**named, **{f"new {item}": tokens for item, tokens in others.items()}} if more else others
    models = {
        "target": tiny_model(seed=seed),
        "draft": tiny_model(seed=seed + 1, hidden=16, layers=1) if drafted else None,
    }
    end = END if uneven else None
    swapped = Recommender(items=Items.of(named), end=end, **models).with_items(after)
    prompts = [random_prompt(seed, 6)[0].tolist()]
    fresh = Recommender(items=Items.of(after), end=end, **models)
    assert_same(swapped(prompts, 7)[0], fresh(prompts, 7)[0])
    left_out = [fresh(prompts, 1)[0].items[0]]
    assert_same(swapped(prompts, 7, without=left_out)[0], fresh(prompts, 7, without=left_out)[0])
    torch.testing.assert_close(swapped.target.weight, fresh.target.weight)
