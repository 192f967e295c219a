"""Commands and settings in the documents are such as Snakemake, specbeam and the settings know."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from snakemake.cli import parse_args

from specbeam import cli, settings
from specbeam.settings.resources import SlurmSettings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "config").glob("*.yaml"))]
CLUSTER = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")


def commands(document, program):
    """Calls of a program in a document, as it splits them: in blocks of commands, tables and comments."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for call in re.findall(rf"(?:^[#\s]*|[`;]){program} (?=\S)([^\n`|]*)", text, flags=re.MULTILINE):
        yield shlex.split(call, comments=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_calls_of_snakemake_name_targets_before_options_that_would_take_them_and_files_that_exist(
    document, monkeypatch
):
    monkeypatch.chdir(ROOT)
    written = re.findall(r'open\("(.*?)", "w"\)', document.read_text(encoding="utf-8"))  # by Python that it shows
    for call in commands(document, "snakemake"):
        _, arguments = parse_args(call)
        named = [str(path) for path in (*(arguments.configfile or ()), *(arguments.profile or ()))]
        assert [path for path in named if path not in written and not (ROOT / path).exists()] == [], call


def test_the_cluster_pages_example_of_settings_is_valid_and_names_all_that_slurm_is_asked_for():
    (example,) = re.findall(r"```yaml\n(.*?)```", CLUSTER, flags=re.DOTALL)
    values = yaml.safe_load(example)
    settings.parse(values)
    assert list(values["resources"]["slurm"]) == list(SlurmSettings.model_fields)


def test_the_cluster_page_calls_the_training_with_the_options_that_it_has():
    verb = typer.main.get_command(cli.app).commands["train-target"]
    calls = re.findall(r"specbeam train-target (.*?)(?:\"?\n```|\n\n)", CLUSTER, flags=re.DOTALL)
    assert len(calls) == 2
    for call in calls:
        given = re.findall(r"--[a-z]+", call)
        assert sorted(given) == sorted(option.opts[0] for option in verb.params if option.required), call


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_that_a_document_shows_are_valid(document):
    for block in re.findall(
        r"^```yaml\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    ):
        settings.parse(yaml.safe_load(block), source=f"{document}: {block}")
