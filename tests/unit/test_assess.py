"""The target's beams level by level, and what they tell of a draft before any speculation: strict acceptance."""

import dataclasses

import numpy as np
import pytest
import torch

from models_for_tests import nearly, one_batch, random_catalogue, random_prompt, tiny_model, uneven_catalogue
from specbeam.alignment.assess import Assessment
from specbeam.decoding.drafters import PriorDrafter
from specbeam.decoding.lists import beam_search, search, speculative_search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.errors import SpecbeamError
from specbeam.settings.models import AlignmentTrainingSettings
from specbeam.trie import Trie
from trajectories_for_tests import recorded, slow_beams

IDENTIFIERS = random_catalogue(3, items=150, branching=12)
TRIE = Trie.of(IDENTIFIERS)
PROMPTS = [random_prompt(seed, length) for seed, length in enumerate((7, 3, 9, 5, 12, 4))]
K = 4


def assessment(target, *, width=2 * K, normalise="children"):
    """Of six users, with the K beams that `target` recorded for them."""
    prompts = [prompt[0].tolist() for prompt in PROMPTS]
    shard = recorded(target, prompts, IDENTIFIERS[: len(prompts)], TRIE, width=K, normalise=normalise)
    return Assessment(prompts, shard.beams, shard.paths[..., -1], width, TRIE, normalise, pad=0)


def alone(all_users, user):
    """The assessment of one user."""
    own = {name: getattr(all_users, name)[user : user + 1] for name in ("prompts", "beams", "items")}
    return dataclasses.replace(all_users, **own)


def drafts_of(target):
    """From the target itself to one that knows nothing of it."""
    return [target, nearly(target, 0.2), tiny_model(seed=99, layers=1)]


@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
def test_it_tells_what_the_first_round_of_every_user_really_accepts(normalise):
    levels, seen = TRIE.depth - 1, set()
    for target in (tiny_model(seed=1, layers=1), tiny_model(seed=2)):
        told_by = assessment(target, normalise=normalise)
        for draft in drafts_of(target):
            found = speculative_search(
                target, draft, trie=TRIE, beam_width=K, draft_beam_width=2 * K, draft_length=levels,
                normalise=normalise, **one_batch(PROMPTS),
            )  # fmt: skip
            really = [rounds[0] for rounds in found.counters.accepted]
            for user, accepted in enumerate(really):
                assert alone(told_by, user)(draft)["accepted"] == accepted
            told = told_by(draft)
            assert told["accepted"] == pytest.approx(np.mean(really))
            for level in range(1, levels + 1):
                assert told[f"accepted_{level}"] == pytest.approx(np.mean([accepted >= level for accepted in really]))
            seen.update(really)
    assert seen == {0, 1, 2, 3}


def test_the_overlap_is_the_share_of_the_targets_list_in_the_drafts_list_of_as_many_items():
    target = tiny_model(seed=1)
    for draft in drafts_of(target):
        lists = [beam_search(model, trie=TRIE, beam_width=K, **one_batch(PROMPTS)) for model in (target, draft)]
        shared = [len(set(a) & set(b)) / K for a, b in zip(*(found.states.tolist() for found in lists), strict=True)]
        assert assessment(target)(draft)["overlap"] == pytest.approx(np.mean(shared))


def test_a_draft_that_is_the_target_and_drafts_all_there_is_has_every_level_accepted():
    target = tiny_model(seed=2)
    told = assessment(target, width=len(IDENTIFIERS))(target)
    assert told == {"accepted": 3, "accepted_1": 1, "accepted_2": 1, "accepted_3": 1, "overlap": 1}


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_behind_one_that_fails_is_not_accepted(level):
    target = tiny_model(seed=2)
    everything = assessment(target, width=len(IDENTIFIERS))
    beams = everything.beams.copy()
    beams[:, level - 1, -1] = everything.items[:, 0]  # an item, which no draft has among its prefixes
    assert dataclasses.replace(everything, beams=beams)(target)["accepted"] == level - 1


def test_beams_and_items_that_do_not_exist_are_not_missed():
    identifiers, target = IDENTIFIERS[:3], tiny_model(seed=2)
    trie, prompts = Trie.of(identifiers), [prompt[0].tolist() for prompt in PROMPTS]
    shard = recorded(target, prompts, identifiers[[0, 1, 2, 0, 1, 2]], trie, width=K)
    assert (shard.beams == -1).any()
    items = np.pad(shard.paths[..., -1], ((0, 0), (0, K - 3)), constant_values=-1)
    told = Assessment(prompts, shard.beams, items, 2 * K, trie, "children", 0)(tiny_model(seed=99, layers=1))
    assert told["accepted"] == 3
    assert told["overlap"] == 1


@pytest.mark.parametrize("width", [1, 4, 1000], ids=["one beam", "four beams", "more than there are"])
def test_a_search_tells_its_beams_at_every_level_but_the_last_best_first(width):
    model, levels = tiny_model(seed=5), []
    search(Scorer.of(model, TRIE, normalise="children"), beam_width=width, levels=levels, **one_batch(PROMPTS[:2]))
    for user, prompt in enumerate(PROMPTS[:2]):
        *inner, _ = slow_beams(model, prompt[0].tolist(), IDENTIFIERS, width)
        expected = [TRIE.walk(torch.tensor(prefixes))[:, -1].tolist() for prefixes in inner]
        assert [[state for state in states[user].tolist() if state != TRIE.dead] for states in levels] == expected


def test_levels_are_told_of_a_search_without_a_draft_and_of_identifiers_of_one_length_only():
    scorer = Scorer.of(tiny_model(seed=5), TRIE, normalise="children")
    with pytest.raises(SpecbeamError, match="levels: expected no draft"):
        search(scorer, PROMPTS[0], beam_width=2, drafter=PriorDrafter.of(TRIE), plan=Plan.flat(4, 2, 4), levels=[])
    uneven = Trie.of(uneven_catalogue(0), end=100)
    with pytest.raises(SpecbeamError, match="identifiers of one length"):
        search(Scorer.of(scorer.model, uneven, normalise="children"), PROMPTS[0], beam_width=2, levels=[])


def test_an_epoch_is_kept_by_its_accepted_levels_only_if_they_are_measured():
    assert AlignmentTrainingSettings(keep="accepted", assessed_users=1).keep == "accepted"
    with pytest.raises(ValueError, match="keep: accepted needs users to measure it on: set assessed_users above 0"):
        AlignmentTrainingSettings(keep="accepted", assessed_users=0)
