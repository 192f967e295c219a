"""The figure of agreement by epoch: which measures it shows, and means over seeds."""

import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import agreement


def losses(*seeds, without=()):
    return {("sft", str(seed)): generated.losses(objective="sft", seed=seed).drop(columns=[*without]) for seed in seeds}


def test_lines_are_means_over_seeds_and_bars_reach_from_the_lowest_to_the_highest():
    each = losses(1, 2, 3)
    table = agreement.data(each).set_index(["metric", "epoch"])
    row, at_end = table.loc[("overlap", 8)], [frame["overlap"].iloc[-1] for frame in each.values()]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((sum(at_end) / 3, min(at_end), max(at_end)))
    assert set(table["seeds"]) == {3}


def test_accepted_levels_are_held_against_all_of_them():
    table = agreement.data(losses(1))
    assert set(table.query("metric == 'accepted'")["most"]) == {3}
    assert table.query("metric != 'accepted'")["most"].isna().all()
    accepted, overlap, _ = agreement.draw(table).axes
    assert [line.get_ydata()[0] for line in accepted.lines if line.get_linestyle() == ":"] == [3]
    assert not [line for line in overlap.lines if line.get_linestyle() == ":"]


def test_a_run_that_does_not_assess_its_drafts_shows_the_distance_alone():
    table = agreement.data(losses(1, 2, without=("accepted", "accepted_1", "accepted_2", "accepted_3", "overlap")))
    assert set(table["metric"]) == {"tvd"}
    (axes,) = agreement.draw(table).axes
    assert axes.get_title("left") == "total variation distance"


def test_drafts_that_were_not_aligned_have_nothing_to_show():
    with pytest.raises(
        SpecbeamError, match="losses of aligned drafts, with some of the columns accepted, overlap, tvd"
    ):
        agreement.data({("base", "1"): generated.losses()})
