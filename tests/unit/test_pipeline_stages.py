"""Every stage from training to timing on a tiny data set, as the command line calls them."""

import dataclasses
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from specbeam.data.prepared import load
from specbeam.data.sequences import history_and_targets
from specbeam.decoding.inputs import SearchInputs
from specbeam.errors import SpecbeamError
from specbeam.measurement import records
from specbeam.measurement.timing import time_methods
from specbeam.ranking import ndcg_at, recall_at
from specbeam.target.draft import train_draft
from specbeam.target.infer import recommend
from specbeam.target.train import train_target
from specbeam.teacher import Shard
from tiny_run import CONFIG, LOSSES, OBJECTIVES, Run, settings
from trajectories_for_tests import slow_beams


@pytest.fixture(scope="module")
def run(tiny_dataset, tmp_path_factory):
    """A run up to the first aligned draft."""
    run = Run(tiny_dataset.prepared, tmp_path_factory.mktemp("run"))
    files = {"prepared": run.prepared, "threads": 1}
    train_target(settings=settings("train_target"), model=run.model("target"), losses=run.losses("target"), **files)
    draft = {"model": run.model("base"), "losses": run.losses("base"), "seed": 3}
    train_draft(settings=settings("train_draft"), **draft, **files)
    recommend(
        model=run.model("target"), lists=run.folder / "lists.parquet", ranking=run.folder / "ranking.csv",
        settings=settings("infer_target"), **files,
    )  # fmt: skip
    run.record("valid", "valid")
    for shard in range(2):
        run.record(f"train-{shard}", "train", shard, 2)
    run.align("sft")
    return run


@pytest.fixture(scope="module")
def evaluation(run):
    return run.evaluate("evaluation")


@pytest.fixture(scope="module")
def timing(run):
    output = run.folder / "timing.parquet"
    time_methods(
        prepared=run.prepared, target=run.model("target"), drafts={"sft": run.model("sft"), "seqkd": run.model("base")},
        dataset="synthetic", beam_width=4, output=output, settings=settings("time"), threads=1,
    )  # fmt: skip
    return records.read([output], "timing")


@pytest.mark.parametrize("name", ["target", "base"])
def test_training_writes_a_model_and_its_losses(run, name):
    losses = pd.read_csv(run.losses(name))
    assert list(losses.columns) == LOSSES
    assert losses["epoch"].tolist() == [1, 2]
    assert losses["kept"].sum() == 1
    assert losses["train_loss"].is_monotonic_decreasing
    assert (run.model(name) / "model.safetensors").is_file()


def test_training_twice_gives_the_same_weights(run, tmp_path):
    train_draft(
        prepared=run.prepared, settings=settings("train_draft"), seed=3, model=tmp_path / "model",
        losses=tmp_path / "loss.csv", threads=1,
    )  # fmt: skip
    again, first = (load_file(folder / "model.safetensors") for folder in (tmp_path / "model", run.model("base")))
    assert all((again[name] == weight).all() for name, weight in first.items())


def test_a_draft_can_be_distilled_from_the_target(run, tmp_path):
    files = {"prepared": run.prepared, "model": tmp_path / "model", "losses": tmp_path / "loss.csv"}
    files |= {"threads": 1, "seed": 3}
    training = {**CONFIG["draft"].get("training", {}), "distil": True}
    distil = settings("train_draft", draft={**CONFIG["draft"], "training": training})
    train_draft(settings=distil, target=run.model("target"), **files)
    assert pd.read_csv(tmp_path / "loss.csv")["train_loss"].is_monotonic_decreasing
    for chosen, target in ((distil, None), (settings("train_draft"), run.model("target"))):
        with pytest.raises(SpecbeamError, match="train-draft: draft.training.distil is"):
            train_draft(settings=chosen, target=target, **files)


def test_trees_are_compared_for_every_size_in_both_shapes_and_lists_stay_the_targets_own(run, evaluation):
    trees = records.read([run.folder / "evaluation-trees.parquet"], "trees")
    assert set(trees["shape"]) == {"flat", "shaped"}
    assert (trees.groupby(["shape", "size"])["user"].nunique() == trees["user"].nunique()).all()
    for row in trees.itertuples():
        assert sum(map(int, row.widths.split())) <= row.size
    assert trees["same_as_target"].all()
    assert trees["target_calls"].between(1, 4).all()
    assert (trees["accepted"] + trees["target_calls"] == 4).all()  # every pass adds its bonus level
    assert (trees["first_accepted"] <= trees["accepted"]).all()
    assert (trees["target_calls"] - trees["rounds"]).isin([0, 1]).all()


def test_no_stage_leaves_a_half_written_file(run, evaluation, timing):
    assert not [path for path in run.folder.rglob("*") if ".part" in path.name]


def test_recommending_lists_k_real_items_best_first_for_every_test_user(run):
    data, lists = load(run.prepared), pd.read_parquet(run.folder / "lists.parquet")
    users = history_and_targets(data.users, "test")["user"].tolist()
    for width, of_width in lists.groupby("K"):
        assert of_width["user"].unique().tolist() == users
        for _, found in of_width.groupby("user"):
            assert found["rank"].tolist() == list(range(1, width + 1))
            assert found["score"].is_monotonic_decreasing
            assert found["identifier"].between(0, len(data.catalogue.distinct) - 1).all()
            assert found["identifier"].is_unique
    assert sorted(lists["K"].unique()) == [1, 4]


def test_the_ranking_rates_exactly_the_lists_and_popularity(run):
    data, lists = load(run.prepared), pd.read_parquet(run.folder / "lists.parquet")
    ranking = pd.read_csv(run.folder / "ranking.csv").set_index(["recommender", "K"])
    asked = history_and_targets(data.users, "test")
    assert sorted(ranking.index) == [("popularity", 1), ("popularity", 4), ("target", 1), ("target", 4)]
    for width, of_width in lists.groupby("K"):
        found = of_width.groupby("user")["identifier"].agg(list)
        wanted = {user: data.catalogue.rows(items) for user, items in zip(asked["user"], asked["targets"], strict=True)}
        row = ranking.loc["target", width]
        assert row["recall"] == pytest.approx(np.mean([recall_at(found[u], wanted[u], width) for u in wanted]))
        assert row["ndcg"] == pytest.approx(np.mean([ndcg_at(found[u], wanted[u], width) for u in wanted]))
        assert row["users"] == len(asked)
    assert (ranking["recall_low"] <= ranking["recall"]).all()
    assert (ranking["recall"] <= ranking["recall_high"]).all()


def test_shards_divide_the_users_and_hold_what_one_shard_would(run):
    whole = run.record("whole", "train")
    parts = [Shard.load(run.shard(f"train-{number}")) for number in range(2)]
    assert len(whole.users) == 30
    assert sorted([*parts[0].users, *parts[1].users]) == sorted(whole.users)
    for part, places in zip(parts, (slice(0, None, 2), slice(1, None, 2)), strict=True):
        np.testing.assert_array_equal(part.users, whole.users[places])
        np.testing.assert_array_equal(part.paths, whole.paths[places])
        np.testing.assert_array_equal(part.truth, whole.truth[places])
        np.testing.assert_array_equal(part.beams, whole.beams[places])
        np.testing.assert_allclose(part.scores, whole.scores[places], atol=1e-4)
        for user, place in enumerate(range(len(whole.users))[places]):
            own = part.log_p[slice(*part.offsets[user : user + 2])].astype(float)
            same = whole.log_p[slice(*whole.offsets[place : place + 2])].astype(float)
            np.testing.assert_allclose(own, same, atol=1e-2)


def test_more_shards_than_users_leave_some_empty(run):
    empty = run.record("empty", "train", shard=35, shards=40)
    assert (len(empty.users), len(empty.log_p), empty.offsets.tolist()) == (0, 0, [0])
    run.align("sft", name="with-an-empty-shard", shards=("train-0", "train-1", "empty"))


def test_trajectories_are_the_targets_beams_with_their_scores(run):
    inputs = SearchInputs.of(run.prepared, settings("record"), constraint="trie", threads=1)
    data, trie, shard = inputs.data, inputs.trie, Shard.load(run.shard("valid"))
    asked = history_and_targets(data.users, "valid")
    assert shard.users.tolist() == asked["user"].tolist()
    true_rows = data.catalogue.rows(targets[0] for targets in asked["targets"])
    assert trie.rows.numpy()[shard.truth[:, -1]].tolist() == true_rows
    assert (np.diff(shard.scores) <= 0).all()
    for (_, tree, log_p), paths, scores in zip(shard.trees(trie), shard.paths, shard.scores, strict=True):
        for path, score in zip(paths, scores, strict=True):
            total = 0.0
            for depth, before in enumerate([0, *path[:-1]]):
                place = tree.states[depth].tolist().index(before)
                total += log_p[depth][place][path[depth] - 1 - int(trie.first_edge[before])]
            assert total == pytest.approx(score, abs=2e-2)  # halves were added


@pytest.mark.parametrize("width", [4, 200], ids=["four beams", "more than there are items"])
def test_recorded_beams_are_the_best_prefixes_of_every_length_but_the_whole(run, width):
    inputs = SearchInputs.of(run.prepared, settings("record"), constraint="trie", threads=1)
    target, catalogue = inputs.model(run.model("target"), "float32"), inputs.builder.identifiers
    shard = run.record(f"valid-{width}", "valid", beam_width=width)
    asked = history_and_targets(inputs.data.users, "valid")
    for user in (0, 7):
        *inner, whole = slow_beams(target, inputs.builder(asked["history"].iloc[user]), catalogue, width)
        for level, prefixes in enumerate(inner):
            states = inputs.trie.walk(torch.tensor(prefixes))[:, -1].tolist()
            assert shard.beams[user, level].tolist() == states + [-1] * (width - len(states))
        assert (shard.paths[user, :, -1] >= 0).sum() == len(whole)


def test_objectives_over_positions_need_such_trajectories(run):
    with pytest.raises(SpecbeamError, match="record them with trajectories.logits: position"):
        run.align("wordkd", name="never", own={"mask": "position"})
    for name, split in (("wide-train", "train"), ("wide-valid", "valid")):
        assert run.record(name, split, logits="position").over == "position"
    for mask in ("position", "children"):
        run.align("wordkd", name=mask, own={"mask": mask}, shards=["wide-train"], valid="wide-valid")
    run.align("wordkd", name="of-children")
    wide, narrow, same = (pd.read_csv(run.losses(name)) for name in ("position", "children", "of-children"))
    assert wide["alignment"].item() != pytest.approx(narrow["alignment"].item(), rel=0.1)
    assert same["alignment"].item() == pytest.approx(narrow["alignment"].item(), rel=1e-2)


def test_the_epoch_kept_can_be_that_of_the_most_accepted_levels(run):
    run.align("wordkd", name="most-accepted", keep="accepted", learning_rate=5e-2, weight_decay=0, epochs=3)
    losses = pd.read_csv(run.losses("most-accepted"))
    assert losses.loc[losses["kept"], "accepted"].item() == losses["accepted"].max()
    assert losses.loc[losses["kept"], "valid_loss"].item() > losses["valid_loss"].min()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_moves_the_draft_and_records_its_parts(run, objective, monkeypatch):
    shown, trees = set(), Shard.trees
    monkeypatch.setattr(Shard, "trees", lambda *shard, **how: shown.add(how["beams"]) or trees(*shard, **how))
    run.align(objective, name=f"aligned-{objective}")
    losses = pd.read_csv(run.losses(f"aligned-{objective}"))
    assessed = ["accepted", "accepted_1", "accepted_2", "accepted_3", "overlap"]
    assert sorted(losses.columns) == sorted([*LOSSES, "alignment", "cross_entropy", "tvd", *assessed])
    assert losses["accepted"].item() == pytest.approx(losses[assessed[1:-1]].sum(axis=1).item())
    base, moved = (load_file(run.model(name) / "model.safetensors") for name in ("base", f"aligned-{objective}"))
    assert any((base[name] != weight).any() for name, weight in moved.items())
    assert shown == {objective == "treekd"}  # the beams that the search dropped teach it alone


def test_validation_asks_an_aligned_draft_what_it_asked_the_base_whether_or_not_prompts_are_trained_on(run):
    """The new item alone: a prompt holds training items, on which an overfitted draft looks better and better."""
    nothing = {"learning_rate": 1e-12, "weight_decay": 0, "assessed_users": 0}
    run.align("sft", name="hardly-trained", loss_on_prompt=True, **nothing)
    losses, base = pd.read_csv(run.losses("hardly-trained")), pd.read_csv(run.losses("base"))
    assert losses["valid_loss"][0] == pytest.approx(base.loc[base["kept"], "valid_loss"].item(), rel=1e-4)
    assert losses["cross_entropy"][0] == pytest.approx(losses["valid_loss"][0])
    assert "accepted" not in losses


def test_trajectories_of_other_users_are_refused(run):
    with pytest.raises(SpecbeamError, match=r"has no valid prompt here: recorded for other data\? Record again"):
        run.align("sft", name="never", shards=["train-0"], valid="train-0")
    assert not (run.folder / "never").exists()


def test_shards_of_different_widths_are_refused(run):
    shard = Shard.load(run.shard("train-1"))
    narrow = dataclasses.replace(shard, paths=shard.paths[:, :2], scores=shard.scores[:, :2])
    narrow.save(run.shard("narrow"))
    with pytest.raises(SpecbeamError, match=r"shards with \[2, 4\] trajectories a user: expected one width"):
        run.align("sft", name="never", shards=("train-0", "narrow"))


def test_every_user_width_and_verification_is_evaluated_once(evaluation):
    asked = {(row.plan, row.verification, row.K, row.N) for row in evaluation.itertuples()}
    ways = (("flat", "strict"), ("flat", "relaxed"), ("completed", "strict"))  # relaxed samples from flat drafts alone
    drafted = {(*way, k, n) for way in ways for k, n in ((1, 3), (1, 4), (4, 4))}  # N = 3 < K = 4
    assert asked == drafted | {("", "target", 1, 0), ("", "target", 4, 0)}
    assert evaluation["user"].nunique() == 7
    assert len(evaluation) == 7 * len(asked)


def test_strict_lists_have_the_recall_of_the_targets_own(evaluation):
    of = evaluation.set_index(["K", "user"])
    own = of[of["verification"] == "target"][["recall", "ndcg"]]
    for _, strict in of[of["verification"] == "strict"].groupby(["plan", "N"]):
        assert strict[["recall", "ndcg"]].equals(own.loc[strict.index])


def test_a_list_of_four_levels_takes_its_accepted_levels_and_one_bonus_a_round(evaluation):
    drafted = evaluation[evaluation["verification"] != "target"]
    assert (drafted["accepted"] + drafted["target_calls"] == 4).all()  # every pass adds its bonus level
    idle = drafted["target_calls"] - drafted["rounds"]  # passes that drafted nothing: the last, over one level only
    assert idle.isin([0, 1]).all()
    assert drafted.loc[drafted["verification"] == "strict", "same_as_target"].all()
    assert (drafted["first_accepted"] <= drafted["accepted"].clip(upper=3)).all()
    own = evaluation[evaluation["verification"] == "target"]
    assert (own["target_calls"] == 4).all()
    assert (own["nodes"] == 3 * own["K"]).all()
    assert not own[["accepted", "rounds", "draft_calls"]].any(axis=None)


def test_evaluating_twice_gives_the_same_records(run, evaluation):
    pd.testing.assert_frame_equal(run.evaluate("again"), evaluation)


def test_the_position_wise_constraint_still_finds_the_real_items(run):
    """Its lists may name items that do not exist, but those that do exist count."""
    catalogue = load(run.prepared).catalogue
    found = run.evaluate("position", decoding={"constraint": "position"}, measurement={
        "beam_widths": [60], "draft_beam_widths": [60], "users": 7, "verifications": ["strict"],
    })  # fmt: skip
    assert len(catalogue.distinct) > 60
    assert found["recall"].sum() > 0


def test_every_method_is_timed_for_every_user_and_repeat(timing):
    speculative = {("speculative", draft, rule, 4) for draft in ("sft", "seqkd") for rule in ("strict", "relaxed")}
    methods = {("generate", "", "", 0), ("plain", "", "", 0)} | speculative
    timed = timing[timing["timed"]]
    counts = Counter(zip(timed["method"], timed["objective"], timed["verification"], timed["N"], strict=True))
    assert counts == dict.fromkeys(methods, 2 * 2)
    assert (timed["seconds"] > 0).all()


def test_methods_interleave_so_that_a_slow_spell_of_the_machine_hits_all_alike(timing):
    timed = timing[timing["timed"]].reset_index(drop=True)
    names = timed["method"] + timed["objective"] + timed["verification"]
    rounds = [names[start : start + 6].tolist() for start in range(0, len(timed), 6)]
    assert all(len(set(names)) == 6 for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1  # not always in the same order
    assert (timed["repeat"].to_numpy() == np.tile(np.repeat([0, 1], 6), 2)).all()


def test_phases_come_from_a_separate_run_and_fit_into_its_time(timing):
    phases = timing[~timing["timed"]]
    assert set(phases["method"]) == {"plain", "speculative"}
    parts = phases[list(records.PHASES)]
    assert (parts.sum(axis=1) <= phases["seconds"]).all()
    assert (parts["target"] > 0).all()
    assert (phases.loc[phases["method"] == "plain", "draft"] == 0).all()
    assert (phases.loc[phases["method"] == "speculative", "draft"] > 0).all()


def test_records_say_what_they_were_measured_under(run, evaluation, timing):
    for frame, name in ((evaluation, "evaluation"), (timing, "timing")):
        assert set(frame["device"]) == {"cpu"}
        assert set(frame["seed"]) == {3}
        kept = records.settings_of(run.folder / f"{name}.parquet")
        assert kept["prompt"]["history"] == 6
        assert "alignment" not in kept
