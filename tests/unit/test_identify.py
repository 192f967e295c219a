"""Identifiers of items, from embeddings to the file: for every method and way with collisions, with a report."""

import numpy as np
import pandas as pd
import pytest
import torch

from planted_for_tests import planted
from specbeam import sealed
from specbeam.catalogue import Catalogue
from specbeam.data.sequences import write_raw
from specbeam.errors import SpecbeamError
from specbeam.identifiers.identify import identify_items
from specbeam.settings import IdentifierSettings

ITEMS = 60


@pytest.fixture
def embedded(tmp_path):
    """Sixty items in twelve planted groups, of which the first is the most popular."""
    codes, vectors = planted(items=ITEMS, sizes=(3, 4))
    vectors[1] = vectors[0]
    sealed.write(tmp_path / "e.safetensors", {"embeddings": torch.from_numpy(vectors)}, {})
    write_raw(tmp_path, {"train": [[0], list(range(ITEMS))], "valid": [[], [1]], "test": [[], [2]]})
    return tmp_path, codes[:, 0]


def identified(folder, **chosen) -> Catalogue:
    output = folder / "identifiers.json"
    own = IdentifierSettings(**{"codebook": 8, "length": 3} | chosen)
    identify_items(raw=folder, embeddings=folder / "e.safetensors", output=output, settings=own)
    return Catalogue.load(output)


@pytest.mark.parametrize("method", ["rq-kmeans", "rq-vae", "shuffled"])
def test_every_method_names_all_items_apart_with_a_letter_a_level(embedded, method):
    catalogue = identified(embedded[0], method=method, **({"vae": {"epochs": 2}} if method == "rq-vae" else {}))
    assert len(catalogue.identifiers) == len(catalogue.distinct) == ITEMS
    assert {token[:3] for token in catalogue.tokens} == {"<a_", "<b_", "<c_"}


def test_alike_items_begin_alike_unless_identifiers_are_shuffled(embedded):
    folder, group = embedded
    first = [tokens[0] for tokens in identified(folder, codebook=[3, 8, 8]).identifiers.values()]
    assert len(set(zip(first, group.tolist(), strict=True))) == 3
    shuffled = identified(folder, codebook=[3, 8, 8], method="shuffled")
    first = [tokens[0] for tokens in shuffled.identifiers.values()]
    assert len(set(zip(first, group.tolist(), strict=True))) > 3
    assert shuffled.distinct == identified(folder, codebook=[3, 8, 8]).distinct


def test_equal_items_share_an_identifier_or_get_one_token_more_where_that_is_chosen(embedded):
    kept = identified(embedded[0], collisions="keep")
    assert kept.row_of[0] == kept.row_of[1]
    extra = identified(embedded[0], collisions="extra-token")
    assert extra.identifier_length == 4
    assert not extra.collisions
    assert extra.identifiers[0][:3] == extra.identifiers[1][:3]
    assert extra.identifiers[0][3] == "<d_0>"  # bought more often than its twin
    assert (embedded[0] / "identifiers.txt").read_text().splitlines()[-1].split()[:2] == ["4", "-"]


def test_vectors_of_zeros_and_more_codewords_than_items_are_told(embedded, caplog):
    folder, _ = embedded
    identified(folder)
    assert not [line for line in caplog.records if line.levelname == "WARNING"]
    vectors = sealed.read(folder / "e.safetensors")[0]["embeddings"]
    vectors[3:5] = 0
    sealed.write(folder / "e.safetensors", {"embeddings": vectors}, {})
    identified(folder, codebook=[8, 8, ITEMS + 1])
    assert "2 of 60 items have a vector of zeros" in caplog.text
    assert "61 codewords for 60 items" in caplog.text


def test_the_report_says_what_each_level_keeps_and_how_many_items_collided(embedded):
    identified(embedded[0], codebook=[3, 4, 8])
    table = pd.read_csv(embedded[0] / "identifiers.csv")
    assert table["codebook"].tolist() == [3, 4, 8]
    assert table["used"].tolist()[:2] == [3, 4]
    assert table["prefixes"].iloc[-1] == ITEMS
    assert 0.1 > table["unexplained"].iloc[0] > table["unexplained"].iloc[1]
    assert table["unexplained"].iloc[1] < 0.01
    told = (embedded[0] / "identifiers.txt").read_text()
    assert told.startswith("60 items, rq-kmeans, collisions: constrained, seed 1\n")
    assert "after: none." in told


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(embedded):
    def made(seed: int) -> bytes:
        identified(embedded[0], seed=seed)
        return (embedded[0] / "identifiers.json").read_bytes()

    assert made(1) == made(1) != made(2)


def test_more_items_than_codes_and_embeddings_of_fewer_items_than_there_are_are_refused(embedded):
    folder, _ = embedded
    with pytest.raises(SpecbeamError, match="expected codes for 60 items, 2 x 2 x 2 gives 8; make"):
        identified(folder, codebook=2)
    sealed.write(folder / "e.safetensors", {"embeddings": torch.from_numpy(np.eye(5, dtype="f4"))}, {})
    with pytest.raises(SpecbeamError, match="expected a vector for every item, found 5, and item 59 in the training"):
        identified(folder)
