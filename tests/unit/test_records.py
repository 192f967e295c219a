"""Record files: what fits the schema comes back unchanged with its environment; all else is refused by name."""

import json
import subprocess
import sys

import pandas as pd
import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.measurement import records
from specbeam.settings import Objective, Verification


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    generated.fix_environment(monkeypatch)


@pytest.fixture(params=["evaluation", "timing"])
def sample(request):
    frame = generated.evaluation("sft", users=3) if request.param == "evaluation" else generated.timing(5, users=2)
    return request.param, frame


def write(frame, path, kind, **changes):
    records.write(frame, path, kind=kind, settings={"seed": 1}, **{**generated.STAMP, **changes})


def test_what_is_written_comes_back_with_its_environment(sample, tmp_path):
    kind, frame = sample
    write(frame, tmp_path / "a.parquet", kind)
    came = records.read([tmp_path / "a.parquet"], kind)
    pd.testing.assert_frame_equal(came[list(frame.columns)], frame, check_column_type=False)
    assert set(came["cpu"]) == {"A Processor 9000"}
    assert set(came["threads"]) == {2}
    assert json.loads(came["versions"].iloc[0])["torch"] == "2.13.0"
    assert not came["dirty"].any()


def test_the_order_of_columns_does_not_matter(sample, tmp_path):
    kind, frame = sample
    write(frame[frame.columns[::-1]], tmp_path / "a.parquet", kind)
    came = records.read([tmp_path / "a.parquet"], kind)
    assert came.columns.tolist() == [*records.COLUMNS[kind], *records.ENVIRONMENT]


def test_settings_and_kind_travel_in_the_file(sample, tmp_path):
    kind, frame = sample
    write(frame, tmp_path / "a.parquet", kind)
    assert records.settings_of(tmp_path / "a.parquet") == {"seed": 1}
    assert records.kind_of(tmp_path / "a.parquet") == kind


def test_the_same_records_give_the_same_bytes(sample, tmp_path):
    kind, frame = sample
    for name in ("a", "b"):
        write(frame, tmp_path / f"{name}.parquet", kind)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_missing_and_unknown_columns_are_named_together(sample, tmp_path):
    kind, frame = sample
    with pytest.raises(SpecbeamError, match=r"missing column\(s\) user; unknown or repeated column\(s\) usr"):
        write(frame.rename(columns={"user": "usr"}), tmp_path / "a.parquet", kind)
    assert not (tmp_path / "a.parquet").exists()


def test_an_ill_typed_column_is_named(sample, tmp_path):
    kind, frame = sample
    with pytest.raises(SpecbeamError, match="column user: expected int64"):
        write(frame.assign(user="someone"), tmp_path / "a.parquet", kind)


def test_an_empty_value_is_refused(sample, tmp_path):
    kind, frame = sample
    users = frame["user"].astype("Int64")
    users.iloc[0] = pd.NA
    with pytest.raises(SpecbeamError, match="column user: 1 empty value"):
        write(frame.assign(user=users), tmp_path / "a.parquet", kind)


def test_whole_numbers_held_as_floats_are_taken_and_fractions_refused(tmp_path):
    frame = generated.evaluation("sft", users=3)
    write(frame.assign(nodes=frame["nodes"].astype(float)), tmp_path / "a.parquet", "evaluation")
    assert records.read([tmp_path / "a.parquet"], "evaluation")["nodes"].dtype == "int64"
    with pytest.raises(SpecbeamError, match="column nodes"):
        write(frame.assign(nodes=0.5), tmp_path / "a.parquet", "evaluation")


def test_an_unknown_verification_is_refused(sample, tmp_path):
    kind, frame = sample
    with pytest.raises(SpecbeamError, match=r"verification: got \['loose'\], allowed \["):
        write(frame.assign(verification="loose"), tmp_path / "a.parquet", kind)


def test_a_frame_without_rows_is_refused(sample, tmp_path):
    kind, frame = sample
    with pytest.raises(SpecbeamError, match="no rows"):
        write(frame.iloc[:0], tmp_path / "a.parquet", kind)


def test_a_timed_row_with_phases_is_refused(tmp_path):
    frame = generated.timing(5, users=2)
    with pytest.raises(SpecbeamError, match="timers never sit inside a timed region"):
        write(frame.assign(timed=True), tmp_path / "a.parquet", "timing")
    with pytest.raises(SpecbeamError, match="timers never sit inside a timed region"):
        write(frame.assign(timed=False), tmp_path / "a.parquet", "timing")


def test_a_measurement_that_occurs_twice_is_refused(sample, tmp_path):
    kind, frame = sample
    with pytest.raises(SpecbeamError, match=r"1 measurement\(s\) occur twice"):
        write(pd.concat([frame, frame.iloc[:1]]), tmp_path / "a.parquet", kind)
    write(frame, tmp_path / "a.parquet", kind)
    with pytest.raises(SpecbeamError, match="occur twice"):
        records.read([tmp_path / "a.parquet", tmp_path / "a.parquet"], kind)


def test_files_are_read_into_one_frame(tmp_path):
    for objective in ("sft", "wordkd"):
        write(generated.evaluation(objective, users=3), tmp_path / f"{objective}.parquet", "evaluation")
    came = records.read([tmp_path / "wordkd.parquet", tmp_path / "sft.parquet"], "evaluation")
    assert list(came["objective"].unique()) == ["wordkd", "sft"]


def test_reading_says_what_is_wrong_with_a_file(tmp_path):
    write(generated.timing(5, users=2), tmp_path / "timing.parquet", "timing")
    generated.ranking().to_parquet(tmp_path / "other.parquet")
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and no more")
    for name, message in (
        ("absent.parquet", "expected a record file here, found none"),
        ("half.parquet", "got no parquet file"),
        ("other.parquet", "not written by specbeam"),
        ("timing.parquet", "expected evaluation records, this file holds timing records"),
    ):
        with pytest.raises(SpecbeamError, match=message):
            records.read([tmp_path / name], "evaluation")
    with pytest.raises(SpecbeamError, match="at least one file"):
        records.read([], "evaluation")


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(SpecbeamError, match="unknown kind of records 'feelings'"):
        write(generated.ranking(), tmp_path / "a.parquet", "feelings")


def test_verifications_of_the_settings_can_be_recorded():
    assert set(Verification.__args__) < set(records.ALLOWED["evaluation"]["verification"])
    assert set(Verification.__args__) < set(records.ALLOWED["timing"]["verification"])
    assert set(generated.OBJECTIVES) == set(Objective.__args__)


def test_records_and_figures_import_without_torch():
    names = ["specbeam.measurement.records", "specbeam.figures.summary"]
    names += [f"specbeam.figures.{name}" for name in ("speedup", "accepted", "recall", "phases", "loss")]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
