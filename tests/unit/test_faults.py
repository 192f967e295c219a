"""Disks that are full or read-only, connections that are cut anywhere, clocks that jump: nothing is lost."""

import os
import threading
import time

import httpx
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import test_download
from bad_input import cases
from models_for_tests import tiny_model
from mounts import mounted, resize
from specbeam import files, models, parquet, sealed
from specbeam.checkpoints import Checkpoints
from specbeam.data import download
from specbeam.errors import SpecbeamError
from test_download import COMPLETE, ONE, get

server, waits = test_download.server, test_download.waits
HEX = os.urandom(300_000).hex()
WRITERS = {
    "a text": lambda path: files.write_json(path, HEX),
    "tensors": lambda path: sealed.write(path, {"weight": torch.rand(200, 400)}, {}),
    "a table": lambda path: parquet.write(pa.table({"id": [HEX[n : n + 9] for n in range(60_000)]}), path),
    "a model": lambda path: models.save(tiny_model("llama", seed=1, layers=9), path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_stops_with_a_message_and_leaves_what_was_there(tmp_path, kind):
    with mounted(tmp_path / "disk", "size=128k") as disk:
        (disk / "other").write_text("kept")
        with pytest.raises(SpecbeamError, match=rf"{disk}/result: .*No space left on device; make room"):
            WRITERS[kind](disk / "result")
        assert [path.name for path in disk.iterdir()] == ["other"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_read_only_folder_is_named(tmp_path, kind):
    with mounted(tmp_path / "disk", "ro") as disk:
        with pytest.raises(SpecbeamError, match="Read-only file system; mount it writable"):
            WRITERS[kind](disk / "result")
        with pytest.raises(SpecbeamError, match="Read-only file system; mount it writable"):
            WRITERS[kind](disk / "new" / "result")


def test_a_download_to_a_full_disk_stops_with_a_message_and_is_continued_when_there_is_room(server, tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "size=200k"):
        with pytest.raises(SpecbeamError, match="No space left on device; make room"):
            get(server, disk / "raw")
        resize(disk, 1 << 22)
        server.requests.clear()
        assert get(server, disk / "raw") == COMPLETE
        assert server.requests[0][1] not in (None, "bytes=0-"), "what was received is kept"


@cases(40)
@given(places=st.lists(st.integers(0, len(ONE)), max_size=5))
def test_a_download_cut_at_any_byte_is_completed(server, tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("cut")
    left = list(places)
    whole = test_download.Handler.send_file

    def cut(self, content, asked, fault):
        if not left:
            return whole(self, content, asked, fault)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : max(start, left.pop())])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_download.Handler, "send_file", cut)
        assert get(server, folder) == COMPLETE


def test_a_server_that_sends_little_by_little_is_waited_for(server, tmp_path, monkeypatch):
    def drip(self, content, asked, fault):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for start in range(0, len(content), 64_000):
            self.wfile.write(content[start : start + 64_000])
            time.sleep(0.02)

    monkeypatch.setattr(test_download.Handler, "send_file", drip)
    assert get(server, tmp_path) == COMPLETE


def test_a_server_that_stops_sending_is_asked_for_the_rest(server, tmp_path, monkeypatch):
    send, over = test_download.Handler.send_file, threading.Event()

    def stall(self, content, asked, fault):
        if asked or "two" in self.path:
            return send(self, content, asked, fault)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:64_000])
        over.wait(60)

    monkeypatch.setattr(test_download.Handler, "send_file", stall)
    monkeypatch.setattr(download, "TIMEOUT", httpx.Timeout(0.5))
    try:
        assert get(server, tmp_path) == COMPLETE
    finally:
        over.set()
    assert ("/small/one.txt", "bytes=64000-") in server.requests


@pytest.mark.parametrize("jump", [-(10**9), 10**9])
def test_a_clock_that_jumps_neither_hurries_nor_delays_checkpoints(tmp_path, monkeypatch, jump):
    checkpoints = Checkpoints(tmp_path, {}, minutes=10, writes=True, name="tests")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert not checkpoints.due()
    later = time.monotonic() + 601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert checkpoints.due()


def test_a_table_that_another_program_wrote_without_a_digest_is_still_read(tmp_path):
    pd.DataFrame({"id": [1, 2]}).to_parquet(tmp_path / "old")
    assert parquet.read(tmp_path / "old", expected="ids", again="write them")["id"].to_pylist() == [1, 2]
