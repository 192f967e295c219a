"""Settings: every mistake is named with its key, its value and what is allowed; the schema for editors is in step."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from specbeam import settings
from specbeam.cli import app
from specbeam.errors import SpecbeamError

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
SCHEMA = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_ready_made_config_is_valid_and_bears_its_own_name(path):
    run = settings.load(path)
    assert run.run == ("default" if path.stem == "config" else path.stem)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_ready_made_config_passes_the_schema_that_it_names(path):
    first = path.read_text().splitlines()[0]
    schema = path.parent / re.fullmatch(r"# yaml-language-server: \$schema=(.*)", first).group(1)
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(schema.read_text()))


def test_the_schema_is_generated_from_the_settings():
    printed = CliRunner().invoke(app, ["schema"]).stdout
    assert json.loads(printed) == SCHEMA, "run: specbeam schema > workflow/schemas/config.schema.json"


def test_the_schema_is_a_valid_schema_and_refuses_unknown_keys():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"mesurement": {}}, SCHEMA)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, "sed: unknown key; allowed here: run, seed,"),
        ({"target": {"model": {"hidden": 3}}}, "target.model.hidden: unknown key; allowed here: base, revision"),
        (
            {"alignment": {"objectives": {"sft": {"beta": 1}}}},
            "alignment.objectives.sft.beta: unknown key; allowed here: alpha",
        ),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, got -1"),
        ({"datasets": ["books"]}, "datasets.0: Input should be 'synthetic', 'beauty' or 'games', got 'books'"),
        ({"datasets": []}, "datasets: List should have at least 1 item"),
        (
            {"measurement": {"beam_widths": [0]}},
            "measurement.beam_widths.0: Input should be greater than or equal to 1",
        ),
        ({"run": "../up"}, "run: String should match pattern"),
        ({"target": {"model": {"lora": {}}}}, "lora adapts a pretrained model: set base, or remove lora"),
        ({"target": {"model": {"base": "org/name"}}}, "set revision to a commit, to pin it"),
        ({"target": {"model": {"hidden_size": 30, "heads": 4}}}, "hidden_size must be an even multiple of heads"),
        ({"prompt": {"style": "natural"}}, "prompt.style natural needs a text tokenizer: set target.model.base"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(values, message):
    with pytest.raises(SpecbeamError) as caught:
        settings.parse(values, source="my.yaml")
    assert str(caught.value).startswith("my.yaml: 1 bad setting(s)\n")
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(SpecbeamError, match="2 bad setting") as caught:
        settings.parse({"seed": -1, "device": "tpu"})
    assert "seed:" in str(caught.value)
    assert "device:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("- a\n", "expected a mapping of settings, got list"), ("", "got NoneType")],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(SpecbeamError, match=rf"my\.yaml: .*{message}"):
        settings.load(path)


def test_a_missing_file_is_named():
    with pytest.raises(SpecbeamError, match=r"nowhere\.yaml: no such config file; the ready-made ones are in config/"):
        settings.load(Path("nowhere.yaml"))


def _sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [model, *(inner for section in model.__subclasses__() for inner in _sections(section))]


def test_settings_cannot_be_changed_after_they_were_checked():
    with pytest.raises(ValueError, match="frozen"):
        settings.Settings().seed = 2
    assert all(section.model_config["frozen"] for section in _sections(settings.Section))
