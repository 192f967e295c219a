"""docs/serving.md names all options, fields and metrics that there are, and its examples are answered."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.testclient import TestClient

from finished_run_for_tests import make_run
from specbeam import Recommender, cli
from specbeam.serving.app import Service, Wanted

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def table(head: str) -> str:
    """The rows of the table whose head begins so."""
    return PAGE.partition(head)[2].partition("\n\n")[0]


@pytest.fixture(scope="module")
def service(tiny_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("results") / "mine" / "tiny"
    make_run(folder, tiny_dataset.prepared)
    return Service(Recommender.load(folder, device="cpu"))


def test_its_requests_are_answered(service: Service) -> None:
    bodies = [json.loads(body) for body in re.findall(r"curl --json '(.*?)'", PAGE)]
    with TestClient(service.app) as client:
        answers = [client.post("/recommend", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200] * 3
    for shown in re.findall(r'^\{"items".*', PAGE, flags=re.MULTILINE):
        assert json.loads(shown).keys() == answers[0].json().keys()


def test_its_options_are_those_of_the_verb_with_their_defaults() -> None:
    command = typer.main.get_command(cli.app).commands["serve"]
    defaults = {each.opts[0]: each.default for each in command.params if each.param_type_name == "option"}
    rows = re.findall(r"^\| (`--.*?) \| (.*?) \|", table("| option |"), flags=re.MULTILINE)
    named = {option: said for options, said in rows for option in re.findall(r"--[a-z-]+", options)}
    assert named.keys() == defaults.keys() - {"--quiet", "--verbose"}
    for option, said in named.items():
        default = defaults[option]
        assert default in (None, []) or str(getattr(default, "value", default)).removesuffix(".0") in said, option


def test_its_fields_are_those_of_a_request() -> None:
    assert (
        set(re.findall(r"^\| `(\w+)`", table("| field of the body |"), flags=re.MULTILINE))
        == Wanted.model_fields.keys()
    )


def test_its_metrics_are_those_that_there_are(service: Service) -> None:
    named = {name.partition("{")[0] for name in re.findall(r"`(specbeam_[\w{}]+)`", table("| metric |"))}
    families = re.findall(r"^# TYPE (specbeam_\w+) ", service.metrics.text().decode(), flags=re.MULTILINE)
    assert named == {name for name in families if not name.endswith("_created")}
