"""Rows of tables of items, as they stand: of DataFrames, and of .csv, .parquet and .jsonl files.

Not by pandas, which guesses what cells mean, by chunks of a file, and takes what is between two columns for either.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from specbeam import parquet
from specbeam.errors import SpecbeamError
from specbeam.files import parse_json, read_text

Row = tuple[str, Sequence[Any]]
"""Where it stands, for messages, and its cells."""
EXPECTED = "a table of items"
WHOLE = re.compile("0|-?[1-9][0-9]{0,98}")


def read(table: Any, columns: Sequence[str]) -> tuple[str, Iterable[Row]]:
    """What to call `table` in messages, and its rows: the cells of two `columns` or more, the first that of item ids.

    In a csv file, where all is text, ids are numbers if every one of them is written as a whole number, without leading
    zeros; else they are the text as it stands. Raises SpecbeamError, naming file and line (of parquet: row, from 1),
    for what cannot be read, and for a column that is not there once.
    """
    if isinstance(table, pd.DataFrame):
        _refuse_other(list(table.columns), columns, "table")
        cells = zip(*(table[name].tolist() for name in columns), strict=True)
        return "table", _numbered("table: row", cells)
    path = Path(table)
    readers = {".csv": _csv, ".parquet": _parquet, ".jsonl": _json_lines}
    if path.suffix not in readers:
        raise SpecbeamError(f"{path}: expected a table in {', '.join(readers)}, or a DataFrame")
    return str(path), readers[path.suffix](path, columns)


def _numbered(where: str, rows: Iterable[Sequence[Any]]) -> Iterator[Row]:
    return ((f"{where} {number}", row) for number, row in enumerate(rows, start=1))


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    records = _records(path)
    header = next(records, (0, []))[1]
    if not header:
        raise SpecbeamError(f"{path}: expected {EXPECTED}, the file is empty")
    _refuse_other(header, columns, path)
    take = itemgetter(*(header.index(name) for name in columns))
    lines, rows = [], []
    for line, record in records:
        if len(record) != len(header):
            raise SpecbeamError(
                f"{path}: line {line}: expected {len(header)} fields, as in the first line, got {len(record)}; quote "
                "what has commas in it, and leave cells empty behind a shorter identifier"
            )
        lines.append(line)
        rows.append(take(record))
    made = int if all(WHOLE.fullmatch(item) for item, *_ in rows) else str
    return ((f"{path}: line {line}", (made(item), *cells)) for line, (item, *cells) in zip(lines, rows, strict=True))


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each record of a csv file, and the line where it begins."""
    text = read_text(path, expected=EXPECTED).removeprefix("\ufeff")
    reader, line = csv.reader(io.StringIO(text), strict=True), 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise SpecbeamError(f"{path}: line {line}: expected fields of CSV ({error}); correct its quotes") from error


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    table = parquet.read(path, expected=EXPECTED, again="export it again")
    _refuse_other(table.schema.names, columns, path)
    cells = (parquet.values(table[name]) for name in columns)
    return _numbered(f"{path}: row", zip(*cells, strict=True))


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(read_text(path, expected=EXPECTED).split("\n"), start=1):
        if line.strip():
            where = f"{path}: line {number}"
            row = parse_json(line, source=where)
            if not isinstance(row, dict):
                raise SpecbeamError(f"{where}: expected an object, {{...}}, got {line[:40]!r}")
            if not all(name in row for name in columns[:2]):  # shorter identifiers may lack the others
                _refuse_other(list(row), columns, where)
            yield where, [row.get(name) for name in columns]


def _refuse_other(names: Sequence[Any], columns: Sequence[Any], where: Path | str) -> None:
    """Raise SpecbeamError unless each of `columns` is among `names` once."""
    if any(names.count(name) != 1 for name in columns):
        expected, found = ", ".join(map(str, columns)), ", ".join(map(str, names))[:300]
        raise SpecbeamError(
            f"{where}: expected the columns {expected}, each once, found {found}; say which they are with item=... and "
            "tokens=..."
        )
