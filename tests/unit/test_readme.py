"""The README's library example runs as it stands there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "Counters(target_calls=" in capsys.readouterr().out


def test_nothing_is_left_to_be_filled_in() -> None:
    assert not re.findall(r"@[A-Z]+@|TODO", (ROOT / "README.md").read_text(encoding="utf-8"))
