"""The real process on loopback: it starts, answers many at once, refuses and finishes when told to stop."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from finished_run_for_tests import make_run
from models_for_tests import tiny_model
from serving_for_tests import until
from specbeam import Plan, Recommender, SpecbeamError, cli, parquet, serve_verb
from specbeam.data import ITEMS, prepared
from specbeam.decoding.planner import Planned
from specbeam.serving import server
from specbeam.serving.app import Service
from specbeam.serving.server import Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tiny_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "mine" / "tiny"
    make_run(folder, tiny_dataset.prepared)
    return folder


class Process:
    """`specbeam serve` at a free port."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "specbeam", "serve", *options, "--port", "0", "--threads", "1"]
        variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_TOKEN": "hf_SoVerySecret1234567890"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)
        self.said = ""
        while not (found := re.search(r"listening on (http://127\.0\.0\.1:\d+)$", self.said, flags=re.MULTILINE)):
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.address = found[1]

    def end(self) -> int:
        """The exit code, when it has ended by itself; what it said is in `said`."""
        self.said += self.process.communicate(timeout=240)[1]
        return self.process.returncode


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


def test_a_process_answers_what_it_took_when_it_is_told_to_stop_and_ends_with_0(
    run: Path, processes: list[Process]
) -> None:
    # A batch that is never full would wait for ten minutes, so all requests are in the queue when SIGTERM comes.
    served = Process(str(run), "--batch-size", "64", "--max-wait-ms", "600000", "--timeout-seconds", "60")
    processes.append(served)
    with httpx.Client(base_url=served.address, timeout=240) as client, ThreadPoolExecutor(12) as callers:
        assert client.get("/ready").status_code == 200
        asked = [{"history": [5, 9, 20 + at], "k": 3 + at % 2} for at in range(12)]
        answers = [callers.submit(client.post, "/recommend", json=body) for body in asked]
        until(lambda: "specbeam_queue_length 12.0" in client.get("/metrics").text)
        served.process.send_signal(signal.SIGTERM)
        answered = [answer.result(60) for answer in answers]
    assert [answer.status_code for answer in answered] == [200] * 12
    assert served.end() == 0
    recommender = Recommender.load(run, device="cpu")
    for body, answer in zip(asked, answered, strict=True):
        (alone,) = recommender.for_histories([body["history"]], body["k"])
        assert answer.json()["items"] == alone.items
        assert answer.json()["scores"] == pytest.approx(alone.scores, abs=1e-5)
    assert "all requests that were taken are answered" in served.said
    assert not re.search("SoVerySecret|Traceback|20, 5, 9", served.said)


def test_a_second_signal_ends_the_process_as_if_nothing_handled_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[Any, ...]] = []
    monkeypatch.setattr(signal, "signal", lambda *given: done.append(given))
    monkeypatch.setattr(signal, "raise_signal", lambda given: done.append((given,)))
    tiny = Recommender(tiny_model(seed=1), [[5, 6], [5, 7]])
    served = Server(Service(tiny))
    served.handle_exit(signal.SIGTERM, None)
    assert done == []
    served.handle_exit(signal.SIGINT, None)
    assert done == [(signal.SIGINT, signal.SIG_DFL), (signal.SIGINT,)]


def test_a_port_in_use_is_refused_before_models_are_loaded(run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(cli.app, ["serve", str(run), "--port", port])
    assert isinstance(result.exception, SpecbeamError)
    assert f"--host 127.0.0.1 --port {port}: cannot listen there (Address already in use)" in str(result.exception)


@pytest.mark.parametrize("host", ["x" * 70, f"{'x' * 70}.org", "..", "x" * 10_000])
def test_a_host_that_can_be_none_is_refused(host: str) -> None:
    with pytest.raises(SpecbeamError, match=r"--host .* --port 8000: cannot listen there .*; choose another") as caught:
        server.bound(host, 8000)
    assert len(str(caught.value)) < 300


def test_without_its_packages_it_says_how_to_install_them(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_verb, "find_spec", lambda name: None if name == "uvicorn" else name)
    result = CliRunner().invoke(cli.app, ["serve", str(run)])
    assert isinstance(result.exception, SpecbeamError)
    assert "the package(s) uvicorn, which are not installed: pip install 'specbeam[serve]'" in str(result.exception)


def test_what_to_draft_is_measured_at_the_start_for_the_k_that_are_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Service] = []
    monkeypatch.setattr("specbeam.serving.server.run", lambda service, opened: served.append(service))
    monkeypatch.setattr("specbeam.recommender.choose_plan", lambda *given, **more: Planned(Plan((9,)), {}, []))
    line = ["serve", str(run), "--port", "0", "--tune", "3", "--batch-size", "2", "--device", "cpu", "--max-k", "7"]
    assert CliRunner().invoke(cli.app, line).exit_code == 0
    assert served[0].recommender.plans == {(3, 1): Plan((9,)), (3, 2): Plan((9,))}
    assert served[0].most == 7


def test_of_own_data_it_is_asked_and_answers_in_keys(
    tiny_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "tiny", tiny_dataset.prepared)
    items = prepared.load(tiny_dataset.prepared).catalogue.identifiers
    keys = [f"{'long-' * 50 if item % 2 else 'SKU-'}{item}" for item in sorted(items)]
    parquet.write(pa.table({"item": sorted(items), "key": keys}), tmp_path / "tiny" / "prepared" / ITEMS)
    served: list[Service] = []
    monkeypatch.setattr("specbeam.serving.server.run", lambda service, opened: served.append(service))
    assert (
        CliRunner().invoke(cli.app, ["serve", str(tmp_path / "tiny"), "--port", "0", "--device", "cpu"]).exit_code == 0
    )
    body = {"history": ["SKU-4", "SKU-12"], "only": ["SKU-2", "SKU-4", "SKU-10"], "without": ["SKU-2"], "k": 3}
    with TestClient(served[0].app) as client:
        filtered = client.post("/recommend", json=body | {"repeats": False})
        everything = client.post("/recommend", json={"history": ["SKU-4", "SKU-12"], "k": 20})
        refused = client.post("/recommend", json={"history": [4, 12]})
    (plain,) = Recommender.load(tmp_path / "tiny", device="cpu").for_histories([[4, 12]], k=20)
    assert everything.json()["items"] == [keys[item] for item in plain.items]
    assert filtered.json()["items"] == ["SKU-10"]
    assert (refused.status_code, "item 4: expected the key of an item" in refused.json()["detail"]) == (422, True)
