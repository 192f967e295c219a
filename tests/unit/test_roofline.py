"""What passes cost at least, and what the constraint's look-ups cost: counts and formulas, no times."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from models_for_tests import VOCABULARY, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.errors import SpecbeamError
from specbeam.measurement import lookups
from specbeam.measurement.roofline import Passes, Roofline, Weights, capped, ceiling, pass_table
from specbeam.trie import Trie


@pytest.fixture(scope="module")
def scorer():
    return Scorer.of(tiny_model(seed=1), Trie.of(random_catalogue(2)), normalise="children")


@pytest.fixture(scope="module")
def batch():
    return random_prompt(3, 9).expand(2, -1), torch.ones(2, 9, dtype=torch.bool)


def test_weights_are_those_that_a_pass_reads(scorer):
    weights, model = Weights.of(scorer), scorer.model
    embedding = VOCABULARY * 32
    assert weights.body == sum(p.numel() for p in model.model.parameters()) - embedding
    assert weights.head == len(scorer.trie.alphabet) * 32
    assert weights.bytes == 4 * (weights.body + weights.head)


@pytest.mark.parametrize(
    ("tokens", "scored", "seconds", "limit"),
    [(1, 1, 2.0, "bandwidth"), (10, 0, 2.0, "bandwidth"), (100, 50, 20.0 + 5.0, "arithmetic")],
)
def test_a_pass_takes_at_least_what_its_bytes_or_its_operations_take(tokens, scored, seconds, limit):
    weights = Weights(body=100, head=50, size=4)
    roofline = Roofline(bandwidth=300.0, rate=1000.0, read=0)
    assert roofline.bound(weights, tokens=tokens, scored=scored) == (pytest.approx(seconds), limit)


def test_the_passes_of_a_search_are_counted_with_and_without_the_prompt(scorer, batch):
    passes = Passes(batch, repeats=1)
    roofline = Roofline.measure(torch.device("cpu"), torch.float32, weight_bytes=1 << 20)
    table = pass_table(passes, scorer, roofline, beam_widths=[1, 5], trees={"flat8": 24}).set_index("pass")
    assert table["tokens"].to_dict() == {
        "prompt": 18, "a level of K = 1": 2, "a level of K = 5": 10, "prompt and flat8": 2 * (9 + 24),
    }  # fmt: skip
    assert table["scored"].tolist() == [2, 2, 10, 50]
    assert table["over_bound"].tolist() == pytest.approx((table["seconds"] / table["bound"]).tolist())


def test_a_pass_is_measured_once(scorer, batch):
    passes = Passes(batch, repeats=1)
    assert passes.seconds(scorer, 3, with_prompt=True) == passes.seconds(scorer, 3, with_prompt=True)


def test_a_round_drafts_no_more_than_the_trie_has(scorer):
    first = scorer.trie.widths[0]
    assert capped(Plan((5, 6, 7)), scorer.trie) == [5, 6, 7]
    assert capped(Plan((1000, 20)), scorer.trie) == [first, 20]
    assert capped(Plan((5, 0, 8)), scorer.trie) == [5]
    assert capped(Plan(), scorer.trie) == []


class Priced:
    """Passes with a price list: 10 with the prompt, else 1; a tenth a node more; half of it under `vocabulary`."""

    def seconds(self, scorer, nodes, *, with_prompt):
        return (0.5 if scorer.normalise == "vocabulary" else 1.0) * ((10 if with_prompt else 1) + nodes / 10)


@pytest.mark.parametrize(
    ("plan", "drafted", "expected"),
    [
        (Plan(), True, 1.0),
        (Plan((5, 5, 5)), False, (10 + 3 * 1.2) / 11.5),
        (Plan((5, 5, 5)), True, (10 + 3 * 1.2) / (11.5 + 5 + 2 * 0.75)),
        (Plan((5, 5, 5), model_levels=1), True, (10 + 3 * 1.2) / (11.5 + 5)),
        (Plan((5, 5)), False, (10 + 3 * 1.2) / (11 + 1.2)),
    ],
)
def test_the_ceiling_is_what_passes_alone_allow(scorer, plan, drafted, expected):
    draft = replace(scorer, normalise="vocabulary") if drafted else None
    assert ceiling(Priced(), scorer, draft, plan, 2) == pytest.approx(expected)


def test_noting_look_ups_changes_no_list(scorer):
    prompt = random_prompt(3, 9)
    with lookups.noting(scorer.trie) as asked:
        found = search(scorer, prompt, beam_width=5)
    assert torch.equal(found.sequences, search(scorer, prompt, beam_width=5).sequences)
    assert [states.shape for states, _ in asked] == [(1, 1), (1, 5), (1, 5), (1, 5)]
    assert [width for _, width in asked] == list(scorer.trie.widths)


def test_the_share_is_of_the_whole_list(scorer):
    make = partial(search, scorer, random_prompt(3, 9), beam_width=5)
    found = lookups.share(scorer.trie, make, torch.device("cpu"), 1)
    assert found["lookups"] == 4
    assert found["share"] == pytest.approx(found["lookup_seconds"] / found["seconds"])


def test_synthetic_identifiers_are_distinct_and_of_the_tokens_asked_for():
    identifiers = lookups.synthetic_identifiers(60, length=3, branching=4, first_token=7, seed=1)
    assert identifiers.shape == (60, 3)
    assert len({*map(tuple, identifiers.tolist())}) == 60
    assert set(identifiers.flatten().tolist()) == {7, 8, 9, 10}


def test_more_items_than_tokens_can_name_are_refused():
    with pytest.raises(SpecbeamError, match="65 items: expected at most the 64"):
        lookups.synthetic_identifiers(65, length=3, branching=4, first_token=0, seed=1)
