"""A model's folder that was damaged: the model, or a message that names the folder."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from bad_input import cases, damaged, read
from encoder_for_tests import save_encoder
from models_for_tests import random_prompt, tiny_model
from specbeam import models, pretrained
from specbeam.identifiers import text

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    models.save(tiny_model("llama", seed=1, layers=2), folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder") / "encoder")


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


KEYS = sorted(
    {*(name for name in dir(LlamaConfig) if not name.startswith("__"))}
    | {*pretrained.SWITCHES, "attn_implementation", "experts_implementation", "per_layer_config", "auto_map"}
    | {"text_config", "sub_configs", "torch_dtype", "rope_scaling", "distributed_config", "fusion_config", "gguf_file"}
)
VALUES = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2, 3, 10**20, 0.5, -1e308, "", "x", "float16", "nonsense", [], {}, [None], [1]),
        *("eager", "flex_attention", "flash_attention_3", "paged|sdpa", "someone/else@main:forward", "deepgemm"),
        *({"": "someone/else"}, {"0": {"_attn_implementation": "someone/else"}}, {"AutoConfig": "a--b.C"}),
        *({"quant_method": "gptq", "bits": 4}, {"rope_type": "dynamic"}, {"tp_size": 2}, "x" * 10_000),
    ]
)


@cases(150)
@given(keys=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2))
def test_keys_added_to_the_description_of_a_model(saved, keys):
    description = json.loads((saved / "config.json").read_text())
    model = check(saved, "config.json", json.dumps(description | keys).encode())
    if model is not None:
        assert model.config._attn_implementation == "sdpa"
        assert {type(part).__module__.split(".")[0] for part in model.modules()} == {"torch", "transformers"}


@cases(40)
@given(data=st.data())
def test_weights_that_were_cut_short(saved, data):
    content = (saved / "model.safetensors").read_bytes()
    end = data.draw(st.integers(0, len(content)))
    model = check(saved, "model.safetensors", content[:end])
    assert (model is not None) == (end == len(content))
    if model:
        assert torch.isfinite(model(random_prompt(1, 4)).logits).all()


OF_ENCODERS = [
    *("config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("1_Pooling/config.json", "2_Normalize/config.json", "tokenizer_config.json", "tokenizer.json"),
]
ADDED = [*KEYS, *text.OPTIONS, "max_seq_length", "path", "type", "model_type", "prompts", "default_prompt_name"]


@cases(10)
@given(file=st.sampled_from(OF_ENCODERS), data=st.data())
def test_encoders_with_damaged_files_or_other_keys(encoder, file, data):
    good = (encoder / file).read_text()
    content = json.loads(good)
    part = content[data.draw(st.integers(0, 2))] if isinstance(content, list) else content
    part[data.draw(st.sampled_from([*ADDED, *part]))] = data.draw(VALUES)
    try:
        (encoder / file).write_bytes(data.draw(st.just(json.dumps(content).encode()) | damaged(good.encode())))
        options = {"revision": None, "batch_size": 2, "device": "cpu", "threads": 1}
        vectors = read(
            "encoders", lambda: text.from_texts(["red lipstick"], model=str(encoder), **options), names=encoder
        )
    finally:
        (encoder / file).write_text(good)
    assert vectors is None or vectors.shape[0] == 1
