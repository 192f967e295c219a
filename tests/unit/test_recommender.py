"""The library's front door: lists for prompts and histories, in order, lossless, and clear refusals."""

from typing import Any

import pytest
import torch

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam import Items, Plan, Recommender, SpecbeamError
from specbeam.decoding.lists import beam_search
from specbeam.decoding.planner import Planned
from specbeam.decoding.rules import Coupled
from specbeam.trie import Trie

CATALOGUE = random_catalogue(1, items=60)
PROMPTS = [random_prompt(seed, 3 + 4 * seed % 13)[0].tolist() for seed in range(7)]


def recommender(*, draft: bool = True, items: Any = CATALOGUE, **options: Any) -> Recommender:
    drafter = tiny_model(seed=2, hidden=16, layers=1) if draft else None
    return Recommender(tiny_model(seed=1), Items.of(items), draft=drafter, **options)


def expected(prompt: list[int], k: int, **options: Any) -> list[int]:
    """The target's own list, by plain beam search."""
    trie = Trie.of(CATALOGUE)
    found = beam_search(tiny_model(seed=1), torch.tensor([prompt]), trie, beam_width=k, **options)
    return trie.rows[found.states[0]].tolist()


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
def test_lists_are_those_of_the_targets_beam_search_prompt_by_prompt(draft: bool, normalise: str) -> None:
    lists = recommender(draft=draft, normalise=normalise, batch_size=3)(PROMPTS, k=5)
    assert [made.items for made in lists] == [expected(prompt, 5, normalise=normalise) for prompt in PROMPTS]
    for made in lists:
        assert made.identifiers == [tuple(CATALOGUE[item].tolist()) for item in made.items]
        assert made.scores == sorted(made.scores, reverse=True)


def test_a_tensor_with_its_mask_and_one_list_alone_are_prompts_too() -> None:
    made = recommender()
    lists = made(PROMPTS, k=5)
    batch = one_batch([torch.tensor([prompt]) for prompt in PROMPTS])
    assert [found.items for found in made(**batch, k=5)] == [found.items for found in lists]
    assert [found.items for found in made(PROMPTS[2], k=5)] == [lists[2].items]


def test_prompts_of_similar_lengths_are_searched_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made, shapes = recommender(batch_size=3), []
    plain = made.search
    monkeypatch.setattr(
        made, "search", lambda prompts, *a, **b: shapes.append(tuple(prompts.shape)) or plain(prompts, *a, **b)
    )
    made(PROMPTS, k=2)
    lengths = sorted(map(len, PROMPTS))
    assert shapes == [(3, lengths[2]), (3, lengths[5]), (1, lengths[6])]


def test_the_draft_saves_passes_of_the_target_and_the_list_says_how_many_it_took() -> None:
    plain, helped = recommender(draft=False)(PROMPTS, k=3), recommender(plan=Plan((60, 60, 60)))(PROMPTS, k=3)
    assert [made.target_calls for made in plain] == [4] * 7
    assert [made.target_calls for made in helped] == [1] * 7  # 60 nodes hold the whole catalogue
    assert helped[0].accepted == [3]
    assert helped[0].counters.target_calls == 1


def test_a_plan_of_nothing_does_not_draft() -> None:
    (made,) = recommender(plan=Plan())(PROMPTS[:1], k=3)
    assert (made.target_calls, made.counters.draft_calls) == (4, 0)


def test_a_list_wider_than_the_draft_widens_it() -> None:
    assert recommender(draft_beam_width=4).plan(10, 1) == Plan((10, 10, 10), draft_length=3)


def test_tuning_chooses_a_plan_for_this_k_and_changes_no_list() -> None:
    made = recommender(batch_size=4)
    before = [found.items for found in made(PROMPTS, k=4)]
    planned = made.tune(PROMPTS, k=4)
    assert made.plan(4, batch_size=4) == made.plan(4, batch_size=1) == planned.plan
    assert Plan() in planned.timed
    assert made.plan(5, batch_size=4) == Plan((40, 40, 40), draft_length=3)
    assert [found.items for found in made(PROMPTS, k=4)] == before


def test_tuning_takes_histories_too() -> None:
    made = recommender(start=1)
    assert made.tune(histories=[[3, 4], [5]], k=2).plan == made.plan(2, batch_size=2)


def test_the_plan_of_the_nearest_batch_size_is_used_and_relaxed_lists_stay_flat() -> None:
    made = recommender()
    made.plans = {(3, 1): Plan(), (3, 16): Plan((10, 20, 20))}
    assert [made.plan(3, batch_size=size) for size in (1, 4, 12, 64)] == [Plan()] * 2 + [Plan((10, 20, 20))] * 2
    assert len(made(PROMPTS * 3, k=3, verification="relaxed")) == 21


def test_tuning_measures_full_batches_of_the_size_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def choose(target: object, drafter: object, batches: list, *, beam_width: int) -> Planned:
        seen.append([tuple(prompts.shape) for prompts, _ in batches])
        return Planned(Plan(), {}, [])

    monkeypatch.setattr("specbeam.recommender.choose_plan", choose)
    made = recommender(batch_size=4)
    made.tune(PROMPTS, k=3)
    made.tune(PROMPTS, k=3, batch_size=2)
    assert [[rows for rows, _ in shapes] for shapes in seen] == [[4], [2, 2, 2]]


def test_a_history_is_put_as_the_tokens_of_its_items_behind_the_start_token() -> None:
    items = {"shoe": [5, 6], "hat": [7, 8]}
    assert recommender(items=items).prompt(["hat", "shoe"]) == [7, 8, 5, 6]
    assert recommender(items=items, start=1).prompt(["hat"]) == [1, 7, 8]
    own = recommender(items=items, prompt=lambda history: [len(history), 9])
    assert own.prompt(["hat", "hat"]) == [2, 9]
    assert own.for_histories([["hat", "hat"]], k=1)[0].items == own([[2, 9]], k=1)[0].items


def test_an_identifier_stands_for_all_items_that_bear_it_and_the_list_is_cut_to_k() -> None:
    items = {"a": [5, 6], "b": [5, 7], "c": [5, 6], "d": [8, 9]}
    one_by_one = recommender(items={name: items[name] for name in "abd"})([[3, 4]], k=3)[0].items
    at = one_by_one.index("a")
    whole = [*one_by_one[: at + 1], "c", *one_by_one[at + 1 :]]
    (found,) = recommender(items=items)([[3, 4]], k=4)
    assert found.items == whole
    assert found.scores[at] == found.scores[at + 1]
    assert recommender(items=items)([[3, 4]], k=at + 1)[0].items == whole[: at + 1]  # cut between "a" and "c"


def test_a_catalogue_smaller_than_k_gives_a_shorter_list() -> None:
    assert sorted(recommender(items=[[5, 6], [5, 7]])([[3]], k=9)[0].items) == [0, 1]


def test_with_an_end_token_an_identifier_may_be_the_beginning_of_another() -> None:
    (found,) = recommender(items=[[5], [5, 6], [7, 8, 9]], end=1)([[3, 4]], k=3)
    assert sorted(found.items) == [0, 1, 2]
    assert sorted(found.identifiers) == [(5,), (5, 6), (7, 8, 9)]
    with pytest.raises(SpecbeamError, match="is the beginning of another: give an end token"):
        recommender(items=[[5], [5, 6]])


def test_coupled_draws_what_the_target_draws_by_itself_whatever_the_batch() -> None:
    trie, target = Trie.of(CATALOGUE), tiny_model(seed=1)
    lists = recommender(batch_size=3)(PROMPTS, k=4, verification="coupled", temperature=1.5, seed=8)
    for prompt, made in zip(PROMPTS, lists, strict=True):
        own = beam_search(target, torch.tensor([prompt]), trie, beam_width=4, rule=Coupled(8, 1.5))
        assert made.items == trie.rows[own.states[0]].tolist()
    others = recommender()(PROMPTS, k=4, verification="coupled", temperature=1.5, seed=9)
    assert [made.items for made in others] != [made.items for made in lists]


@pytest.mark.parametrize("verification", ["relaxed", "relaxed-ranked"])
def test_relaxed_lists_repeat_by_their_seed(verification: str) -> None:
    made = recommender()
    options = {"verification": verification, "temperature": 2.0, "seed": 3}
    lists = made(PROMPTS, k=4, **options)
    assert [found.items for found in made(PROMPTS, k=4, **options)] == [found.items for found in lists]
    assert all(len(set(found.items)) == 4 for found in lists)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verification": "exact"}, "expected one of strict, coupled, relaxed, relaxed-ranked, got 'exact'"),
        ({"temperature": 2.0}, "1 under strict, which does not sample; got 2.0"),
        ({"temperature": 0.0, "verification": "coupled"}, "expected a number of 1e-30 or more, got 0.0"),
        ({"mask": torch.ones(1, 3)}, "mask: goes with a tensor of prompts only"),
        ({"prompts": [[3], []]}, r"prompt 1: expected token ids from 0 to 159, at least one, got \[\]"),
        ({"prompts": [[160]]}, r"prompt 0: .* got \[160\]"),
        ({"prompts": torch.ones(3, dtype=torch.int64)}, r"expected tensors \[B, P\], got \(3,\)"),
        ({"k": 0}, "beam width: expected 1 or more items a list, got 0"),
    ],
)
def test_calls_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        recommender()(**{"prompts": [[3, 4, 5]], "k": 2, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalise": "items"}, "normalise: expected children or vocabulary, got 'items'"),
        ({"batch_size": 0}, "batch_size: expected 1 or more"),
        ({"start": 1, "prompt": list}, "prompt makes the whole prompt, so leave start out"),
        ({"items": [[500]]}, "token ids up to 500, LlamaForCausalLM knows 160 tokens"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        recommender(**options)


def test_coupled_needs_a_distribution_over_items() -> None:
    with pytest.raises(SpecbeamError, match="it needs normalise='children'"):
        recommender(normalise="vocabulary")([[3]], k=1, verification="coupled")


def test_planning_needs_a_draft_and_examples() -> None:
    with pytest.raises(SpecbeamError, match="there is no draft to plan with"):
        recommender(draft=False).tune(PROMPTS)
    with pytest.raises(SpecbeamError, match="either prompts or histories"):
        recommender().tune()


def test_a_prompt_beyond_the_drafts_context_is_refused() -> None:
    short = Recommender(tiny_model(seed=1), CATALOGUE, draft=tiny_model(seed=2, context=32))
    with pytest.raises(SpecbeamError, match="exceed the model's context of 32"):
        short([random_prompt(0, 40)[0].tolist()], k=2)
