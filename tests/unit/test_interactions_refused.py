"""Own interactions that cannot be read: the message names file, line, what is wrong and what to do."""

import gzip
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from own_interactions import COLUMNS, csv, read, settings_of
from specbeam.errors import SpecbeamError
from specbeam.interactions.rows import Malformed, read_rows
from specbeam.interactions.table import gather
from specbeam.settings import parse

ROWS = [("u1", f"i{n}", 100 + n, 5) for n in range(10)]
HEADER = "who,what,when,stars\n"


def refused(tmp_path, own, message):
    with pytest.raises(SpecbeamError, match=re.escape(message)):
        read(tmp_path / "raw", own)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": expected rows, the file is empty"),
        (
            b"who,what,time,stars\nu,i,1,5\n",
            ": expected the column 'when' once, it is not there; the first line has 'who', 'what', 'time', 'stars':",
        ),
        (
            b"who;what;when;stars\nu;i;1;5\n",
            ": expected the column 'who' once, it is not there; the first line has 'who;what;when;stars': correct "
            "columns:, or name columns by numbers, from 1, if there is no header; or set separator: ';'",
        ),
        (b"who,what,when,stars,when\n", ": expected the column 'when' once, it is twice"),
        (b"who,what,when,stars\nu,i,1\n", ":2: expected 4 fields, as in the first line, got 3; mend the file, or"),
        (b"who,what,when,stars\nu,i,1,5\n\nu,i,later,5\n", ":4: time (column when) is 'later'; expected Unix time or"),
        (b"who,what,when,stars\nu,i,,5\n", ":2: time (column when) is empty"),
        (b"who,what,when,stars\nu,i,nan,5\n", ":2: time (column when) is 'nan'; expected Unix time or"),
        (b"who,what,when,stars\nu,,1,5\n", ":2: item (column what) is empty"),
        (b"who,what,when,stars\nu,i,1,good\n", ":2: rating (column stars) is 'good'; expected a number"),
        (b"who,what,when,stars\nu,i,1,inf\n", ":2: rating (column stars) is 'inf'; expected a number"),
        (b"who,what,when,stars\nu,caf\xe9,1,5\n", r":2: item (column what) is 'caf\udce9', which is not UTF-8; save"),
        (b'who,what,when,stars\nu,"i"x,1,5\n', ":2: no CSV (',' expected after '\"')"),
        (b'who,what,when,stars\r\nu,"i,1,5\rv,j,1,5\n', ":2: no CSV (unexpected end of data)"),
        (HEADER.encode("utf-16"), ": expected text in UTF-8, or that in gzip, the file is in UTF-16; convert it"),
        (b"PK\x03\x04rest", ": expected text in UTF-8, or that in gzip, the file is a zip archive; convert it"),
    ],
)
def test_csv(tmp_path, content, message):
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    refused(tmp_path, settings_of(path, filters={"rating": 4}), f"{path}{message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"who": "u"', ":1: no JSON (Expecting ',' delimiter"),
        ('[{"who": "u"}]', ':1: expected an object, {...}, a line, got \'[{"who": "u"}]\''),
        ('{"who": "u", "what": "i", "stars": 5}', ":1: no field 'when'; there are: 'who', 'what', 'stars'"),
        ('{"who": null, "what": "i", "when": 1}', ":1: user (column who) is empty"),
        ('{"who": 1.5, "what": "i", "when": 1}', ":1: user (column who) is 1.5; expected text or a whole number"),
        ('{"who": "u", "what": ["i"], "when": 1}', ":1: item (column what) is ['i']; expected text or a whole number"),
        ('{"who": "u", "what": "i", "when": true}', ":1: time (column when) is True; expected a time"),
        ('{"who": "u", "what": "i", "when": 1}\n' * 3 + "[" * 9999, ":4: no JSON (maximum recursion depth"),
        ('{"who": "\\ud800", "what": "i", "when": 1}', r":1: user (column who) is '\ud800', which is not UTF-8"),
    ],
)
def test_json_lines(tmp_path, content, message):
    path = tmp_path / "orders.jsonl"
    path.write_text(content)
    refused(tmp_path, settings_of(path, format="jsonl"), f"{path}{message}")


def test_a_gzip_file_that_is_cut_off(tmp_path):
    path = tmp_path / "orders.csv.gz"
    whole = gzip.compress("".join([HEADER, *(f"u{n},i{n * n},{n},5\n" for n in range(50_000))]).encode())
    path.write_bytes(whole[: len(whole) // 2])
    refused(tmp_path, settings_of(path), f"{path}: expected a whole gzip file, it is cut off or damaged after line 2")


def test_a_parquet_file_that_is_none_or_lacks_a_column(tmp_path):
    path = csv(tmp_path / "orders.parquet", ROWS)
    refused(
        tmp_path, settings_of(path, format="parquet"), f"{path}: expected a file that can be read, got, after row 0"
    )
    pd.DataFrame({"who": ["u"], "what": ["i"]}).to_parquet(path)
    refused(tmp_path, settings_of(path, format="parquet"), f"{path}: expected the column 'when' once; there are 'who'")


def test_keys_that_pandas_made_floats(tmp_path):
    path = tmp_path / "orders.parquet"
    pd.DataFrame({"who": [1, None], "what": ["i", "j"], "when": [1, 2]}).to_parquet(path)
    refused(
        tmp_path, settings_of(path, format="parquet"), f"{path}:1: user (column who) is 1.0; expected text or a whole"
    )


def test_files_that_are_not_there_and_folders(tmp_path):
    refused(tmp_path, settings_of(tmp_path / "no-*.csv"), f"{tmp_path}/no-*.csv: expected a file, or a pattern of some")
    (tmp_path / "shop").mkdir()
    message = f"{tmp_path}/shop: expected a file, got a folder; name its files, as in {tmp_path}/shop/*.csv"
    refused(tmp_path, settings_of(tmp_path / "shop"), message)


def test_one_malformed_line_more_than_allowed(tmp_path):
    path = csv(tmp_path / "orders.csv", [*ROWS, ("u", "i", "x", 5), ("u", "i", "y", 5)])
    message = (
        f"{path}:13: time (column when) is 'y'; expected Unix time or a date as 2014-01-05; mend the file, or leave "
    )
    message += "such lines out, which are then counted, by own_data.shop.interactions.malformed: 2 or more (now 1)"
    refused(tmp_path, settings_of(path, malformed=1), message)


@pytest.mark.parametrize(
    ("quotes_in", "taken", "what"),
    [
        ([3], range(3, 12), "no CSV (unexpected end of data), up to line 11"),
        ([3, 8], range(3, 9), "no CSV (',' expected after '\"'), up to line 8"),
    ],
)
def test_all_lines_that_a_stray_quote_takes_with_it_are_counted(tmp_path, quotes_in, taken, what):
    path = csv(tmp_path / "orders.csv", ROWS)
    lines = path.read_text().splitlines(keepends=True)
    for line in quotes_in:
        lines[line - 1] = '"' + lines[line - 1]
    path.write_text("".join(lines))
    allowed, fewer = Malformed("malformed", allowed=len(taken)), Malformed("malformed", allowed=len(taken) - 1)
    rows = list(read_rows(path, "csv", ["what"], malformed=allowed))
    assert [line for line, _ in rows] == [line for line in range(2, 12) if line not in taken]
    assert (allowed.count, allowed.examples) == (len(taken), [f"{path}:3: {what}"])
    with pytest.raises(SpecbeamError, match=rf"malformed: {len(taken)} or more"):
        list(read_rows(path, "csv", ["what"], malformed=fewer))


def test_filters_that_leave_nothing_say_which_took_how_many(tmp_path):
    own = settings_of(
        csv(tmp_path / "orders.csv", [*ROWS, ROWS[0], ("u", "i", 1, 2)]), filters={"rating": 4, "item_core": 2}
    )
    message = (
        "own_data.shop: expected interactions that pass the filters, none of 12 rows does; left out were: rating 1, "
    )
    refused(tmp_path, own, f"{message}duplicates 1, core 10; lower the filters")
    own = settings_of(csv(tmp_path / "orders.csv", ROWS), filters={"training": 99})
    refused(
        tmp_path, own, "training 10; lower filters.training, or choose a split whose training reaches into the data"
    )
    refused(tmp_path, settings_of(csv(tmp_path / "orders.csv", [])), "the files hold no rows: are they the right ones?")


def test_a_split_without_interactions(tmp_path):
    split = {"by": "date", "valid": "1970-01-01T00:01:45", "test": "1970-01-01T00:02:00"}
    message = "own_data.shop.split: expected interactions in every split, there are none in test, the borders are 1970-"
    refused(tmp_path, settings_of(csv(tmp_path / "orders.csv", ROWS), split=split), message)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("who", pa.array([b"u", b"caf\xe9"]).view(pa.string()), ":2: user (column who) is <'utf-8' codec can't decode"),
        ("when", pa.array([1, 10**18]).view(pa.timestamp("us")), ":2: time (column when) is <date value out of range>"),
        ("when", pa.array([1, 2**31 - 1], pa.int32()).view(pa.date32()), ":2: time (column when) is <"),
    ],
)
def test_what_python_cannot_hold_spoils_its_own_row_of_a_parquet_file(tmp_path, column, values, message):
    path = tmp_path / "orders.parquet"
    columns = {"who": ["u", "v"], "what": ["i", "j"], "when": [1, 2], column: values}
    pq.write_table(pa.table(columns), path)
    refused(tmp_path, settings_of(path, format="parquet"), f"{path}{message}")
    malformed = Malformed("malformed", allowed=1)
    found = gather(settings_of(path, format="parquet").interactions, least_rating=None, malformed=malformed)
    assert (found.users, malformed.count) == (["u"], 1)


def test_a_column_that_a_parquet_file_has_twice_is_refused(tmp_path):
    path = tmp_path / "orders.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["u"])] * 4, names=["who", "what", "when", "who"]), path)
    refused(tmp_path, settings_of(path, format="parquet"), f"{path}: expected the column 'who' once; there are 'who', ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,name\ni0,Hat\n", "expected the column 'title' once"),
        (
            "id,title\nI0,Hat\n",
            "expected texts of the 10 items in the interactions, found none, in 1 rows; are keys written",
        ),
        ("id,title\ni0,Hat,red\n", ":2: expected 2 fields, as in the first line, got 3"),
        ("id,title\n,Hat\n", ":2: item is empty; mend the file, or leave such lines out"),
    ],
)
def test_item_tables(tmp_path, content, message):
    path = tmp_path / "items.csv"
    path.write_text(content)
    items = {"files": [str(path)], "format": "csv", "columns": {"item": "id", "text": ["title"]}}
    refused(tmp_path, settings_of(csv(tmp_path / "orders.csv", ROWS), items=items), message)


FILES = {"files": ["orders.csv"], "format": "csv", "columns": COLUMNS}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "own_data: toys: expected `interactions`, its files, or `sequences`, a folder of ready ones"),
        (
            {"sequences": "toys", "split": {"by": "leave-one-out"}},
            "toys: sequences are ready as they are: remove split, or sequences",
        ),
        (
            {"interactions": FILES, "identifiers": {"embeddings": {"from": "text", "model": "."}}},
            "toys: identifiers from text need `items`, the files that texts are in",
        ),
        (
            {"interactions": FILES | {"format": "amazon-2014"}},
            "columns: amazon-2014 brings its own; remove columns, or",
        ),
        ({"interactions": FILES | {"columns": None}}, "columns: expected the names of the columns of csv, got none"),
        ({"interactions": FILES | {"columns": COLUMNS | {"user": 1}}}, "columns: expected names, or numbers for files"),
        ({"interactions": FILES | {"format": "jsonl", "separator": ";"}}, "separator: jsonl has none of its own"),
        (
            {
                "interactions": FILES | {"columns": {n: COLUMNS[n] for n in ("user", "item", "time")}},
                "filters": {"rating": 4},
            },
            "filters.rating needs interactions.columns.rating: name that column, or remove the filter",
        ),
        (
            {"interactions": FILES, "split": {"shares": [0.8, 0.1, 0.2]}},
            "split.shares: expected the shares of train, valid",
        ),
        ({"interactions": FILES, "split": {"by": "date"}}, "split: by: date needs valid and test"),
        (
            {"interactions": FILES, "split": {"by": "date", "valid": "2014-02-01", "test": "2014-01-01"}},
            "split: expected valid before test, got 2014-02-01 and 2014-01-01",
        ),
        (
            {"interactions": FILES, "split": {"valid": "2014-02-01"}},
            "by: global-time has no dates: remove valid, or set",
        ),
        (
            {"interactions": FILES, "split": {"by": "leave-one-out", "shares": [0.5, 0.25, 0.25]}},
            "by: leave-one-out has no shares: remove them, or set by: global-time",
        ),
        (
            {"interactions": FILES | {"colums": {}}},
            "own_data.toys.interactions.colums: unknown key; allowed here: files, ",
        ),
    ],
)
def test_entries_of_the_config(entry, message):
    with pytest.raises(SpecbeamError, match=re.escape(message)):
        parse({"own_data": {"toys": entry}})
