"""`specbeam bench-serve`: all ways answer the same requests through the same service, and none is lost."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from finished_run_for_tests import make_run
from models_for_tests import random_catalogue, tiny_model
from specbeam import Plan, Recommender, SpecbeamError, cli
from specbeam.decoding.planner import Planned
from specbeam.measurement import callers
from specbeam.measurement.load_test import Load, Way, load_test, peer, ways
from specbeam.serving.app import Service
from specbeam.serving.batching import Asked, Limits
from specbeam.serving.server import in_background

CATALOGUE = random_catalogue(1, items=60).tolist()


@pytest.fixture(autouse=True)
def a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning measures for seconds, and is tested elsewhere."""
    monkeypatch.setattr("specbeam.recommender.choose_plan", lambda *given, **more: Planned(Plan((9, 12)), {}, []))


def test_the_command_compares_all_ways_on_a_finished_run(tiny_dataset: Any, tmp_path: Path) -> None:
    run = tmp_path / "mine" / "tiny"
    make_run(run, tiny_dataset.prepared)
    line = "--requests 12 --callers 3 --rounds 2 --k 4 --batch-size 2 --threads 1 --device cpu"
    result = CliRunner().invoke(cli.app, ["bench-serve", str(run), *line.split()])
    assert result.exit_code == 0, result.exception
    table = pd.read_csv(run / "load" / "load.csv").set_index("way")
    assert list(table.index) == ["transformers generate", "plain beam search", "strict, flat", "strict, planned 9,12"]
    assert list(table["errors"]) == [0] * 4
    assert list(table["same_lists"]) == [12] * 4
    assert list(table["target_calls"][:2]) == [4, 4]
    assert (table["target_calls"][2:] < 4).all()
    assert table["batch"].between(1, 2).all()
    assert (table["p50_ms"] <= table["p99_ms"]).all()
    assert table["vs_plain"]["plain beam search"] == table["vs_generate"]["transformers generate"] == 1
    text = (run / "load" / "load.txt").read_text()
    assert text in result.stdout
    assert "mine/tiny: K = 4, 12 requests a way by 3 callers at a time, in 2 rounds" in text
    assert "1 thread(s), float32" in text


def test_generate_makes_the_lists_of_plain_beam_search_items_that_share_an_identifier_too() -> None:
    items = {f"item-{place}": tokens for place, tokens in enumerate(CATALOGUE + CATALOGUE[::3])}
    recommender = Recommender(tiny_model(seed=1), items)
    asked = [Asked([7, 8, 9], 6), Asked([5], 6)]
    for made, own in zip(peer(recommender)(asked), recommender([each.prompt for each in asked], k=6), strict=True):
        assert (made.items, made.identifiers, made.target_calls) == (own.items, own.identifiers, 4)
        assert made.scores == pytest.approx(own.scores, abs=1e-4)


def test_without_a_draft_two_ways_are_compared() -> None:
    recommender = Recommender(tiny_model(seed=1), CATALOGUE)
    assert [way.name for way in ways(recommender, [[1]], Load(), Limits())] == [
        "transformers generate",
        "plain beam search",
    ]


def test_requests_without_a_list_are_errors_and_have_no_share_in_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_at_times(recommender: Recommender, *given: Any) -> list[Way]:
        def make(batch: list[Asked]) -> Any:
            if len(batch[0].prompt) > 4:
                raise RuntimeError("a long prompt")
            return recommender([batch[0].prompt], batch[0].k)

        return [Way("transformers generate", make), Way("plain beam search", make)]

    monkeypatch.setattr("specbeam.measurement.load_test.ways", broken_at_times)
    load, limits = Load(requests=6, callers=1, k=2, rounds=1), Limits(batch_size=1, wait=0)
    recommender = Recommender(tiny_model(seed=1), CATALOGUE)
    given = {"examples": [], "load": load, "limits": limits}
    table = load_test(recommender, histories=[[1], [1, 2], [3]], **given)
    assert list(table["errors"]) == [2, 2]
    assert list(table["same_lists"]) == [4, 4]
    with pytest.raises(SpecbeamError, match="transformers generate: expected lists, got none for 6 requests"):
        load_test(recommender, histories=[[1, 2]], **given)


def test_callers_send_the_next_request_when_the_last_is_answered_and_note_failures() -> None:
    service = Service(Recommender(tiny_model(seed=1), CATALOGUE), limits=Limits(batch_size=8, wait=0.01))
    bodies = [{"history": [at], "k": 2} for at in (1, 2, 99)]
    with in_background(service) as url:
        seconds, replies = callers.ask(f"{url}/recommend", bodies, callers=2)
    assert [reply.status for reply in replies] == [200, 200, 422]
    assert [len(reply.answer["items"]) for reply in replies[:2]] == [2, 2]
    assert 0 < max(reply.seconds for reply in replies) <= seconds
    _, (refused,) = callers.ask(f"{url}/recommend", bodies[:1], callers=1)  # nobody listens any more
    assert (refused.status, refused.answer) == (0, {})


def test_each_caller_has_a_request_in_each_round() -> None:
    with pytest.raises(SpecbeamError, match="--requests 39: expected 40 at least, so that each of 8 callers has one"):
        Load(requests=39, callers=8, rounds=5)
