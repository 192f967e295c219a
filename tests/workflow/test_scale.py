"""A grid of many cells resolves to the jobs that it should; docs/scale.md says how long ten thousand take."""

import re

import pytest

from checkouts import ROOT

pytestmark = pytest.mark.slow

CELLS = 20 * 7 * 3 * 2
"""Variants, the run's own among them, objectives, seeds and data sets."""


@pytest.fixture
def grid(checkout, monkeypatch):
    """The documented recipe with 20 variants instead of 240."""
    text = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    recipe = next(code for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "ablations" in code)
    monkeypatch.chdir(checkout.folder)
    assert "range(8, 32)" in recipe
    exec(recipe.replace("range(8, 32)", "range(29, 31)"), {})
    return checkout


def test_a_grid_has_two_jobs_a_cell_and_shares_all_else(grid):
    planned = grid.planned("ablations", config="grid")
    assert planned == {
        "download_source": 2,
        "prepare_dataset": 2,
        "train_target": 2,
        "record_trajectories": 4,
        "record_validation": 2,
        "train_draft": 6,
        "align_draft": CELLS,
        "evaluate_draft": CELLS,
        "plot_ablations": 2,
    }


def test_a_grid_can_be_called_for_in_parts(grid):
    one = grid.planned("ablations", "--config", "datasets=[beauty]", config="grid")
    assert one["align_draft"] == one["evaluate_draft"] == CELLS / 2
    part = grid.planned("ablations", "--batch", "plot_ablations=1/4", config="grid")
    assert 0 < part["align_draft"] == part["evaluate_draft"] <= CELLS / 4 + 2
    assert "plot_ablations" not in part
