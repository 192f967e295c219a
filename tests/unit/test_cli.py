"""Verbs only pass on what they are given; mistakes are one message without a traceback."""

import inspect
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from specbeam import cli, options
from specbeam.data.download import MIRROR_VARIABLE
from specbeam.errors import SpecbeamError
from specbeam.settings import Settings
from specbeam.stages import FIGURES, STAGES

ROOT = Path(__file__).parents[2]

# verb and options -> stage function, what it receives besides settings
CALLS = {
    "download beauty --destination d --store s --mirror m": (
        "specbeam.data.download:download",
        {"dataset": "beauty", "destination": Path("d"), "store": Path("s"), "mirror": "m"},
    ),
    "prepare --raw r --prepared p": (
        "specbeam.data.prepare:prepare",
        {"raw": Path("r"), "prepared": Path("p")},
    ),
    "generate-synthetic --destination d": (
        "specbeam.data.synthetic:generate",
        {"destination": Path("d"), "seed": 5},
    ),
    "train-target --prepared p --model m --losses l --threads 2": (
        "specbeam.target.train:train_target",
        {"prepared": Path("p"), "model": Path("m"), "losses": Path("l"), "threads": 2},
    ),
    "train-draft --prepared p --seed 4 --model m --losses l --threads 2": (
        "specbeam.target.draft:train_draft",
        {"prepared": Path("p"), "seed": 4, "model": Path("m"), "losses": Path("l"), "threads": 2},
    ),
    "infer-target --prepared p --model m --lists a --ranking b --threads 1": (
        "specbeam.target.infer:recommend",
        {"prepared": Path("p"), "model": Path("m"), "lists": Path("a"), "ranking": Path("b"), "threads": 1},
    ),
    "rate-baselines --prepared p --ranking b --threads 1": (
        "specbeam.baselines.rate:rate_baselines",
        {"prepared": Path("p"), "ranking": Path("b"), "threads": 1},
    ),
    "record-trajectories --prepared p --model m --output o --split train --shard 1 --shards 3 --threads 1": (
        "specbeam.trajectories.record:record",
        {
            "prepared": Path("p"),
            "model": Path("m"),
            "output": Path("o"),
            "split": "train",
            "shard": 1,
            "shards": 3,
            "threads": 1,
        },
    ),
    "align a b --objective sft --prepared p --base d --valid v --seed 4 --model m --losses l --threads 1": (
        "specbeam.alignment.train:align",
        {
            "trajectories": [Path("a"), Path("b")],
            "objective": "sft",
            "prepared": Path("p"),
            "base": Path("d"),
            "valid": Path("v"),
            "seed": 4,
            "model": Path("m"),
            "losses": Path("l"),
            "threads": 1,
        },
    ),
    "evaluate --prepared p --target t --draft d --objective sft --draft-seed 4 --dataset beauty --output o --trees r "
    "--threads 1": (
        "specbeam.measurement.evaluate:evaluate",
        {
            "prepared": Path("p"),
            "target": Path("t"),
            "draft": Path("d"),
            "objective": "sft",
            "draft_seed": 4,
            "dataset": "beauty",
            "output": Path("o"),
            "trees": Path("r"),
            "threads": 1,
        },
    ),
    "time sft=a seqkd=b --prepared p --target t --dataset beauty --beam-width 5 --output o --threads 1": (
        "specbeam.measurement.timing:time_methods",
        {
            "drafts": {"sft": Path("a"), "seqkd": Path("b")},
            "prepared": Path("p"),
            "target": Path("t"),
            "dataset": "beauty",
            "beam_width": 5,
            "output": Path("o"),
            "threads": 1,
        },
    ),
    "record-search --prepared p --target t --draft d --objective sft --output o --threads 1": (
        "specbeam.measurement.explained:record_search",
        {
            "prepared": Path("p"),
            "target": Path("t"),
            "draft": Path("d"),
            "objective": "sft",
            "output": Path("o"),
            "threads": 1,
        },
    ),
    "plot loss a b --output o": ("specbeam.figures.loss:plot", {"inputs": [Path("a"), Path("b")], "output": Path("o")}),
    "summarise a b --output o --run r": (
        "specbeam.figures.summary:summarise",
        {"inputs": [Path("a"), Path("b")], "output": Path("o"), "run": "r"},
    ),
}
WITHOUT_SETTINGS = ("download", "plot", "summarise")


def _run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "specbeam", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("line", CALLS, ids=lambda line: line.split()[0])
def test_a_verb_passes_its_options_to_the_function_of_its_stage(monkeypatch, tmp_path, line):
    monkeypatch.chdir(tmp_path)  # a verb leaves its provenance beside what its stage writes
    place, expected = CALLS[line]
    module, _, name = place.partition(":")
    function = getattr(pytest.importorskip(module), name)
    received = {}
    monkeypatch.setattr(f"{module}.{name}", lambda **options: received.update(options))

    verb = line.split()[0]
    settings = [] if verb in WITHOUT_SETTINGS else ["--settings", json.dumps({"seed": 5} if verb != "prepare" else {})]
    result = CliRunner().invoke(cli.app, [*line.split(), *settings])

    assert result.exit_code == 0, result.output
    assert received.keys() == inspect.signature(function).parameters.keys()
    assert {key: received[key] for key in expected} == expected
    assert len(list(tmp_path.glob("*.provenance.json"))) == 1


@pytest.mark.parametrize("pair", ["sft", "bft=a"])
def test_drafts_are_named_by_objective(pair):
    with pytest.raises(SpecbeamError, match="expected OBJECTIVE=FOLDER with one of sft, seqkd"):
        options.drafts_of([pair])


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [("--mirror a", "b", "a"), ("", "b", "b"), ("--mirror a", "", "a"), ("", "", None), ("", None, None)],
)
def test_a_mirror_named_by_option_counts_before_the_one_of_the_environment(
    monkeypatch, tmp_path, option, variable, expected
):
    monkeypatch.chdir(tmp_path)
    received = {}
    monkeypatch.setattr("specbeam.data.download.download", lambda **given: received.update(given))
    line = ["download", "beauty", "--destination", "d", *option.split()]
    result = CliRunner().invoke(cli.app, line, env={MIRROR_VARIABLE: variable})
    assert result.exit_code == 0, result.output
    assert received["mirror"] == expected


def test_timing_with_more_threads_than_cores_is_refused(monkeypatch):
    monkeypatch.setattr(options.os, "sched_getaffinity", lambda _: {0, 1})
    assert options.timing_threads(2) == 2
    with pytest.raises(SpecbeamError, match=r"threads\.timing .* at most the 2 core\(s\) .* got 3"):
        options.timing_threads(3)


@pytest.mark.parametrize(("split", "stage"), [("train", "record"), ("valid", "record_validation")])
def test_recording_reads_the_settings_of_its_split(monkeypatch, tmp_path, split, stage):
    monkeypatch.chdir(tmp_path)
    received = {}
    monkeypatch.setattr("specbeam.trajectories.record.record", lambda **given: received.update(given))
    line = f"record-trajectories --prepared p --model m --output o --split {split} --threads 1 --settings {{}}"
    assert CliRunner().invoke(cli.app, line.split()).exit_code == 0
    assert ("users" in received["settings"].trajectories.model_dump()) == (stage == "record")


def test_a_shard_beyond_the_last_is_refused():
    options = ["--prepared", "p", "--model", "m", "--output", "o", "--split", "train", "--threads", "1"]
    result = CliRunner().invoke(cli.app, ["record-trajectories", *options, "--settings", "{}", "--shard", "1"])
    assert isinstance(result.exception, SpecbeamError)
    assert "--shard 1: expected less than --shards 1" in str(result.exception)


def test_a_problem_to_mend_is_one_message_and_exit_code_1():
    result = _run("check", "nowhere.yaml")
    assert result.returncode == 1
    assert result.stderr == "specbeam: nowhere.yaml: no such config file; the ready-made ones are in config/\n"


def test_wrong_usage_is_exit_code_2():
    for line in ("check", "bake", "--bake", "check config/smoke.yaml -q -v"):
        result = CliRunner().invoke(cli.app, line.split())
        assert result.exit_code == 2, line
        assert "Usage: " in result.output


def test_an_interrupted_verb_is_exit_code_130(monkeypatch):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("specbeam.reports.plan", interrupt)
    assert CliRunner().invoke(cli.app, ["check", "a.yaml"]).exit_code == 130


@pytest.fixture
def usual_levels():
    """Loggers as `main` begins with; the tests' own levels come back afterwards."""
    loggers = (logging.getLogger(), logging.getLogger("specbeam"))
    before = [logger.level for logger in loggers]
    loggers[0].setLevel(logging.INFO)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("digest", "INFO"),
        ("--quiet digest", "WARNING"),
        ("digest --quiet", "WARNING"),
        ("-v digest", "DEBUG"),
        ("digest -v", "DEBUG"),
    ],
)
def test_quiet_and_verbose_go_before_the_verb_or_after_and_leave_results_alone(monkeypatch, usual_levels, line, level):
    levels = []

    def digests():
        levels.append(logging.getLogger("specbeam.stages").getEffectiveLevel())
        return ["the result"]

    monkeypatch.setattr("specbeam.reports.digests", digests)
    assert CliRunner().invoke(cli.app, line.split()).stdout == "the result\n"
    assert logging.getLevelName(levels[0]) == level


def test_an_errors_origin_is_told_to_those_who_ask():
    usual, asked = _run("check", "nowhere.yaml"), _run("check", "nowhere.yaml", "--verbose")
    assert "Traceback" not in usual.stderr
    assert "Traceback" in asked.stderr
    assert asked.stderr.endswith(usual.stderr)


def test_help_names_every_verb_and_loads_no_model_library():
    loaded = (
        "import sys, specbeam.cli; print(sorted({'torch', 'transformers', 'pandas', 'snakemake'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stdout.strip() == "[]"


def test_help_fits_80_columns_with_a_line_for_each_verb():
    helped = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(len, helped)) <= 80
    described = {line.split()[1]: line for line in helped if line.startswith("│ ") and line[2].isalpha()}
    commands = typer.main.get_group(cli.app).commands
    assert described.keys() == commands.keys()
    for name, command in commands.items():
        summary = command.help.split("\n")[0]
        assert summary in described[name], f"{name}: its first line is too long for the list of verbs"


def _as_a_shell(*arguments: str, **variables: str) -> str:
    """What the command `specbeam` prints to a shell that has these variables."""
    call = f"import sys; sys.argv = ['specbeam', *{arguments}]; from specbeam.cli import main; main()"
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, env=environment).stdout


@pytest.mark.parametrize(
    ("typed", "expected"), [("tra", ["train-target", "train-draft"]), ("train-draft --pre", ["--prepared"])]
)
def test_a_shell_completes_verbs_and_options(typed, expected):
    words = {"COMP_WORDS": f"specbeam {typed}", "COMP_CWORD": str(len(typed.split()))}
    assert _as_a_shell(_SPECBEAM_COMPLETE="complete_bash", **words).split() == expected


def test_completion_is_installed_where_the_shell_finds_it(tmp_path):
    # Which shell calls is looked up among the processes above; tests may have none.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    assert "completion installed" in _as_a_shell("--install-completion", "bash", **named)
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_check_says_what_a_config_would_run():
    result = _run("check", "config/paper.yaml")
    assert result.returncode == 0
    for text in (
        "results/paper/",
        "beauty, games",
        "huggyllama/llama-7b with LoRA",
        "1, 3, 5, 10, 20",
        "config/paper.yaml",
    ):
        assert text in result.stdout


def test_digest_lists_every_stage():
    lines = CliRunner().invoke(cli.app, ["digest"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(STAGES)
    assert set(FIGURES) <= set(STAGES)


def test_show_prints_the_table_and_where_the_figures_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("run: mine\n")
    missing = CliRunner().invoke(cli.app, ["show", "my.yaml"])
    assert isinstance(missing.exception, SpecbeamError)
    assert "run snakemake --cores all --configfile my.yaml" in str(missing.exception)

    folder = Path("results/mine") / Settings().datasets[0]
    folder.mkdir(parents=True)
    (folder / "summary.txt").write_text("the table\n")
    shown = CliRunner().invoke(cli.app, ["show", "my.yaml"]).stdout
    assert shown.startswith("the table\n")
    assert f"{folder}/figures/" in shown
