"""Catalogues of token ids: from lists, mappings, tables and this project's own; mistakes name their place."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specbeam import Items, SpecbeamError
from specbeam.catalogue import Catalogue
from specbeam.data.item_keys import ItemKeys


def test_an_item_of_a_list_is_named_by_its_position_and_of_a_mapping_by_its_key() -> None:
    listed = Items.of([[5, 6], [7], [5, 8]])
    assert [listed.tokens_of(item) for item in (0, 1, 2)] == [(5, 6), (7,), (5, 8)]
    named = Items.of({"shoe": [5, 6], "hat": [7]})
    assert named.tokens_of("hat") == (7,)
    assert (len(listed), len(named)) == (3, 2)


def test_arrays_are_taken_as_lists_are() -> None:
    assert Items.of(np.array([[5, 6], [5, 7]])) == Items.of([[5, 6], [5, 7]])


def test_items_that_share_an_identifier_are_all_kept_in_their_order() -> None:
    items = Items.of({"a": [5, 6], "b": [5, 7], "c": [5, 6]})
    assert items.identifiers == [(5, 6), (5, 7)]
    assert items.bearers == [("a", "c"), ("b",)]
    assert len(items) == 3


@pytest.mark.parametrize(
    ("identifiers", "message"),
    [
        ([], "expected at least one item"),
        ([[5], []], r"item 1: expected an identifier of token ids, such as \[12, 55, 7\], got \[\]"),
        ([[5], [6, -1]], r"item 1: .* got \[6, -1\]"),
        ([[5], [6, 1.5]], r"item 1: .* got \[6, 1.5\]"),
        ([[5], [True]], r"item 1: .* got \[True\]"),
        ([[5], "67"], r"item 1: .* got '67'"),
        ({"hat": 7}, r"item 'hat': .* got 7"),
    ],
)
def test_what_is_no_identifier_is_refused_with_the_item(identifiers: Any, message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        Items.of(identifiers)


def test_an_item_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(SpecbeamError, match="item 'cap': expected an item of the catalogue"):
        Items.of({"hat": [7]}).tokens_of("cap")


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Items.of({LONG: 7}),
        lambda: Items.of({"hat": [7]}).tokens_of(LONG),
        lambda: Items.of_table(pd.DataFrame({"item": [LONG, LONG], "tokens": [[7], [8]]})),
        lambda: Catalogue.of({LONG: ["<a>"]}),
        lambda: Catalogue.of({"0": [f"<{LONG}\ud800>"]}),
        lambda: ItemKeys([LONG], [None]).numbers([LONG + "y"]),
    ],
)
def test_an_id_of_any_length_is_named_by_its_beginning(refused: Any) -> None:
    with pytest.raises(SpecbeamError, match="xxx") as caught:
        refused()
    assert len(str(caught.value)) < 600


EXPECTED = Items.of({"shoe": [12, 55, 7], "hat": [12, 9]})


def as_text(path: Path) -> None:
    path.write_text("item,tokens\nshoe,12 55 7\nhat,12 9\n")


def as_parquet(path: Path) -> None:
    pd.DataFrame({"item": ["shoe", "hat"], "tokens": [[12, 55, 7], [12, 9]]}).to_parquet(path)


def as_json_lines(path: Path) -> None:
    rows = ({"item": "shoe", "tokens": [12, 55, 7]}, {"item": "hat", "tokens": [12, 9]})
    path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(("name", "write"), [("a.csv", as_text), ("a.parquet", as_parquet), ("a.jsonl", as_json_lines)])
def test_a_table_has_its_identifiers_in_one_column(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)
    assert Items.of_table(tmp_path / name) == EXPECTED
    assert Items.of_table(str(tmp_path / name)) == EXPECTED


def test_or_in_one_column_a_token_with_empty_cells_behind_the_shorter_ones(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("id,a,b,c\nshoe,12,55,7\nhat,12,9,\n")
    assert Items.of_table(path, item="id", tokens=["a", "b", "c"]) == EXPECTED
    frame = pd.read_csv(path)  # where pandas makes floats of a column with an empty cell
    assert Items.of_table(frame, item="id", tokens=["a", "b", "c"]) == EXPECTED


def test_numbers_stay_numbers_as_item_ids(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item,tokens\n31,12 55\n")
    assert Items.of_table(path).bearers == [(31,)]


@pytest.mark.parametrize("odd", ["x", "007", "1.5", "NA", "1_0", "٣", "9" * 5000])
def test_one_id_that_is_no_whole_number_makes_all_of_them_text_as_it_stands(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "items.csv"
    numbers = [str(number) for number in range(20)]
    path.write_text("item,tokens\n" + "".join(f"{item},5\n" for item in [*numbers, odd]))
    assert Items.of_table(path).bearers == [(*numbers, odd)]


def test_a_byte_that_is_no_utf_8_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"item,tokens\na,1\n\xff,2\n")
    with pytest.raises(SpecbeamError, match=r"in UTF-8, got the byte 0xff at offset 16, line 3"):
        Items.of_table(tmp_path / "items.csv")


def test_a_parquet_file_is_read_whatever_pandas_noted_in_it_and_a_bad_id_is_named_by_row(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    columns = {"item": pa.array([b"hat", b"\xff"]).view(pa.string()), "tokens": [[1], [2]]}
    pq.write_table(pa.table(columns).replace_schema_metadata({"pandas": '{"columns": [{}]}'}), path)
    with pytest.raises(SpecbeamError, match=r"items\.parquet: row 2: expected an item id, found <'utf-8' codec"):
        Items.of_table(path)
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    assert Items.of_table(path) == Items.of({"hat": [1]})


def test_a_table_has_a_column_of_tokens_at_least() -> None:
    with pytest.raises(SpecbeamError, match="tokens: expected the name of a column"):
        Items.of_table(pd.DataFrame({"item": [1]}), tokens=[])


def test_a_number_that_is_too_long_to_show_is_refused() -> None:
    with pytest.raises(SpecbeamError, match="item 0: expected an identifier of token ids.*too long to show"):
        Items.of([[10**5000]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,tokens\n1,5 6\n2,5 x\n", r"items.csv: line 3: expected an identifier of token ids"),
        ("item,tokens\n1,5 6\n2,\n", r"items.csv: line 3: expected an identifier of token ids"),
        ("item,tokens\n1,5 6\n,5 7\n", r"items.csv: line 3: expected an item id, found none"),
        ("item,tokens\n1,5 6\n1,5 7\n", r"items.csv: line 3: item 1 has an identifier already; keep one of them"),
        (
            "id,tokens\n1,5 6\n",
            r"expected the columns item, tokens, each once, found id, tokens; say which",
        ),
        ("item,tokens\n", "expected at least one item"),
        ("", "items.csv: expected a table of items, the file is empty"),
        ("item,tokens\na,1,2,3\n", r"line 2: expected 2 fields, as in the first line, got 4; quote what has commas"),
        ("item,tokens\n\na\n", "line 3: expected 2 fields, as in the first line, got 1"),
        ("item,item,tokens\na,b,1\n", "expected the columns item, tokens, each once, found item, item, tokens"),
        ("item,tokens,tokens\na,1,2\n", "expected the columns item, tokens, each once, found item, tokens, tokens"),
        ('item,tokens\na,1\n"b,2\nc,3\n', r"line 3: expected fields of CSV \(unexpected end of data\)"),
        ("item,tokens\na," + "9" * 5000, r"line 2: expected an identifier of token ids.* got \['9{,200}$"),
        ("item,tokens\n" + 2 * f"{'a' * 9000},1\n", r"line 3: item 'a{,200} has an identifier already"),
    ],
)
def test_a_mistake_in_a_table_is_named_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "items.csv"
    path.write_text(text)
    with pytest.raises(SpecbeamError, match=message):
        Items.of_table(path)


def test_an_empty_cell_before_a_token_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item": ["hat"], "a": ["12"], "b": [None], "c": ["7"]})
    with pytest.raises(SpecbeamError, match="table: row 1: expected empty cells behind the identifier only"):
        Items.of_table(frame, tokens=["a", "b", "c"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("items.csv", "expected a table of items here, found none"), ("items.xlsx", "expected a table in .csv, .parquet")],
)
def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        Items.of_table(tmp_path / name)


class Tokenizer:
    """As much of a transformers tokenizer as is asked for."""

    def get_vocab(self) -> dict[str, int]:
        return {"<a_1>": 11, "<b_1>": 12, "<b_2>": 13}


def test_a_catalogue_of_strings_gets_its_numbers_from_the_tokenizer() -> None:
    catalogue = Catalogue.of({"0": ["<a_1>", "<b_2>"], "4": ["<a_1>", "<b_1>"]})
    assert Items.of_catalogue(catalogue, Tokenizer()) == Items.of({0: [11, 13], 4: [11, 12]})
    with pytest.raises(SpecbeamError, match="it lacks 1, <c_9> among them"):
        Items.of_catalogue(Catalogue.of({"0": ["<a_1>", "<c_9>"]}), Tokenizer())


def test_the_package_loads_torch_only_where_a_name_needs_it() -> None:
    code = "import sys, specbeam; specbeam.Items.of([[1]]); specbeam.SpecbeamError; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_package_offers_its_names_and_no_other() -> None:
    import specbeam

    offered = {"Items", "Plan", "Recommendations", "Recommender", "SpecbeamError", "Subset"}
    assert offered <= set(dir(specbeam))
    assert {getattr(specbeam, name).__name__ for name in offered} == offered
    with pytest.raises(AttributeError, match="no attribute 'Recomender'"):
        specbeam.Recomender  # noqa: B018
