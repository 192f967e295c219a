"""Nothing is let in: no code in data, nothing from elsewhere, nothing outside its folder; and no secret gets out."""

import ast
import contextlib
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from unittest import mock
from urllib.parse import quote, quote_plus

import httpx
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from bad_input import cases
from pretrained_for_tests import save_pretrained
from specbeam import cli, loudness, masking, models, pretrained
from specbeam.data import download as module
from specbeam.data.download import download
from specbeam.data.registry import HOSTS, SOURCES
from specbeam.errors import SpecbeamError

ROOT = Path(__file__).parents[2]
CODE = [*sorted((ROOT / "src").rglob("*.py"))]
REFUSED_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tarfile", "zipfile"}
REFUSED_CALLS = {"eval", "exec", "os.system", "os.popen", "torch.load", "np.load", "numpy.load", "pd.read_pickle"}
SECRET = "hf_SoVerySecret1234567890"


class Opened:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_unpickles_unpacks_evaluates_or_calls_a_shell(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & REFUSED_IMPORTS
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in REFUSED_CALLS
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            assert options.get("shell", "False") == "False"
            assert options.get("allow_pickle", "False") == "False"
            assert options.get("trust_remote_code", "False") == "False"
            assert ast.unparse(node.func) != "yaml.load" or ast.unparse(node.args[1]) == "_OnceLoader"  # a SafeLoader
            if ast.unparse(node.func).endswith("from_pretrained"):
                assert {"trust_remote_code", None} & set(options), "say that code of a model is not run"


@pytest.fixture
def model(tmp_path):
    return save_pretrained(tmp_path / "model")


def load(folder):
    return models.load(folder, dtype="float32", device=torch.device("cpu"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_in_place_of_weights_is_not_opened(model, tmp_path, name):
    (model / "model.safetensors").unlink()
    torch.save({"weight": Opened(tmp_path / "opened")}, model / name)
    with pytest.raises(SpecbeamError, match="cannot load"):
        load(model)
    assert not (tmp_path / "opened").exists()
    pickle.loads(pickle.dumps(Opened(tmp_path / "opened")))
    assert (tmp_path / "opened").exists(), "the trap works"


def test_code_beside_a_model_or_a_tokenizer_is_not_run(model, tmp_path):
    (model / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    for name, auto in (("config.json", "AutoModelForCausalLM"), ("tokenizer_config.json", "AutoTokenizer")):
        known = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps(known | {"auto_map": {auto: ["own.Own", "own.Own"]}}))
    for loader in (load, lambda folder: pretrained.tokenizer(str(folder), revision=None)):
        with contextlib.suppress(SpecbeamError):  # nor is the user asked on the terminal
            loader(model)
    assert not (tmp_path / "ran").exists()


def changed(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_experts_implementation"])
@pytest.mark.parametrize("name", ["eager", "flex_attention", "kernels-community/flash-attn", "someone/else@main"])
def test_a_config_has_no_say_in_the_code_that_computes(model, key, name):
    changed(model / "config.json", **{key: name})
    loaded = load(model)
    parts = [part.config for part in loaded.modules() if hasattr(part, "config")]
    assert {part._attn_implementation for part in parts} == {"sdpa"}
    assert {part._experts_implementation for part in parts} == {"eager"}


@pytest.mark.parametrize("key", pretrained.SWITCHES)
@pytest.mark.parametrize("inner", [False, True])
def test_keys_that_switch_other_code_or_files_on_are_refused_at_any_depth(model, key, inner):
    value = {key: {"quant_method": "bitsandbytes", "load_in_8bit": True}}
    changed(model / "config.json", **({"some": [1, {"text_config": value}]} if inner else value))
    with pytest.raises(SpecbeamError, match=f"config.json: expected a model in safetensors of full precision.* {key}"):
        load(model)


def test_a_key_that_is_null_switches_nothing_on(model):
    changed(model / "config.json", quantization_config=None)
    load(model)


def test_adapters_that_name_a_base_elsewhere_are_refused(model):
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/else"}))
    with pytest.raises(SpecbeamError, match="adapter_config.json, which names its base elsewhere; merge"):
        load(model)


@pytest.mark.parametrize("outside", ["../other/model.safetensors", "/etc/passwd", None])
def test_an_index_that_leads_out_of_the_folder_is_refused(model, tmp_path, outside):
    shutil.copytree(model, tmp_path / "other")
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": outside}}))
    with pytest.raises(SpecbeamError, match="expected names of files in this folder, got"):
        load(model)


def test_names_of_downloaded_files_stay_in_their_folder():
    names = [
        name for source in SOURCES.values() for file in source.files for name in (file.name, *file.path.split("/"))
    ]
    assert all(Path(name).name == name and name not in ("", "..") for name in names)
    assert {"raw.githubusercontent.com"} == HOSTS


@pytest.mark.parametrize("place", ["https://elsewhere.example/file", "http://raw.githubusercontent.com/file"])
def test_a_pinned_address_that_sends_us_elsewhere_is_not_followed(tmp_path, monkeypatch, place):
    asked = []

    def answer(request):
        asked.append(str(request.url))
        return httpx.Response(302, headers={"Location": place})

    client = httpx.Client
    monkeypatch.setattr(module.httpx, "Client", lambda **own: client(transport=httpx.MockTransport(answer), **own))
    with pytest.raises(SpecbeamError, match="expected to stay at raw.githubusercontent.com, was sent to"):
        download(dataset="beauty", destination=tmp_path)
    assert asked == [SOURCES["beauty"].files[0].url]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:word@host/data: HTTP 500", "https://***@host/data: HTTP 500"),
        ("https://me:p@ss@word1234@host/a@b: HTTP 500", "https://***@host/a@b: HTTP 500"),
        ("https://host/x?sig=abc&t=1: cut", "https://host/x?*** cut"),
        ("mirror: http://host/x", "mirror: http://host/x"),
        ("what? yes: a://b", "what? yes: a://b"),
        (f"Bearer {SECRET}.", "Bearer ***."),
    ],
)
def test_secrets_are_masked_and_all_else_stays(monkeypatch, text, shown):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert masking.masked(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "GITHUB_PAT", "MY_PASSWD", "MYPASS", "PGPASSWORD", "MYSQL_PWD", "API_KEY_PROD", "db_password_2"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "TOKEN_OF_MINE", "PAT"),
    ],
)
def test_names_of_variables_that_hold_secrets(monkeypatch, name):
    monkeypatch.setenv(name, SECRET)
    assert masking.masked(f"got {SECRET}") == "got ***"


@pytest.mark.parametrize("name", ["PATH", "PYTHONPATH", "PWD", "OLDPWD", "HOME", "SLURM_STEP_NODELIST", "PATTERN"])
def test_names_of_variables_that_hold_none(monkeypatch, name):
    monkeypatch.setenv(name, "/some/folder")
    assert masking.masked("no /some/folder/x here") == "no /some/folder/x here"


@cases(200)
@given(secret=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=8))
def test_a_secret_is_masked_in_whatever_form_it_is_shown(secret):
    assume(len(secret.strip()) >= masking.SHORTEST)
    with mock.patch.dict(os.environ, {"MY_TOKEN": secret}):
        for shown in (secret, repr(secret), ascii(secret), json.dumps(secret), quote(secret), quote_plus(secret)):
            assert masking.HIDDEN in masking.masked(f"got {shown}")
            assert secret.strip() not in masking.masked(f"got {shown}")


class _Gone(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def signed():
    """An address with a login and a signature, of a server that has no files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Gone)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://me:{SECRET}@127.0.0.1:{server.server_port}/data?signature={SECRET}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_planted_secret_is_nowhere_in_what_a_verb_says_or_writes(signed, tmp_path):
    command = [sys.executable, "-m", "specbeam", "download", "beauty", "--verbose", "--destination", "raw/beauty"]
    variables = {
        "HF_TOKEN": SECRET,
        "SPECBEAM_MIRROR": signed,
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(ROOT / "src"),
    }
    run = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert run.returncode == 1
    assert "got HTTP 404" in run.stderr
    assert "***@127.0.0.1" in run.stderr
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert SECRET not in "".join([run.stdout, run.stderr, *written, *map(str, tmp_path.rglob("*"))])


def test_a_mirrors_login_is_not_in_the_provenance(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv("SPECBEAM_MIRROR", str(mirror))
    monkeypatch.setattr(sys, "argv", ["specbeam", "download", "beauty", "--destination", str(tmp_path / "beauty")])
    monkeypatch.setattr("specbeam.data.download.download", lambda **_: None)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--mirror", f"https://me:{SECRET}@host/data"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    known = json.loads((tmp_path / "beauty.provenance.json").read_text())
    assert known["options"]["mirror"] == "https://***@host/data"


def test_tracebacks_are_masked_too(monkeypatch, capsys):
    monkeypatch.setenv("MY_API_KEY", SECRET)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(masking.Formatter())
    record = logging.LogRecord("specbeam", logging.INFO, "", 0, "failed", (), (ValueError, ValueError(SECRET), None))
    handler.handle(record)
    masking.excepthook(ValueError, ValueError(SECRET), None)
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert shown.count("ValueError: ***") == 2
    assert "masking.Formatter" in Path(loudness.__file__).read_text()
