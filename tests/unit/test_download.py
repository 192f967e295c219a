import fcntl
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from specbeam.data import download as module
from specbeam.data.download import download
from specbeam.data.registry import Source, SourceFile
from specbeam.errors import SpecbeamError

CONTENT = {"small/one.txt": bytes(range(256)) * 2000, "small/two.txt": b"two\n" * 5}
ONE, TWO = (CONTENT[path] for path in CONTENT)
PART = f".one.txt.{hashlib.sha256(ONE).hexdigest()[:12]}.part"


class Server(ThreadingHTTPServer):
    """A file server on loopback; `faults` holds what goes wrong with the next requests, `requests` what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = dict(CONTENT)
        self.faults: list[str] = []
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        content = self.server.content.get(self.path.removeprefix("/"))
        if content is None:
            self.send_error(404)
        elif fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Retry-After", "7")
            self.end_headers()
        else:
            self.send_file(content, asked if self.server.ranges else None, fault)

    def send_file(self, content: bytes, asked: str | None, fault: str) -> None:
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if asked and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            shown = start + 1 if fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        if fault != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = fault in ("cut", "no length")
        self.wfile.write(content[start : start + 100_000] if cut else content[start:])

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests read `requests`."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """A small data set in place of the real ones, no mirror from outside, and waits that are noted, not waited."""
    files = tuple(
        SourceFile(name=Path(path).name, path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for path, content in CONTENT.items()
    )
    monkeypatch.setattr(module, "source_of", lambda _: Source(name="small", title="", files=files))
    monkeypatch.delenv(module.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    noted: list[float] = []
    monkeypatch.setattr(module, "sleep", noted.append)
    return noted


@pytest.fixture
def mirror_folder(tmp_path) -> Path:
    folder = tmp_path / "mirror"
    (folder / "small").mkdir(parents=True)
    for path, content in CONTENT.items():
        (folder / path).write_bytes(content)
    return folder


def get(server: Server, destination: Path, **options: Path) -> dict[str, bytes]:
    download(dataset="small", destination=destination, mirror=server.url + "/", **options)
    return {path.name: path.read_bytes() for path in destination.iterdir()}


COMPLETE = {"one.txt": ONE, "two.txt": TWO}


def test_all_files_come_with_their_names_and_nothing_else_is_left(server, tmp_path):
    assert get(server, tmp_path / "out") == COMPLETE
    assert server.requests == [("/small/one.txt", None), ("/small/two.txt", None)]


def test_files_that_are_there_and_verified_are_not_fetched_again(server, tmp_path):
    get(server, tmp_path)
    server.requests.clear()
    assert get(server, tmp_path) == COMPLETE
    assert server.requests == []


def test_a_store_is_fetched_to_once_and_copied_from(server, tmp_path):
    for run in ("first", "second"):
        assert get(server, tmp_path / run, store=tmp_path / "store") == COMPLETE
    assert len(server.requests) == 2


def test_a_file_that_was_changed_is_fetched_again(server, tmp_path):
    get(server, tmp_path)
    (tmp_path / "two.txt").write_bytes(b"TWO\n" * 5)
    assert get(server, tmp_path) == COMPLETE


def test_a_cut_connection_is_continued_where_it_stopped(server, tmp_path):
    server.faults = ["cut", "cut"]
    assert get(server, tmp_path) == COMPLETE
    ranges = [asked for path, asked in server.requests if path == "/small/one.txt"]
    assert ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_an_end_without_a_declared_length_counts_as_cut(server, tmp_path):
    server.faults = ["no length"]
    assert get(server, tmp_path) == COMPLETE


def test_a_killed_run_is_continued_by_the_next_one(server, tmp_path):
    (tmp_path / PART).write_bytes(ONE[:1234])
    assert get(server, tmp_path) == COMPLETE
    assert server.requests[0] == ("/small/one.txt", "bytes=1234-")


def test_a_part_that_was_complete_when_the_run_was_killed_is_only_verified(server, tmp_path):
    (tmp_path / PART).write_bytes(ONE)
    assert get(server, tmp_path) == COMPLETE
    assert [path for path, _ in server.requests] == ["/small/two.txt"]


def test_a_part_that_is_too_long_is_started_anew(server, tmp_path):
    (tmp_path / PART).write_bytes(ONE + b"more")
    assert get(server, tmp_path) == COMPLETE
    assert server.requests[0] == ("/small/one.txt", None)


def test_a_server_that_ignores_ranges_restarts_the_file(server, tmp_path):
    server.ranges = False
    server.faults = ["cut"]
    assert get(server, tmp_path) == COMPLETE


def test_a_server_that_sends_another_range_restarts_the_file(server, tmp_path):
    server.faults = ["cut", "wrong range"]
    assert get(server, tmp_path) == COMPLETE
    assert [asked for path, asked in server.requests if path == "/small/one.txt"] == [None, "bytes=100000-", None]


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_a_busy_server_is_asked_again_after_the_wait_it_names(server, tmp_path, waits, status):
    server.faults = [status]
    assert get(server, tmp_path) == COMPLETE
    assert waits == [7]


def test_waits_grow_where_the_server_names_none(server, tmp_path, waits):
    server.faults = ["cut", "cut"]
    get(server, tmp_path)
    assert len(waits) == 2
    assert 0 <= waits[0] <= 1
    assert 0 <= waits[1] <= 2


def test_a_server_that_stays_broken_is_given_up_with_one_message_and_the_part_is_kept(server, tmp_path, waits):
    server.faults = ["cut"] + ["500"] * 20
    with pytest.raises(SpecbeamError) as error:
        get(server, tmp_path)
    assert f"{server.url}/small/one.txt: expected 512000 bytes, gave up after 6 attempts: HTTP 500" in str(error.value)
    assert "Run it again to continue from the 100000 bytes received" in str(error.value)
    assert len(waits) == 5
    assert [path.name for path in tmp_path.iterdir()] == [PART]


def test_a_server_that_is_not_there_is_given_up_too(tmp_path, waits):
    with pytest.raises(SpecbeamError, match="gave up after 6 attempts: ConnectError"):
        download(dataset="small", destination=tmp_path, mirror="http://127.0.0.1:9")
    assert len(waits) == 5


def test_a_file_that_is_not_there_is_not_asked_for_again(server, tmp_path, waits):
    del server.content["small/one.txt"]
    with pytest.raises(SpecbeamError, match=r"small/one\.txt: expected the file, got HTTP 404"):
        get(server, tmp_path)
    assert len(server.requests) == 1
    assert waits == []


@pytest.mark.parametrize("wrong", [b"\x01" + ONE[1:], b"<html>sign in</html>", ONE + b"more"])
def test_wrong_bytes_never_get_the_final_name_and_both_checksums_are_named(server, tmp_path, wrong):
    server.content["small/one.txt"] = wrong
    with pytest.raises(SpecbeamError) as error:
        get(server, tmp_path)
    message = str(error.value)
    assert f"one.txt: expected sha256 {hashlib.sha256(ONE).hexdigest()} (512000 bytes)" in message
    assert f"from {server.url}/small/one.txt" in message
    assert "received " in message
    assert list(tmp_path.iterdir()) == []


def test_a_remote_file_that_shrank_below_the_part_ends_as_a_wrong_checksum(server, tmp_path):
    (tmp_path / PART).write_bytes(ONE[:5000])
    server.content["small/one.txt"] = b"short"
    with pytest.raises(SpecbeamError, match="expected sha256"):
        get(server, tmp_path)
    assert [asked for _, asked in server.requests] == ["bytes=5000-", None]


def test_a_mirror_may_be_a_folder_or_a_file_url(mirror_folder, tmp_path):
    for number, mirror in enumerate((str(mirror_folder), mirror_folder.as_uri())):
        destination = tmp_path / str(number)
        download(dataset="small", destination=destination, mirror=mirror)
        assert {path.name: path.read_bytes() for path in destination.iterdir()} == COMPLETE


def test_the_mirror_is_the_argument_whatever_the_environment_says(mirror_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SPECBEAM_MIRROR", "/nowhere")
    download(dataset="small", destination=tmp_path / "out", mirror=str(mirror_folder))
    assert (tmp_path / "out" / "one.txt").read_bytes() == ONE


def test_a_second_download_to_a_folder_waits_for_the_first_and_finds_it_done(mirror_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    second = threading.Thread(
        target=download, kwargs={"dataset": "small", "destination": tmp_path / "out", "mirror": str(mirror_folder)}
    )
    with (tmp_path / ".out.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        assert list((tmp_path / "out").iterdir()) == []
        for path, content in CONTENT.items():
            (tmp_path / "out" / Path(path).name).write_bytes(content)
    second.join(timeout=10)
    assert not second.is_alive()
    assert "another process is downloading there; waiting for it" in caplog.text
    assert "0 of 2 files to get" in caplog.text


def test_a_missing_mirror_is_named_with_the_ways_to_set_it(tmp_path):
    with pytest.raises(SpecbeamError) as error:
        download(dataset="small", destination=tmp_path / "out", mirror=str(tmp_path / "nowhere"))
    assert f"there is no folder {tmp_path / 'nowhere'}" in str(error.value)
    assert "source.mirror" in str(error.value)
    assert "SPECBEAM_MIRROR" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_mirror_that_lacks_a_file_or_holds_a_wrong_one_is_refused(mirror_folder, tmp_path):
    (mirror_folder / "small" / "two.txt").write_bytes(b"TWO\n" * 5)
    with pytest.raises(SpecbeamError, match=r"two\.txt: expected sha256"):
        download(dataset="small", destination=tmp_path / "out", mirror=str(mirror_folder))
    (mirror_folder / "small" / "two.txt").unlink()
    with pytest.raises(SpecbeamError, match=r"expected the file .*two\.txt, cannot copy it"):
        download(dataset="small", destination=tmp_path / "out", mirror=str(mirror_folder))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["one.txt"]


@pytest.mark.parametrize("mirror", ["ftp://example.org/data", "s3://bucket/data"])
def test_other_kinds_of_address_are_refused(tmp_path, mirror):
    with pytest.raises(SpecbeamError, match="expected a folder or a URL with file, http or https"):
        download(dataset="small", destination=tmp_path, mirror=mirror)


@pytest.mark.parametrize("mirror", ["http:///data", "http://127.0.0.1:port"])
def test_a_broken_address_is_refused_at_once(tmp_path, waits, mirror):
    with pytest.raises(SpecbeamError, match=r"cannot be fetched .*mend source\.mirror or SPECBEAM_MIRROR"):
        download(dataset="small", destination=tmp_path, mirror=mirror)
    assert waits == []


def test_the_pinned_address_is_used_where_there_is_no_mirror(tmp_path, monkeypatch):
    asked = []

    def fetch(url: str, part: Path, **_: object) -> None:
        asked.append(url)
        part.write_bytes(CONTENT[f"small/{url.rsplit('/', 1)[1]}"])

    monkeypatch.setattr(module, "_fetch", fetch)
    download(dataset="small", destination=tmp_path)
    assert asked == [file.url for file in module.source_of("small").files]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.txt", "two.txt"]


@pytest.mark.mirror
@pytest.mark.parametrize("dataset", ["beauty", "games"])
def test_a_real_data_set_comes_from_the_mirror_ready_to_prepare(mirror, tmp_path, monkeypatch, dataset):
    monkeypatch.undo()
    monkeypatch.delenv(module.MIRROR_VARIABLE, raising=False)
    download(dataset=dataset, destination=tmp_path, mirror=str(mirror))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "identifiers.json",
        "sequential_test.txt",
        "sequential_train.txt",
        "sequential_valid.txt",
    ]
