"""Progress is a bar in a terminal, and lines of a log elsewhere."""

import logging
import sys

import pytest

from specbeam import progress
from specbeam.progress import Bar


class Clock:
    """A time that passes by what is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines(monkeypatch, caplog):
    """What a loop of `steps` steps, each of some seconds, logs."""
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)

    def run(steps: int, seconds: float, *, by_hand: bool = False, **options) -> list[str]:
        caplog.clear()
        if by_hand:
            with Bar(total=steps, desc="target", unit="step", **options) as bar:
                for _ in range(steps):
                    clock.now += seconds
                    bar.update()
        else:
            for _ in Bar(range(steps), desc="target", unit="step", **options):
                clock.now += seconds
        return [record.getMessage() for record in caplog.records]

    caplog.set_level(logging.INFO)
    return run


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_log_gets_a_line_now_and_then_with_share_rate_and_time_left(lines, by_hand):
    said = lines(30, 1.0, by_hand=by_hand)
    assert said[0].startswith("target: 3")
    assert "of 30, 1.00step/s, 00:" in said[0]
    assert said[0].endswith(" left")
    assert said[-1] == "target: 100 %, 30 of 30, 1.00step/s, 00:00 left"
    assert len(said) == 3


def test_what_is_done_within_seconds_logs_nothing(lines):
    assert lines(30, 0.1) == []


def test_lines_come_rarer_as_a_job_grows_old(lines):
    assert len(lines(10_000, 1.0)) < 120  # ten thousand seconds


def test_a_long_step_does_not_keep_the_next_line_from_being_written(lines):
    assert len(lines(5, 100.0)) == 5


def test_a_resumed_bar_begins_where_it_stopped(lines):
    assert "3" in lines(30, 1.0, by_hand=True, initial=300)[-1].partition(" of ")[0]


def test_warnings_alone_show_no_progress(lines, caplog):
    caplog.set_level(logging.WARNING)
    assert lines(30, 1.0) == []


def test_a_terminal_has_a_bar_and_no_lines(lines, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert lines(30, 1.0) == []
    assert "target: 100%|" in capsys.readouterr().err


def test_the_first_line_waits_as_long_as_the_ones_after(lines):
    assert progress.SECONDS == 10
    assert lines(30, 1.0)[0].startswith("target: 33 %, 10 of 30")
