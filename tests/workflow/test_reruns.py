"""After a finished run: nothing is done twice, and a change runs again what docs/reruns.md says."""

import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest

from checkouts import ROOT

pytestmark = pytest.mark.slow

RUN = "results/smoke/synthetic"


def documented(section):
    """(what is changed, how, rule -> jobs) of each row of the table in a section of docs/reruns.md."""
    text = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")
    table = re.search(rf"^## {section}$.*?^(\|.*?)\n\n", f"{text}\n", flags=re.MULTILINE | re.DOTALL)[1]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    rules = [name.replace(" ", "_") for name in head[2:]]
    for change, how, *counts in rows:
        yield change, how, {rule: int(jobs) for rule, jobs in zip(rules, counts, strict=True) if jobs}


def rows(section):
    return [pytest.param(how.strip("`"), jobs, id=change) for change, how, jobs in documented(section)]


def test_a_second_call_does_nothing(finished):
    assert finished.planned() == {}


@pytest.mark.parametrize(
    ("lost", "jobs"),
    [
        ("trajectories/train-0.safetensors", {"record_trajectories": 1, "align_draft": 6, "evaluate_draft": 6}),
        ("raw/sequential_train.txt", {"generate_synthetic": 1, "prepare_dataset": 1, "train_target": 1}),
        ("measurement/timing/K5.parquet", {"time_methods": 1, "summarise_run": 1}),
    ],
)
def test_what_a_job_lost_that_ran_again_and_was_killed_is_missed_though_all_figures_are_there(finished, lost, jobs):
    path = finished.folder / RUN / lost
    path.rename(path.with_name("aside"))
    try:
        planned = finished.planned()
    finally:
        path.with_name("aside").rename(path)
    assert {rule: planned.get(rule) for rule in jobs} == jobs


def test_the_run_leaves_figures_table_logs_and_its_resolved_config(finished):
    run = finished.folder / "results/smoke"
    assert (run / "config.yaml").read_text().startswith("run: smoke")
    for path in ("summary.txt", "summary.csv", "figures/speedup.png", "figures/speedup.svg", "figures/speedup.csv"):
        assert (run / "synthetic" / path).stat().st_size > 0
    assert (run / "synthetic/acceptance.md").stat().st_size > 0
    assert (run / "synthetic/logs/align_draft/sft/seed-1.log").exists()
    assert (run / "synthetic/benchmarks/align_draft/sft/seed-1.tsv").exists()
    assert not list(run.rglob("*.part"))


def test_nothing_runs_beside_a_timing_job(finished):
    records = [json.loads(path.read_text()) for path in (finished.folder / ".snakemake/metadata").iterdir()]
    jobs = {(job["rule"], job["starttime"], job["endtime"]) for job in records}
    timing = {job for job in jobs if job[0] == "time_methods"}
    assert len(timing) == 2
    for _, start, end in timing:
        beside = [rule for rule, began, ended in jobs if began < end and ended > start]
        assert beside == ["time_methods"]


@pytest.mark.parametrize(("edit", "jobs"), rows("Settings"))
def test_a_changed_setting_runs_again_what_is_documented(finished, edit, jobs):
    config = "config/smoke.yaml"
    old, _, new = edit.partition("` to `")
    if edit.startswith("add"):
        old = (finished.folder / config).read_text()
        new = f"{old}{edit.removeprefix('add `')}\n"
    with finished.edit(config, old, new):
        assert finished.planned() == jobs


@pytest.mark.parametrize(("module", "jobs"), rows("Code"))
def test_changed_library_code_runs_again_what_is_documented(finished, module, jobs):
    file = f"src/specbeam/{module}"
    text = (finished.folder / file).read_text()
    with finished.edit(file, text, f"{text}\n\ndef added_by_a_test() -> int:\n    return 1\n"):
        assert finished.planned() == jobs


def test_comments_and_docstrings_of_the_library_run_nothing_again(finished):
    edits = []
    for path in sorted((finished.folder / "src/specbeam").rglob("*.py")):
        text = path.read_text()
        if text.startswith('"""'):
            edits.append(finished.edit(str(path), text, f"# a comment\n{text.replace('.', '. More words.', 1)}"))
    assert len(edits) > 10
    for edit in edits:
        edit.__enter__()
    try:
        assert finished.planned() == {}
    finally:
        for edit in edits:
            edit.__exit__()


@contextmanager
def gone(path):
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


@pytest.mark.parametrize(("result", "jobs"), rows("Deleted results"))
def test_a_deleted_result_is_made_again_as_documented(finished, result, jobs):
    with gone(finished.folder / RUN / result):
        assert finished.planned() == jobs


def test_a_change_that_asks_for_a_deleted_shard_runs_again_all_that_came_from_it(finished):
    shard = finished.folder / RUN / "trajectories/train-0.safetensors"
    with gone(shard), finished.edit("config/smoke.yaml", "atspeed_s: {}", "atspeed_s: {alpha: 0.5}"):
        planned = finished.planned()
    assert (planned["record_trajectories"], planned["align_draft"]) == (1, 6)


@pytest.mark.mirror
def test_a_second_data_set_is_computed_alone(finished, mirror, tmp_path):
    """Planned to the end, and computed as far as it takes seconds."""
    place = replace(finished, folder=tmp_path / "checkout")
    shutil.copytree(finished.folder, place.folder, symlinks=True)
    made = {path: path.stat().st_mtime_ns for path in (place.folder / RUN).rglob("*")}
    with place.edit("config/smoke.yaml", "[synthetic]", "[synthetic, games]"):
        plan = place.snakemake("--dry-run", "--quiet", "host").stdout
        prepared = place.snakemake("prepare", SPECBEAM_MIRROR=str(mirror)).stdout

    assert set(re.findall(r"^Job \d+: (\w+): ", plan, flags=re.MULTILINE)) == {"games"}
    assert re.findall(r"^Job \d+: (.*) \(", prepared, flags=re.MULTILINE) == [
        "games: download and verify",
        "games: prepare splits, catalogue and tokenizer",
    ]
    assert (place.folder / "results/smoke/games/prepared/statistics.csv").is_file()
    assert {path: path.stat().st_mtime_ns for path in (place.folder / RUN).rglob("*")} == made
    assert place.planned() == {}
