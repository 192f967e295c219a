"""Models from the hub: fetched at their commit, safetensors alone, and every way to fail told with its remedy."""

import json
import logging
import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants

from hub_server import Hub
from pretrained_for_tests import CATALOGUE, save_pretrained
from specbeam import models, pretrained
from specbeam.data.prepare import build_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import ModelSettings, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
NAME = "someone/model"
SECRET = "hf_PlantedSecretThatNobodyShouldEverSee"


@pytest.fixture
def repository(tmp_path):
    return save_pretrained(tmp_path / "repository")


def ask(address, monkeypatch):
    """Have huggingface_hub, which reads its environment on import, speak to the hub at `address`."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its attempts


@pytest.fixture
def hub(repository, tmp_path, monkeypatch):
    """A hub with the repository NAME at COMMIT, to which huggingface_hub speaks, with an empty cache."""
    with Hub(COMMIT, {NAME: repository}).running() as hub:
        ask(hub.address, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def load():
    """Model and tokenizer, as the stages load them."""
    settings = ModelSettings(base=NAME, revision=COMMIT)
    tokenizer = build_tokenizer(CATALOGUE, model=settings)
    return models.create(settings, tokenizer, seed=1), tokenizer


def refusal(revision=COMMIT):
    with pytest.raises(SpecbeamError) as refused:
        pretrained.files(NAME, revision=revision, weights=True)
    return str(refused.value)


def test_a_model_at_its_commit_is_that_of_the_repository(hub, repository):
    model, tokenizer = load()
    settings = ModelSettings(base=str(repository))
    own = models.create(settings, build_tokenizer(CATALOGUE, model=settings), seed=1)
    assert tokenizer.convert_tokens_to_ids(["bought", "<b_3>"]) == [6, len(tokenizer) - 6]
    for name, weight in own.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name


def test_only_configs_tokenizers_and_safetensors_are_fetched(hub, repository):
    for name in ("pytorch_model.bin", "consolidated.safetensors", "modeling_own.py"):
        (repository / name).write_bytes(b"unwanted")
    load()
    fetched = {path.name for path in pretrained.files(NAME, revision=COMMIT, weights=True).iterdir()}
    assert fetched == {path.name for path in repository.iterdir()} - {
        "pytorch_model.bin", "consolidated.safetensors", "modeling_own.py",
    }  # fmt: skip
    assert not [request for request in hub.requests if "unwanted" in request or ".bin" in request]


def test_a_tokenizer_is_fetched_without_the_weights(hub):
    pretrained.tokenizer(NAME, revision=COMMIT)
    assert not [request for request in hub.requests if "safetensors" in request]


def test_what_is_in_the_cache_needs_no_hub(hub):
    load()
    hub.requests.clear()
    load()
    assert not hub.requests


@pytest.mark.parametrize("offline", [False, True], ids=["hub down", "offline by choice"])
def test_a_warm_cache_serves_and_a_cold_one_is_named(hub, monkeypatch, tmp_path, offline):
    load()
    ask("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    load()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cold"))
    message = refusal()
    assert "the hub was not reached, and not all of the model is in the cache" in message
    assert "HF_ENDPOINT" in message


def test_a_half_filled_cache_does_not_pass_for_the_model(hub, monkeypatch):
    pretrained.tokenizer(NAME, revision=COMMIT)
    ask("http://127.0.0.1:9", monkeypatch)
    assert "not all of the model is in the cache" in refusal()


def test_a_commit_that_does_not_exist_is_named(hub):
    assert f"cannot fetch {NAME} at revision {OTHER} from the hub: it has no such revision" in refusal(OTHER)


def test_a_repository_that_does_not_exist_is_named(hub):
    hub.repositories.clear()
    assert f"cannot fetch {NAME} at revision {COMMIT}" in refusal()
    assert "expected a folder, or a repository such as" in refusal()


@pytest.mark.parametrize("token", [None, "hf_of_somebody_else"])
def test_a_gated_model_asks_for_the_token_of_an_account_with_access(hub, monkeypatch, token):
    hub.gated, hub.token = {NAME}, SECRET
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    message = refusal()
    assert "its owner grants access. Expected the token of an account that has it" in message
    assert "HF_TOKEN" in message
    assert str(token) not in message


def test_a_token_opens_a_gated_model_and_stays_secret(hub, monkeypatch, caplog, capfd):
    hub.gated, hub.token = {NAME}, SECRET
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with caplog.at_level(logging.DEBUG):
        load()
        hub.repositories.clear()
        message = refusal(OTHER)
    assert f"Bearer {SECRET}" in hub.tokens
    out, err = capfd.readouterr()
    assert SECRET not in message + caplog.text + out + err


def test_the_command_line_fetches_with_the_token_and_does_not_show_it(hub, tiny_dataset, tmp_path):
    hub.gated, hub.token = {NAME}, SECRET
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": SECRET}

    def prepare(revision):
        settings = json.dumps({"target": {"model": {"base": NAME, "revision": revision}}})
        return subprocess.run(
            [sys.executable, "-m", "specbeam", "prepare", "--settings", settings, "--raw", str(tiny_dataset.raw),
             "--prepared", str(tmp_path / revision)],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip

    good, bad = prepare(COMMIT), prepare(OTHER)
    assert good.returncode == 0, good.stderr
    assert bad.returncode == 1
    assert "it has no such revision" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert hub.address not in good.stderr + bad.stderr  # addresses of files may be signed
    written = b"".join(path.read_bytes() for path in (tmp_path / COMMIT).rglob("*") if path.is_file())
    assert SECRET not in good.stdout + good.stderr + bad.stdout + bad.stderr + written.decode(errors="replace")


def test_pickled_weights_are_refused(hub, repository):
    (repository / "model.safetensors").rename(repository / "pytorch_model.bin")
    assert "expected safetensors weights (model.safetensors, or its shards)" in refusal()
    assert "convert them once" in refusal()


def test_a_shard_that_is_missing_is_named(hub, repository):
    (repository / "model.safetensors").rename(repository / "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SpecbeamError, match=r"cannot load this model: .*model-00002-of-00002.safetensors"):
        load()


@pytest.mark.parametrize("damage", ["short", "wrong"])
def test_weights_that_are_damaged_on_their_way_are_named(hub, repository, damage):
    whole = (repository / "model.safetensors").read_bytes()
    hub.sent["model.safetensors"] = whole[:-9] if damage == "short" else whole[:-9] + b"otherwise"
    message = refusal()
    assert "model.safetensors: damaged on its way, or since: expected SHA-256" in message
    assert "delete" in message


def test_weights_that_are_no_safetensors_at_all_are_named(hub, repository):
    (repository / "model.safetensors").write_bytes(b"<html>Not what you asked for</html>")
    with pytest.raises(SpecbeamError, match="cannot load this model: .*header"):
        load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("{not json", "config.json: not valid JSON"),
        ({"model_type": "unheard_of"}, "cannot load this model: .*unheard_of"),
        ({"hidden_size": "large"}, "cannot load this model: .*hidden_size"),
        ({"intermediate_size": 48}, "cannot load this model: .*mismatch"),
        ({"num_hidden_layers": 2}, "found none for 9, such as model.layers.1.*: config and weights are not of one"),
        ({"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}, "cannot load this model: .*custom code"),
    ],
    ids=["no json", "family", "type", "size", "layers", "code"],
)
def test_a_config_that_does_not_fit_is_named(hub, repository, changes, message):
    config = repository / "config.json"
    config.write_text(changes if isinstance(changes, str) else json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(SpecbeamError, match=f"(?s){message}"):
        models.create(ModelSettings(base=NAME, revision=COMMIT), range(3), seed=1)


def test_a_repository_without_a_tokenizer_is_named(hub, repository):
    for path in repository.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(SpecbeamError, match=f"cannot load the tokenizer of {NAME}: expected a tokenizer's files"):
        pretrained.tokenizer(NAME, revision=COMMIT)


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:7]])
def test_a_revision_that_may_move_is_refused(revision):
    with pytest.raises(SpecbeamError, match="target.model.revision: expected all 40 digits of a commit"):
        parse({"target": {"model": {"base": NAME, "revision": revision}}})
