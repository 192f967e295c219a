"""Copies of the checkout: a fresh one for each test, and one with a finished run."""

from pathlib import Path

import pytest

from checkouts import EVERYTHING, SMALL, Checkout, copied, small
from killing import KILLED


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh checkout, without results."""
    return copied(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the smoke config has run to its end. Tests leave it as it is."""
    place = copied(tmp_path_factory.mktemp("finished"))
    run = place.snakemake()
    assert run.returncode == 0, run.stdout
    return place


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which every stage of the config `small` has run to its end."""
    place = small(tmp_path_factory.mktemp("undisturbed"))
    run = place.snakemake(*EVERYTHING, config=SMALL)
    assert run.returncode == 0, run.stdout
    return place


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was killed (test_kills.py)."""
    if KILLED:
        terminalreporter.section(f"killed while running: {KILLED.total()}")
        for stage in dict.fromkeys(stage for stage, _ in KILLED):
            ways = ", ".join(f"{victim} {count}" for (of, victim), count in KILLED.items() if of == stage)
            terminalreporter.line(f"{stage}: {ways}")
