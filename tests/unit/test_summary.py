"""The result table: right numbers, like compared with like, readable in a terminal."""

import re

import pandas as pd
import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import summary
from specbeam.measurement import records


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    generated.fix_environment(monkeypatch)


def inputs(run):
    return [*sorted(run.glob("measurement/**/*.parquet")), *sorted(run.glob("*/ranking.csv"))]


def summarise(folder, **what):
    run = generated.write_run(folder / "run", **what)
    text = summary.summarise(inputs=inputs(run), output=folder / "summary.csv", run="default")
    return text, pd.read_csv(folder / "summary.csv", keep_default_na=False, na_values=[""])


def row(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line.removeprefix(name).split()


def test_the_table_has_every_method_and_fits_a_terminal(tmp_path):
    text, _ = summarise(tmp_path)
    assert (tmp_path / "summary.txt").read_text() == text
    assert max(map(len, text.splitlines())) <= 100
    for objective in generated.OBJECTIVES:
        for verification in ("strict", "relaxed"):
            assert len(row(text, f"{objective} {verification} ")) == 7
    for baseline in ("popularity", "last-item transitions", "co-occurrence", "SASRec"):
        assert row(text, f"{baseline} (400 users)")[2:] == ["-"] * 5
    assert row(text, "transformers generate")[-1] == "1.00x"
    assert row(text, "plain beam search (60 users)")[4:6] == ["4.00", "1.00x"]


def test_the_header_says_what_was_measured_where(tmp_path):
    text, _ = summarise(tmp_path, beam_widths=(5,))
    head = text.split("\n\n")[0]
    for words in ("synthetic", "run default", "60 users", "12 users", "median of 3", "A Processor 9000", "2 thread"):
        assert words in head
    assert "float32" in head
    assert "commit 0123456789ab" in head
    assert "uncommitted" not in head


def test_uncommitted_changes_are_told(tmp_path, monkeypatch):
    monkeypatch.setitem(generated.ENVIRONMENT, "dirty", True)
    text, _ = summarise(tmp_path, beam_widths=(5,))
    assert "with uncommitted changes" in text


def test_strict_drafts_have_the_recall_of_the_target_on_the_same_users(tmp_path):
    text, _ = summarise(tmp_path)
    assert row(text, "wordkd strict")[:2] == row(text, "plain beam search (60 users)")[:2]


def test_the_target_stands_there_once_when_all_test_users_were_evaluated(tmp_path):
    run = generated.write_run(tmp_path / "run")
    generated.ranking(users=60).to_csv(run / "target" / "ranking.csv", index=False)
    text = summary.summarise(inputs=inputs(run), output=tmp_path / "summary.csv", run="default")
    assert "target (60 users)" not in text
    assert "plain beam search (60 users)" in text


@pytest.mark.parametrize(
    ("beam_widths", "titles"),
    [((1, 3, 20), ("Recall@3", "AS@20")), ((20,), ("Recall@20", "AS@20")), ((5, 10), ("Recall@10", "AS@10"))],
)
def test_quality_is_told_at_ten_items_or_the_nearest_below(beam_widths, titles, tmp_path):
    text, _ = summarise(tmp_path, beam_widths=beam_widths, objectives=("sft",), verifications=("relaxed",))
    assert all(title in text for title in titles)


def test_the_csv_has_every_beam_width_and_agrees_with_the_records(tmp_path):
    _, table = summarise(tmp_path)
    keys = ["method", "objective", "verification", "K", "N"]
    assert not table.duplicated(keys).any()
    assert set(table["run"]) == {"default"}
    cell = table[(table["objective"] == "sft") & (table["verification"] == "strict") & (table["K"] == 10)].iloc[0]
    rows = generated.evaluation("sft").query("verification == 'strict' and K == 10")
    assert cell["accepted"] == pytest.approx(rows["accepted"].sum() / rows["rounds"].sum())
    assert cell["recall"] == pytest.approx(rows["recall"].mean())
    assert cell["target_calls"] == pytest.approx(rows["target_calls"].mean())
    medians = generated.timing(10).query("timed").groupby(["method", "objective", "verification", "user"])
    totals = medians["seconds"].median().groupby(["method", "objective", "verification"]).sum()
    own = totals[("speculative", "sft", "strict")]
    assert cell["speedup_plain"] == pytest.approx(totals[("plain", "", "")] / own)
    assert cell["speedup_generate"] == pytest.approx(totals[("generate", "", "")] / own)


def test_of_several_draft_widths_the_largest_is_printed():
    speculative = generated.timing(5, draft_beam_width=80).query("method == 'speculative'")
    evaluation = [generated.evaluation("sft", beam_widths=(5,), draft_beam_width=width) for width in (40, 80)]
    evaluation = pd.concat(evaluation).drop_duplicates(records.KEYS["evaluation"])
    timing = pd.concat([generated.timing(5, objectives=("sft",)), speculative.query("objective == 'sft'")])
    table = summary.data(evaluation, timing, generated.ranking(beam_widths=(5,)))
    assert sorted(table.query("verification == 'strict'")["N"]) == [40, 80]
    text = summary.text(table, header="")
    assert "K = 5, N = 80." in text
    assert len(row(text, "sft strict")) == 7


def test_the_acceptance_table_has_a_row_an_objective_with_mean_and_deviation_over_seeds(tmp_path):
    summarise(tmp_path, seeds=(1, 2, 3), objectives=("sft", "wordkd"))
    text = (tmp_path / "acceptance.md").read_text()
    assert "means over seeds 1, 2, 3, time of seed 1 alone" in text
    tables = [part.splitlines() for part in text.split("\n\n")[1:]]
    assert [table[0].split(" | ")[0] for table in tables] == ["| strict, flat, N = 40", "| relaxed, flat, N = 40"]
    for verification, table in zip(("strict", "relaxed"), tables, strict=True):
        titles = "AS@1 | AS@3 | AS@5 | AS@10 | AS@20 | calls, K = 20 | Recall@10 | NDCG@10 |"
        assert table[0].endswith(titles)
        assert [line.split(" | ")[0] for line in table[2:]] == ["| `sft`", "| `wordkd`", "| target alone"]
        frames = [generated.evaluation("sft", seed=seed) for seed in (1, 2, 3)]
        at = [frame.query(f"verification == '{verification}' and K == 20") for frame in frames]
        levels = pd.Series([part["accepted"].sum() / part["rounds"].sum() for part in at])
        cells = table[2].split(" | ")
        assert cells[5] == f"{levels.mean():.2f} ± {levels.std():.2f}"
        assert cells[6] == f"{pd.concat(at)['target_calls'].mean():.2f}"


def test_the_objective_of_a_verification_is_held_against_each_other_one_paired_over_users(tmp_path):
    summarise(tmp_path, seeds=(1, 2), objectives=("sft", "wordkd", "atspeed_s"))
    text = (tmp_path / "acceptance.md").read_text()
    (table,) = [
        part.splitlines() for part in text.split("\n\n") if part.startswith("| lead")
    ]  # relaxed has no atspeed_r
    assert table[0] == "| lead of `atspeed_s` over | AS@1 | AS@3 | AS@5 | AS@10 | AS@20 |"
    assert [line.split(" | ")[0] for line in table[2:]] == ["| `sft`", "| `wordkd`"]
    levels = {}
    for name in ("sft", "atspeed_s"):
        parts = [generated.evaluation(name, seed=seed).query("verification == 'strict' and K == 20") for seed in (1, 2)]
        levels[name] = sum(part["accepted"].sum() / part["rounds"].sum() for part in parts) / 2
    lead, low, high = map(float, re.findall(r"[+-][\d.]+", table[2].split(" | ")[5]))
    assert lead == round(levels["atspeed_s"] - levels["sft"], 3)
    assert low < lead < high


def test_completed_drafts_have_rows_of_their_own_without_times(tmp_path):
    run = generated.write_run(tmp_path / "run", objectives=("sft",))
    completed = generated.evaluation("sft", plan="completed", verifications=("strict",))
    path = tmp_path / "run/measurement/evaluation/sft/completed.parquet"
    speculative = completed[completed["verification"] != "target"]
    records.write(speculative, path, kind="evaluation", settings={}, **generated.STAMP)
    text = summary.summarise(inputs=inputs(run), output=tmp_path / "summary.csv", run="default")
    assert row(text, "sft strict completed")[-2:] == ["-", "-"]
    assert row(text, "sft strict  ")[-1].endswith("x")
    assert "strict, completed, N = 40" in (tmp_path / "acceptance.md").read_text()


def test_a_missing_kind_of_input_is_told(tmp_path):
    run = generated.write_run(tmp_path / "run", beam_widths=(5,), objectives=("sft",))
    for kind in ("evaluation", "timing"):
        kept = [path for path in inputs(run) if kind not in path.parts]
        with pytest.raises(SpecbeamError, match=f"at least one file of {kind} records"):
            summary.summarise(inputs=kept, output=tmp_path / "summary.csv", run="default")
    with pytest.raises(SpecbeamError, match=r"one ranking\.csv"):
        summary.summarise(inputs=inputs(run)[:-2], output=tmp_path / "summary.csv", run="default")


def test_records_of_different_data_sets_are_refused():
    timing = generated.timing(5, users=2).assign(dataset="beauty")
    with pytest.raises(SpecbeamError, match="different data sets"):
        summary.data(generated.evaluation("sft"), timing, generated.ranking())
