"""Rows of CSV, JSON-lines and parquet files, one at a time, with the line that each stands in.

Bytes that are no UTF-8 become lone surrogates, and what a parquet file holds but Python cannot becomes
specbeam.parquet.Unreadable, so that they spoil their own row (specbeam.interactions.values) and not the file. A line
that cannot be read is counted, and stops the reading when there are more than the settings allow.
"""

import ast
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from specbeam import parquet
from specbeam.errors import SpecbeamError
from specbeam.interactions.paths import Kind

Row = tuple[int, Sequence[Any]]
"""Line (of parquet: row), counted from 1, and the values of the columns."""
GZIP = b"\x1f\x8b"
OTHERS = {
    b"PAR1": "a parquet file",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zX": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\xff\xfe": "in UTF-16",
    b"\xfe\xff": "in UTF-16",
}
"""First bytes of files that are not text -> what they are."""
EXAMPLES = 5
UNREADABLE = (ValueError, RecursionError, SyntaxError, MemoryError, TypeError)
"""What parsers of JSON and of Python's literals raise."""


@dataclass
class Malformed:
    """Lines that cannot be read: no more than `allowed` by the setting of that name."""

    setting: str
    allowed: int = 0
    count: int = 0
    examples: list[str] = field(default_factory=list)
    """The first few, each with file, line and what is wrong."""

    def add(self, path: Path, line: int, reason: str, *, last: int | None = None) -> None:
        """Count a line, or all up to the `last` of a record; raises SpecbeamError that names it if it is too many."""
        if last is not None and last > line:
            reason += f", up to line {last}"
        self.count += 1 if last is None else last - line + 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{path}:{line}: {reason}")
        if self.count > self.allowed:
            raise SpecbeamError(
                f"{path}:{line}: {reason}; mend the file, or leave such lines out, which are then counted, by "
                f"{self.setting}: {self.count} or more (now {self.allowed})"
            )


def read_rows(
    path: Path,
    kind: Kind,
    columns: Sequence[str | int],
    *,
    malformed: Malformed,
    separator: str = ",",
    optional: Collection[str | int] = (),
    literals: bool = False,
) -> Iterator[Row]:
    """Yield every row of a file: the values of `columns` (names; or numbers from 1, for CSV without a header).

    CSV gives text, the others what they hold; JSON lines without one of the `optional` fields give None for it. With
    `literals`, lines may also be Python's literals, as in metadata of 2014. Empty lines are no rows.
    Raises SpecbeamError for files that are missing, damaged or lack a column, and for malformed lines as `malformed`
    allows.
    """
    at = [0]  # how far it was read, for the message
    with _damage_named(path, at):
        for line, values in _rows(path, kind, columns, malformed, separator, optional, literals):
            at[0] = line
            yield line, values


def _rows(
    path: Path,
    kind: Kind,
    columns: Sequence[str | int],
    malformed: Malformed,
    separator: str,
    optional: Collection[str | int],
    literals: bool,
) -> Iterator[Row]:
    if kind == "parquet":
        yield from _parquet(path, columns)
        return
    with _text(path, newline="" if kind == "csv" else None) as stream:
        if kind == "csv":
            yield from _csv(stream, path, columns, malformed, separator)
        else:
            yield from _json(stream, path, columns, malformed, optional, _literal if literals else json.loads)


@contextmanager
def _damage_named(path: Path, at: list[int]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: expected a file here, found none") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SpecbeamError(
            f"{path}: expected a whole gzip file, it is cut off or damaged after line {at[0]} ({error}); copy it again"
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SpecbeamError(
            f"{path}: expected a file that can be read, got, after row {at[0]}: {str(error)[:300]}; make it again"
        ) from error


def _text(path: Path, newline: str | None) -> TextIO:
    with path.open("rb") as file:
        start = file.read(4)
    for first, what in OTHERS.items():
        if start.startswith(first):
            raise SpecbeamError(f"{path}: expected text in UTF-8, or that in gzip, the file is {what}; convert it")
    binary: BinaryIO = gzip.open(path) if start.startswith(GZIP) else path.open("rb")  # noqa: SIM115
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _csv(
    stream: TextIO, path: Path, columns: Sequence[str | int], malformed: Malformed, separator: str
) -> Iterator[Row]:
    reader = csv.reader(stream, delimiter=separator, strict=True)
    places, width = _by_number(columns), 0
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            # a quote that nothing closes has taken all lines up to here with it
            malformed.add(path, line, f"no CSV ({error})", last=reader.line_num)
            continue
        if not row:
            continue
        if not width:
            width = len(row)
            places = places or _by_name(row, columns, path)
            take = itemgetter(*places) if len(places) > 1 else lambda row, at=places[0]: (row[at],)
            if width <= max(places):
                raise SpecbeamError(
                    f"{path}: expected column {max(places) + 1}, the first line has {width}: {_said(row)}"
                )
            if isinstance(columns[0], str):
                continue
        if len(row) != width:
            wrong = f"expected {width} fields, as in the first line, got {len(row)}"
            malformed.add(path, line, wrong, last=reader.line_num)
            continue
        yield line, take(row)
    if not width:
        raise SpecbeamError(f"{path}: expected rows, the file is empty")


def _by_number(columns: Sequence[str | int]) -> list[int]:
    return [column - 1 for column in columns if isinstance(column, int)]


def _by_name(header: list[str], columns: Sequence[str | int], path: Path) -> list[int]:
    for column in columns:
        if header.count(column) != 1:
            there = "twice" if column in header else "not there"
            raise SpecbeamError(
                f"{path}: expected the column {column!r} once, it is {there}; the first line has {_said(header)}: "
                "correct columns:, or name columns by numbers, from 1, if there is no header" + _other_separator(header)
            )
    return [header.index(column) for column in columns]


def _said(names: Iterable[str]) -> str:
    """Names as a message can have them."""
    return ", ".join(map(ascii, names))[:500]


def _other_separator(header: list[str]) -> str:
    """Advice for a first line that was not parted at all, and could be by another character."""
    parting = [character for character in (";", "\t", "|") if len(header) == 1 and character in header[0]]
    return f"; or set separator: {parting[0]!r}" if parting else ""


def _json(
    stream: TextIO,
    path: Path,
    columns: Sequence[str | int],
    malformed: Malformed,
    optional: Collection[str | int],
    parse: Callable[[str], Any],
) -> Iterator[Row]:
    required = [column for column in columns if column not in optional]
    for line, text in enumerate(stream, start=1):
        if text.isspace():
            continue
        try:
            record = parse(text)
        except UNREADABLE as error:
            malformed.add(path, line, f"no JSON ({str(error)[:200]})")
            continue
        if not isinstance(record, dict):
            malformed.add(path, line, f"expected an object, {{...}}, a line, got {text[:40].rstrip()!a}")
        elif absent := [column for column in required if column not in record]:
            malformed.add(path, line, f"no field {absent[0]!r}; there are: {_said(record)}")
        else:
            yield line, [record.get(column) for column in columns]


def _literal(text: str) -> Any:
    """JSON, or what Python would write; only literals, so that nothing of the file is executed."""
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text.strip())


def _parquet(path: Path, columns: Sequence[str | int]) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        for column in columns:
            if names.count(column) != 1:
                raise SpecbeamError(
                    f"{path}: expected the column {column!r} once; there are {_said(names)}: correct columns:"
                )
        row = 0
        for batch in file.iter_batches(columns=list(columns), batch_size=65_536):
            for values in zip(*(parquet.values(batch[column]) for column in columns), strict=True):
                row += 1
                yield row, values
