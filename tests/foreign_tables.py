"""Tables that another program might have written: columns of any type and value, missing, or there twice."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

ROWS = 3
HUGE = pa.array([0, 10**18, -(10**18)])
ODD = [
    pa.array([0, 1, 2]), pa.array([0, None, 10**18]), pa.array([0, 0, -1]), pa.array([2**63, 1, 2], pa.uint64()),
    pa.array([1.5, float("nan"), float("inf")]), pa.array([True, False, None]), pa.nulls(ROWS),
    pa.array(["a", "b", None]), pa.array(["a", "a", ""]), pa.array(["1 2", "9" * 5000, "NA"], pa.large_string()),
    pa.array([b"a", b"caf\xe9", b""]), pa.array([b"a", b"caf\xe9", b"b"]).view(pa.string()),
    pa.array(["a", "b", "c"]).dictionary_encode(), pa.array([10**30, None, 1], pa.decimal128(38)),
    HUGE.view(pa.timestamp("us")), HUGE.view(pa.timestamp("ns")), HUGE.view(pa.timestamp("us", tz="Mars/Olympus")),
    HUGE.view(pa.duration("us")), pa.array([0, 1, 2**31 - 1], pa.int32()).view(pa.date32()),
    pa.array([[1, 2], [], None]), pa.array([[0], [10**18], [-1]]), pa.array([[[1]], [], [None]]),
    pa.array([["a"], ["b"], []]), pa.array([{"a": 1}, None, {"a": 2}]),
]  # fmt: skip
NOTED = [None, {b"pandas": b'{"columns": [{}]}'}, {b"pandas": b"{"}, {b"specbeam": b"{}"}]


@st.composite
def foreign_tables(draw: Any, good: Mapping[str, pa.Array]) -> pa.Table:
    """Of `good` columns, of three rows each, with others in the place of one or two, and of three rows or fewer."""
    names, again = list(good), draw(st.sampled_from(list(good)))
    odd = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(ODD), min_size=1, max_size=2))
    names = draw(st.sampled_from([names] * 6 + [names[1:], [*names, again], [*names, "other"]]))
    columns = [(good | odd).get(name, ODD[0]) for name in names]
    table = pa.Table.from_arrays(columns, names=names).slice(0, draw(st.sampled_from([3, 3, 2, 1, 0])))
    noted = draw(st.sampled_from(NOTED))
    return table.replace_schema_metadata({**(noted or {}), **(table.schema.metadata or {})})


def bytes_of(table: pa.Table) -> bytes:
    """The file of a table."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()
