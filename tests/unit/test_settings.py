"""Settings: every mistake is named with its key, its value and what is allowed; the schema for editors is in step."""

import json
import operator
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
            "alignment.objectives.sft.beta: unknown key; allowed here: none",
        ),
        (
            {"alignment": {"objectives": {"seqkd": {"temperature": 0.5}}}},
            "alignment.objectives.seqkd.temperature: without effect on seqkd, whose settings are: alpha",
        ),
        (
            {"alignment": {"objectives": {"atspeed_r": {"density": "off"}}}},
            "atspeed_r.density: without effect on atspeed_r, whose settings are: alpha, sequences, mask, temperature",
        ),
        (
            {"alignment": {"objectives": {"wordkd": {"mask": "position"}}}},
            "alignment.objectives.wordkd: mask: position needs trajectories.logits: position",
        ),
        (
            {"baselines": {"sasrec": {"processes": 2}}},
            "baselines.sasrec: without effect on so small a model: remove processes",
        ),
        (
            {"draft": {"training": {"distil": True}}, "decoding": {"normalise": "vocabulary"}},
            "draft.training.distil trains a distribution over items, which only decoding.normalise: children gives",
        ),
        (
            {"alignment": {"objectives": {"sft": {"alpha": 0.5}}}},
            "alignment.objectives.sft.alpha: without effect on sft, whose settings are: none",
        ),
        (
            {"alignment": {"objectives": {"dpo": {}}}},
            "alignment.objectives.dpo: unknown key; allowed here: sft, seqkd, wordkd, tvdkd, atspeed_s, atspeed_r",
        ),
        ({"alignment": {"objectives": {}}}, "alignment.objectives: expected at least one of sft, seqkd"),
        ({"alignment": {"objectives": {"alpha": "0.5"}}}, "alignment.objectives.alpha: unknown key; allowed here: sft"),
        ({"baselines": {"sasrec": {"search": {"": [[]]}}}}, "search: expected names of SASRec's settings"),
        ({"measurement": {"beam_widths": [5, 5]}}, "measurement.beam_widths: expected each value once, got [5, 5]"),
        ({"measurement": {"draft_beam_widths": [40, 40]}}, "measurement.draft_beam_widths: expected each value once"),
        (
            {"measurement": {"beam_widths": [1, 50], "draft_beam_widths": [20, 40]}},
            "40, the largest of draft_beam_widths (N), is below 50 of beam_widths (K)",
        ),
        ({"run": "downloads"}, "run: results/downloads holds the downloaded data sets of all runs"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, got -1"),
        (
            {"datasets": ["books"], "own_data": {"toys": {"sequences": "toys"}}},
            "datasets: expected names among synthetic, beauty, games, toys, or others described in own_data: books",
        ),
        ({"own_data": {"beauty": {"sequences": "b"}}}, "own_data: beauty is the name of a built-in data set"),
        ({"own_data": {"toys": {}}}, "own_data: toys: expected `interactions`, its files, or `sequences`, a folder"),
        (
            {"own_data": {"toys": {"sequence": "toys"}}},
            "own_data.toys.sequence: unknown key; allowed here: sequences, interactions",
        ),
        ({"own_data": {"../toys": {"sequences": "toys"}}}, "own_data.../toys.[key]: String should match pattern"),
        (
            {"own_data": {"toys": {"sequences": "t", "identifiers": {"embeddings": {"from": "text"}}}}},
            "own_data.toys.identifiers.embeddings: from: text needs model, a folder or a repository of the hub",
        ),
        (
            {"own_data": {"toys": {"sequences": "t", "identifiers": {"embeddings": {"from": "table", "size": 3}}}}},
            "own_data.toys.identifiers.embeddings: from: table uses file, item, vector: remove size",
        ),
        (
            {"own_data": {"toys": {"sequences": "t", "identifiers": {"embeddings": {"form": "text"}}}}},
            "own_data.toys.identifiers.embeddings.form: unknown key; allowed here: from, model, revision",
        ),
        (
            {"own_data": {"toys": {"sequences": "t", "identifiers": {"codebook": [8, 8]}}}},
            "own_data.toys.identifiers: codebook: expected one size, or 4 (length), got 2",
        ),
        ({"datasets": []}, "datasets: List should have at least 1 item"),
        (
            {"measurement": {"beam_widths": [0]}},
            "measurement.beam_widths.0: Input should be greater than or equal to 1",
        ),
        ({"run": "../up"}, "run: String should match pattern"),
        ({"target": {"model": {"lora": {}}}}, "lora adapts a pretrained model: set base, or remove lora"),
        ({"target": {"model": {"base": "org/name"}}}, "set revision to a commit, to pin it"),
        ({"target": {"model": {"revision": 40 * "a"}}}, "target.model: revision is a commit of a pretrained model"),
        (
            {"target": {"model": {"base": ".", "layers": 4, "heads": 4}}},
            "target.model: base brings its own layers, heads: remove them",
        ),
        (
            {"target": {"model": {"base": "."}}, "draft": {"model": {"base": ".", "lora": {}}}},
            "draft.model: lora is for the target",
        ),
        ({"draft": {"model": {"base": "."}}}, "draft.model.base: the draft shares the target's tokenizer"),
        (
            {"draft": {"training": {"distil": True, "samples": "last_item"}}},
            "draft.training: distil learns from every item of a sequence: set samples: sequence, or distil: false",
        ),
        (
            {"draft": {"training": {"distil": True, "neighbours": {}}}},
            "draft.training: distil learns from the target alone: set neighbours: null, or distil: false",
        ),
        (
            {"target": {"training": {"samples": "last_item", "neighbours": {}}}},
            "target.training: neighbours walks along whole sequences: set samples: sequence, or neighbours: null",
        ),
        (
            {"decoding": {"normalise": "vocabulary"}, "target": {"training": {"neighbours": {}}}},
            "training.neighbours trains a distribution over items, which only decoding.normalise: children gives",
        ),
        ({"target": {"training": {"distil": True}}}, "target.training.distil: unknown key; allowed here: epochs"),
        ({"target": {"model": {"hidden_size": 30, "heads": 4}}}, "hidden_size must be an even multiple of heads"),
        ({"draft": {"seeds": [1, 2, 1]}}, "draft.seeds: expected each value once"),
        ({"measurement": {"plans": ["completed"]}}, "measurement.plans: relaxed verification samples from the draft"),
        ({"prompt": {"style": "natural"}}, "prompt.style natural needs a text tokenizer: set target.model.base"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(values, message):
    with pytest.raises(SpecbeamError) as caught:
        settings.parse(values, source="my.yaml")
    assert str(caught.value).startswith("my.yaml: 1 bad setting(s)\n")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("alignment.training", "learning_rate", 0.002),
        ("draft.model", "layers", 1),
        ("target.model", "layers", 1),
        ("target.training", "epochs", 1),
        ("trajectories", "shards", 3),
        ("measurement", "repeats", 1),
        ("synthetic", "users", 9),
    ],
)
def test_a_section_given_one_key_keeps_its_defaults_for_the_others(section, key, value):
    given = {key: value}
    for name in reversed(section.split(".")):
        given = {name: given}
    default, partial = (operator.attrgetter(section)(settings.parse(values)) for values in ({}, given))
    assert default.model_dump() | {key: value} == partial.model_dump()
    assert partial.model_dump() != default.model_dump()


def test_one_key_of_an_objective_keeps_its_others_and_other_objectives_are_left_out():
    aligned = settings.parse({"alignment": {"objectives": {"atspeed_s": {"alpha": 0.5}}}}).alignment
    default = settings.Settings().alignment.objectives["atspeed_s"]
    assert aligned.objectives == {"atspeed_s": default.model_copy(update={"alpha": 0.5})}
    assert (aligned.training.epochs, aligned.training.batch_size) == (5, 32)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_resolved_config_is_a_config_again(path):
    run = settings.load(path)
    assert settings.parse(run.model_dump(mode="json")) == run


@pytest.mark.parametrize("section", sorted(SCHEMA["$defs"]))
def test_every_section_is_explained_in_the_schema(section):
    assert SCHEMA["$defs"][section].get("description")


def test_all_mistakes_are_told_at_once():
    with pytest.raises(SpecbeamError, match="2 bad setting") as caught:
        settings.parse({"seed": -1, "device": "tpu"})
    assert "seed:" in str(caught.value)
    assert "device:" in str(caught.value)


def test_of_many_mistakes_the_first_five_are_told_and_how_many_there_are():
    with pytest.raises(SpecbeamError, match="^config: 3000 bad setting") as caught:
        settings.parse({f"key {number}": 1 for number in range(3000)})
    _, *lines, last = str(caught.value).split("\n")
    assert [line.split(":")[0] for line in lines] == [f"  key {number}" for number in range(5)]
    assert last == "  and 2995 more"


def test_a_long_value_is_told_by_its_beginning_and_its_end():
    with pytest.raises(
        SpecbeamError, match=r"seed: Input should be a valid integer.*, got 'axx.*\.\.\..*xxz'"
    ) as caught:
        settings.parse({"seed": f"a{'x' * 100_000}z"})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("- a\n", "expected a mapping of settings, got list"), ("", "got NoneType")],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(SpecbeamError, match=rf"my\.yaml: .*{message}"):
        settings.load(path)


def test_a_folder_in_place_of_a_config_is_named(tmp_path):
    with pytest.raises(SpecbeamError, match="expected a config file that can be read .Is a directory."):
        settings.load(tmp_path)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "my.yaml").touch()
    monkeypatch.setattr(Path, "read_text", refuse)  # root reads everything, so no chmod
    with pytest.raises(SpecbeamError, match=r"my\.yaml: expected a config file that can be read .Permission denied."):
        settings.load(tmp_path / "my.yaml")


def test_a_missing_file_is_named():
    with pytest.raises(SpecbeamError, match=r"nowhere\.yaml: no such config file; the ready-made ones are in config/"):
        settings.load(Path("nowhere.yaml"))


def _sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [model, *(inner for section in model.__subclasses__() for inner in _sections(section))]


def test_settings_cannot_be_changed_after_they_were_checked():
    with pytest.raises(ValueError, match="frozen"):
        settings.Settings().seed = 2
    assert all(section.model_config["frozen"] for section in _sections(settings.Section))
