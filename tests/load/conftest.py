"""Say what was measured."""

import pytest

from load_for_tests import MEASURED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED:
        terminalreporter.section("load")
        for line in MEASURED:
            terminalreporter.line(line)
