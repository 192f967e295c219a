"""Two runs of one checkout at the same time, and what they share."""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from killing import wait


@contextmanager
def slow_mirror(folder: Path, *, until: threading.Event) -> Iterator[tuple[str, Counter[str]]]:
    """A mirror of `folder` that sends its last file only when `until` is set: its address, and what was asked for."""
    asked: Counter[str] = Counter()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            if self.path.endswith(".json"):
                until.wait()
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            until.set()
            server.shutdown()
            thread.join()


@pytest.mark.mirror
def test_two_runs_that_need_the_same_download_at_the_same_time_both_end_well_and_fetch_it_once(checkout, mirror):
    second_waits = threading.Event()
    with slow_mirror(mirror, until=second_waits) as (address, asked):

        def begun(run: str) -> subprocess.Popen:
            arguments = ("download", "--config", "datasets=[beauty]", f"run={run}")
            return subprocess.Popen(
                checkout.command(*arguments),
                cwd=checkout.folder,
                env=checkout.environment(SPECBEAM_MIRROR=address, NO_PROXY="127.0.0.1"),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        def waiting() -> bool:
            logs = (checkout.folder / "results").rglob("*.log")
            return any("another process is downloading there" in log.read_text() for log in logs)

        first = begun("first")
        wait(lambda: len(asked) == 4, seconds=120)
        second = begun("second")
        wait(waiting, seconds=120)
        second_waits.set()
        ended = [run.communicate(timeout=300)[0] for run in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0), "\n".join(ended)
    assert set(asked.values()) == {1}
    for run in ("first", "second"):
        assert len(list((checkout.folder / "results" / run / "beauty" / "raw").iterdir())) == 4
