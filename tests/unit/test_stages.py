"""Stages read exactly the settings that they declare."""

import importlib.util
import operator
from pathlib import Path

import pytest

from specbeam import digest
from specbeam.errors import SpecbeamError
from specbeam.settings import Settings
from specbeam.stages import STAGES, Stage, StageSettings, stage_values

DEFAULT = Settings()


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_names_a_module_that_exists(stage):
    assert importlib.util.find_spec(STAGES[stage].module)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_can_read_back_what_it_declares(stage):
    objective = "sft" if stage == "align" else None
    values = stage_values(DEFAULT, stage, objective=objective)
    assert StageSettings(stage, values, objective=objective).model_dump(mode="json") == values


def test_values_are_only_the_declared_ones_with_defaults_filled_in():
    assert stage_values(DEFAULT, "prepare") == {"target": {"model": {"base": None, "revision": None}}}
    assert stage_values(DEFAULT, "summarise") == {}


def test_an_alignment_job_depends_on_its_own_objective_alone():
    values = stage_values(DEFAULT, "align", objective="atspeed_s")
    assert list(values["alignment"]["objectives"]) == ["atspeed_s"]
    settings = StageSettings("align", values, objective="atspeed_s")
    assert settings.alignment.objectives["atspeed_s"].alpha == 0.7
    assert list(settings.alignment.objectives) == ["atspeed_s"]


def test_a_stage_that_reads_a_data_set_s_own_settings_depends_on_no_other_data_set_s(monkeypatch):
    run = Settings.model_validate({"own_data": {name: {"sequences": name} for name in ("shop", "other")}})
    monkeypatch.setitem(STAGES, "prepare", Stage("specbeam.data.prepare", ("seed", "own_data.{dataset}.sequences")))
    values = stage_values(run, "prepare", dataset="shop")
    assert values == {"seed": 1, "own_data": {"shop": {"sequences": "shop"}}}
    settings = StageSettings("prepare", values, dataset="shop")
    assert settings.own_data["shop"].sequences == "shop"
    assert settings.model_dump(mode="json") == values


def test_items_are_embedded_again_for_other_embeddings_alone_and_identified_again_for_other_codes():
    def of(**identifiers: object) -> list[dict]:
        run = Settings.model_validate({"own_data": {"shop": {"sequences": "shop", "identifiers": identifiers}}})
        return [stage_values(run, stage, dataset="shop") for stage in ("embed_items", "identify_items")]

    plain, codes, vectors = of(), of(codebook=64), of(embeddings={"from": "co-occurrence", "size": 8})
    assert plain[0] == codes[0] != vectors[0]
    assert plain[1] == vectors[1] != codes[1]
    read = StageSettings("embed_items", vectors[0], dataset="shop").own_data["shop"].identifiers.embeddings
    assert (read.source, read.size) == ("co-occurrence", 8)


def test_a_stage_declares_nothing_that_it_never_reads():
    assert not {"users"} & stage_values(DEFAULT, "record_validation")["trajectories"].keys()
    for stage in ("record", "record_validation"):
        assert stage_values(DEFAULT, stage)["decoding"].keys() == {"normalise"}
    assert "dtype" not in stage_values(DEFAULT, "train_draft")["draft"]["model"]


def test_a_pretrained_model_passes_to_its_stages_without_the_sizes_of_a_new_one(tmp_path):
    model = {"base": str(tmp_path)}
    run = Settings.model_validate({"target": {"model": model}, "draft": {"model": model}})
    for stage in ("prepare", "train_target", "train_draft"):
        values = stage_values(run, stage)
        read = StageSettings(stage, values)
        part = "draft" if stage == "train_draft" else "target"
        assert "hidden_size" not in values[part]["model"]
        assert getattr(read, part).model.base == str(tmp_path)


def test_an_objective_that_the_run_does_not_align_is_refused():
    few = Settings.model_validate({"alignment": {"objectives": {"sft": {}}}})
    with pytest.raises(SpecbeamError, match="'seqkd' is not part of this run, which aligns sft"):
        stage_values(few, "align", objective="seqkd")


def test_settings_are_read_by_attribute_with_their_types():
    settings = StageSettings("train_target", {"seed": 3, "target": {"training": {"epochs": 2}}})
    assert settings.seed == 3
    assert settings.target.training.epochs == 2
    assert settings.target.model.hidden_size == DEFAULT.target.model.hidden_size


@pytest.mark.parametrize("read", ["trajectories", "measurement.repeats", "target.training", "draft.model.layers"])
def test_reading_an_undeclared_setting_is_an_error_even_from_a_whole_config(read):
    settings = StageSettings("evaluate", DEFAULT.model_dump(mode="json"))
    with pytest.raises(
        RuntimeError, match=f"'evaluate' reads the setting {read}, which specbeam.stages.STAGES does not"
    ):
        operator.attrgetter(read)(settings)


def test_an_unknown_setting_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"no setting trajectories\.beams"):
        operator.attrgetter("trajectories.beams")(StageSettings("record", {}))


def test_bad_values_are_named_with_what_is_allowed():
    with pytest.raises(SpecbeamError) as caught:
        StageSettings("generate", {"seed": -1, "synthetic": {"user": 3}})
    assert "seed: Input should be greater than or equal to 0, got -1" in str(caught.value)
    assert "synthetic.user: unknown key; allowed here: users, items" in str(caught.value)


def test_sections_that_only_fit_together_with_others_are_accepted_alone():
    """The whole config checks `natural` against the models; a stage without the models cannot."""
    assert StageSettings("record", {"prompt": {"style": "natural"}}).prompt.style == "natural"


def test_an_unknown_stage_is_refused():
    with pytest.raises(SpecbeamError, match="unknown stage 'bake'; there are download, generate"):
        stage_values(DEFAULT, "bake")


def test_settings_are_a_config_file_or_json(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("seed: 7\ntarget: {training: {epochs: 3}}\n")
    for text in (str(path), '{"seed": 7, "target": {"training": {"epochs": 3}}}'):
        settings = StageSettings.read("train_target", text)
        assert (settings.seed, settings.target.training.epochs) == (7, 3)


def test_malformed_json_settings_are_refused():
    with pytest.raises(SpecbeamError, match="settings: not valid JSON"):
        StageSettings.read("train_target", '{"seed": ')


@pytest.mark.parametrize("stage", STAGES)
def test_settings_count_by_their_values_and_not_as_code(stage):
    counted = digest.imported_modules(STAGES[stage].module, Path(digest.__file__).parent) - digest.NOT_CODE
    assert not [module for module in counted if module.startswith("specbeam.settings")]
