import pytest

from specbeam.catalogue import Catalogue
from specbeam.errors import SpecbeamError

THREE = {0: ("<a_1>", "<b_2>"), 5: ("<a_0>", "<b_9>"), 2: ("<a_1>", "<b_2>")}


def test_items_map_to_rows_of_the_sorted_distinct_identifiers():
    catalogue = Catalogue.of(THREE)
    assert catalogue.distinct == (("<a_0>", "<b_9>"), ("<a_1>", "<b_2>"))
    assert catalogue.row_of == {0: 1, 2: 1, 5: 0}
    assert catalogue.rows([5, 0]) == [0, 1]
    assert catalogue.identifier_length == 2


def test_a_colliding_identifier_stands_for_all_its_items():
    catalogue = Catalogue.of(THREE)
    assert catalogue.items_of(1) == (0, 2)
    assert catalogue.items_of(0) == (5,)
    assert catalogue.collisions == {1: (0, 2)}


def test_tokens_are_distinct_and_in_string_order_so_that_rows_are_sorted_as_numbers_too():
    catalogue = Catalogue.of({0: ["<a_10>", "<b_1>"], 1: ["<a_9>", "<b_1>"], 2: ["<a_9>", "<a_10>"]})
    assert catalogue.tokens == ("<a_10>", "<a_9>", "<b_1>")
    number = {token: n for n, token in enumerate(catalogue.tokens)}
    rows = [[number[token] for token in identifier] for identifier in catalogue.distinct]
    assert rows == sorted(rows)


def test_a_saved_catalogue_loads_as_it_was(tmp_path):
    catalogue = Catalogue.of(THREE)
    catalogue.save(tmp_path / "catalogue.json")
    assert Catalogue.load(tmp_path / "catalogue.json") == catalogue


def test_an_item_without_identifier_has_no_row():
    with pytest.raises(SpecbeamError, match="item 7: expected an identifier in the catalogue, found none"):
        Catalogue.of(THREE).rows([0, 7])


@pytest.mark.parametrize(
    ("identifiers", "message"),
    [
        ({}, "at least one item"),
        (["<a_1>"], "at least one item"),
        ({"x": ["<a_1>"]}, "expected whole item ids from 0 on, got 'x'"),
        ({-1: ["<a_1>"]}, "expected whole item ids from 0 on, got -1"),
        ({True: ["<a_1>"]}, "got True"),
        ({"1": ["<a_1>"], "01": ["<a_2>"]}, "item 1 is listed twice"),
        ({0: ["<a_1>"], 1: ["<a_1>", "<b_1>"]}, "item 0 has 1, item 1 has 2"),
        ({0: []}, "item 0: expected a list of tokens"),
        ({0: "<a_1><b_1>"}, "item 0: expected a list of tokens"),
        ({0: ["<a_1>", "b_1"]}, "item 0: token 2 should look like <a_1>"),
        ({0: ["<a 1>"]}, "item 0: token 1 should look like <a_1>"),
        ({0: [3]}, "item 0: token 1 should look like <a_1>"),
        ({0: ["<pad>"]}, "which the tokenizer needs itself"),
    ],
)
def test_a_bad_catalogue_is_refused_and_the_message_names_the_item(identifiers, message):
    with pytest.raises(SpecbeamError, match=r"^mine\.json: ") as error:
        Catalogue.of(identifiers, source="mine.json")
    assert message in str(error.value)
