"""Parquet files that other programs wrote, and pictures: read as they stand, or refused by file and place."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import generated_records as generated
from bad_input import cases, damaged, read
from foreign_tables import bytes_of, foreign_tables
from own_interactions import settings_of
from specbeam.catalogue import Catalogue
from specbeam.data import ITEMS
from specbeam.data.item_keys import ItemKeys, read_items
from specbeam.data.sequences import SCHEMA
from specbeam.figures import coding, roofline, style
from specbeam.interactions.rows import Malformed
from specbeam.interactions.table import gather
from specbeam.measurement import records
from specbeam.measurement.records import COLUMNS, ENVIRONMENT
from specbeam.page import write

INTERACTIONS = {
    "who": pa.array(["u1", "u2", "u1"]), "what": pa.array([7, 8, 7]), "when": pa.array([1.4e9, 1.5e9, 1.6e9]),
    "stars": pa.array([4, 5, 3]),
}  # fmt: skip
KEYS = {"item": pa.array([2, 0, 1]), "key": pa.array(["C", "A", "B"]), "text": pa.array(["c", None, "b"])}
FIELDS = COLUMNS["evaluation"] | ENVIRONMENT
RECORDS = pa.Table.from_pandas(
    generated.evaluation("sft", beam_widths=(1,), users=1)
    .head(3)
    .assign(device="cpu", threads=1, dtype="float32", seed=1, commit="c", dirty=False, versions="{}", cpu="a CPU"),
    schema=pa.schema(list(FIELDS.items())),
)
USERS = {
    name: pa.array([0, 1, 2]) if name == "user" else pa.array([[0, 1], [], [1]], pa.list_(pa.int64()))
    for name in SCHEMA.names
}
BENCH = {
    name: pa.array(["cpu"] * 3) if name not in ("threads", "seed") else pa.array([1] * 3) for name in roofline.WHERE
}
PASSES = b"batch,pass,nodes,tokens,seconds,bound\n1,prompt,0,9,0.1,0.05\n1,a level of K = 2,2,2,0.1,0.05\n"
GOOD_NOTE = b'{"kind": "evaluation", "settings": {"name": "a", "seed": 1}}'
notes = st.sampled_from(
    [
        GOOD_NOTE, b"{", b"[]", b"{}", b"\xff", b"null",
        b'{"kind": "evaluation"}', b'{"kind": ["evaluation"], "settings": {}}', b'{"settings": {}, "kind": "bench"}',
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    Catalogue.of({0: ["<a>", "<b>"], 1: ["<a>", "<c>"], 10**15: ["<d>", "<c>"]}).save(folder / "catalogue.json")
    return folder


@cases(300)
@given(table=foreign_tables(INTERACTIONS), allowed=st.sampled_from([0, 9]))
def test_interactions_in_parquet(folder, table, allowed):
    path = folder / "orders.parquet"
    pq.write_table(table, path)
    settings = settings_of(path, format="parquet").interactions
    malformed = Malformed("malformed", allowed)
    found = read("parquet", lambda: gather(settings, least_rating=None, malformed=malformed), names=path)
    if found is not None:
        assert len(found.table) + malformed.count == len(table)
        assert {type(key) for key in found.users + found.items} <= {str}
        if not malformed.count:
            assert [found.users[code] for code in found.table["user"]] == [*map(str, table["who"].to_pylist())]
            assert [found.items[code] for code in found.table["item"]] == [*map(str, table["what"].to_pylist())]


@cases(200)
@given(content=damaged(bytes_of(pa.table(INTERACTIONS))))
def test_damaged_interactions_in_parquet(folder, content):
    path = folder / "orders.parquet"
    path.write_bytes(content)
    settings = settings_of(path, format="parquet").interactions
    read("parquet", lambda: gather(settings, least_rating=3, malformed=Malformed("malformed")), names=path)


def check_keys(path):
    found = read("keys of items", lambda: read_items(path), names=path)
    if found is not None:
        assert found["item"].tolist() == list(range(len(found)))
        assert all(isinstance(key, str) and key for key in found["key"])
        own = ItemKeys.read(path)
        assert own.numbers(own.keys) == list(range(len(own.keys)))
        read("keys of items", lambda: own.numbers([7]))


@cases(300)
@given(table=foreign_tables(KEYS))
def test_keys_of_items(folder, table):
    pq.write_table(table, folder / ITEMS)
    check_keys(folder / ITEMS)


@cases(200)
@given(content=damaged(bytes_of(pa.table(KEYS))))
def test_damaged_keys_of_items(folder, content):
    (folder / ITEMS).write_bytes(content)
    check_keys(folder / ITEMS)


@cases(200)
@given(table=foreign_tables({name: RECORDS[name].combine_chunks() for name in FIELDS}), note=st.just(GOOD_NOTE) | notes)
def test_records(folder, table, note):
    path = folder / "records.parquet"
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), b"specbeam": note}), path)
    read("records", lambda: (records.kind_of(path), records.settings_of(path)), names=path)
    found = read("records", lambda: records.read([path], "evaluation"), names=path)
    if found is not None:
        pd.testing.assert_frame_equal(found, table.select(list(FIELDS)).to_pandas(ignore_metadata=True))


@cases(200)
@given(table=foreign_tables(USERS))
def test_users_of_a_coding(folder, table):
    pq.write_table(table, folder / "users.parquet")
    found = read("users of a coding", lambda: coding._shape(folder), names="users.parquet")
    assert found is None or np.isfinite(found[0]["bits"]).all()


def check_bench(folder, table, *, note=GOOD_NOTE, passes=PASSES):
    inputs = [folder / "bench.parquet", folder / "passes.csv"]
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), b"specbeam": note}), inputs[0])
    inputs[1].write_bytes(passes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", lambda figure, table, output, caption: None)
        patch.setattr(roofline, "draw", lambda passes: Figure())
        read("benches", lambda: roofline.plot(inputs=inputs, output=folder / "roofline") or True, names=folder)


@cases(150)
@given(table=foreign_tables(BENCH), note=st.just(GOOD_NOTE) | notes)
def test_records_of_a_bench(folder, table, note):
    check_bench(folder, table, note=note)


@cases(100)
@given(passes=damaged(PASSES))
def test_passes_of_a_bench(folder, passes):
    check_bench(folder, pa.table(BENCH), passes=passes)


@cases(200)
@given(data=st.data())
def test_pictures(folder, data):
    path = folder / "speedup.png"
    if not path.exists():
        Figure((1, 2)).savefig(path, dpi=96)
    good = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged(good[:200])))
        shown = read("pictures", lambda: write._shown(path), names=path)
    finally:
        path.write_bytes(good)
    assert shown is None or min(shown.width, shown.height) >= 0
    assert (write._shown(path).width, write._shown(path).height) == (40, 80)


def test_what_is_good_is_read(folder):
    for table, name in ((INTERACTIONS, "orders.parquet"), (KEYS, ITEMS), (USERS, "users.parquet")):
        pq.write_table(pa.table(table), folder / name)
    assert len(gather(settings_of(folder / "orders.parquet", format="parquet").interactions, least_rating=None,
                      malformed=Malformed("malformed")).table) == 3  # fmt: skip
    assert ItemKeys.read(folder / ITEMS) == ItemKeys(["A", "B", "C"], [None, "b", "c"])
    assert coding._shape(folder)[1] == 3
    pq.write_table(RECORDS.replace_schema_metadata({b"specbeam": GOOD_NOTE}), folder / "records.parquet")
    assert len(records.read([folder / "records.parquet"], "evaluation")) == 3
