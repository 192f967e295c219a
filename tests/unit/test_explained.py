"""Lists explained: what is said of every node is what the search itself did."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from finished_run_for_tests import make_run
from models_for_tests import nearly
from specbeam import SpecbeamError, cli
from specbeam.decoding.drafters import ModelDrafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.measurement.explained import FATES, explain, record_search
from specbeam.settings import Settings
from specbeam.stages import StageSettings

K, N = 4, 7
SIZES = {"beam_width": K, "draft_beam_width": N, "draft_length": 3}
NOISE = (0.0, 0.2, 3.0)


@pytest.fixture(scope="module")
def run(tiny_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's folder of a run whose models were never trained."""
    folder = tmp_path_factory.mktemp("results") / "mine" / "tiny"
    make_run(folder, tiny_dataset.prepared)
    return folder


@pytest.fixture(scope="module")
def inputs(run: Path) -> SearchInputs:
    return SearchInputs.of(run / "prepared", Settings(device="cpu"), constraint="trie", threads=1)


@pytest.fixture(scope="module")
def target(run: Path, inputs: SearchInputs) -> Scorer:
    model = inputs.model(run / "target" / "model", "float32")
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8)  # an opinion, so that drafts can be wrong by degrees
    return Scorer.of(model, inputs.trie, normalise="children")


@pytest.fixture(scope="module")
def drafters(target: Scorer, inputs: SearchInputs) -> dict[float, ModelDrafter]:
    """Drafts that are the target with more and more noise."""
    drafts = {noise: Scorer.of(nearly(target.model, noise), inputs.trie, normalise="children") for noise in NOISE}
    return {noise: ModelDrafter.of(draft) for noise, draft in drafts.items()}


@pytest.fixture(scope="module")
def explained(inputs: SearchInputs, target: Scorer, drafters: dict[float, ModelDrafter]) -> list[tuple]:
    """(history, drafter, explanation) of some users by every draft."""
    users = inputs.sampled_users("test", 6, 1)
    return [
        (history, drafter, explain(inputs, target, drafter, history=history, **SIZES))
        for _, history, _ in users
        for drafter in drafters.values()
    ]


def at(found: dict, number: int, level: int) -> list[dict]:
    """The nodes of one level of one round."""
    return [node for node in found["nodes"] if (node["round"], node["level"]) == (number, level)]


def test_rounds_are_those_of_the_search(inputs, target, explained):
    plan = Plan.flat(N, 3, inputs.trie.depth)
    for history, drafter, found in explained:
        own = search(target, inputs.prompt(history), beam_width=K, drafter=drafter, plan=plan).counters
        assert [done["accepted"] for done in found["rounds"]] == own.accepted[0]
        assert found["target_calls"] == own.target_calls == len(found["rounds"])


def test_the_list_and_what_was_chosen_at_every_level_are_plain_beam_searchs(inputs, target, explained):
    ids = inputs.data.tokenizer.get_vocab()
    for history, _, found in explained:
        levels: list[torch.Tensor] = []
        own = search(target, inputs.prompt(history), beam_width=K, levels=levels)
        listed = [[ids[word] for word in row["identifier"]] for row in found["list"]]
        assert listed == own.sequences[0].tolist()
        torch.testing.assert_close(
            torch.tensor([row["score"] for row in found["list"]]), own.scores[0], atol=1e-4, rtol=0
        )
        chosen = [node for node in found["nodes"] if node["target_rank"]]
        assert [node["path"] for node in chosen if node["level"] == 4] == [row["identifier"] for row in found["list"]]
        for level, states in enumerate(levels, start=1):
            paths = [[ids[word] for word in node["path"]] for node in chosen if node["level"] == level]
            assert inputs.trie.walk(torch.tensor(paths))[:, -1].tolist() == states[0].tolist()


def test_a_level_is_accepted_if_and_only_if_none_of_the_targets_best_was_missed(explained):
    for _, _, found in explained:
        for number, done in enumerate(found["rounds"], start=1):
            missed = [
                any(node["fate"] == "missed" for node in at(found, number, done["start"] + step + 1))
                for step in range(done["drafted"])
            ]
            assert done["accepted"] == (missed.index(True) if any(missed) else done["drafted"])


def test_the_fate_of_a_node_is_told_by_who_ranked_it_and_where(explained):
    seen = set()
    for _, _, found in explained:
        for node in found["nodes"]:
            done = found["rounds"][node["round"] - 1]
            step = node["level"] - done["start"]
            by = (node["draft_rank"] is not None, node["target_rank"] is not None)
            expected = {(True, True): "accepted", (True, False): "rejected", (False, True): "missed"}[by]
            if step > done["drafted"]:
                expected = "bonus"
            elif step > done["accepted"] + 1:
                expected = "unverified"
            assert node["fate"] == expected
            seen.add(expected)
    assert seen == set(FATES), "the drafts of this file are too good, or too bad"


def test_nodes_hang_together_and_ranks_count_up(explained):
    for _, _, found in explained:
        for number, done in enumerate(found["rounds"], start=1):
            for level in {node["level"] for node in found["nodes"] if node["round"] == number}:
                nodes = at(found, number, level)
                for who, width in (("draft", N), ("target", K)):
                    ranks = sorted(node[f"{who}_rank"] for node in nodes if node[f"{who}_rank"])
                    assert ranks == list(range(1, len(ranks) + 1))
                    assert len(ranks) <= width
                above = at(found, number, level - 1) or at(found, number - 1, level - 1)
                assert {tuple(node["path"][:-1]) for node in nodes} <= {tuple(n["path"]) for n in above} | {()}
                assert done["start"] < level


def test_what_is_recorded_for_the_figure_is_a_user_with_something_of_every_kind_if_there_is_one(run, tmp_path):
    values = {"device": "cpu", "measurement": {"beam_widths": [2, 3], "draft_beam_widths": [4, 6]}}
    paths = {"prepared": run / "prepared", "target": run / "target" / "model", "output": tmp_path / "example.json"}
    draft = {"draft": run / "drafts" / "sft" / "seed-1" / "model", "objective": "sft"}
    record_search(settings=StageSettings("record_search", values), threads=1, **paths, **draft)
    found = json.loads((tmp_path / "example.json").read_text())
    assert (found["K"], found["N"], found["objective"]) == (3, 6, "sft")
    in_part = 0 < found["rounds"][0]["accepted"] < found["rounds"][0]["drafted"]
    assert found["chosen"].endswith("accepted in part") == in_part
    assert found["targets"]


def command(run: Path, *options: str) -> str:
    result = CliRunner().invoke(cli.app, ["explain", str(run), *options])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_command_tells_of_history_list_levels_and_calls(run: Path, inputs: SearchInputs) -> None:
    user, history, _ = inputs.sampled_users("test", 1, 1)[0]
    options = ("--user", str(user), "--k", "3", "--draft-beam-width", "5")
    found = json.loads(command(run, *options, "--json"))
    lines = command(run, *options).splitlines()
    assert lines[0] == f"user {user}, history {', '.join(map(str, history))}"
    assert lines[1] == "K = 3, N = 5, 3 levels a round, strict, draft atspeed_s"
    assert [line.split()[0] for line in lines[4:7]] == ["1", "2", "3"]
    assert sum(line.startswith("round ") for line in lines) == found["target_calls"]
    levels = [line for line in lines if line.startswith("  level ")]
    assert len(levels) == len({(node["round"], node["level"]) for node in found["nodes"]})
    told = "".join(lines)
    assert all(f"{''.join(node['path'])}\N{NO-BREAK SPACE}(" in told for node in found["nodes"])
    assert f"target calls: {found['target_calls']}, 4 without a draft" in lines


def test_the_command_draws_the_tree(run: Path, inputs: SearchInputs, tmp_path: Path) -> None:
    user = inputs.sampled_users("test", 1, 1)[0][0]
    command(run, "--user", str(user), "--k", "3", "--draft-beam-width", "5", "--svg", str(tmp_path / "tree.svg"))
    svg = (tmp_path / "tree.svg").read_text()
    assert "round 1" in svg
    assert [path.name for path in tmp_path.iterdir()] == ["tree.svg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--user 100000", r"--user 100000: expected one of the \d+ test users, such as "),
        ("--user {} --objective none", "expected a draft to explain, there is none to use"),
        ("--user {} --objective wordkd", r"no draft 'wordkd'; expected one of atspeed_s, sft"),
        ("--user {} --k 9 --draft-beam-width 5", "draft width 5 is below the beam width 9"),
    ],
)
def test_the_commands_mistakes_say_what_to_change(run, inputs, options, message):
    user = inputs.sampled_users("test", 1, 1)[0][0]
    with pytest.raises(SpecbeamError, match=message):
        command(run, *options.format(user).split())
