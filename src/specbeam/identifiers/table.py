"""Embeddings of items from a table that a user brings: parquet or csv, one row an item."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from specbeam import parquet
from specbeam.errors import SpecbeamError

log = logging.getLogger(__name__)

EXPECTED = "a table of embeddings, one row an item"


def from_table(path: Path, *, item: str, vector: str | Sequence[str], keys: Sequence[str]) -> np.ndarray:
    """float32 [items, width]: the vector of each of `keys`, in their order.

    `item` is the column of ids, text or whole numbers; `vector` a column of lists of numbers, or the columns of one
    number each. Rows of other items are left out. Raises SpecbeamError, naming file and row (from 1, without the
    heading), for columns that are missing or of another type, vectors of different lengths, numbers that are missing or
    not finite in float32, ids that are there twice, and keys that are not there.
    """
    path = Path(path)
    table = _read(path, item)
    columns = [item, *([vector] if isinstance(vector, str) else vector)]
    if missing := [name for name in columns if table.schema.names.count(name) != 1]:
        raise SpecbeamError(
            f"{path}: expected one column {missing[0]!r}, found {', '.join(table.schema.names)[:300]}; name yours in "
            "identifiers.embeddings (item, vector)"
        )
    ids = _ids(table[item], path=path, name=item)
    vectors = _lists(table[vector], path, vector) if isinstance(vector, str) else _columns(table, vector, path)
    if len(bad := np.flatnonzero(~np.isfinite(vectors).all(1))):
        raise SpecbeamError(
            f"{path}: row {bad[0] + 1}: expected numbers that are finite in float32, got "
            f"{_first_odd(vectors[bad[0]])}; correct or remove it"
        )
    rows = _rows(ids, path=path)
    if absent := [key for key in keys if key not in rows]:
        raise SpecbeamError(
            f"{path}: expected a vector for every item, found none for {len(absent)} of {len(keys)}, the first is "
            f"{absent[0][:80]!r}; add them, or remove the items"
        )
    log.info("%s: vectors for %d items; %d rows of other items", path, len(keys), len(ids) - len(keys))
    return vectors[[rows[key] for key in keys]]


def _read(path: Path, item: str) -> pa.Table:
    if path.suffix == ".parquet":
        return parquet.read(path, expected=EXPECTED, again="export it again")
    if path.suffix != ".csv":
        raise SpecbeamError(f"{path}: expected {EXPECTED}, as .parquet or .csv; save it as one of them")
    try:
        as_they_stand = csv.ConvertOptions(column_types={item: pa.string()})  # 007 is not 7
        table = csv.read_csv(path, convert_options=as_they_stand)
        table.schema.names  # noqa: B018 (need not be UTF-8, and only now is that seen)
        return table
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: expected {EXPECTED} here, found none; export it again") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SpecbeamError(
            f"{path}: expected {EXPECTED}, got no csv file ({str(error)[:500]}); export it again"
        ) from error


def _ids(column: pa.ChunkedArray, *, path: Path, name: str) -> list[str]:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise SpecbeamError(f"{path}: column {name!r}: expected ids as text or whole numbers, got {kind}; convert it")
    try:
        ids = ["" if value is None else str(value) for value in column.to_pylist()]
    except UnicodeDecodeError as error:
        raise SpecbeamError(f"{path}: column {name!r}: expected text in UTF-8 ({error}); save it again") from error
    if "" in ids:
        raise SpecbeamError(f"{path}: row {ids.index('') + 1}: expected an id in column {name!r}, got none; add it")
    return ids


def _rows(ids: Sequence[str], *, path: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, key in enumerate(ids):
        if (first := rows.setdefault(key, row)) != row:
            raise SpecbeamError(
                f"{path}: row {row + 1}: item {key[:80]!r} is there twice, first in row {first + 1}; keep one of them"
            )
    return rows


def _lists(column: pa.ChunkedArray, path: Path, name: str) -> np.ndarray:
    kind = column.type
    inner = getattr(kind, "value_type", None) if pa.types.is_nested(kind) else None
    if inner is None or not _is_number(inner):
        raise SpecbeamError(
            f"{path}: column {name!r}: expected lists of numbers, got {str(kind)[:200]}; or name the columns of one "
            "number each in identifiers.embeddings.vector"
        )
    lengths = pc.list_value_length(column).to_pylist()  # None for a list that is missing
    width = next((length for length in lengths if length), 0)
    if odd := [row for row, length in enumerate(lengths) if length != width or not width]:
        raise SpecbeamError(
            f"{path}: row {odd[0] + 1}: expected {width or 'some'} numbers in column {name!r}, as in the rows before, "
            f"got {lengths[odd[0]]}; correct or remove it"
        )
    return _numbers(pc.list_flatten(column), path, name).reshape(-1, width) if width else np.zeros((0, 1), "f4")


def _columns(table: pa.Table, names: Sequence[str], path: Path) -> np.ndarray:
    for name in names:
        if not _is_number(table.schema.field(name).type):
            raise SpecbeamError(
                f"{path}: column {name!r}: expected numbers, got {table.schema.field(name).type}; convert it"
            )
    return np.stack([_numbers(table[name], path, name) for name in names], axis=1)


def _numbers(column: pa.ChunkedArray, path: Path, name: str) -> np.ndarray:
    """As float32; what is missing or too large becomes a number that is not finite, for whoever knows rows."""
    try:
        values = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise SpecbeamError(f"{path}: column {name!r}: expected numbers ({str(error)[:200]}); convert it") from error
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _first_odd(vector: np.ndarray) -> str:
    return str(vector[~np.isfinite(vector)][0])
