"""docs/scale.md: its tables are what its commands print, and its assumptions those of the code."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specbeam.cli import app
from specbeam.cost.predict import ACCELERATORS
from specbeam.cost_verb import Device

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (specbeam cost config/.*)$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_the_tables_that_stand_there(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = CliRunner().invoke(app, shlex.split(command)[1:])
    assert run.exit_code == 0, run.output
    after = TEXT.partition(command)[2]
    shown = [table for table in run.stdout.strip().split("\n\n") if table in after]
    assert shown, run.stdout


def test_there_are_tables():
    assert len(COMMANDS) >= 3


def test_the_assumptions_are_those_of_the_code():
    table = TEXT.partition("| assumed for `--device` |")[2].partition("\n\n")[0]
    names, _, *rows = ([cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines())
    columns = dict(zip(names, zip(*(row[1:] for row in rows), strict=True), strict=True))
    assert columns == {
        name: (
            f"{device.flops['bfloat16'] / 1e12:g} / {device.flops['float32'] / 1e12:g}",
            f"{device.bandwidth / 1e12:g}",
            f"{100 * device.utilisation:g} %",
            f"{1000 * device.layer_seconds:g} ms",
            f"{device.start_seconds:g} s",
        )
        for name, device in ACCELERATORS.items()
    }
    assert [device.value for device in Device if device is not Device.MEASURED] == list(ACCELERATORS)
