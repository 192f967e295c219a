"""Figures of lists: how far first rounds get, how many target calls lists take, recall against speed."""

import pandas as pd
import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import calls, levels, pareto


def evaluated(first, target_calls, *, recall=(0.0, 1.0), objective="sft", seed=1):
    """Strict rows of two users at K = 5, with the target's own rows of those users."""
    frame = generated.evaluation(objective, users=2, beam_widths=(5,), verifications=("strict",), seed=seed)
    strict = frame["verification"] == "strict"
    frame.loc[strict, "first_accepted"], frame.loc[strict, "target_calls"] = first, target_calls
    return frame.assign(recall=list(recall) * 2)


def test_a_level_counts_for_the_lists_whose_first_round_got_as_far():
    table = levels.data(evaluated([1, 3], [2, 1]), levels=3).set_index("level")
    assert table["share"].tolist() == [1.0, 0.5, 0.5]
    assert (table["users"] == 2).all()
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()


def test_shares_are_means_over_seeds():
    frame = pd.concat([evaluated([1, 3], [2, 1]), evaluated([0, 1], [3, 2], seed=2)])
    assert levels.data(frame, levels=3)["share"].tolist() == [0.75, 0.25, 0.25]
    shares = calls.data(frame).query("verification == 'strict'")
    assert shares["share"].tolist() == [0.25, 0.5, 0.25, 0.0]
    assert set(shares["mean"]) == {2.0}
    assert set(shares["seeds"]) == {2}


def test_the_last_level_of_an_identifier_is_never_drafted_and_has_no_panel():
    table = levels.data(evaluated([1, 3], [2, 1]), levels=9)
    assert table["level"].tolist() == [1, 2, 3]
    assert [axes.get_title("left") for axes in levels.draw(table).axes] == ["level 1", "level 2", "level 3"]


def test_every_list_of_the_target_alone_takes_as_many_calls_as_an_identifier_has_tokens():
    frame = pd.concat([evaluated([1, 3], [2, 1], objective=name) for name in ("sft", "wordkd")])
    own = calls.data(frame).query("verification == 'target'")
    assert own[["objective", "calls", "share"]].to_numpy().tolist() == [["", 1, 0], ["", 2, 0], ["", 3, 0], ["", 4, 1]]
    (axes,) = calls.draw(calls.data(frame)).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["no draft", "SFT", "WordKD"]


def test_figures_of_lists_need_lists_of_both_kinds():
    frame = evaluated([1, 3], [2, 1])
    own = frame[frame["verification"] == "target"]
    with pytest.raises(SpecbeamError, match="no speculative decoding"):
        levels.data(own, levels=3)
    for part in (own, frame.drop(own.index)):
        with pytest.raises(SpecbeamError, match="of the target's own lists and of speculative decoding"):
            calls.data(part)


def test_the_front_is_what_nothing_beats_both_in_recall_and_in_speed():
    timing = generated.timing(5, objectives=("sft", "wordkd", "treekd"), verifications=("strict",))
    quality = {"sft": 0.5, "wordkd": 0.2, "treekd": 0.4}  # speed in this order
    frames = [evaluated([1, 3], [2, 1], objective=name) for name in quality]
    recalls = [frame.assign(recall=frame["recall"].mask(frame["verification"] == "strict", value))
               for frame, value in zip(frames, quality.values(), strict=True)]  # fmt: skip
    table = pareto.data(pd.concat(recalls), timing).set_index(["method", "objective"])
    assert table.loc[("plain", ""), "speedup"] == 1
    assert table.loc[("generate", ""), "recall"] == table.loc[("plain", ""), "recall"] == 0.5
    assert table.loc[("speculative", "treekd"), "speedup"] > table.loc[("speculative", "wordkd"), "speedup"] > 1
    assert table.index[table["front"]].tolist() == [("speculative", "sft"), ("speculative", "treekd")]


def test_what_was_evaluated_but_not_timed_is_no_point():
    frame = pd.concat([evaluated([1, 3], [2, 1], objective=name) for name in ("sft", "wordkd")])
    table = pareto.data(frame, generated.timing(5, objectives=("sft",), verifications=("strict", "relaxed")))
    assert sorted(table["method"] + " " + table["objective"]) == ["generate ", "plain ", "speculative sft"]
    with pytest.raises(SpecbeamError, match="of different data sets"):
        pareto.data(frame.assign(dataset="beauty"), generated.timing(5))
