"""Figures: the numbers behind them, their files, and what is said when the records do not suffice."""

import importlib
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

import generated_records as generated
from specbeam import stages
from specbeam.errors import SpecbeamError
from specbeam.figures import accepted, loss, phases, recall, speedup, style
from specbeam.figures.bootstrap import ratio_of_sums
from specbeam.measurement import records
from specbeam.settings import Objective

FIGURES = {name: importlib.import_module(f"specbeam.figures.{name}") for name in stages.FIGURES}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        generated.fix_environment(patch)
        return generated.write_run(tmp_path_factory.mktemp("run"), beam_widths=(1, 5, 20))


@pytest.fixture
def small_run(tmp_path, monkeypatch):
    """The least that a config may ask for: one objective, one beam width, one verification."""
    generated.fix_environment(monkeypatch)
    return generated.write_run(tmp_path / "run", objectives=("wordkd",), beam_widths=(5,), verifications=("relaxed",))


def inputs(run, name):
    return generated.inputs(run)[name]


def times(rows, *, timed=True, beam_width=5):
    """Timing rows from (method, objective, user, repeat, seconds)."""
    frame = pd.DataFrame(rows, columns=["method", "objective", "user", "repeat", "seconds"])
    frame["verification"] = np.where(frame["method"] == "speculative", "strict", "")
    frame["N"] = np.where(frame["method"] == "speculative", 40, 0)
    return frame.assign(dataset="synthetic", K=beam_width, timed=timed, target_calls=2)


@pytest.fixture(scope="module")
def drawn(run, tmp_path_factory):
    """Every figure of the run, drawn once."""
    folder = tmp_path_factory.mktemp("figures")
    for name, figure in FIGURES.items():
        figure.plot(inputs=inputs(run, name), output=folder / name)
    return folder


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_four_files_at_the_width_of_a_paper(name, drawn):
    assert {path.suffix for path in drawn.glob(f"{name}.*")} == {".csv", ".png", ".svg", ".txt"}
    width, _ = Image.open(drawn / f"{name}.png").size
    assert width in (round(300 * style.SINGLE), round(300 * style.DOUBLE))
    assert len(pd.read_csv(drawn / f"{name}.csv")) > 0


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_records_give_the_same_bytes(name, run, drawn, tmp_path):
    FIGURES[name].plot(inputs=inputs(run, name), output=tmp_path / name)
    for suffix in ("png", "svg", "csv", "txt"):
        path = f"{name}.{suffix}"
        assert (tmp_path / path).read_bytes() == (drawn / path).read_bytes(), suffix


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("agreement", "loss", "trie", "example")])
def test_a_caption_says_of_whom_and_where_measured_and_fits_a_page(name, drawn):
    caption = (drawn / f"{name}.txt").read_text()
    users = {"speedup": 12, "phases": 12, "trees": 15}.get(name, 60)
    assert f"{users} test users" in " ".join(caption.split())
    machine = (
        "Data set synthetic; draft length 3; 2 thread(s) of A Processor 9000, float32, seed 1, commit 0123456789ab."
    )
    assert " ".join(caption.split()).endswith(machine)
    assert max(map(len, caption.splitlines())) <= 100


@pytest.mark.parametrize("name", FIGURES)
def test_text_in_the_svg_is_text_and_large_enough_to_read(name, drawn):
    svg = (drawn / f"{name}.svg").read_text()
    sizes = [float(size) for size in re.findall(r"<text style=\"font(?:-size)?:[^;\"]*?([\d.]+)px", svg)]
    assert len(sizes) > 5
    assert min(sizes) >= 6.5
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("size", ["run", "small_run"])
def test_nothing_is_drawn_outside_the_page(name, size, request, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, *_: kept.append(figure))
    FIGURES[name].plot(inputs=inputs(request.getfixturevalue(size), name), output=tmp_path / name)
    (figure,) = kept
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert min(page.x0, page.y0) >= 0
    assert page.x1 <= width
    assert page.y1 <= height


@pytest.mark.parametrize("name", FIGURES)
def test_without_inputs_there_is_one_clear_message(name, tmp_path):
    with pytest.raises(SpecbeamError, match="expected"):
        FIGURES[name].plot(inputs=[], output=tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_input_is_named(name, run, tmp_path):
    absent = tmp_path / "elsewhere" / inputs(run, name)[0].name
    with pytest.raises(SpecbeamError, match="elsewhere"):
        FIGURES[name].plot(inputs=[absent, *inputs(run, name)[1:]], output=tmp_path / name)


def test_every_objective_has_its_own_colour_and_marker():
    assert set(style.OBJECTIVES) == set(Objective.__args__)
    labels, colours, markers = (set(column) for column in zip(*style.OBJECTIVES.values(), strict=True))
    assert len(labels) == len(colours) == len(markers) == len(style.OBJECTIVES)


def test_an_objective_looks_the_same_in_every_figure(run):
    seen = {}
    evaluation = records.read(inputs(run, "accepted"), "evaluation")
    figures = [
        accepted.draw(accepted.data(evaluation), levels=3),
        speedup.draw(speedup.data(records.read(inputs(run, "speedup"), "timing"))),
        recall.draw(recall.data(evaluation, generated.ranking(beam_widths=(1, 5, 20)))),
    ]
    for figure in figures:
        for entry in figure.legends[0].legend_handles:
            name = entry.get_label().removeprefix("relaxed, ")
            if name in {label for label, _, _ in style.OBJECTIVES.values()}:
                seen.setdefault(name, set()).add((to_rgb(entry.get_color()), entry.get_marker()))
    assert len(seen) == len(style.OBJECTIVES)
    assert all(len(looks) == 1 for looks in seen.values())


def test_an_objective_without_a_colour_is_named():
    with pytest.raises(SpecbeamError, match="no colour is set for objective 'mystery'"):
        style.in_order(["sft", "mystery"])


def test_drawing_leaves_the_settings_of_matplotlib_alone(run):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    assert isinstance(loss.draw(loss.data(loss.read(inputs(run, "loss")))), Figure)
    assert dict(mpl.rcParams) == before


def test_a_failed_drawing_keeps_the_old_figure(run, tmp_path, monkeypatch):
    loss.plot(inputs=inputs(run, "loss"), output=tmp_path / "loss")
    before = (tmp_path / "loss.png").read_bytes()

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        loss.plot(inputs=inputs(run, "loss"), output=tmp_path / "loss")
    assert (tmp_path / "loss.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def test_a_ratio_of_sums_has_an_interval_around_it():
    value, low, high = ratio_of_sums([1, 2, 3, 6], [2, 2, 2, 2])
    assert value == 1.5
    assert 0.5 <= low < value < high <= 3
    assert ratio_of_sums([3.0], [2.0]) == (1.5, 1.5, 1.5)
    assert ratio_of_sums([1, 2, 3, 6], [2, 2, 2, 2]) == (value, low, high)


def test_a_ratio_over_several_seeds_is_the_mean_of_theirs():
    value, low, high = ratio_of_sums([[1, 2, 3, 6], [3, 3, 3, 3]], [[2, 2, 2, 2], [1, 1, 1, 1]])
    assert value == (1.5 + 3) / 2
    assert low < value < high
    same = ratio_of_sums([[1, 2, 3, 6]] * 3, [[2, 2, 2, 2]] * 3)
    assert same == pytest.approx(ratio_of_sums([1, 2, 3, 6], [2, 2, 2, 2]))


def test_a_bootstrap_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).random(2000)
    mean, low, high = ratio_of_sums(values)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(error, rel=0.1)


def test_speedup_is_the_ratio_of_totals_of_the_medians_over_repeats():
    rows = []
    for method, objective, first, second in (
        ("generate", "", 8.0, 16.0),
        ("plain", "", 2.0, 4.0),
        ("speculative", "sft", 1.0, 3.0),
    ):
        for user, middle in ((0, first), (1, second)):
            rows += [(method, objective, user, repeat, middle * factor) for repeat, factor in enumerate((1, 0.5, 9))]
    came = speedup.data(times(rows)).set_index(["baseline", "method"])
    sft = came.loc[("plain", "speculative")]
    assert sft["speedup"] == pytest.approx(6 / 4)  # totals: (2 + 4) / (1 + 3)
    assert sft["median_ratio"] == pytest.approx((2 / 1 + 4 / 3) / 2)
    assert sft["seconds"] == pytest.approx(2)
    assert came.loc[("generate", "speculative"), "speedup"] == pytest.approx(24 / 4)
    assert came.loc[("generate", "plain"), "speedup"] == pytest.approx(24 / 6)


def test_the_bound_of_a_speedup_is_the_ratio_of_target_calls():
    rows = [
        (method, "sft" if method == "speculative" else "", user, 0, 1.0)
        for method in ("generate", "plain", "speculative")
        for user in (0, 1)
    ]
    calls = {"generate": [4, 4], "plain": [4, 4], "speculative": [1, 3]}
    frame = times(rows).assign(target_calls=[calls[row[0]][row[2]] for row in rows])
    came = speedup.data(frame).set_index(["baseline", "method"]).loc[("plain", "speculative")]
    assert (came["target_calls"], came["baseline_target_calls"], came["bound"]) == (2.0, 4.0, 2.0)
    upper, lower = speedup.draw(speedup.data(frame)).axes
    assert [line.get_ydata().tolist() for line in upper.lines if line.get_linestyle() == ":"] == [[2.0]]
    assert not [line for line in lower.lines if line.get_linestyle() == ":"]


def test_the_published_speedups_stand_beside_generate_alone(run):
    figure = speedup.draw(speedup.data(records.read(inputs(run, "speedup"), "timing")))
    marks = [{line.get_marker() for line in axes.lines} & {"x", "+"} for axes in figure.axes]
    assert marks == [set(), set(), {"x"}, {"+"}]


def test_runs_under_timers_do_not_enter_a_speedup(run):
    timing = records.read(inputs(run, "speedup"), "timing")
    slowed = timing.assign(seconds=timing["seconds"].where(timing["timed"], 1e6))
    pd.testing.assert_frame_equal(speedup.data(timing), speedup.data(slowed))


def test_a_missing_baseline_or_other_users_are_refused():
    rows = [("plain", "", 0, 0, 1.0), ("speculative", "sft", 0, 0, 1.0)]
    with pytest.raises(SpecbeamError, match="no timed rows of method 'generate' at K=5"):
        speedup.data(times(rows))
    rows += [("generate", "", 0, 0, 2.0), ("speculative", "sft", 1, 0, 1.0)]
    with pytest.raises(SpecbeamError, match="timed on different users"):
        speedup.data(times(rows))
    with pytest.raises(SpecbeamError, match="no speculative decoding"):
        speedup.draw(speedup.data(times([rows[0], rows[2]])))


def test_recall_compares_with_the_target_on_the_same_users():
    frames = [generated.evaluation(name, users=80) for name in ("sft", "wordkd")]
    came = recall.data(pd.concat(frames), generated.ranking(users=400)).set_index(["recommender", "K"])
    own = frames[0][(frames[0]["verification"] == "target") & (frames[0]["K"] == 20)]["recall"].mean()
    assert came.loc[("target", 20), "recall"] == pytest.approx(own)
    assert came.loc[("target", 20), "users"] == 80
    assert came.loc[("target_all", 20), "users"] == 400
    strict = came.loc[("speculative", 20)].query("verification == 'strict'")["recall"]
    assert strict.tolist() == pytest.approx([own, own])


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_strict_draft_that_misses_the_target_is_drawn_by_name():
    frame = pd.concat([generated.evaluation(name) for name in ("sft", "wordkd")])
    ranking = generated.ranking()
    assert "strict, equal to the target (2 of 2 drafts)" in legend_of(recall.draw(recall.data(frame, ranking)))
    wrong = (frame["objective"] == "sft") & (frame["verification"] == "strict") & (frame["K"] == 20)
    figure = recall.draw(recall.data(frame.assign(recall=frame["recall"].mask(wrong, 1.0)), ranking))
    assert {"strict, equal to the target (1 of 2 drafts)", "strict, SFT (differs)"} <= set(legend_of(figure))


def test_phase_shares_add_up_to_one_and_other_is_what_is_left():
    rows = [("speculative", "sft", user, 0, seconds) for user, seconds in ((0, 1.0), (1, 3.0))]
    under_timers = times(rows, timed=False).assign(draft=[0.5, 0.5], target=[0.2, 1.8], verify=0.1, constraint=0.0)
    timed = times([(*row[:4], row[4] / 2) for row in rows]).assign(**dict.fromkeys(records.PHASES, np.nan))
    came = phases.data(pd.concat([under_timers, timed])).set_index("phase")
    expected = {"draft": 1 / 4, "target": 2 / 4, "verify": 0.2 / 4, "constraint": 0, "other": 0.8 / 4}
    assert came["share"].to_dict() == pytest.approx(expected)
    assert set(came["seconds"]) == {1.0}  # (0.5 + 1.5) / 2, of the run without timers


def test_phases_that_overlap_or_are_absent_are_refused():
    frame = times([("plain", "", 0, 0, 1.0)], timed=False).assign(draft=0.8, target=0.8, verify=0.0, constraint=0.0)
    with pytest.raises(SpecbeamError, match="timers overlap"):
        phases.data(frame)
    with pytest.raises(SpecbeamError, match="hold no phases"):
        phases.data(times([("plain", "", 0, 0, 1.0)]))


def test_records_of_two_data_sets_do_not_go_into_one_figure():
    frame = generated.timing(5, users=2)
    both = pd.concat([frame, frame.assign(dataset="beauty")])
    with pytest.raises(SpecbeamError, match="one data set, got beauty, synthetic"):
        speedup.data(both)


def test_of_several_draft_widths_the_largest_is_drawn_and_all_are_in_the_csv():
    timing = pd.concat([generated.timing(5), generated.timing(5, draft_beam_width=80).query("method == 'speculative'")])
    evaluation = [generated.evaluation("sft", beam_widths=(5,), draft_beam_width=width) for width in (40, 80)]
    evaluation = pd.concat(evaluation).drop_duplicates(records.KEYS["evaluation"])
    speedups, acceptance = speedup.data(timing), accepted.data(evaluation)
    quality, shares = recall.data(evaluation, generated.ranking(beam_widths=(5,))), phases.data(timing)
    assert {40, 80} <= set(speedups["N"]) & set(acceptance["N"]) & set(quality["N"]) & set(shares["N"])
    assert speedup.draw(speedups).axes[0].get_title("left") == "strict, N = 80"
    assert accepted.draw(acceptance, levels=3).axes[0].get_title("left") == "strict, N = 80"
    assert "strict, equal to the target (1 of 1 drafts)" in legend_of(recall.draw(quality))
    bars = len(phases.draw(shares).axes[0].patches)
    assert bars == len(phases.draw(shares[shares["N"] != 40]).axes[0].patches)
