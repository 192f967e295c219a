"""How wide and how deep a round drafts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specbeam.decoding.plan import Plan
from specbeam.errors import SpecbeamError


def test_the_papers_plan_drafts_n_a_level_for_gamma_levels_but_never_the_last_of_an_identifier() -> None:
    plan = Plan.flat(40, 3, 6)
    assert plan.steps([0], 6) == [40, 40, 40]
    assert plan.steps([2], 6) == [40, 40, 40]
    assert plan.steps([3], 6) == [40, 40]
    assert plan.steps([5], 6) == []
    assert Plan.flat(40, 9, 4).steps([0], 4) == [40, 40, 40]


def test_identifiers_of_one_token_leave_nothing_to_draft() -> None:
    assert Plan.flat(40, 3, 1).steps([0], 1) == []


def test_a_completed_plan_holds_all_children_at_the_deepest_drafted_level_without_the_model() -> None:
    plan = Plan.completed(40, 3, (91, 256, 30, 5))
    assert (plan.widths, plan.model_levels) == ((40, 40, 1200), 2)
    assert plan.steps([0], 4) == [40, 40, 1200]
    assert plan.model_steps([0], 3) == 2
    assert Plan.completed(40, 2, (91, 256, 30, 5)).steps([0], 4) == [40, 40]
    assert Plan.completed(40, 3, (91, 5)).steps([0], 2) == [40 * 91]
    assert Plan.completed(40, 3, (91,)).steps([0], 1) == []


def test_an_empty_plan_is_no_speculation() -> None:
    assert Plan().steps([0], 4) == []
    assert Plan().steps([0, 2], 4) == []


def test_widths_belong_to_levels_wherever_a_round_begins() -> None:
    plan = Plan((91, 160, 971))
    assert plan.steps([0], 4) == [91, 160, 971]
    assert plan.steps([1], 4) == [160, 971]
    assert [plan.width(level) for level in (1, 2, 3, 4, 9)] == [91, 160, 971, 0, 0]


def test_a_level_of_width_zero_ends_the_draft_and_rounds_below_it_begin_anew() -> None:
    plan = Plan((20, 0, 30))
    assert plan.steps([0], 4) == [20]
    assert plan.steps([1], 4) == []
    assert plan.steps([2], 4) == [30]


def test_searches_at_different_levels_draft_together_as_wide_as_the_widest() -> None:
    plan = Plan((20, 40, 30))
    assert plan.steps([0, 1], 4) == [40, 40, 30]
    assert plan.steps([0, 2], 4) == [30, 40, 30]
    assert plan.steps([2, 1], 4) == [40, 30]


def test_the_model_scores_the_first_levels_and_the_trie_completes_the_others() -> None:
    plan = Plan((20, 40, 300), model_levels=2)
    assert plan.model_steps([0], 3) == 2
    assert plan.model_steps([1], 2) == 1
    assert plan.model_steps([2], 1) == 0
    assert plan.model_steps([3, 1], 2) == 1
    assert Plan((20, 40, 300)).model_steps([1], 2) == 2
    assert Plan((20, 40, 300), model_levels=0).model_steps([0], 3) == 0


@given(
    st.lists(st.integers(0, 50), max_size=8), st.one_of(st.none(), st.integers(1, 8)), st.integers(1, 8), st.data()
)  # fmt: skip
def test_every_search_may_draft_at_least_what_it_would_draft_alone(
    widths: list[int], draft_length: int | None, depth: int, data: st.DataObject
) -> None:
    plan = Plan(tuple(widths), draft_length=draft_length)
    levels = data.draw(st.lists(st.integers(0, depth - 1), min_size=1, max_size=4))
    together = plan.steps(levels, depth)
    assert len(together) <= min(draft_length or depth, depth - 1 - min(levels))
    for level in levels:
        alone = plan.steps([level], depth)
        assert all(own <= width for own, width in zip(alone, together, strict=False))
        assert len(alone) <= len(together)


def test_plans_that_could_never_be_accepted_are_refused() -> None:
    with pytest.raises(SpecbeamError, match="draft length: expected 1 level or more, got 0"):
        Plan.flat(40, 0, 4)
    with pytest.raises(SpecbeamError, match="draft width 4 is below the beam width 5"):
        Plan((20, 4, 0)).check(5)
    Plan((20, 5, 0)).check(5)
