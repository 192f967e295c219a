"""`specbeam diff`: what it says of two runs whose differences are known."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner

import generated_records as generated
from specbeam import cli, files, parquet
from specbeam.comparison import movement, report
from specbeam.errors import SpecbeamError
from specbeam.measurement import records
from specbeam.settings import Settings
from specbeam.stages import stage_values

OBJECTIVES = ("sft", "atspeed_s")
WIDTHS = (5, 20)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    generated.fix_environment(monkeypatch)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run without models: records, rankings, one shard, and the provenance of an alignment."""
    folder = tmp_path / "results/first"
    dataset = generated.write_run(folder / "synthetic", objectives=OBJECTIVES, beam_widths=WIDTHS)
    for name in ("trajectories/train-0.safetensors", "trajectories/valid.safetensors"):
        (dataset / name).parent.mkdir(exist_ok=True)
        save_file({"beams": np.arange(6)}, dataset / name, metadata={"format": "1", "over": "children"})
    (dataset / "target/model").mkdir()
    (dataset / "summary.csv").touch()
    made = generated.PROVENANCE | {"seeds": {"draft": 1}, "threads": 1, "host": "one"}
    asked = {"alignment": {"objectives": {name: {} for name in OBJECTIVES}}, "trajectories": {"shards": 1}}
    asked |= {"run": "first", "datasets": ["synthetic"], "measurement": {"beam_widths": list(WIDTHS)}}
    settings = Settings.model_validate(asked)
    write_config(folder, settings.model_dump(mode="json"))
    made |= {"options": {"objective": "sft"}, "settings": stage_values(settings, "align", objective="sft")}
    files.write_json(dataset / "drafts/sft/seed-1/model.provenance.json", made)
    return folder


@pytest.fixture
def other(run) -> Path:
    """A copy of the run."""
    return shutil.copytree(run, run.with_name("second"))


def write_config(folder: Path, values: dict) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(values))


def change(folder: Path, path: str, value) -> None:
    """Set one setting of the run, by its dotted path."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    *parents, last = path.split(".")
    section = config
    for part in parents:
        section = section[part]
    section[last] = value
    write_config(folder, config)


def rewrite(path: Path, kind: str, edit, **stamp) -> pd.DataFrame:
    """Write a record file again with its columns edited."""
    frame = edit(records.read([path], kind)[list(records.COLUMNS[kind])])
    records.write(frame, path, kind=kind, settings=records.settings_of(path), **{**generated.STAMP, **stamp})
    return frame


def numbers(found: dict, metric: str) -> pd.DataFrame:
    moved = found["movement"]
    return moved[(moved["metric"] == metric) & (moved["verification"] == "strict") & (moved["objective"] == "sft")]


def test_a_run_and_its_copy_do_not_differ(run, other):
    found = report.compare(run, other)
    assert not found["settings"]
    assert not found["made by"]
    assert not found["other code"]
    assert found["problems"] == {"A": [], "B": []}
    assert set(found["movement"]["change"]) == {0}
    text = report.text(found)
    for line in (
        "settings: no difference",
        "made by: no difference",
        "stages made by different code: none",
        "trajectories: 2 of 2 files equal, bit for bit",
        "strict lists that are their target's own: A: 240 of 240, B: 240 of 240",
    ):
        assert line in text.splitlines()
    assert text.splitlines()[-1].endswith(" numbers of both runs at the largest K and N moved")
    assert text.splitlines()[-1].startswith("0 of ")


def test_another_setting_machine_code_or_seed_is_named_with_both_values(run, other):
    change(other, "alignment.objectives.atspeed_s.alpha", 0.3)
    path = other / "synthetic/drafts/sft/seed-1/model.provenance.json"
    made = files.read_json(path)
    made |= {"code": "abd", "commit": "f" * 40, "dirty": True, "host": "two", "cpu": "Another", "seeds": {"draft": 2}}
    files.write_json(path, made | {"versions": made["versions"] | {"torch": "2.14.0"}})
    found = report.compare(run, other)
    assert found["settings"] == {"alignment.objectives.atspeed_s.alpha": (0.7, 0.3)}
    assert found["made by"] == {
        "commit": (["0123456789ab"], ["0123456789ab", "ffffffffffff and changes"]),
        "torch": (["2.13.0"], ["2.13.0", "2.14.0"]),
        "cpu": (["A Processor 9000"], ["A Processor 9000", "Another"]),
        "host": (["one"], ["two"]),
        "seed, draft": (["1"], ["2"]),
    }
    assert found["other code"] == ["align"]


def test_results_of_other_settings_than_the_config_says_are_told(run, other):
    change(other, "alignment.training.epochs", 7)
    problems = report.compare(run, other)["problems"]
    assert problems == {"A": [], "B": ["align: has results of other settings than config.yaml says"]}


def test_known_movement_of_acceptance_is_found_with_a_paired_interval(run, other):
    path = other / "synthetic/measurement/evaluation/sft/seed-1.parquet"
    strict = "verification == 'strict' and K == 20"

    def one_call_more(frame):
        every_third = frame.eval(strict) & (frame["user"] % 3 == 0)
        return frame.assign(target_calls=frame["target_calls"] + every_third)

    rewrite(path, "evaluation", one_call_more)
    found = report.compare(run, other)
    calls = numbers(found, "calls").set_index("K")
    assert calls.loc[20, "change"] == pytest.approx(1 / 3)
    assert 0.15 < calls.loc[20, "low"] < 1 / 3 < calls.loc[20, "high"] < 0.5
    assert calls.loc[5, ["change", "low", "high"]].tolist() == [0, 0, 0]
    assert calls.loc[20, "users"] == 60
    assert set(numbers(found, "AS")["change"]) == {0}
    (line,) = [line for line in report.text(found).splitlines() if line.startswith("calls@20")]
    assert line.startswith("calls@20 sft strict flat")
    assert "+0.333" in line
    assert line.endswith("*")


def test_only_users_that_both_measured_are_compared(run, other):
    path = other / "synthetic/measurement/evaluation/sft/seed-1.parquet"
    rewrite(path, "evaluation", lambda frame: frame[frame["user"] < 20])
    assert set(numbers(report.compare(run, other), "calls")[["users", "change"]].itertuples(index=False)) == {(20, 0)}


def test_without_common_users_there_is_no_interval(run, other):
    path = other / "synthetic/measurement/evaluation/sft/seed-1.parquet"
    rewrite(path, "evaluation", lambda frame: frame.assign(user=frame["user"] + 1000))
    calls = numbers(report.compare(run, other), "calls")
    assert calls[["low", "high", "users"]].isna().all(axis=None)
    assert (calls["change"] == 0).all()


def test_twice_the_time_is_half_the_speedup(run, other):
    def slower(frame):
        return frame.assign(seconds=np.where(frame["objective"] == "sft", 2, 1) * frame["seconds"])

    for width in WIDTHS:
        rewrite(other / f"synthetic/measurement/timing/K{width}.parquet", "timing", slower)
    found = report.compare(run, other)
    for baseline in ("plain", "generate"):
        rows = numbers(found, f"vs {baseline}")
        assert rows["B"].tolist() == pytest.approx((rows["A"] / 2).tolist())
        assert (rows["high"] < 0).all()


def test_rankings_are_compared_without_interval(run, other):
    path = other / "synthetic/target/ranking.csv"
    table = pd.read_csv(path)
    table.assign(recall=table["recall"] + 0.01 * (table["recommender"] == "target")).to_csv(path, index=False)
    moved = movement.rankings(run / "synthetic", other / "synthetic").set_index(["metric", "objective", "K"])
    assert moved.loc[("recall", "target", 20), "change"] == pytest.approx(0.01)
    assert moved.loc[("recall", "sasrec", 20), "change"] == 0
    assert moved["low"].isna().all()


def test_a_changed_shard_is_told(run, other):
    save_file({"beams": np.arange(1, 7)}, other / "synthetic/trajectories/valid.safetensors", {"format": "1"})
    assert "trajectories: 1 of 2 files equal, bit for bit" in report.text(report.compare(run, other))


@pytest.mark.parametrize(
    ("values", "metadata", "equal"),
    [
        ([1, 2], {"b": "2", "a": "1"}, True),
        ([1, 3], {"a": "1", "b": "2"}, False),
        ([1, 2], {"a": "1", "b": "3"}, False),
        ([1, 2, 3], {"a": "1", "b": "2"}, False),
    ],
)
def test_safetensors_are_equal_whatever_the_order_of_their_metadata(tmp_path, values, metadata, equal):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    write_safetensors(one, [1, 2], {"a": "1", "b": "2"})
    write_safetensors(other, values, metadata)
    assert report.equal_files(one, other) == equal


def write_safetensors(path: Path, values: list[int], metadata: dict) -> None:
    """The file format by hand, since the library chooses the order of metadata itself."""
    tensor = {"dtype": "I64", "shape": [len(values)], "data_offsets": [0, 8 * len(values)]}
    header = json.dumps({"__metadata__": metadata, "x": tensor}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.array(values, dtype=np.int64).tobytes())


def test_what_only_one_run_has_is_told(run, other):
    change(other, "datasets", ["synthetic", "games"])
    change(run, "alignment.objectives.treekd", {})
    text = report.text(report.compare(run, other))
    assert "datasets only in B: games" in text
    assert "objectives only in A: treekd" in text
    assert "B: games/target/model is missing" in text


def test_an_unfinished_run_says_what_is_missing_and_the_rest_is_compared(run, other):
    (other / "synthetic/measurement/timing/K20.parquet").unlink()
    (other / "synthetic/measurement/evaluation/sft/seed-1.parquet").unlink()
    found = report.compare(run, other)
    assert found["problems"]["B"] == [
        "synthetic/measurement/evaluation/sft/seed-1.parquet is missing",
        "synthetic/measurement/timing/K20.parquet is missing",
    ]
    assert numbers(found, "calls")["B"].isna().all()
    assert "more are of one run alone" in report.text(found)
    assert set(found["movement"].query("objective == 'atspeed_s' and metric == 'calls'")["change"]) == {0}


def test_records_of_another_version_are_told_and_the_rest_is_compared(run, other):
    path = other / "synthetic/measurement/timing/K20.parquet"
    parquet.write(pq.read_table(path).drop_columns(["repeat"]), path)
    files.write_json(other / "synthetic/drafts/sft/seed-1/model.provenance.json", {"format": 99})
    found = report.compare(run, other)
    told = "\n".join(found["problems"]["B"])
    assert "timing records are not compared" in told
    assert "missing column(s) repeat" in told
    assert "model.provenance.json: expected format 1, got 99" in told
    assert set(found["movement"]["metric"]) == {"AS", "calls", "recall", "ndcg"}


def test_runs_are_found_by_name_and_mistakes_are_told(run, other, monkeypatch):
    monkeypatch.chdir(run.parents[1])
    assert report.compare(Path("first"), Path("results/second"))["A"] == "results/first"
    with pytest.raises(SpecbeamError, match=r"third: expected the folder of a run.* there are: first, second"):
        report.compare(Path("first"), Path("third"))
    with pytest.raises(SpecbeamError, match="expected two runs, got this one twice"):
        report.compare(Path("first"), run)


def test_the_command_prints_text_or_json_and_writes_all_numbers(run, other, tmp_path):
    line = ["diff", str(run), str(other)]
    shown = CliRunner().invoke(cli.app, [*line, "--output", str(tmp_path / "moved.csv")])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == report.text(report.compare(run, other))
    written = json.loads(CliRunner().invoke(cli.app, [*line, "--json"]).stdout)
    table = pd.read_csv(tmp_path / "moved.csv", keep_default_na=False, na_values=[""])
    assert len(written["movement"]) == len(table)
    assert list(table)[1:] == movement.COLUMNS
