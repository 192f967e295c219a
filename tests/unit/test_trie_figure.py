"""The figure of a data set's trie: its numbers are those of the catalogue."""

import pytest

import generated_records as generated
from specbeam.catalogue import Catalogue
from specbeam.errors import SpecbeamError
from specbeam.figures import trie

FOUR = Catalogue.of({0: ["<a>", "<c>"], 1: ["<a>", "<d>"], 2: ["<b>", "<c>"], 3: ["<b>", "<c>"]})


def test_prefixes_are_counted_by_length_and_by_children():
    shape = trie.data(FOUR)
    assert shape.to_numpy().tolist() == [[0, 2, 1], [1, 1, 1], [1, 2, 1]]


def test_each_length_has_a_line_that_falls_from_all_prefixes_to_none():
    sizes, branching = trie.draw(trie.data(FOUR)).axes
    assert sizes.lines[0].get_ydata().tolist() == [2, 3]
    assert [line.get_ydata().tolist() for line in branching.lines] == [[100, 100, 0], [100, 50, 0]]
    assert [line.get_label() for line in branching.lines] == ["root, mean 2", "length 1, mean 1.5"]


def test_the_caption_names_the_data_set_and_counts_items(tmp_path):
    Catalogue.of(generated.identifiers()).save(tmp_path / "mine" / "prepared" / "catalogue.json")
    trie.plot(inputs=[tmp_path / "mine" / "prepared"], output=tmp_path / "trie")
    assert (tmp_path / "trie.txt").read_text().startswith("The trie of the identifiers of mine: 400 items with ")


def test_it_is_of_one_data_set(tmp_path):
    with pytest.raises(SpecbeamError, match="expected the folder of one prepared data set, got 2"):
        trie.plot(inputs=[tmp_path, tmp_path], output=tmp_path / "trie")
