"""The figure of accepted levels: what is counted, means over seeds, and the two plans."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import accepted
from specbeam.measurement import records


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_accepted_levels_are_totals_over_totals_without_the_targets_own_rows():
    frame = generated.evaluation("sft", users=2, beam_widths=(5,), verifications=("strict",))
    strict = frame["verification"] == "strict"
    frame.loc[strict, "accepted"], frame.loc[strict, "rounds"] = [3, 1], [1, 3]
    frame.loc[strict, "target_calls"] = [1, 3]
    (row,) = accepted.data(frame).to_dict("records")
    assert row["accepted"] == 1.0  # (3 + 1) / (1 + 3), not the mean of 3 and 1/3
    assert row["target_calls"] == 2.0
    assert row["users"] == 2


def test_acceptance_is_the_mean_over_seeds_with_their_deviation_and_a_wider_interval():
    frames = [generated.evaluation("sft", seed=seed, beam_widths=(5,), verifications=("strict",)) for seed in (1, 2, 3)]
    each = [accepted.data(frame).iloc[0] for frame in frames]
    (row,) = accepted.data(pd.concat(frames)).to_dict("records")
    levels = [one["accepted"] for one in each]
    assert row["accepted"] == pytest.approx(np.mean(levels))
    assert row["sd"] == pytest.approx(np.std(levels, ddof=1))
    assert (row["seeds"], row["users"]) == (3, 60)
    assert np.isnan(each[0]["sd"])
    assert row["low"] < row["accepted"] < row["high"]


def test_seeds_that_were_measured_on_other_users_are_refused():
    frames = [generated.evaluation("sft", seed=seed, users=seed + 1, beam_widths=(5,)) for seed in (1, 2)]
    with pytest.raises(SpecbeamError, match="same users for every seed, got users seed 1: 2, seed 2: 3; evaluate"):
        accepted.data(pd.concat(frames))


def test_a_completed_draft_is_a_dashed_line_beside_the_flat_one():
    frames = [generated.evaluation("sft", plan=plan, verifications=("strict",)) for plan in ("flat", "completed")]
    both = pd.concat(frames).drop_duplicates(records.KEYS["evaluation"])
    (axes,) = accepted.draw(accepted.data(both), levels=3).axes
    FigureCanvasAgg(axes.figure).draw()
    assert sorted(line.get_linestyle() for line in axes.lines if line.get_marker() == "o") == ["-", "--"]
    assert "deepest level completed by the trie" in legend_of(axes.figure)
    page, (width, height) = axes.figure.get_tightbbox(), axes.figure.get_size_inches()
    assert 0 <= page.x0 < page.x1 <= width
    assert 0 <= page.y0 < page.y1 <= height
    assert not any("trie" in text for text in legend_of(accepted.draw(accepted.data(frames[0]), levels=3)))


def test_acceptance_needs_speculative_rows_and_a_draft_length(tmp_path, monkeypatch):
    generated.fix_environment(monkeypatch)
    frame = generated.evaluation("sft", users=2)
    with pytest.raises(SpecbeamError, match="only the target's own lists"):
        accepted.data(frame[frame["verification"] == "target"])
    records.write(frame, tmp_path / "a.parquet", kind="evaluation", settings={}, **generated.STAMP)
    with pytest.raises(SpecbeamError, match="draft_length"):
        accepted.plot(inputs=[tmp_path / "a.parquet"], output=tmp_path / "accepted")
