"""Prompts that are kept apart in a batch draft, are accepted and are counted as if each was searched alone."""

import pytest
import torch

from models_for_tests import nearly, one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.drafters import ModelDrafter
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import rule_of
from specbeam.trie import Trie

TRIE = Trie.of(random_catalogue(1, items=600))
PROMPTS = [random_prompt(seed, 3 + seed % 5) for seed in range(12)]
TARGET = tiny_model(seed=1)
SCORER = Scorer.of(TARGET, TRIE, normalise="children")
DRAFTER = ModelDrafter.of(Scorer.of(nearly(TARGET, 0.15), TRIE, normalise="children"))
PLANS = {
    "none": Plan(),
    "flat": Plan.flat(8, 3, TRIE.depth),
    "flat, two levels a round": Plan.flat(8, 2, TRIE.depth),
    "flat, one level a round": Plan.flat(8, 1, TRIE.depth),
    "completed": Plan.completed(8, 3, TRIE.widths),
    "completed, two levels a round": Plan.completed(8, 2, TRIE.widths),
    "shaped": Plan((7, 6, 12)),
    "with a gap": Plan((7, 0, 9)),
}


def searched(prompts, plan, rule="strict", *, apart=True):
    return search(
        SCORER, **one_batch(prompts), beam_width=5, drafter=DRAFTER, plan=plan, rule=rule_of(rule, seed=3),
        apart=apart,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *((name, "strict") for name in PLANS),
        ("shaped", "coupled"),
        ("flat", "relaxed"),
        ("flat, two levels a round", "relaxed-ranked"),
    ],
)
def test_a_batch_says_of_each_prompt_what_a_search_of_it_alone_says(name, rule):
    together = searched(PROMPTS, PLANS[name], rule)
    for row, prompt in enumerate(PROMPTS):
        alone, own = searched([prompt], PLANS[name], rule, apart=False), together.counters.each[row]
        assert own.accepted == alone.counters.accepted
        for count in ("target_calls", "draft_calls", "nodes"):
            assert getattr(own, count) == getattr(alone.counters, count), count
        assert torch.equal(together.sequences[row], alone.sequences[0])


def test_prompts_that_are_not_kept_apart_gain_by_wider_drafts_of_others():
    """Or the test above would show nothing."""
    apart, not_apart = (searched(PROMPTS, PLANS["shaped"], apart=value).counters for value in (True, False))
    assert apart.accepted != not_apart.accepted
    assert not_apart.each == []


def test_a_completed_level_is_accepted_whenever_the_level_above_it_is():
    flat, completed = (searched(PROMPTS, PLANS[name]).counters for name in ("flat", "completed"))
    reached = [(rounds[0], alone[0]) for rounds, alone in zip(completed.accepted, flat.accepted, strict=True)]
    assert all(certain == 3 if drafted >= 2 else certain == drafted for certain, drafted in reached)
    assert any(certain > drafted for certain, drafted in reached)
    assert all(each.draft_calls <= 2 for each in completed.each if each.target_calls == 1)
