"""Tables of items, histories, tokenizers and the registry's names, whatever comes: a result, or a message."""

import csv
import io
import json
import re
import shutil
import tempfile
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import cases, damaged, read
from foreign_tables import bytes_of, foreign_tables
from specbeam.data import prepared
from specbeam.data.download import _retry_after, download
from specbeam.errors import SpecbeamError
from specbeam.figures.tables import read_csv
from specbeam.identifiers.table import from_table
from specbeam.items import Items
from specbeam.prompts import PromptBuilder
from specbeam.trie import Trie

CSV = b"item,tokens\na,1 2 3\nb,4 5\nc,1 2 3\n"
JSONL = b'{"item": 7, "tokens": [1, 2]}\n{"item": 8, "tokens": [3]}\n'
RANKING = b"recommender,K,recall\ntarget,5,0.5\n"
cells = st.one_of(
    st.integers(-2, 9), st.sampled_from([10**30, None, True, 1.5, "1 2", "x", "", float("nan")]), st.text(max_size=3)
)
cells |= st.lists(cells, max_size=3) | st.just({"a": 1})


words = st.sampled_from(["a", "7", "007", "-3", "NA", "", "1 2", "1  2\t3", "9" * 5000, "٣", "1_0"]) | st.text(
    max_size=3
)
words |= st.sampled_from(['"', '"a,b"', '"x\n1"', "\r", "\x00", "\udcff"])
headers = st.sampled_from(
    ["item,tokens"] * 4
    + ["\ufefftokens,item", "item,title,tokens", "item,item,tokens", "item,tokens,tokens", "item", ""]
)
GOOD = {"item": pa.array(["a", "b", "c"]), "tokens": pa.array([[1, 2], [3], [1, 2]])}


PARQUET = bytes_of(pa.Table.from_pandas(pa.table(GOOD).to_pandas()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def in_csv(content: bytes) -> dict:
    """Item -> tokens in a csv file, by the letter of its format."""
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    header, *rows = (row for row in csv.reader(io.StringIO(text), strict=True) if row)
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    assert header.count("item") == header.count("tokens") == 1
    numbers = all(re.fullmatch("-?[1-9][0-9]*|0", row["item"]) for row in rows)
    return {int(row["item"]) if numbers else row["item"]: [*map(int, row["tokens"].split())] for row in rows}


def in_json_lines(content: bytes) -> dict:
    rows = [json.loads(line) for line in content.decode().replace("\r", "\n").split("\n") if line.strip()]
    return {row["item"]: as_numbers(row["tokens"]) for row in rows}


def as_numbers(tokens):
    assert isinstance(tokens, str | list)
    return [*map(int, tokens.split())] if isinstance(tokens, str) else tokens


def check(items, expected=None):
    if items is not None:
        assert len(items) == sum(map(len, items.bearers)) == len({item for row in items.bearers for item in row})
        assert all(isinstance(token, int) and token >= 0 for tokens in items.identifiers for token in tokens)
        read("tries", lambda: Trie.of(items.identifiers))
    if items is not None and expected is not None:
        pairs = zip(items.bearers, items.identifiers, strict=True)
        found = {item: list(tokens) for bearers, tokens in pairs for item in bearers}
        assert {(type(item), item): tokens for item, tokens in found.items()} == {
            (type(item), item): tokens for item, tokens in expected.items()
        }


def check_csv(path, content):
    path.write_bytes(content)
    items = read("items, csv", lambda: Items.of_table(path), names=path)
    check(items, items and in_csv(content))


def check_json_lines(path, content):
    path.write_bytes(content)
    items = read("items, jsonl", lambda: Items.of_table(path), names=path)
    check(items, items and in_json_lines(content))


@cases(600)
@given(content=damaged(CSV))
def test_damaged_csv_tables_of_items(folder, content):
    check_csv(folder / "items.csv", content)


@cases(300)
@given(rows=st.lists(st.tuples(words, words) | st.lists(words, max_size=3), max_size=4), header=headers)
def test_csv_tables_of_any_words(folder, rows, header):
    rows = map(",".join, rows)
    check_csv(folder / "items.csv", "\n".join([header, *rows]).encode(errors="surrogatepass"))


@cases(600)
@given(content=damaged(JSONL))
def test_damaged_jsonl_tables_of_items(folder, content):
    check_json_lines(folder / "items.jsonl", content)


@cases(250)
@given(content=damaged(PARQUET))
def test_damaged_parquet_tables_of_items(folder, content):
    path = folder / "items.parquet"
    path.write_bytes(content)
    check(read("items, parquet", lambda: Items.of_table(path), names=path))


@cases(200)
@given(table=foreign_tables(GOOD))
def test_parquet_tables_of_items_of_any_kind(folder, table):
    path = folder / "items.parquet"
    pq.write_table(table, path)
    items = read("items, parquet", lambda: Items.of_table(path), names=path)
    check(items, items and {row["item"]: as_numbers(row["tokens"]) for row in table.to_pylist()})


@pytest.mark.parametrize("line", ["0", "[1]", "null", '{"item": 1, "tokens": [1]} {}', '{"item": 1, "item": 2}'])
def test_a_line_of_jsonl_that_is_no_object_is_named(folder, line):
    (folder / "items.jsonl").write_bytes(JSONL + line.encode())
    with pytest.raises(SpecbeamError, match=r"items\.jsonl: line 3: "):
        Items.of_table(folder / "items.jsonl")


@cases(300)
@given(rows=st.lists(st.tuples(cells, cells), max_size=4))
def test_tables_of_any_cells(folder, rows):
    lines = [json.dumps({"item": item, "tokens": tokens}) for item, tokens in rows]
    check_json_lines(folder / "items.jsonl", "\n".join(lines).encode())


@cases(600)
@given(identifiers=st.lists(st.lists(st.integers(-1, 4) | cells, max_size=4), max_size=5))
def test_identifiers_of_uneven_length(identifiers):
    check(read("identifiers as numbers", lambda: Items.of(identifiers)))


@cases(200)
@given(content=damaged(RANKING))
def test_damaged_csv_files_of_figures(folder, content):
    path = folder / "ranking.csv"
    path.write_bytes(content)
    frame = read("csv of figures", lambda: read_csv(path, ("recommender", "K", "recall"), missing="none"), names=path)
    assert frame is None or isinstance(frame, pd.DataFrame)


def test_a_folder_in_the_place_of_a_csv_file_is_named(tmp_path):
    with pytest.raises(SpecbeamError, match="expected a csv file that can be read .Is a directory"):
        read_csv(tmp_path, ("K",), missing="none")


@pytest.fixture(scope="module")
def data(tiny_dataset):
    return prepared.load(tiny_dataset.prepared)


@cases(600)
@given(items=st.lists(st.integers(-2, 125) | st.sampled_from([10**20, None, "3", 2.5]), max_size=30))
def test_histories_of_any_items(data, items):
    builder = PromptBuilder(style="compact", history=20, tokenizer=data.tokenizer, catalogue=data.catalogue)
    prompt = read("histories", lambda: builder(items))
    known = all(item in data.catalogue.identifiers for item in items[-20:])
    assert (prompt is not None) == known
    if known:
        assert len(prompt) == 1 + len(items[-20:]) * data.catalogue.identifier_length


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@cases(100)
@given(draw=st.data())
def test_damaged_tokenizers(folder, tiny_dataset, data, name, draw):
    copy = folder / "tokenizer"
    shutil.copytree(tiny_dataset.prepared / "tokenizer", copy, dirs_exist_ok=True)
    (copy / name).write_bytes(draw.draw(damaged((copy / name).read_bytes())))
    tokenizer = read("tokenizers", lambda: prepared.load_tokenizer(copy), names=copy)
    if tokenizer is not None:
        options = {"style": "compact", "history": 20, "catalogue": data.catalogue}
        read("tokenizers", lambda: PromptBuilder(tokenizer=tokenizer, **options)([0, 1]))


@cases(400)
@given(
    dataset=st.sampled_from(["beauty", "games"]) | st.text(max_size=8),
    mirror=st.text(min_size=1, max_size=8) | st.sampled_from(["x" * 300, "x" * 50_000]),
)
def test_any_name_of_a_data_set_and_any_mirror(folder, dataset, mirror):
    before = sorted(folder.parent.iterdir())
    for place in (mirror, f"file://{mirror}", f"ftp://{mirror}"):
        read("registry", lambda place=place: download(dataset=dataset, destination=folder / "raw", mirror=place))
    assert sorted(folder.parent.iterdir()) == before


@pytest.mark.parametrize("wait", [b"\xb2", b"soon", b"-1", b"Thu, 26 Nov 2026 17:00:00 GMT"])
def test_a_wait_that_is_no_number_is_not_waited_for(wait):
    assert _retry_after(httpx.Response(503, headers={b"Retry-After": wait})) is None


def written(build, name):
    """The bytes of a table of embeddings that `build` writes to a file of `name`."""
    with tempfile.TemporaryDirectory() as place:
        build(Path(place) / name)
        return (Path(place) / name).read_bytes()


EMBEDDINGS = pd.DataFrame({"id": ["a", "b", "c"], "v": [[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]], "x": [1, 2, 3]})
EMBEDDINGS_CSV = written(lambda path: EMBEDDINGS[["id", "x"]].to_csv(path, index=False), "e.csv")
EMBEDDINGS_PARQUET = written(lambda path: pq.write_table(pa.Table.from_pandas(EMBEDDINGS), path), "e.parquet")


def check_vectors(vectors, keys):
    if vectors is not None:
        assert vectors.dtype == np.float32
        assert vectors.shape[0] == len(keys)
        assert vectors.shape[1] > 0
        assert np.isfinite(vectors).all()


@cases(300)
@given(content=damaged(EMBEDDINGS_CSV))
def test_damaged_csv_tables_of_embeddings(folder, content):
    (folder / "e.csv").write_bytes(content)
    table, keys = folder / "e.csv", ["b", "a"]
    check_vectors(
        read("embeddings, csv", lambda: from_table(table, item="id", vector=["x"], keys=keys), names=table), keys
    )


@cases(300)
@given(content=damaged(EMBEDDINGS_PARQUET))
def test_damaged_parquet_tables_of_embeddings(folder, content):
    (folder / "e.parquet").write_bytes(content)
    table, keys = folder / "e.parquet", ["b", "a"]
    found = read("embeddings, parquet", lambda: from_table(table, item="id", vector="v", keys=keys), names=table)
    check_vectors(found, keys)


def test_names_of_columns_that_are_no_text_are_refused(folder):
    table = folder / "names.parquet"
    table.write_bytes(EMBEDDINGS_PARQUET.replace(b"\x02id", b"\x02\xe9d"))
    with pytest.raises(SpecbeamError, match=r"names\.parquet: expected a table of embeddings.*damaged"):
        from_table(table, item="id", vector="v", keys=["a"])


@cases(300)
@given(
    ids=st.lists(st.sampled_from(["a", "b", "c", "", None]) | st.integers(0, 3), max_size=4),
    vectors=st.lists(st.none() | st.lists(st.none() | st.floats(width=64), max_size=3), max_size=4),
    keys=st.lists(st.sampled_from(["a", "b", "1"]), unique=True, max_size=3),
)
def test_tables_of_any_ids_and_vectors(folder, ids, vectors, keys):
    rows = min(len(ids), len(vectors))
    kind = pa.int64() if all(isinstance(key, int) for key in ids[:rows]) else pa.string()
    cells = [key if kind == pa.int64() or key is None else str(key) for key in ids[:rows]]
    columns = {"id": pa.array(cells, kind), "v": pa.array(vectors[:rows], pa.list_(pa.float64()))}
    table = folder / "any.parquet"
    pq.write_table(pa.table(columns), table)
    check_vectors(read("embeddings", lambda: from_table(table, item="id", vector="v", keys=keys), names=table), keys)
