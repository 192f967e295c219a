"""Two runs of the same code and settings on one machine give the same results, bit for bit."""

import json
from pathlib import Path

import pytest

from checkouts import copied
from specbeam.comparison.report import equal_files
from specbeam.provenance import SUFFIX

pytestmark = pytest.mark.slow

DATASET = Path("results/smoke/synthetic")
ASKED = (
    "trajectories",
    f"{DATASET}/target/lists.parquet",
    f"{DATASET}/measurement/evaluation/atspeed_s/seed-1.parquet",
)
TELLING_TIME = ("logs", "benchmarks")


@pytest.fixture(scope="module")
def repeated(finished, tmp_path_factory):
    """The run again, without what is timed, drawn, or of other objectives."""
    place = copied(tmp_path_factory.mktemp("repeated"))
    run = place.snakemake(*ASKED)
    assert run.returncode == 0, run.stdout
    return place


def results(folder: Path) -> set[str]:
    """Files below the data set's folder, without those that tell times and hosts."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if path.parts[0] not in TELLING_TIME and not path.name.endswith(SUFFIX)}


def test_models_trajectories_lists_and_acceptance_are_the_same_bit_for_bit(finished, repeated):
    first, second = finished.folder / DATASET, repeated.folder / DATASET
    made = results(second)
    expected = {
        "target/model/model.safetensors",
        "target/lists.parquet",
        "drafts/atspeed_s/seed-1/model/model.safetensors",
    }
    expected |= {f"trajectories/{name}.safetensors" for name in ("train-0", "train-1", "valid")}
    expected |= {f"measurement/{kind}/atspeed_s/seed-1.parquet" for kind in ("evaluation", "trees")}
    assert expected <= made
    assert {path for path in made if not equal_files(first / path, second / path)} == set()


def test_every_result_says_what_made_it_and_equal_jobs_say_the_same(finished, repeated):
    mine = {
        path.relative_to(repeated.folder): json.loads(path.read_text()) for path in repeated.folder.rglob(f"*{SUFFIX}")
    }
    stages = ["align", "evaluate", "generate", "infer_target", "prepare", "record", "record", "record_validation"]
    assert sorted(made["stage"] for made in mine.values()) == [*stages, "train_draft", "train_target"]
    for path, made in mine.items():
        other = json.loads((finished.folder / path).read_text())
        changing = {"start", "prepared", "seconds", "cpu_seconds", "memory_mb"}
        assert {name for name in made if made[name] != other[name]} <= changing, path


def test_the_whole_run_left_provenance_beside_every_result(finished):
    stages = {json.loads(path.read_text())["stage"] for path in (finished.folder / DATASET).rglob(f"*{SUFFIX}")}
    assert stages >= {"rate_baselines", "time", "speedup", "accepted", "trees", "recall", "phases", "loss", "summarise"}
