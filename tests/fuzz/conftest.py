"""Say how many cases were tried."""

from typing import Any

import pytest

from bad_input import COUNTS


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In one of several processes: hand its counts on."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["bad input"] = [(*of, count) for of, count in COUNTS.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Where there are several processes: take the counts of one that has ended."""
    counts = getattr(node, "workeroutput", {}).get("bad input", ())  # one that crashed hands on nothing
    COUNTS.update({(reader, what): count for reader, what, count in counts})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section(f"bad input: {COUNTS.total()} cases")
        for reader in sorted({reader for reader, _ in COUNTS}):
            terminalreporter.line(f"{reader}: {COUNTS[reader, 'read']} read, {COUNTS[reader, 'refused']} refused")
