"""A model's folder that was damaged: the model, or a message that names the folder."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bad_input import cases, damaged, read
from models_for_tests import random_prompt, tiny_model
from specbeam import models

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    models.save(tiny_model("llama", seed=1, layers=2), folder)
    return folder


def check(folder, file, content):
    good = (folder / file).read_bytes()
    try:
        (folder / file).write_bytes(content)
        model = read("models", lambda: models.load(folder, dtype="float32", device=CPU), names=folder)
    finally:
        (folder / file).write_bytes(good)
    return model


@cases(60)
@given(data=st.data())
def test_damaged_descriptions_of_models(saved, data):
    check(saved, "config.json", data.draw(damaged((saved / "config.json").read_bytes())))


@cases(40)
@given(data=st.data())
def test_weights_that_were_cut_short(saved, data):
    content = (saved / "model.safetensors").read_bytes()
    end = data.draw(st.integers(0, len(content)))
    model = check(saved, "model.safetensors", content[:end])
    assert (model is not None) == (end == len(content))
    if model:
        assert torch.isfinite(model(random_prompt(1, 4)).logits).all()
