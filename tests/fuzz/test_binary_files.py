"""Parquet and safetensors files that were damaged or made by another program: the very content, or refused by name."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

import generated_records as generated
from bad_input import cases, damaged, read
from specbeam import sealed
from specbeam.checkpoints import LAST, Checkpoints
from specbeam.data.sequences import load_users, save_users
from specbeam.errors import SpecbeamError
from specbeam.measurement import records
from specbeam.teacher import Shard

USERS = pd.DataFrame(
    {"user": range(40), "train": [[n, 2 * n] for n in range(40)], "valid": [[n] for n in range(40)], "test": [[]] * 40}
)
RECORDS = generated.evaluation("sft", beam_widths=(1, 3), users=5)
TENSORS = {"weight": torch.arange(12).reshape(3, 4) / 7, "steps": torch.tensor(3), "none": torch.zeros(0)}
JOB = {"data": "a", "code": "b"}
PROGRESS = {"epoch": 2, "finished": False, "rows": [{"epoch": 1, "loss": 0.5}]}


def content_of(tmp_path_factory, write) -> bytes:
    path = tmp_path_factory.mktemp("content") / "file"
    write(path)
    return path.read_bytes()


def write_records(path):
    records.write(RECORDS, path, kind="evaluation", settings={"seed": 1, "users": [1, 2]}, **generated.STAMP)


def some_shard() -> Shard:
    numbers = np.arange(24, dtype=np.int32)
    return Shard(
        users=np.array([3, 5]), paths=numbers.reshape(2, 3, 4), scores=np.ones((2, 3), np.float32),
        truth=numbers[:8].reshape(2, 4), beams=numbers[:18].reshape(2, 3, 3), log_p=np.ones(9, np.float16),
        offsets=np.array([0, 4, 9]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What is damaged: the bytes of good files."""
    with pytest.MonkeyPatch.context() as patch:
        generated.fix_environment(patch)
        found = {
            "users": content_of(tmp_path_factory, lambda path: save_users(USERS, path)),
            "records": content_of(tmp_path_factory, write_records),
            "shard": content_of(tmp_path_factory, some_shard().save),
            "tensors": content_of(tmp_path_factory, lambda path: sealed.write(path, TENSORS, {"of": "tests"})),
        }
    return found.get


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "file"


@cases(700)
@given(data=st.data())
def test_damaged_users(written, path, data):
    path.write_bytes(data.draw(damaged(written("users"))))
    users = read("users", lambda: load_users(path), names=path)
    if users is not None:
        pd.testing.assert_frame_equal(users, USERS)


@cases(700)
@given(data=st.data())
def test_damaged_records(written, path, data):
    path.write_bytes(data.draw(damaged(written("records"))))
    found = read("records", lambda: (records.read([path], "evaluation"), records.settings_of(path)), names=path)
    if found is not None:
        pd.testing.assert_frame_equal(found[0][list(RECORDS)], RECORDS, check_column_type=False)
        assert found[1] == {"seed": 1, "users": [1, 2]}


@cases(800)
@given(data=st.data())
def test_damaged_shards(written, path, data):
    path.write_bytes(data.draw(damaged(written("shard"))))
    shard = read("shards", lambda: Shard.load(path), names=path)
    if shard is not None:
        for name, value in vars(some_shard()).items():
            np.testing.assert_array_equal(getattr(shard, name), value)


@cases(800)
@given(data=st.data())
def test_damaged_tensors(written, path, data):
    path.write_bytes(data.draw(damaged(written("tensors"))))
    found = read("tensors", lambda: sealed.read(path), names=path)
    if found is not None:
        assert found[1] == {"of": "tests"}
        assert found[0].keys() == TENSORS.keys()
        assert all(torch.equal(found[0][name], tensor) for name, tensor in TENSORS.items())


@cases(200)
@given(data=st.data())
def test_damaged_checkpoints(path, data, caplog):
    folder = path.parent / "checkpoint"
    checkpoints = Checkpoints(folder, JOB, minutes=0, writes=True, name="tests")
    checkpoints.write_best(1, TENSORS)
    checkpoints.write({"moments/weight": TENSORS["weight"]}, PROGRESS, best_epoch=1)
    wrong = folder / data.draw(st.sampled_from([LAST, "best-1.safetensors"]))
    wrong.write_bytes(data.draw(damaged(wrong.read_bytes())))
    caplog.clear()
    saved = read("checkpoints", checkpoints.read)
    if saved is None:
        assert f"{folder} cannot be read" in caplog.text
    else:
        assert saved.progress == PROGRESS
        assert torch.equal(saved.tensors["moments/weight"], TENSORS["weight"])
        assert all(torch.equal(saved.best[name], tensor) for name, tensor in TENSORS.items())


def test_a_best_epoch_that_another_job_left_is_not_taken(tmp_path, caplog):
    for job in ({"data": "other"}, JOB):
        checkpoints = Checkpoints(tmp_path / job["data"], job, minutes=0, writes=True, name="tests")
        checkpoints.write_best(1, TENSORS)
        checkpoints.write({}, PROGRESS, best_epoch=1)
    (tmp_path / "other" / "best-1.safetensors").replace(tmp_path / "a" / "best-1.safetensors")
    assert checkpoints.read() is None
    assert "best-1.safetensors: is of another job" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda users: users.drop(columns="test"), "found user: int64"),
        (lambda users: users.rename(columns={"test": "tests"}), "tests: "),
        (lambda users: users.assign(user=users["user"].astype(str)), "found user: "),
        (lambda users: users.assign(user=-1), "column user: expected ids from 0 on"),
        (lambda users: users.assign(valid=[[-1]] * 40), "column valid: expected ids from 0 on"),
        (lambda users: users.assign(valid=[[None, 1]] * 40), "column valid: expected ids from 0 on"),
        (lambda users: users.assign(valid=[None, [1]] * 20), "column valid: expected ids from 0 on"),
    ],
)
def test_users_that_another_program_wrote_are_refused(path, change, message):
    table = pa.Table.from_pandas(change(USERS), preserve_index=False)
    kinds = {"test": pa.list_(pa.int64()), "valid": pa.list_(pa.int64())}
    fields = [pa.field(field.name, kinds.get(field.name, field.type)) for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields)), path)
    with pytest.raises(SpecbeamError, match="prepare the data again") as error:
        load_users(path)
    assert message in str(error.value)


@pytest.mark.parametrize("lacking", ["job", "progress", "best"])
def test_a_checkpoint_that_does_not_say_what_it_is_of_is_not_taken(tmp_path, lacking, caplog):
    checkpoints = Checkpoints(tmp_path, JOB, minutes=0, writes=True, name="tests")
    texts = {"job": json.dumps(JOB), "progress": json.dumps(PROGRESS), "best": "none"}
    del texts[lacking]
    sealed.write(tmp_path / LAST, TENSORS, texts)
    assert checkpoints.read() is None
    assert f"{tmp_path} cannot be read ({tmp_path / LAST}: " in caplog.text


@pytest.mark.parametrize("change", [{"users": None}, {"other": TENSORS["steps"]}])
def test_a_shard_with_other_tensors_is_refused(path, change):
    some_shard().save(path)
    tensors, texts = sealed.read(path)
    kept = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    sealed.write(path, kept, texts)
    with pytest.raises(SpecbeamError, match="not a shard of trajectories: expected beams, .*; delete it and record"):
        Shard.load(path)
    sealed.write(path, tensors, texts | {"over": "all"})
    with pytest.raises(SpecbeamError, match="over all; delete it and record again"):
        Shard.load(path)


def test_tensors_without_a_seal_are_refused(path):
    path.write_bytes(save(TENSORS, {"of": "tests"}))
    with pytest.raises(SpecbeamError, match="damaged, or of another specbeam: expected the digest none"):
        sealed.read(path)
