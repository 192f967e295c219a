"""After a finished run: nothing is done twice, and an edit runs again exactly what depends on it."""

import json

import pytest

from specbeam.stages import FIGURES

pytestmark = pytest.mark.slow

OF_LOSSES = {"agreement", "loss"}
OF_EVALUATION = {"accepted", "levels", "calls", "trees", "recall", "pareto"}
OF_TIMING = {"speedup", "phases", "pareto"}
OF_MEASUREMENT = len(OF_EVALUATION | OF_TIMING | {"example"})
OF_TRAINING = len(OF_LOSSES) + OF_MEASUREMENT
SHOWN = {"summarise_run": 1, "write_page": 1}

FROM_ALIGNMENT = {
    "align_draft": 6,
    "evaluate_draft": 6,
    "time_methods": 2,
    "record_search": 1,
    "plot_figure": OF_TRAINING,
    **SHOWN,
}
FROM_TARGET = {
    "train_target": 1,
    "recommend_items": 1,
    "record_trajectories": 2,
    "record_validation": 1,
    **FROM_ALIGNMENT,
}
FROM_EVALUATION = {"evaluate_draft": 6, "plot_figure": len(OF_EVALUATION), **SHOWN}
FROM_TIMING = {"time_methods": 2, "plot_figure": len(OF_TIMING), **SHOWN}
EVERYTHING = {
    "generate_synthetic": 1,
    "prepare_dataset": 1,
    "rate_baselines": 1,
    "train_draft": 1,
    **FROM_TARGET,
    "plot_figure": len(FIGURES),
}
ANOTHER_SEED = {
    "train_draft": 1,
    "align_draft": 6,
    "evaluate_draft": 6,
    "plot_figure": len(OF_LOSSES | OF_EVALUATION),
    **SHOWN,
}


def test_a_second_call_does_nothing(finished):
    assert finished.planned() == {}


def test_the_run_leaves_figures_table_logs_and_its_resolved_config(finished):
    run = finished.folder / "results/smoke"
    assert (run / "config.yaml").read_text().startswith("run: smoke")
    figures = [f"figures/{name}.{form}" for name in FIGURES for form in ("png", "svg", "csv", "txt")]
    for path in ("summary.txt", "summary.csv", *figures):
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


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seed: 1", "seed: 2", EVERYTHING),
        ("users: 300", "users: 301", EVERYTHING),
        ("seeds: [1]", "seeds: [1, 2]", ANOTHER_SEED),
        ("seeds: [1]", "seeds: [2]", {**ANOTHER_SEED, **FROM_ALIGNMENT}),
        ("hidden_size: 32", "hidden_size: 64", FROM_TARGET),
        (
            "trajectories: {beam_width: 5, shards: 2, users: 40}",
            "trajectories: {beam_width: 5, shards: 2, users: 41}",
            {"record_trajectories": 2, **FROM_ALIGNMENT},
        ),
        (
            "measurement:",
            "decoding: {constraint: position}\nmeasurement:",
            {
                "recommend_items": 1,
                "evaluate_draft": 6,
                "time_methods": 2,
                "record_search": 1,
                "plot_figure": OF_MEASUREMENT,
                **SHOWN,
            },
        ),
        ("hidden_size: 16", "hidden_size: 32", {"train_draft": 1, **FROM_ALIGNMENT}),
        ("plans: [flat, completed]", "plans: [flat]", FROM_EVALUATION),
        (
            "atspeed_s: {}",
            "atspeed_s: {alpha: 0.5}",
            {**FROM_ALIGNMENT, "align_draft": 1, "evaluate_draft": 1},
        ),
        ("repeats: 2", "repeats: 3", FROM_TIMING),
        ("users: 8", "users: 9", FROM_EVALUATION),
        ("timing: 1}", "timing: 2}", FROM_TIMING),
        ("evaluation: 1", "evaluation: 2", {}),
        ("datasets:", "source: {mirror: elsewhere}\ndatasets:", {}),
    ],
)
def test_a_changed_setting_runs_again_what_reads_it(finished, old, new, expected):
    with finished.edit("config/smoke.yaml", old, new):
        assert finished.planned() == expected


def test_a_new_beam_width_times_only_that_one(finished):
    with finished.edit("config/smoke.yaml", "beam_widths: [1, 5]", "beam_widths: [1, 3, 5]"):
        planned = finished.planned()
    assert planned == {
        "recommend_items": 1,
        "rate_baselines": 1,
        "evaluate_draft": 6,
        "time_methods": 1,
        "record_search": 1,
        "plot_figure": OF_MEASUREMENT,
        **SHOWN,
    }


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("figures/phases.py", {"plot_figure": 1, "write_page": 1}),
        ("figures/captions.py", {"plot_figure": len(FIGURES), **SHOWN}),
        ("figures/summary.py", SHOWN),
        ("measurement/timing.py", FROM_TIMING),
        ("alignment/train.py", FROM_ALIGNMENT),
        ("settings/__init__.py", {}),
        ("cli.py", {}),
    ],
)
def test_changed_library_code_runs_again_the_stages_that_use_it(finished, module, expected):
    file = f"src/specbeam/{module}"
    text = (finished.folder / file).read_text()
    with finished.edit(file, text, f"{text}\n\ndef added_by_a_test() -> int:\n    return 1\n"):
        assert finished.planned() == expected


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
