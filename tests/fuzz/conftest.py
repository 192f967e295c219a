"""Say how many cases were tried."""

import pytest

from bad_input import COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section(f"bad input: {COUNTS.total()} cases")
        for reader in sorted({reader for reader, _ in COUNTS}):
            terminalreporter.line(f"{reader}: {COUNTS[reader, 'read']} read, {COUNTS[reader, 'refused']} refused")
