"""Items are embedded from a table, from co-occurrence or from their texts; what a source lacks is told."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from encoder_for_tests import save_encoder
from hub_server import Hub
from specbeam.data import ITEMS
from specbeam.data.sequences import write_raw
from specbeam.errors import SpecbeamError
from specbeam.identifiers.co_occurrence import from_co_occurrence
from specbeam.identifiers.embeddings import embed_items
from specbeam.identifiers.identify import load_embeddings
from specbeam.identifiers.table import from_table
from specbeam.identifiers.text import from_texts
from specbeam.settings import EmbeddingSettings

COMMIT = "b" * 40
ON_CPU = {"batch_size": 2, "device": "cpu", "threads": 1}


def written(path: Path, columns: dict) -> Path:
    if path.suffix == ".csv":
        pd.DataFrame(columns).to_csv(path, index=False)
    else:
        pq.write_table(pa.table(columns), path)
    return path


# A table


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_vectors_come_in_the_order_of_the_items_whatever_that_of_the_table(tmp_path, name):
    table = written(tmp_path / name, {"id": ["b", "x", "a"], "one": [1, 2, 3], "two": [0.5, 0.25, 0.0]})
    vectors = from_table(table, item="id", vector=["one", "two"], keys=["a", "b"])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[3, 0], [1, 0.5]]


def test_ids_in_a_csv_file_are_text_as_it_stands(tmp_path):
    (tmp_path / "t.csv").write_text("id,one\n007,1\n7,2\n")
    assert from_table(tmp_path / "t.csv", item="id", vector=["one"], keys=["7", "007"]).tolist() == [[2], [1]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.int32())])
def test_a_column_of_lists_of_any_kind_is_read(tmp_path, kind):
    table = written(tmp_path / "t.parquet", {"id": [7, 5], "v": pa.array([[1, 2], [3, 4]], type=kind)})
    assert from_table(table, item="id", vector="v", keys=["5", "7"]).tolist() == [[3, 4], [1, 2]]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"id": ["a", "b"], "v": [[1.0], [math.nan]]}, "row 2: expected numbers that are finite in float32, got nan"),
        ({"id": ["a", "b"], "v": [[1e300], [1.0]]}, "row 1: expected numbers that are finite in float32, got inf"),
        ({"id": ["a", "b"], "v": [[1.0, None], [1.0, 2.0]]}, "row 1: expected numbers that are finite"),
        ({"id": ["a", "b"], "v": [[1.0], [1.0, 2.0]]}, "row 2: expected 1 numbers in column 'v', as in the rows"),
        ({"id": ["a", "b"], "v": [[1.0], None]}, "row 2: expected 1 numbers in column 'v', as in the rows"),
        ({"id": ["a", "b"], "v": ["[1]", "[2]"]}, "column 'v': expected lists of numbers, got string"),
        ({"id": ["a", "a"], "v": [[1.0], [2.0]]}, "row 2: item 'a' is there twice, first in row 1"),
        ({"id": ["a", None], "v": [[1.0], [2.0]]}, "row 2: expected an id in column 'id', got none"),
        ({"id": [1.0, 2.0], "v": [[1.0], [2.0]]}, "column 'id': expected ids as text or whole numbers, got double"),
        ({"id": ["a", "c"], "v": [[1.0], [2.0]]}, "found none for 1 of 2, the first is 'b'"),
        ({"key": ["a", "b"], "v": [[1.0], [2.0]]}, "expected one column 'id', found key, v"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_told_with_its_row(tmp_path, columns, told):
    table = written(tmp_path / "t.parquet", columns)
    with pytest.raises(SpecbeamError) as refused:
        from_table(table, item="id", vector="v", keys=["a", "b"])
    assert str(refused.value).startswith(f"{table}: ")
    assert told in str(refused.value)


def test_a_table_of_another_kind_or_none_is_refused(tmp_path):
    for name, told in {"t.xlsx": "as .parquet or .csv", "t.csv": "found none", "t.parquet": "found none"}.items():
        with pytest.raises(SpecbeamError, match=told):
            from_table(tmp_path / name, item="id", vector="v", keys=[])


# Co-occurrence


def test_items_of_one_group_lie_together_and_an_item_nobody_bought_beside_another_is_zero():
    generator = np.random.default_rng(1)
    users = [[group + 5 * n for n in generator.permutation(4)] for group in generator.integers(5, size=200)]
    vectors = from_co_occurrence([*users, [20]], items=21, size=5)
    assert np.linalg.norm(vectors[:20], axis=1) == pytest.approx(np.ones(20))
    assert not vectors[20].any()
    alike = vectors[:20] @ vectors[:20].T
    same = np.arange(20)[:, None] % 5 == np.arange(20) % 5
    assert alike[same].min() > 0.9
    assert alike[~same].max() < 0.1


def test_the_same_users_give_the_same_vectors():
    users = np.random.default_rng(1).integers(30, size=(50, 6)).tolist()
    assert (from_co_occurrence(users, items=30, size=4) == from_co_occurrence(users, items=30, size=4)).all()


@pytest.mark.parametrize(
    ("users", "size", "told"),
    [([[0, 1], [1, 2]], 3, "expected fewer numbers than there are items, 3, got 3"), ([[0], [1]], 2, "two training")],
)
def test_too_little_to_see_what_goes_together_is_told(users, size, told):
    with pytest.raises(SpecbeamError, match=told):
        from_co_occurrence(users, items=3, size=size)


# Texts


def test_texts_are_encoded_as_the_model_does_it_in_batches(tmp_path):
    from sentence_transformers import SentenceTransformer

    folder, texts = save_encoder(tmp_path / "encoder"), ["red lipstick", "green shampoo", "", "red red red"]
    vectors = from_texts(texts, model=str(folder), revision=None, **ON_CPU)
    assert vectors.shape == (4, 8)
    np.testing.assert_allclose(vectors, SentenceTransformer(str(folder), device="cpu").encode(texts), atol=1e-6)


def test_a_model_of_the_hub_is_fetched_at_its_commit(tmp_path, monkeypatch):
    folder = save_encoder(tmp_path / "encoder")
    (folder / "evil.py").write_text("raise SystemExit")
    with Hub(commit=COMMIT, repositories={"some/encoder": folder}).running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        url = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        fetched = from_texts(["red"], model="some/encoder", revision=COMMIT, **ON_CPU)
    assert not any(request.endswith(".py") for request in hub.requests)
    assert (fetched == from_texts(["red"], model=str(folder), revision=None, **ON_CPU)).all()


def test_code_of_a_model_s_folder_is_not_run(tmp_path):
    folder = save_encoder(tmp_path / "encoder")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "evil.Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(SpecbeamError, match="expected a sentence-transformers model"):
        from_texts(["red"], model=str(folder), revision=None, **ON_CPU)
    assert not (tmp_path / "ran").exists()


def changed(file: Path, **keys) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def test_an_encoder_has_no_say_in_the_code_that_computes(tmp_path):
    folder = save_encoder(tmp_path / "encoder")
    before = from_texts(["red"], model=str(folder), revision=None, **ON_CPU)
    changed(folder / "config.json", _attn_implementation="someone/else@main")
    assert (from_texts(["red"], model=str(folder), revision=None, **ON_CPU) == before).all()


@pytest.mark.parametrize(
    ("file", "keys", "message"),
    [
        ("sentence_bert_config.json", {"model_args": {"allow_all_kernels": True}}, "found model_args, which says how"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "other/one"}, "found tokenizer_name_or_path"),
        ("1_Pooling/config.json", {"quantization_config": {"quant_method": "gptq"}}, "found quantization_config"),
        ("1_Pooling/adapter_config.json", {"base_model_name_or_path": "other/one"}, "names its base elsewhere"),
    ],
)
def test_parts_of_an_encoder_that_lead_elsewhere_are_refused(tmp_path, file, keys, message):
    folder = save_encoder(tmp_path / "encoder")
    (folder / file).touch()
    (folder / file).write_text((folder / file).read_text() or "{}")
    changed(folder / file, **keys)
    with pytest.raises(SpecbeamError, match=message):
        from_texts(["red"], model=str(folder), revision=None, **ON_CPU)


@pytest.mark.parametrize("place", ["2_Dense/pytorch_model.bin", "2_Router/query_0/pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_not_loaded(tmp_path, place):
    folder = save_encoder(tmp_path / "encoder")
    (folder / place).parent.mkdir(parents=True)
    (folder / place).write_bytes(b"")
    with pytest.raises(SpecbeamError, match="Pickled weights are not loaded"):
        from_texts(["red"], model=str(folder), revision=None, **ON_CPU)


def test_a_tokenizer_of_another_model_is_told(tmp_path):
    folder = save_encoder(tmp_path / "encoder")
    words = json.loads((folder / "tokenizer.json").read_text())
    words["model"]["vocab"]["red"] = 999
    (folder / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(
        SpecbeamError, match="cannot encode texts with .*: IndexError: .*do its tokenizer and its weights"
    ):
        from_texts(["red"], model=str(folder), revision=None, **ON_CPU)


# The stage


@pytest.fixture
def raw(tmp_path):
    splits = {"train": [[0, 1], [1, 2, 0]], "valid": [[2], []], "test": [[3], []]}
    write_raw(tmp_path, splits)
    return tmp_path


def embedded(raw: Path, **settings) -> np.ndarray:
    chosen = EmbeddingSettings.model_validate(settings)
    embed_items(raw=raw, output=raw / "e.safetensors", settings=chosen, device="cpu", threads=1)
    return load_embeddings(raw / "e.safetensors")


def test_without_a_table_of_items_all_that_occur_in_any_split_are_embedded(raw):
    vectors = embedded(raw, **{"from": "co-occurrence", "size": 2})
    assert vectors.shape == (4, 2)
    assert not vectors[3].any()
    table = written(raw / "t.csv", {"item_id": [3, 2, 1, 0], "x": [3, 2, 1, 0]})
    assert embedded(raw, **{"from": "table", "file": str(table), "vector": ["x"]}).tolist() == [[0], [1], [2], [3]]


def test_a_table_of_items_says_how_many_there_are_and_by_what_keys(raw):
    pq.write_table(pa.table({"item": [3, 1, 0, 2, 4], "key": [*"DBACE"]}), raw / ITEMS)
    table = written(raw / "t.csv", {"item_id": [*"ABCDE"], "x": [1, 2, 3, 4, 5]})
    assert embedded(raw, **{"from": "table", "file": str(table), "vector": ["x"]}).tolist() == [[1], [2], [3], [4], [5]]


def test_a_table_of_items_that_lacks_one_which_occurs_is_refused(raw):
    pq.write_table(pa.table({"item": [0, 1], "key": ["A", "B"]}), raw / ITEMS)
    with pytest.raises(SpecbeamError, match="expected a row for every item, found 2, and item 3 in the splits"):
        embedded(raw)


def test_a_number_of_an_item_far_beyond_those_that_occur_is_refused_by_file_and_user(tmp_path):
    write_raw(tmp_path, {"train": [[0, 1], [1, 2]], "valid": [[], []], "test": [[2], [10**11]]})
    told = r"sequential_test\.txt: user 2: expected items numbered .*, got 100000000001, and 4 items in all"
    with pytest.raises(SpecbeamError, match=told):
        embedded(tmp_path, **{"from": "co-occurrence", "size": 2})


def test_texts_are_those_of_the_items_and_asked_for_where_there_are_none(raw, tmp_path):
    folder = save_encoder(tmp_path / "encoder")
    for without in ({}, {"text": pa.nulls(4, pa.string())}):
        pq.write_table(pa.table({"item": range(4), "key": range(4), **without}), raw / ITEMS)
        with pytest.raises(SpecbeamError, match="expected a column `text` with texts"):
            embedded(raw, **{"from": "text", "model": str(folder)})
    pq.write_table(pa.table({"item": range(4), "key": range(4), "text": ["red", None, "green", "red"]}), raw / ITEMS)
    expected = from_texts(["red", "", "green", "red"], model=str(folder), revision=None, **ON_CPU)
    np.testing.assert_allclose(embedded(raw, **{"from": "text", "model": str(folder)}), expected, atol=1e-6)
