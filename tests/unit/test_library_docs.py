"""docs/library.md does what it says: its Python runs, its commands run, its families are the tested ones."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from finished_run_for_tests import make_run
from specbeam import cli
from specbeam.decoding.support import TESTED_FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def beside_a_run(tmp_path: Path, tiny_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has a finished default run."""
    make_run(tmp_path / "results" / "default" / "synthetic", tiny_dataset.prepared)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_a_run")
def test_its_python_runs_block_after_block(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/library.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert "(12, 55, 80)" in printed
    assert printed[-1] == "item 1000000000: expected an item of the catalogue, it has no identifier"


@pytest.mark.usefixtures("beside_a_run")
def test_its_commands_run() -> None:
    (block,) = blocks("sh")
    for line in block.splitlines():
        program, *arguments = line.split()
        result = CliRunner().invoke(cli.app, arguments)
        assert (program, result.exception) == ("specbeam", None), line


def test_its_families_are_those_that_are_tested() -> None:
    (named,) = re.findall(r"`config.model_type`\): (.*?)\.\n", PAGE, flags=re.DOTALL)
    assert tuple(re.split(r",\s+", named)) == TESTED_FAMILIES
