"""The summary page says what the records say, and is one file that needs nothing else."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

import generated_records as generated
from shown_run_for_tests import CAPTION, OBJECTIVES, make_shown_run
from specbeam.errors import SpecbeamError
from specbeam.page import tables
from specbeam.page.headlines import headlines
from specbeam.page.write import TITLES, write_page
from specbeam.stages import FIGURES


@pytest.fixture(autouse=True)
def same_machine(monkeypatch):
    generated.fix_environment(monkeypatch)


@pytest.fixture
def run(tmp_path):
    return make_shown_run(tmp_path / "results" / "shown")


def written(run, name="index.html"):
    """The page, or one of its parts, as text."""
    write_page(run=run, output=run / "index.html", summary=run / "summary.html", parts=run / "parts")
    return (run / name).read_text(encoding="utf-8")


class Read(HTMLParser):
    """Addresses that a page would load from, and the text of its cells by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded, self.rows, self.cell = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]
        self.cell = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        self.cell = False

    def handle_data(self, data):
        if self.cell:
            self.rows[-1].append(data)


def summary_of(run):
    frame = pd.read_csv(run / "synthetic" / "summary.csv")
    return frame.fillna(dict.fromkeys(("objective", "plan", "verification"), ""))


def evaluation_of(**changes):
    frames = [generated.evaluation(name, beam_widths=(5, 20), seed=seed) for name in OBJECTIVES for seed in (1, 2)]
    return pd.concat(frames).assign(**changes)


def test_the_reports_summary_is_the_page_without_figures(run):
    page, summary = written(run), (run / "summary.html").read_text(encoding="utf-8")
    assert page.count("<figure>") > summary.count("<figure>") == 0
    assert Read(summary).rows == Read(page).rows


def test_headlines_are_of_the_draft_with_the_most_levels_at_the_largest_k(run):
    summary = summary_of(run)
    found = headlines(summary, evaluation_of(), draft_length=3)
    row = summary.query("objective == 'atspeed_s' and verification == 'strict' and K == 20").iloc[0]
    values = {number.name: number.value for number in found.numbers}
    assert found.of.startswith("Speculation by atspeed_s, of 2 drafts the one with the most accepted levels; strict")
    assert values["Accepted levels a round"] == f"{row['accepted']:.2f} of 3"
    assert values["Target calls a list"] == f"{row['target_calls']:.2f}"
    assert values["Speedup over plain beam search"] == f"{row['speedup_plain']:.2f}x"
    assert values["Speedup over transformers' generate"] == f"{row['speedup_generate']:.2f}x"


def test_the_targets_recall_stands_beside_the_best_baselines(run):
    (quality,) = [
        one for one in headlines(summary_of(run), evaluation_of(), draft_length=3).numbers if "Recall" in one.name
    ]
    rated = generated.ranking(beam_widths=(5,), recommenders=("target", "sasrec")).set_index("recommender")["recall"]
    assert quality.name == "Recall@5 of the target"  # ten, or the nearest below
    assert quality.value == f"{rated['target']:.4f}"
    assert quality.detail.endswith(f"Best baseline: SASRec, {rated['sasrec']:.4f}")


@pytest.mark.parametrize("lost", [0, 1])
def test_strict_lists_that_are_not_the_targets_own_raise_the_alarm(run, lost):
    evaluation = evaluation_of().reset_index(drop=True)
    strict = evaluation.index[evaluation["verification"] == "strict"]
    evaluation.loc[strict[:lost], "same_as_target"] = False
    (lossless,) = [
        one for one in headlines(summary_of(run), evaluation, draft_length=3).numbers if one.name == "Lossless"
    ]
    assert lossless.value == f"{len(strict) - lost} of {len(strict)}"
    assert lossless.alarming == bool(lost)


def test_what_was_not_measured_is_told(run):
    summary = summary_of(run)
    summary = summary[summary["verification"] != "strict"].assign(speedup_plain=float("nan"))
    evaluation = evaluation_of().query("verification != 'strict'")
    values = {one.name: (one.value, one.detail) for one in headlines(summary, evaluation, draft_length=3).numbers}
    assert values["Lossless"] == ("-", "strict verification was not measured")
    assert values["Speedup over plain beam search"] == ("-", "not timed")


def test_tables_have_every_draft_and_every_row_of_the_summary(run):
    summary = summary_of(run)
    by_width, everything = tables.acceptance(summary), tables.everything(summary)
    assert [column.title for column in by_width.columns[3:]] == ["AS@5", "AS@20"]
    assert [row[:2] for row in by_width.rows] == [[o, v] for v in ("strict", "relaxed") for o in OBJECTIVES]
    assert len(everything.rows) == len(summary)
    titles = [column.title for column in everything.columns]
    plain = dict(zip(titles, next(row for row in everything.rows if row[0] == "plain beam search"), strict=True))
    assert (plain["target calls"], plain["over plain"]) == (4, 1)


def test_the_page_loads_nothing_from_anywhere(run):
    for name in ("index.html", "parts/synthetic/sft.html", "parts/synthetic/target.html"):
        html = written(run, name)
        assert all(address.startswith("data:") for address in Read(html).loaded), name
        assert not re.search(r"(@import|url\(|fetch|XMLHttpRequest|https?://)", html), name


def test_figures_have_their_captions_escaped_and_names_for_those_who_cannot_see_them(run):
    html = written(run)
    assert "Levels that verification accepts, &lt;b&gt; &amp; all." in html
    assert CAPTION not in html
    assert re.findall(r'alt="([^"]+)"', html) == [
        f"{TITLES[name]}, data set synthetic" for name in ("speedup", "accepted")
    ]


def test_every_figure_has_a_title():
    assert set(TITLES) >= {*FIGURES, "ablations"}


def test_the_page_says_where_numbers_come_from_and_what_to_run_next(run):
    html = written(run)
    for text in ("0123456789ab", "A Processor 9000", "a-host", "run 1", "torch 2.13.0", "0.07 hours in 4 jobs"):
        assert text in html
    assert "synthetic.mean_length: " in html
    for command in (f"specbeam recommend {run}/synthetic --user 0", f"--configfile {run}/config.yaml", "specbeam diff"):
        assert command in html
    assert 'class="caution"' not in html


def test_uncommitted_changes_and_several_commits_are_told_at_the_top(tmp_path):
    run = make_shown_run(tmp_path / "shown", dirty=True)
    path = next(run.rglob("*.provenance.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"commit": "f" * 40}))
    head = written(run).partition("<main>")[0]
    assert "uncommitted changes" in head
    assert "several commits" in head


def test_an_objectives_part_has_its_results_losses_and_jobs(run):
    rows = Read(written(run, "parts/synthetic/sft.html")).rows
    assert {row[0] for row in rows if "relaxed" in row} == {"sft"}
    assert [row[0] for row in rows if row[0].startswith("seed-")] == ["seed-1"] * 8 + ["seed-2"] * 8
    assert [row[:2] for row in rows if row[0] in ("align", "evaluate", "train_target")] == [
        ["align", "objective sft, seed 1"],
        ["evaluate", "objective sft, draft seed 1"],
    ]


def test_the_targets_part_has_it_beside_the_baselines(run):
    rows = Read(written(run, "parts/synthetic/target.html")).rows
    assert {"target", "popularity", "SASRec", "plain beam search", "train_target"} <= {row[0] for row in rows}


def test_each_data_set_has_its_part(tmp_path):
    run = make_shown_run(tmp_path / "shown", datasets=("synthetic", "beauty"))
    html = written(run)
    assert (
        html.index('<section id="synthetic"') < html.index('<section id="beauty"') < html.index('<section id="origin"')
    )
    assert {path.parent.name for path in run.glob("parts/*/sft.html")} == {"synthetic", "beauty"}


def test_a_run_without_results_is_refused(run):
    (run / "synthetic" / "summary.csv").unlink()
    with pytest.raises(
        SpecbeamError, match=r"summary\.csv: expected the summary of a finished run here; run snakemake"
    ):
        written(run)
    assert not (run / "index.html").exists()
