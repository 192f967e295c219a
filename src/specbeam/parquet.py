"""Parquet files that bear a digest of all their bytes: what was damaged is refused, not misread.

Parquet has checksums of pages, but none of its footer, where column names and metadata are. So the digest lies in front
of the footer, a place that readers do not look at. Files without one, of other programs, are read too.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from specbeam.errors import SpecbeamError
from specbeam.files import replacing

MARK = b"blake2b:"
DIGEST = 16
"""Bytes of the digest behind the mark."""
SEALED = b"sealed"
"""Key in the table's metadata that says that there is a digest."""

UNREADABLE = (ValueError, OverflowError, LookupError, TypeError, pa.ArrowException)
"""What making Python's own values raises: text that is no UTF-8, times after the year 9999, unknown time zones."""


@dataclass(frozen=True)
class Unreadable:
    """In the place of a value that Python cannot hold."""

    reason: str

    def __repr__(self) -> str:
        """For messages that show what came."""
        return f"<{self.reason}>"


def write(table: pa.Table, path: Path) -> None:
    """Write `table` with its metadata and a digest, atomically."""
    sealed = table.replace_schema_metadata({**(table.schema.metadata or {}), SEALED: MARK})
    buffer = pa.BufferOutputStream()
    pq.write_table(sealed, buffer)
    content = buffer.getvalue().to_pybytes()
    footer = _footer(content)
    with replacing(path) as temporary:
        temporary.write_bytes(content[:footer] + MARK + _digest(content) + content[footer:])


def read(path: Path, *, expected: str, again: str) -> pa.Table:
    """Read a table with its metadata.

    Raises SpecbeamError, naming the file, what is `expected` there and how to make it `again`, if it is missing or
    damaged.
    """
    try:
        table = _table(Path(path).read_bytes())
        table.schema.names  # noqa: B018 (need not be UTF-8, and only now is that seen)
        return table
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: expected {expected} here, found none; {again}") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise SpecbeamError(
            f"{path}: expected {expected}, got no parquet file, or a damaged one ({str(error)[:500]}); delete it "
            f"and {again}"
        ) from error


def values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values as Python's own; those that it cannot hold are Unreadable, to be refused where a value is checked."""
    try:
        return column.to_pylist()
    except UNREADABLE:
        return [_value(scalar) for scalar in column]


def frame(table: pa.Table, *, path: Path, again: str) -> pd.DataFrame:
    """As pandas holds it, without what another program's pandas noted on it.

    Raises SpecbeamError, naming the file and how to make it `again`, for values that cannot be read.
    """
    try:
        table.validate(full=True)  # pandas would notice text that is no UTF-8 at some later time
        return table.to_pandas(ignore_metadata=True)
    except UNREADABLE as error:
        raise SpecbeamError(
            f"{path}: expected values that can be read, got: {str(error)[:300]}; delete it and {again}"
        ) from error


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UNREADABLE as error:
        return Unreadable(str(error)[:200])


def _table(content: bytes) -> pa.Table:
    footer = _footer(content)
    place = max(0, footer - len(MARK) - DIGEST)
    marked = content[place:footer].startswith(MARK)
    if marked and content[footer - DIGEST : footer] != _digest(content[:place] + content[footer:]):
        raise ValueError("its digest is of other bytes")
    table = pq.read_table(pa.BufferReader(content))
    if SEALED in (table.schema.metadata or {}) and not marked:
        raise ValueError("its digest is missing")
    return table


def _footer(content: bytes) -> int:
    """Where the footer starts: eight bytes at the end hold its length, and "PAR1"."""
    return max(0, len(content) - 8 - int.from_bytes(content[-8:-4], "little"))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST).digest()
