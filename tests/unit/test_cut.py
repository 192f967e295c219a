"""Drafts cut from layers of the target: its weights, its very outputs where nothing is cut, and what is refused."""

import pandas as pd
import pytest
import torch

from models_for_tests import FAMILIES, random_prompt, tiny_model
from specbeam import models
from specbeam.data.prepared import load
from specbeam.errors import SpecbeamError
from specbeam.settings import ModelSettings, parse
from specbeam.stages import StageSettings, stage_values
from specbeam.target.draft import train_draft
from tiny_run import CONFIG, TRAINING, settings

CPU = torch.device("cpu")
PROMPT = random_prompt(3, 12)


@pytest.fixture
def saved(tmp_path):
    """Saves a tiny model of a family and returns it and its folder."""

    def save(family="llama", layers=3):
        model = tiny_model(family, seed=1, layers=layers)
        models.save(model, tmp_path / family)
        return model, tmp_path / family

    return save


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_of_all_layers_is_the_target(saved, family):
    target, folder = saved(family, layers=2)
    draft = models.cut(folder, [0, 1]).eval()
    assert torch.equal(draft(PROMPT).logits, target(PROMPT).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_of_some_layers_has_their_weights_and_can_decode_with_a_cache(saved, tmp_path, family):
    target, folder = saved(family)
    models.save(models.cut(folder, [0, 2]), tmp_path / "draft")
    draft = models.load(tmp_path / "draft", dtype="float32", device=CPU)
    assert draft.config.num_hidden_layers == 2
    cut, whole = draft.state_dict(), target.state_dict()
    for name, weight in cut.items():
        assert torch.equal(weight, whole[name.replace("layers.1.", "layers.2.").replace("h.1.", "h.2.")]), name
    start = draft(PROMPT[:, :-1], use_cache=True)
    step = draft(PROMPT[:, -1:], past_key_values=start.past_key_values).logits[:, -1]
    torch.testing.assert_close(step, draft(PROMPT).logits[:, -1], atol=1e-3, rtol=1e-3)


def test_layers_come_in_the_order_in_which_they_are_named(saved):
    target, folder = saved()
    layer = models.cut(folder, [2, 0]).model.layers[0]
    assert torch.equal(layer.mlp.up_proj.weight, target.model.layers[2].mlp.up_proj.weight)
    assert layer.self_attn.layer_idx == 0


def test_a_cut_draft_is_trained_in_float32_whatever_the_target_is_saved_in(saved, tmp_path):
    models.save(saved()[0].bfloat16(), tmp_path / "half")
    assert {weight.dtype for weight in models.cut(tmp_path / "half", [0]).parameters()} == {torch.float32}


def test_the_first_draft_of_a_run_can_be_cut_from_its_target(saved, tiny_dataset, tmp_path):
    tokenizer = load(tiny_dataset.prepared).tokenizer
    target = models.create(ModelSettings(**CONFIG["target"]["model"]), tokenizer, seed=1)
    models.save(target, tmp_path / "target")
    files = {"prepared": tiny_dataset.prepared, "model": tmp_path / "draft", "losses": tmp_path / "a.csv"}
    files |= {"seed": 1, "threads": 1}
    cut = settings("train_draft", draft={"model": {"from_target": [0]}, "training": TRAINING})
    with pytest.raises(SpecbeamError, match=r"from_target is \[0\], so expected the folder of the target, got none"):
        train_draft(settings=cut, **files)
    train_draft(settings=cut, target=tmp_path / "target", **files)
    assert pd.read_csv(tmp_path / "a.csv")["train_loss"].is_monotonic_decreasing
    draft = models.load(tmp_path / "draft", dtype="float32", device=CPU)
    assert {name: weight.shape for name, weight in draft.state_dict().items()} == {
        name: weight.shape for name, weight in target.state_dict().items()
    }


def test_layers_that_the_target_does_not_have_are_named(saved):
    with pytest.raises(SpecbeamError, match="which has 0 to 2, got 3, 7; name only those"):
        models.cut(saved()[1], [0, 3, 7])


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        ({"from_target": [1, 1]}, "draft.model.from_target: expected each value once"),
        ({"from_target": []}, "draft.model.from_target: .* at least 1 item"),
        ({"from_target": [-1]}, "draft.model.from_target.0: .* greater than or equal to 0"),
        ({"from_target": [0, 4]}, "draft.model.from_target: .*a target that has layers 0 to 3"),
        ({"from_target": [0], "layers": 2, "heads": 2}, "from_target takes .* from the target: remove layers, heads"),
        ({"from_target": [0], "base": "some/model", "revision": 40 * "0"}, "from the target: remove base"),
    ],
)
def test_what_cannot_be_cut_is_refused_before_anything_runs(draft, message):
    with pytest.raises(SpecbeamError, match=message):
        parse({"draft": {"model": draft}})


def test_a_cut_draft_passes_to_its_stage_without_the_sizes_of_a_new_one():
    values = stage_values(parse({"draft": {"model": {"from_target": [0, 3]}}}), "train_draft")
    assert "layers" not in values["draft"]["model"]
    assert StageSettings("train_draft", values).draft.model.from_target == [0, 3]
