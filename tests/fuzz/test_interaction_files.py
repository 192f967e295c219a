"""Files of interactions and item tables, whatever is in them: read as they stand, or refused by file and place."""

import csv
import gzip
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import cases, damaged, read
from own_interactions import read as read_data_set
from own_interactions import settings_of, texts_in
from specbeam.interactions import values
from specbeam.interactions.rows import Malformed
from specbeam.interactions.table import gather

NAMES = ["who", "what", "when", "stars"]
ROWS = [(f"u{n % 3}", f"i{n % 5}", str(1_400_000_000 + n), "4.5") for n in range(12)]
FILES = {
    "csv": "\r\n".join(",".join(row) for row in [NAMES, *ROWS]).encode(),
    "jsonl": "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS).encode(),
}
LITERALS = b"{'asin': 'i1', 'title': u'It\\'s', 'categories': [['a', 'b']], 'price': 3.5}\n" * 2

words = st.one_of(
    st.sampled_from(["", "u1", "i1", "1400000000", "1e9", "nan", "-inf", "1_0", "9" * 5000]),
    st.sampled_from(["2014-01-05", "01 5, 2014", "2014-13-01", "0001-01-01T00+23:59", "9999-12-31"]),
    st.sampled_from(['"', 'a"b', "\ud800", "\x00", "\r", "é", "٣"]),
    st.text(max_size=4),
    st.integers(-(10**21), 10**21).map(str),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words), lambda inner: st.lists(inner, max_size=2)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interactions")
    (folder / "orders.csv").write_bytes(FILES["csv"])
    return folder


def as_it_stands(content: bytes, format: str) -> list[dict]:
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    text = io.StringIO(plain.decode("utf-8-sig", errors="surrogateescape"), newline="" if format == "csv" else None)
    if format == "jsonl":
        return [json.loads(line) for line in text if line.strip()]
    header, *rows = (row for row in csv.reader(text) if row)
    return [dict(zip(header, row, strict=True)) for row in rows]


def check_interactions(path, content, format):
    path.write_bytes(content)
    settings = settings_of(path, format=format).interactions
    found = read(format, lambda: gather(settings, least_rating=3, malformed=Malformed("malformed")), names=path)
    if found is not None:
        expected = [row for row in as_it_stands(content, format) if float(row["stars"]) >= 3]
        assert [found.users[code] for code in found.table["user"]] == [str(row["who"]) for row in expected]
        assert [found.items[code] for code in found.table["item"]] == [str(row["what"]) for row in expected]
        assert found.table["time"].tolist() == [values.microseconds(row["when"]) for row in expected]


@cases(400)
@given(content=st.one_of(damaged(FILES["csv"]), damaged(gzip.compress(FILES["csv"], mtime=0))))
def test_damaged_csv(folder, content):
    check_interactions(folder / "damaged.csv", content, "csv")


@cases(400)
@given(content=st.one_of(damaged(FILES["jsonl"]), damaged(gzip.compress(FILES["jsonl"], mtime=0))))
def test_damaged_json_lines(folder, content):
    check_interactions(folder / "damaged.jsonl", content, "jsonl")


@cases(300)
@given(rows=st.lists(st.lists(words, min_size=3, max_size=5), max_size=4), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_csv_of_any_words(folder, rows, end):
    text = end.join(",".join(row) for row in [NAMES, *rows])
    check_interactions(folder / "words.csv", text.encode(errors="surrogatepass"), "csv")


@cases(300)
@given(rows=st.lists(st.dictionaries(st.sampled_from(NAMES), anything), max_size=4))
def test_json_of_any_values(folder, rows):
    text = "\n".join(map(json.dumps, rows))
    check_interactions(folder / "values.jsonl", text.encode(), "jsonl")


@cases(500)
@given(value=anything)
def test_a_time_is_between_the_years_1_and_9999_or_refused(value):
    try:
        assert values.iso(values.microseconds(value))
    except ValueError:
        return


@cases(500)
@given(value=anything)
def test_a_rating_is_a_number_or_refused(value):
    try:
        assert math.isfinite(values.number(value))
    except ValueError:
        return


@cases(100)
@given(content=damaged(LITERALS))
def test_damaged_metadata(folder, content):
    path = folder / "meta.json"
    path.write_bytes(content)
    own = settings_of(folder / "orders.csv", items={"files": [str(path)], "format": "amazon-2014"})
    if read("metadata", lambda: read_data_set(folder / "raw", own), names=path) is not None:
        assert {text for text in texts_in(folder / "raw").values() if text}
