"""Every config resolves to a plan, every name that a user can guess is a target, and mistakes stop with one message."""

import fcntl
import os
import time
from collections import Counter

import pytest

from specbeam import settings
from specbeam.cost.facts import Facts
from specbeam.cost.work import Workload
from specbeam.interactions.shop import generate_shop
from specbeam.stages import FIGURES

DRAFTS = {"train_draft", "align_draft", "evaluate_draft"}
STAGES = ("download", "prepare", "target", "trajectories", "alignment", "measurement", "figures")
FACTS = Facts(
    users=9, train=9, valid=9, test=9, items=9, interactions=90, alphabets=(3, 3, 3, 3), prefixes=(3, 6, 9, 9)
)
"""Of any data set: the number of jobs does not depend on them."""


@pytest.mark.parametrize(
    "config", ["config", "smoke", "beauty-small", "proof-beauty", "proof-games", "ablations", "paper"]
)
def test_each_config_resolves_to_every_stage(checkout, config):
    run = settings.load(checkout.folder / f"config/{config}.yaml")
    datasets, objectives, seeds = len(run.datasets), len(run.alignment.objectives), len(run.draft.seeds)
    planned = checkout.planned(config=config)

    assert planned["train_target"] == planned["prepare_dataset"] == datasets
    assert planned["record_trajectories"] == datasets * run.trajectories.shards
    assert planned["train_draft"] == datasets * seeds
    assert planned["align_draft"] == planned["evaluate_draft"] == datasets * objectives * seeds
    assert planned["time_methods"] == datasets * len(run.measurement.beam_widths)
    assert planned["plot_figure"] == datasets * len(FIGURES)
    assert planned["summarise_run"] == datasets
    assert planned.pop("write_page") == 1
    assert planned == Counter(job.rule for name in run.datasets for job in Workload(run, name, FACTS).jobs())


def test_real_data_are_downloaded_and_synthetic_data_generated(checkout):
    assert "download_source" in checkout.planned("beauty")
    assert "generate_synthetic" not in checkout.planned("games")
    assert "generate_synthetic" in checkout.planned("synthetic", config="beauty-small")


def test_a_data_set_is_computed_by_its_name_with_the_settings_at_hand(checkout):
    here, elsewhere = checkout.planned("synthetic"), checkout.planned("beauty")
    assert here.pop("generate_synthetic") == elsewhere.pop("download_source") == 1
    assert here == elsewhere


def test_own_data_are_a_target_that_starts_at_the_preparation(checkout):
    built_in = checkout.planned("synthetic")
    (checkout.folder / "mine").mkdir()
    for name in ("sequential_train.txt", "sequential_valid.txt", "sequential_test.txt", "identifiers.json"):
        (checkout.folder / "mine" / name).touch()
    own = checkout.planned("shop", "--config", 'own_data={"shop": {"sequences": "mine/"}}')
    assert built_in.pop("generate_synthetic") == 1
    assert own == built_in


def test_own_data_may_name_the_folder_of_a_download_which_is_then_fetched(checkout):
    planned = checkout.planned("again", "--config", 'own_data={"again": {"sequences": "results/downloads/beauty"}}')
    assert planned["download_source"] == planned["prepare_dataset"] == 1


def test_own_interactions_are_read_and_get_identifiers_before_the_preparation(checkout):
    generate_shop(checkout.folder / "shop", customers=50, items=50, seed=1)
    run = settings.load(checkout.folder / "config/my-shop.yaml")
    planned = checkout.planned("my_shop", config="my-shop")
    assert planned.pop("my_shop") == 1  # the target itself
    assert planned == Counter(job.rule for job in Workload(run, "my_shop", FACTS).jobs())
    for rule in ("read_interactions", "embed_items", "identify_items", "prepare_dataset"):
        assert planned[rule] == 1


def test_own_interactions_that_are_not_there_are_named(checkout):
    refused = checkout.snakemake("my_shop", config="my-shop")
    assert refused.returncode == 1
    assert "own_data.my_shop: shop/orders.csv: expected a file, or a pattern of some, found none" in refused.stdout


def test_codings_of_one_catalogue_share_its_download_and_learn_their_own_identifiers(checkout):
    run = settings.load(checkout.folder / "config/coding.yaml")
    learned = sum(own.identifiers is not None for own in run.own_data.values())
    planned = checkout.planned("coding", config="coding")
    assert planned["download_source"] == planned["plot_coding"] == 1
    assert planned["embed_items"] == planned["identify_items"] == learned == len(run.datasets) - 1
    assert planned["prepare_dataset"] == planned["evaluate_draft"] == planned["recommend_items"] == len(run.datasets)
    assert "time_methods" not in planned
    assert checkout.planned("download", config="coding") == {"download_source": 1}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("coding", "this config has one data set; config/coding.yaml has several codings"),
        ("identifiers", "no data set of this config learns identifiers; config/coding.yaml has several that do"),
    ],
)
def test_targets_for_codings_say_what_a_config_lacks_for_them(checkout, target, told):
    refused = checkout.snakemake(target, "--dry-run")
    assert refused.returncode == 1
    assert told in refused.stdout


@pytest.mark.parametrize("name", ["levels", "train_target", "all"])
def test_own_data_cannot_take_the_name_of_a_target_or_rule(checkout, name):
    refused = checkout.snakemake("--dry-run", "--config", f'own_data={{"{name}": {{"sequences": "mine"}}}}')
    assert refused.returncode == 1
    assert f"own_data: {name} is the name of a target or rule already: give this data set another one" in refused.stdout


FOLDER_TIME = ".snakemake_timestamp"
"""The file in a folder by which Snakemake knows when it was made."""


def aged(checkout, files):
    """Make empty files, each newer than the one before."""
    for age, file in enumerate(reversed(files)):
        path = checkout.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - age - 1,) * 2)


def test_other_weights_of_a_local_base_train_the_target_again(checkout):
    run = "results/smoke/shop"
    raw = [*(f"mine/sequential_{split}.txt" for split in ("train", "valid", "test")), "mine/identifiers.json"]
    made = [f"{run}/{part}" for part in ("prepared/" + FOLDER_TIME, "target/model/" + FOLDER_TIME, "target/loss.csv")]
    aged(checkout, [*raw, "base/model.safetensors", *made])

    def planned() -> set[str]:
        own = 'own_data={"shop": {"sequences": "mine"}}'
        return set(checkout.planned(f"{run}/target/model", "--rerun-triggers", "mtime", "--config", own))

    sizes = "{hidden_size: 32, layers: 2, heads: 2, intermediate_size: 64}"
    with checkout.edit("config/smoke.yaml", sizes, "{base: base}"):
        assert planned() == set()
        (checkout.folder / "base/model.safetensors").touch()
        assert planned() == {"prepare_dataset", "train_target"}


def test_other_weights_of_a_local_encoder_embed_again_and_lost_embeddings_are_missed(checkout):
    raw = "results/smoke/shop/raw"
    files = [f"mine/sequential_{split}.txt" for split in ("train", "valid", "test")]
    files += ["encoder/config.json", "encoder/model.safetensors", f"{raw}/embeddings.safetensors"]
    files += [f"{raw}/identifiers.{form}" for form in ("json", "csv", "txt")]
    aged(checkout, files)

    def embeds() -> bool:
        identifiers = '{"embeddings": {"from": "text", "model": "encoder"}}'
        own = f'own_data={{"shop": {{"sequences": "mine", "identifiers": {identifiers}}}}}'
        return "embed_items" in checkout.planned("shop", "--rerun-triggers", "mtime", "--config", own)

    assert not embeds()
    (checkout.folder / raw / "embeddings.safetensors").rename(checkout.folder / "aside")
    assert embeds()
    (checkout.folder / "aside").rename(checkout.folder / raw / "embeddings.safetensors")
    (checkout.folder / "encoder/model.safetensors").touch()
    assert embeds()


def test_one_objective_needs_only_its_own_draft(checkout):
    planned = checkout.planned("atspeed_s")
    assert planned["align_draft"] == planned["evaluate_draft"] == 1
    assert "time_methods" not in planned


@pytest.mark.parametrize("distil", [False, True])
def test_the_first_draft_needs_the_target_only_to_distil_it(checkout, distil):
    draft = "results/smoke/synthetic/drafts/base/seed-1/model"
    planned = checkout.planned(draft, "--config", f"draft={{training: {{distil: {str(distil).lower()}}}}}")
    assert planned["train_draft"] == 1
    assert ("train_target" in planned) == distil


def test_a_first_draft_cut_from_the_target_needs_the_target(checkout):
    with checkout.edit("config/smoke.yaml", "{hidden_size: 16, layers: 1, heads: 2,", "{from_target: [0]} #"):
        assert checkout.planned("results/smoke/synthetic/drafts/base/seed-1/model")["train_target"] == 1


def test_drafts_are_made_once_a_seed_and_all_else_once(checkout):
    once, thrice = checkout.planned(), checkout.planned("--config", "draft={seeds: [1, 5, 9]}")
    assert {rule for rule, jobs in thrice.items() if jobs == 3 * once[rule]} == DRAFTS
    assert {rule: jobs for rule, jobs in thrice.items() if rule not in DRAFTS} == {
        rule: jobs for rule, jobs in once.items() if rule not in DRAFTS
    }


def test_one_figure_needs_only_what_it_shows(checkout):
    planned = checkout.planned("accepted")
    assert planned["plot_figure"] == 1
    assert "time_methods" not in planned
    assert "recommend_items" not in planned


def test_list_explains_every_target_and_rule_in_a_line(checkout):
    listed = checkout.snakemake("--list").stdout
    names = {
        *STAGES,
        *FIGURES,
        "all",
        "synthetic",
        "beauty",
        "games",
        "sft",
        "atspeed_r",
        "train_target",
        "align_draft",
    }
    lines = [line for line in listed.splitlines() if not line.startswith("Using")]
    assert names <= {line.split()[0] for line in lines}
    for line in lines:
        assert line.endswith(".)"), f"no docstring: {line}"


def test_a_config_file_is_a_whole_run_and_is_not_merged_with_the_default(checkout):
    (checkout.folder / "config/bare.yaml").write_text("run: bare\nmeasurement: {beam_widths: [7]}\n")
    checkout.edit("config/config.yaml", "shards: 2", "shards: 9").__enter__()
    planned = checkout.planned(config="bare")
    assert planned["time_methods"] == 1
    assert planned["record_trajectories"] == settings.TrajectorySettings().shards


def test_a_key_given_on_the_command_line_overrides_the_config(checkout):
    assert (
        checkout.planned(
            "--config", "measurement={beam_widths: [5, 10, 20], draft_beam_widths: [20], tree_nodes: [60]}"
        )["time_methods"]
        == 3
    )


def test_each_mistake_in_the_config_is_named_with_what_is_allowed(checkout):
    path = checkout.folder / "config/smoke.yaml"
    path.write_text(path.read_text().replace("datasets: [synthetic]", "datasets: [books]") + "\nmesurement: {}\n")
    run = checkout.snakemake("--dry-run")
    assert run.returncode == 1
    assert "Traceback" not in run.stdout
    assert "config/smoke.yaml: 2 bad setting(s)" in run.stdout
    assert "datasets: expected names among synthetic, beauty, games, or others" in run.stdout
    assert "mesurement: unknown key; allowed here: run, seed," in run.stdout


@pytest.mark.parametrize("name", ["books", "atspeed-s", "align"])
def test_an_unknown_target_is_named_with_the_way_to_the_known_ones(checkout, name):
    run = checkout.snakemake(name)
    assert run.returncode == 1
    assert f"there is no target {name}; `snakemake --list` shows what can be asked for" in run.stdout


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_lives(checkout):
    folder = checkout.folder / "results/smoke"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = checkout.snakemake("download")
    assert run.returncode == 1
    assert run.stdout.count("another snakemake is running there") == 1
    assert not (folder / "synthetic").exists()


def test_a_key_that_is_there_twice_in_a_config_stops_with_its_line(checkout):
    config = checkout.folder / "config/smoke.yaml"
    config.write_text(f"{config.read_text()}\nrun: other\n")
    run = checkout.snakemake("--dry-run")
    assert run.returncode == 1
    assert "config/smoke.yaml: not valid YAML ('run' is there twice" in run.stdout
