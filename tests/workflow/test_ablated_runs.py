"""Variants of a run in the workflow: they make what they change, take the rest from the run, and do not touch it."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

VARIANT = "alignment.objectives.atspeed_s.alpha: 0.3"
DRAFTS = ("train_draft", "align_draft", "evaluate_draft")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (VARIANT, (1, 2, 2)),  # one objective: the run's and the variant's
        ("decoding.draft_length: 2", (1, 6, 12)),
        ("measurement.draft_beam_widths: [9]", (1, 6, 12)),
        ("draft.model.intermediate_size: 16", (2, 12, 12)),
    ],
)
def test_a_variant_makes_only_what_it_changes(checkout, overrides, expected):
    with checkout.edit("config/smoke.yaml", VARIANT, overrides):
        planned = checkout.planned("ablations")
    assert tuple(planned[rule] for rule in DRAFTS) == expected
    assert planned["plot_ablations"] == planned["train_target"] == 1
    assert "time_methods" not in planned


def test_variants_are_no_part_of_an_ordinary_run(checkout):
    assert "plot_ablations" not in checkout.planned()


def test_a_config_without_ablations_says_where_there_are_some(checkout):
    run = checkout.snakemake("ablations", "--dry-run", config="config")
    assert run.returncode == 1
    assert "this config has no section `ablations`; config/ablations.yaml has one" in run.stdout


def test_a_bad_variant_stops_with_its_name(checkout):
    with checkout.edit("config/smoke.yaml", VARIANT, "trajectories.beam_width: 3"):
        run = checkout.snakemake("--dry-run")
    assert run.returncode == 1
    assert "config/smoke.yaml: ablations.alpha.0.3: trajectories.beam_width cannot vary" in run.stdout


@pytest.fixture(scope="module")
def varied(finished, tmp_path_factory):
    """A copy of the finished run with its ablations."""
    place = replace(finished, folder=tmp_path_factory.mktemp("varied") / "checkout")
    shutil.copytree(finished.folder, place.folder, symlinks=True)
    run = place.snakemake("ablations")
    assert run.returncode == 0, run.stdout
    return place


@pytest.mark.slow
def test_the_figures_table_has_the_run_and_every_variant(varied):
    table = pd.read_csv(varied.folder / "results/smoke/synthetic/figures/ablations.csv", keep_default_na=False)
    assert table["label"].astype(str).tolist() == ["", "0.3", "0.7"]
    assert table["is_run"].tolist() == [True, False, True]
    made = varied.folder / "results/smoke/synthetic/ablations/alpha"
    assert [path.name for path in made.iterdir()] == ["0.3"]  # 0.7 is the run's own


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("run: smoke", "run: smoke", {}),
        (VARIANT, "alignment.objectives.atspeed_s.alpha: 0.4", {"align_draft": 1, "evaluate_draft": 1}),
        ("atspeed_s.alpha: 0.7}", "atspeed_s.alpha: 0.8}", {"align_draft": 1, "evaluate_draft": 1}),
        ("atspeed_s: {}", "atspeed_s: {alpha: 0.5}", {"align_draft": 2, "evaluate_draft": 2}),  # and 0.7 is its own now
        ("users: 8", "users: 9", {"evaluate_draft": 2}),
    ],
)
def test_a_changed_variant_is_made_again_and_no_other(varied, old, new, expected):
    with varied.edit("config/smoke.yaml", old, new):
        assert varied.planned("ablations") == {**expected, **({"plot_ablations": 1} if expected else {})}


@pytest.mark.slow
def test_a_changed_variant_leaves_the_run_as_it_is(varied):
    with varied.edit("config/smoke.yaml", VARIANT, "decoding.draft_length: 1"):
        assert varied.planned() == {}
