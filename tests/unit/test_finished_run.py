"""A finished run as a recommender: in Python, and as `specbeam recommend`."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from finished_run_for_tests import make_run
from specbeam import Recommender, SpecbeamError, cli, job_provenance, parquet
from specbeam.data import ITEMS, prepared
from specbeam.data.sequences import history_and_targets
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.files import write_json
from specbeam.provenance import beside
from specbeam.settings import Settings


@pytest.fixture(scope="module")
def run(tiny_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's folder of a run whose models were never trained."""
    folder = tmp_path_factory.mktemp("results") / "mine" / "tiny"
    make_run(folder, tiny_dataset.prepared)
    return folder


def first_user(run: Path) -> tuple[int, list[int]]:
    """The first test user, and the history that the lists are for."""
    first = history_and_targets(prepared.load(run / "prepared").users, "test").iloc[0]
    return int(first["user"]), first["history"]


def recommend(run: Path, *options: str) -> str:
    result = CliRunner().invoke(cli.app, ["recommend", str(run), *options])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_finished_run_gives_the_lists_of_its_target(run: Path) -> None:
    inputs = SearchInputs.of(run / "prepared", Settings(device="cpu"), constraint="trie", threads=1)
    _, history = first_user(run)
    scorer = inputs.scorer(run / "target" / "model", "float32", "children")
    own = search(scorer, inputs.prompt(history), beam_width=5)
    (made,) = Recommender.load(run, device="cpu").for_histories([history], k=5)
    assert made.identifiers == [tuple(tokens) for tokens in own.sequences[0].tolist()]
    torch.testing.assert_close(torch.tensor(made.scores), own.scores[0], atol=1e-4, rtol=0)


def test_the_draft_is_that_of_the_objective(run: Path) -> None:
    drafts = {name: Recommender.load(run, objective=name).drafter for name in ("sft", "atspeed_s", "none")}
    assert drafts["none"] is None
    default = Recommender.load(run).drafter.scorer.weight
    assert torch.equal(default, drafts["atspeed_s"].scorer.weight)
    assert not torch.equal(default, drafts["sft"].scorer.weight)


def test_options_are_those_of_the_recommender(run: Path) -> None:
    assert Recommender.load(run, draft_beam_width=7, draft_length=1).plan(2, 1).steps([0], 4) == [7]
    assert Recommender.load(run, normalise="vocabulary").target.normalise == "vocabulary"


def test_the_command_prints_a_table_of_rank_item_identifier_and_score(run: Path) -> None:
    user, history = first_user(run)
    (made,) = Recommender.load(run).for_histories([history], k=3)
    lines = recommend(run, "--user", str(user), "--k", "3").splitlines()
    assert lines[0] == f"user {user}, history {', '.join(map(str, history))}"
    assert lines[2].split() == ["rank", "item", "identifier", "score"]
    assert [line.split()[:2] for line in lines[3:6]] == [[str(i + 1), str(item)] for i, item in enumerate(made.items)]
    names = prepared.load(run / "prepared").catalogue.identifiers
    assert lines[3].split()[2:] == ["".join(names[made.items[0]]), f"{made.scores[0]:.4f}"]
    assert lines[-1] == f"strict, draft atspeed_s, target calls: {made.target_calls}"


@pytest.fixture
def keyed(run: Path, tmp_path: Path) -> Path:
    """The run with keys: those of other items' numbers, and texts of every second item."""
    shutil.copytree(run.parent, tmp_path / "mine")
    items = len(prepared.load(run / "prepared").catalogue.identifiers)
    texts = [None if item % 2 else f"text {item} " + "and more " * 20 for item in range(items)]
    columns = {"item": range(items), "key": [str(items + 4 - item) for item in range(items)], "text": texts}
    parquet.write(pa.table(columns), tmp_path / "mine" / "tiny" / "prepared" / ITEMS)
    return tmp_path / "mine" / "tiny"


def test_of_own_data_the_command_takes_and_shows_keys_even_if_they_are_numbers(run: Path, keyed: Path) -> None:
    items = len(prepared.load(run / "prepared").catalogue.identifiers)
    plain = json.loads(recommend(run, "--history", "5,9", "--k", "4", "--without", "7", "--json"))
    history, without = f"{items - 1}, {items - 5}", f"{items - 3}"
    found = json.loads(recommend(keyed, "--history", history, "--k", "4", "--without", without, "--json"))
    assert found["history"] == [str(items - 1), str(items - 5)]
    assert [row["item"] for row in found["list"]] == [row["item"] for row in plain["list"]]
    assert [row["key"] for row in found["list"]] == [str(items + 4 - row["item"]) for row in found["list"]]
    lines = recommend(keyed, "--history", history, "--k", "4", "--without", without).splitlines()
    assert lines[0] == f"history {history}"
    assert lines[2].split() == ["rank", "item", "key", "identifier", "score", "text"]
    for line, row in zip(lines[3:7], found["list"], strict=True):
        assert line.split()[2] == row["key"]
        assert (f"text {row['item']} and more" in line) == (row["text"] is not None)
        assert len(line) < 140


def test_of_own_data_a_users_history_is_shown_in_keys(run: Path, keyed: Path) -> None:
    user, history = first_user(run)
    items = len(prepared.load(run / "prepared").catalogue.identifiers)
    found = json.loads(recommend(keyed, "--user", str(user), "--json"))
    assert found["history"] == [str(items + 4 - item) for item in history]


def test_a_recommender_by_keys_refuses_numbers_and_keys_that_there_are_not(keyed: Path) -> None:
    recommender = Recommender.load(keyed, keys=True, objective="none")
    for history in ([5], ["1"]):
        with pytest.raises(SpecbeamError, match=f"item {history[0]!r}: expected the key of an item, as text, such as"):
            recommender.for_histories([history])
    assert recommender.for_histories([["1", *["9"] * 20]])[0].items  # the last 20 count


def test_the_command_takes_any_history_and_prints_json(run: Path) -> None:
    (made,) = Recommender.load(run, objective="none").for_histories([[5, 9]], 4, verification="coupled", seed=3)
    line = ["--history", "5,9", "--k", "4", "--objective", "none", "--verification", "coupled", "--seed", "3", "--json"]
    found = json.loads(recommend(run, *line))
    assert (found["user"], found["history"], found["draft"], found["target_calls"]) == (None, [5, 9], "none", 4)
    assert [row["item"] for row in found["list"]] == made.items
    assert [row["score"] for row in found["list"]] == pytest.approx(made.scores)


def test_the_command_leaves_items_out(run: Path) -> None:
    all_of_them = [
        row["item"] for row in json.loads(recommend(run, "--history", "5,9", "--k", "200", "--json"))["list"]
    ]
    found = json.loads(recommend(run, "--history", "5,9", "--k", "200", "--without", "7,8", "--no-repeats", "--json"))
    assert sorted(row["item"] for row in found["list"]) == sorted({*all_of_them} - {5, 7, 8, 9})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "expected --user or --history: one of them"),
        ("--user 1 --history 2", "expected --user or --history: one of them"),
        ("--user 100000", r"--user 100000: expected one of the \d+ test users, such as "),
        ("--history 5;9", "--history 5;9: expected item ids separated by commas"),
        ("--history 5 --without 9;", "--without 9;: expected item ids separated by commas"),
        ("--history 5 --without 100000", "item 100000: expected an item of the catalogue"),
        ("--history 100000", "item 100000: expected an item of the catalogue"),
        ("--history 5 --objective wordkd", r"no draft 'wordkd'; expected one of atspeed_s, sft, or none for plain"),
        ("--history 5 --verification exact", "expected one of strict, coupled"),
    ],
)
def test_the_commands_mistakes_say_what_to_change(run: Path, options: str, message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        recommend(run, *options.split())


@pytest.mark.parametrize("missing", ["prepared", "target/model", "../config.yaml"])
def test_a_folder_without_a_finished_run_is_refused_by_what_is_missing(run: Path, tmp_path: Path, missing: str) -> None:
    shutil.copytree(run.parent, tmp_path / "mine")
    part = tmp_path / "mine" / "tiny" / missing
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(SpecbeamError, match=rf"expected a data set's folder of a finished run.*{part.name} is missing"):
        Recommender.load(tmp_path / "mine" / "tiny")


@job_provenance.recorded("prepare", output="prepared")
def prepare(*, prepared: Path) -> None:
    """Leave provenance alone."""


@job_provenance.recorded("train_target", output="model")
def train(*, prepared: Path, model: Path) -> None:
    """Leave provenance alone."""


@pytest.fixture
def made_at(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make parts of a copy of the run (prepared, target) at hours of the same day, and give its folder."""
    folder = tmp_path / "mine" / "tiny"
    shutil.copytree(run.parent, folder.parent)

    def make(**hours: int) -> Path:
        for part, hour in hours.items():
            clock = SimpleNamespace(now=partial(datetime, 2026, 11, 26, hour, 0, 0, 0))
            monkeypatch.setattr(job_provenance, "datetime", clock)
            if part == "prepared":
                prepare(prepared=folder / "prepared")
            else:
                train(prepared=folder / "prepared", model=folder / "target" / "model")
        return folder

    return make


def test_a_run_whose_data_were_prepared_again_and_whose_target_was_not_trained_again_is_refused(
    made_at: Callable[..., Path],
) -> None:
    assert Recommender.load(made_at(prepared=10, target=11))
    with pytest.raises(SpecbeamError, match="trained on data prepared at .*T10.*, which were prepared again at .*T12"):
        Recommender.load(made_at(prepared=12))


def test_a_clock_that_was_set_back_tells_nothing_of_which_data_a_target_was_trained_on(
    made_at: Callable[..., Path],
) -> None:
    assert Recommender.load(made_at(prepared=12, target=11))
    with pytest.raises(SpecbeamError, match="prepared again at .*T10"):
        Recommender.load(made_at(prepared=10))


def test_damaged_provenance_is_named(made_at: Callable[..., Path]) -> None:
    folder = made_at(prepared=10, target=11)
    write_json(beside(folder / "prepared"), {"start": {"a": 1}})
    with pytest.raises(SpecbeamError, match=r"prepared.provenance.json: expected format 1, got None"):
        Recommender.load(folder)


def test_a_run_without_drafts_gives_plain_lists(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent, tmp_path / "mine", ignore=shutil.ignore_patterns("drafts"))
    (made,) = Recommender.load(tmp_path / "mine" / "tiny").for_histories([[5]], k=2)
    assert made.target_calls == 4
