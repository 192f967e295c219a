import json
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specbeam.data import ITEMS
from specbeam.data.item_keys import ItemKeys
from specbeam.data.prepare import prepare
from specbeam.data.prepared import load, load_tokenizer
from specbeam.data.sequences import read_raw, write_raw
from specbeam.errors import SpecbeamError
from specbeam.settings import ModelSettings


def small_raw(folder, *, identifiers=None):
    write_raw(folder, {"train": [[0, 1], [2, 0]], "valid": [[2], []], "test": [[], [1]]})
    identifiers = identifiers or {"0": ["<a_1>", "<b_1>"], "1": ["<a_1>", "<b_2>"], "2": ["<a_2>", "<b_1>"]}
    (folder / "identifiers.json").write_text(json.dumps(identifiers))
    return folder


def test_a_prepared_folder_loads_as_catalogue_users_and_tokenizer(tiny_dataset):
    data = load(tiny_dataset.prepared)
    pd.testing.assert_frame_equal(data.users, read_raw(tiny_dataset.raw))
    raw = json.loads((tiny_dataset.raw / "identifiers.json").read_text())
    assert {str(item): list(tokens) for item, tokens in data.catalogue.identifiers.items()} == raw
    assert set(data.catalogue.tokens) <= set(data.tokenizer.get_vocab())


def test_the_item_vocabulary_is_special_tokens_and_item_tokens_in_order(tiny_dataset):
    data = load(tiny_dataset.prepared)
    vocabulary = sorted(data.tokenizer.get_vocab(), key=data.tokenizer.get_vocab().get)
    assert vocabulary == ["<pad>", "<bos>", "<eos>", "<unk>", *data.catalogue.tokens]
    special = data.tokenizer
    ids = [special.pad_token_id, special.bos_token_id, special.eos_token_id, special.unk_token_id]
    assert ids == [0, 1, 2, 3]
    assert len(data.tokenizer) == len(vocabulary)


def test_item_tokens_are_one_id_each_with_or_without_spaces_and_decode_to_the_same_text(tmp_path):
    prepare(raw=small_raw(tmp_path / "raw"), prepared=tmp_path / "prepared", model=ModelSettings())
    tokenizer = load_tokenizer(tmp_path / "prepared" / "tokenizer")
    together = tokenizer("<a_1><b_2><a_2>")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(together) == ["<a_1>", "<b_2>", "<a_2>"]
    assert tokenizer("<a_1> <b_2>  <a_2>")["input_ids"] == together
    assert tokenizer.decode(together) == "<a_1><b_2><a_2>"
    assert tokenizer("<bos><a_1>")["input_ids"][0] == tokenizer.bos_token_id
    assert tokenizer("<a_7>word")["input_ids"] == [tokenizer.unk_token_id] * 2


def test_preparing_again_replaces_the_folder_with_the_same_bytes(tmp_path):
    raw, prepared = small_raw(tmp_path / "raw"), tmp_path / "prepared"
    prepare(raw=raw, prepared=prepared, model=ModelSettings())
    first = {path.name: path.read_bytes() for path in prepared.rglob("*") if path.is_file()}
    (prepared / "leftover").write_text("of an older version")
    prepare(raw=raw, prepared=prepared, model=ModelSettings())
    assert {path.name: path.read_bytes() for path in prepared.rglob("*") if path.is_file()} == first
    assert {path.name for path in prepared.iterdir()} == {
        "catalogue.json",
        "users.parquet",
        "tokenizer",
        "statistics.csv",
    }


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tiny_dataset, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(SpecbeamError, match="this one holds other files: name another"):
        prepare(raw=tiny_dataset.raw, prepared=tmp_path, model=ModelSettings())
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_preparation_that_fails_half_way_leaves_the_older_folder_whole(tmp_path, monkeypatch):
    raw, prepared = small_raw(tmp_path / "raw"), tmp_path / "prepared"
    prepare(raw=raw, prepared=prepared, model=ModelSettings())
    first = {path.name: path.read_bytes() for path in prepared.rglob("*") if path.is_file()}

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("specbeam.data.prepare.save_statistics", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw=raw, prepared=prepared, model=ModelSettings())
    assert {path.name: path.read_bytes() for path in prepared.rglob("*") if path.is_file()} == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "raw"]


def test_an_interaction_with_an_item_that_has_no_identifier_is_refused(tmp_path):
    raw = small_raw(tmp_path / "raw", identifiers={"0": ["<a_1>"], "2": ["<a_2>"]})
    with pytest.raises(SpecbeamError) as error:
        prepare(raw=raw, prepared=tmp_path / "prepared", model=ModelSettings())
    assert "identifiers.json" in str(error.value)
    assert "none for item 1 (written 2 in sequential_train.txt, user 1)" in str(error.value)
    assert not (tmp_path / "prepared").exists()


def test_identifiers_of_another_file_take_the_place_of_those_in_the_folder(tmp_path):
    raw, other = small_raw(tmp_path / "raw"), tmp_path / "learned.json"
    other.write_text(json.dumps({"0": ["<z_1>"], "1": ["<z_2>"], "2": ["<z_3>"]}))
    prepare(raw=raw, prepared=tmp_path / "prepared", model=ModelSettings(), identifiers=other)
    assert load(tmp_path / "prepared").catalogue.tokens == ("<z_1>", "<z_2>", "<z_3>")
    other.write_text(json.dumps({"0": ["<z_1>"]}))
    with pytest.raises(SpecbeamError, match="learned.json: expected an identifier for every item"):
        prepare(raw=raw, prepared=tmp_path / "prepared", model=ModelSettings(), identifiers=other)


def test_keys_of_items_are_prepared_with_them(tmp_path):
    raw = small_raw(tmp_path / "raw")
    pq.write_table(pa.table({"item": [2, 0, 1], "key": ["C", "A", "B"]}), raw / ITEMS)
    prepare(raw=raw, prepared=tmp_path / "prepared", model=ModelSettings())
    (raw / ITEMS).unlink()
    own = ItemKeys.read(tmp_path / "prepared" / ITEMS)
    assert (own.keys, own.texts) == (["A", "B", "C"], [None] * 3)
    assert own.numbers(["C", "A"]) == [2, 0]
    prepare(raw=raw, prepared=tmp_path / "prepared", model=ModelSettings())
    assert ItemKeys.read(tmp_path / "prepared" / ITEMS) is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": [0, 1], "key": ["A", "B"]}, "expected a row for every item, found 2, and an identifier for item 2"),
        ({"item": [0, 1, 2], "key": ["A", "B", "A"]}, "expected a key for each item alone, 'A' is there twice"),
        (
            {"item": [0, 1, 2], "name": ["A", "B", "C"]},
            "expected columns item, key and perhaps text, each once, got item, name",
        ),
    ],
)
def test_keys_that_do_not_name_every_item_once_are_refused(tmp_path, columns, message):
    raw = small_raw(tmp_path / "raw")
    pq.write_table(pa.table(columns), raw / ITEMS)
    with pytest.raises(SpecbeamError, match=f"{ITEMS}: {message}"):
        prepare(raw=raw, prepared=tmp_path / "prepared", model=ModelSettings())


def test_a_base_model_that_cannot_be_loaded_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecbeamError, match=r"cannot load the tokenizer of .*empty"):
        prepare(
            raw=small_raw(tmp_path / "raw"),
            prepared=tmp_path / "prepared",
            model=ModelSettings(base=str(tmp_path / "empty")),
        )


def test_loading_names_what_is_missing(tmp_path):
    with pytest.raises(SpecbeamError, match=r"catalogue\.json"):
        load(tmp_path)
    with pytest.raises(SpecbeamError, match="expected a saved tokenizer"):
        load_tokenizer(tmp_path)


def test_importing_the_data_layer_loads_neither_torch_nor_transformers():
    modules = "specbeam.data.prepare, specbeam.data.download, specbeam.data.synthetic, specbeam.prompts"
    check = f"import sys, {modules}; print('torch' in sys.modules or 'transformers' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
