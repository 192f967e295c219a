"""`specbeam precision`: how lists differ is told as it is, and items that swap places are closer than their scores."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from finished_run_for_tests import make_run
from specbeam import cli
from specbeam.errors import SpecbeamError
from specbeam.finished_run import FinishedRun
from specbeam.measurement.precision import difference, differences, table, text

OWN = {7: -1.0, 5: -1.5, 9: -3.0}
SAME = {"same_list": True, "same_items": True, "overlap": 1.0, "first": None, "swapped": 0.0, "error": 0.0}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (OWN, {}),
        ({7: -1.0, 5: -1.25, 9: -3.0}, {"error": 0.25}),
        ({5: -1.5, 7: -1.75, 9: -3.0}, {"same_list": False, "first": 1, "swapped": 0.5, "error": 0.75}),
        ({9: -1.0, 5: -1.5, 7: -3.0}, {"same_list": False, "first": 1, "swapped": 2.0, "error": 2.0}),
        ({7: -1.0, 5: -1.5, 8: -3.0}, {"same_list": False, "same_items": False, "overlap": 2 / 3, "first": 3}),
        ({7: -1.0, 5: -1.5}, {"same_list": False, "same_items": False, "overlap": 2 / 3, "first": 3}),
    ],
    ids=["equal", "other scores", "two swapped", "ends swapped", "another item", "shorter"],
)
def test_a_list_differs_from_another_in_items_order_and_scores(found: dict, expected: dict[str, Any]) -> None:
    assert difference(OWN, found) == SAME | expected


def test_the_table_has_shares_of_users_and_the_largest_gaps() -> None:
    lists = [OWN, {5: -1.5, 7: -1.75, 9: -3.0}, {7: -1.0, 9: -1.25, 5: -1.5}]
    rows = [{"lists": "a", "against": "b", **difference(OWN, found)} for found in lists]
    (row,) = table(pd.DataFrame(rows)).to_dict("records")
    assert row == {
        "lists": "a", "against": "b", "same_list": 1 / 3, "same_items": 1.0, "overlap": 1.0, "first": 1.5,
        "swapped": 1.5, "error": 1.75,
    }  # fmt: skip
    assert text(pd.DataFrame([row])).splitlines()[1].split()[2:] == [
        "33.3%",
        "100.0%",
        "1.0000",
        "1.5",
        "1.5e+00",
        "1.8e+00",
    ]


@pytest.fixture(scope="module")
def run(tiny_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "mine" / "tiny"
    make_run(folder, tiny_dataset.prepared)
    return folder


def test_items_swap_places_only_where_their_scores_are_as_close_as_passes_of_other_shapes_round(run: Path) -> None:
    finished = FinishedRun.of(run)
    sizes = {"users": 20, "beam_width": 10, "draft_beam_width": 20, "threads": 1}
    dtypes = ["bfloat16", "float16"]
    rows = differences(finished, finished.settings, finished.draft("sft"), dtypes=dtypes, **sizes)
    found = table(rows).set_index("lists")
    assert list(found.index) == [
        "float32 strict", "float32 plain, 16 at once", "bfloat16 strict", "bfloat16 plain, 16 at once",
        "bfloat16 plain", "float16 strict", "float16 plain, 16 at once", "float16 plain",
    ]  # fmt: skip
    assert len(rows) == 20 * len(found)
    assert (found.loc[["float32 strict", "float32 plain, 16 at once"], "same_list"] == 1).all()
    assert (rows["swapped"] <= 2 * rows["error"] + 1e-9).all()
    errors = found.loc[["float32 strict", "float16 plain", "bfloat16 plain"], "error"]
    assert errors.is_monotonic_increasing
    assert errors.iloc[2] > 100 * errors.iloc[0]


def test_the_verb_prints_what_was_compared_and_the_table(run: Path) -> None:
    options = "--users 5 --k 4 --draft-beam-width 8 --dtype float32 --threads 1 --device cpu"
    done = CliRunner().invoke(cli.app, ["precision", str(run), *options.split()])
    assert done.exit_code == 0, done.exception
    assert f"{run}: 5 test users, seed 1; K = 4, N = 8, draft atspeed_s, normalise children" in done.stdout
    assert done.stdout.splitlines()[-2].split()[4:7] == ["100.0%", "100.0%", "1.0000"]


def test_without_a_draft_there_is_nothing_strict_to_compare(run: Path) -> None:
    done = CliRunner().invoke(cli.app, ["precision", str(run), "--objective", "none"])
    assert isinstance(done.exception, SpecbeamError)
    assert "expected a draft for strict lists" in str(done.exception)
