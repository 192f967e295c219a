"""Raw files of a data set, whatever is in them: they are read as they stand, or refused by file and place."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_input import cases, damaged, read
from specbeam.catalogue import Catalogue
from specbeam.data.prepare import build_tokenizer, prepare
from specbeam.data.sequences import read_raw
from specbeam.errors import SpecbeamError
from specbeam.settings import ModelSettings

TRAIN, IDENTIFIERS = "sequential_train.txt", "identifiers.json"
LINES = b"1 5 3 9\n2 7\r\n3\n\n4\t8  1\n"
CATALOGUE = b'{"0": ["<a_1>", "<b_1>"], "1": ["<a_1>", "<b_2>"], "2": ["<a_2>", "<b_1>"], "3": ["<a_1>", "<b_1>"]}'

words = st.one_of(
    st.integers(-1, 12).map(str),
    st.sampled_from(["0", "007", "+3", "1_0", "3.0", "1e3", "99999999999999999999", "9" * 5000, "\x1c", "²", "x", ""]),
    st.text(max_size=3),
)
lines = st.lists(words, max_size=4).flatmap(
    lambda row: st.sampled_from([" ", "  ", "\t", "\x0b"]).map(lambda s: s.join(row))
)
ends = st.sampled_from(["\n", "\r\n", "\r", "\x0c", "\x1e"])
texts = st.lists(st.tuples(lines, ends), max_size=6).map(lambda rows: "".join(line + end for line, end in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    for split in ("train", "valid", "test"):
        (folder / f"sequential_{split}.txt").write_text("1 1\n")
    return folder


def as_they_stand(content: bytes) -> dict[int, list[int]]:
    """The users of a file by the letter of its format: lines of ids, which spaces and tabs separate."""
    found = {}
    for line in re.split("\r\n|\r|\n", content.decode("ascii")):
        if line.strip(" \t"):
            assert re.fullmatch(r"[ \t]*[0-9]+([ \t]+[0-9]+)*[ \t]*", line), line
            user, *items = (int(word) - 1 for word in re.findall("[0-9]+", line))
            assert user not in found
            found[user] = items
    return found


def check_sequences(folder, content):
    (folder / TRAIN).write_bytes(content)
    users = read("sequences", lambda: read_raw(folder), names=folder / TRAIN)
    if users is not None:
        expected = {0: [], **as_they_stand(content)}  # user 1 has lines in the other files
        assert dict(zip(users["user"], users["train"], strict=True)) == expected
        assert all(0 <= item < 2**63 for items in expected.values() for item in items)


@cases(1000)
@given(content=damaged(LINES))
def test_damaged_sequences(folder, content):
    check_sequences(folder, content)


@cases(1000)
@given(text=texts, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
def test_lines_of_any_words(folder, text, encoding):
    check_sequences(folder, text.encode(encoding, errors="replace"))


def test_a_million_lines_are_read_and_the_last_one_is_named_if_it_is_bad(folder):
    number = 1_000_000
    content = "".join(f"{user} {user % 9 + 1}\n" for user in range(1, number + 1))
    (folder / TRAIN).write_text(content)
    assert len(read_raw(folder)) == number
    (folder / TRAIN).write_text(content + f"{number} 1\n")
    with pytest.raises(SpecbeamError, match=rf"{TRAIN}:{number + 1}: user {number} is listed twice"):
        read_raw(folder)


@pytest.mark.parametrize("name", [TRAIN, IDENTIFIERS])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    reader = Catalogue.load if name == IDENTIFIERS else lambda path: read_raw(path.parent)
    with pytest.raises(SpecbeamError, match=rf"{name}: .*Is a directory"):
        reader(tmp_path / name)


def check_catalogue(folder, content):
    path = folder / IDENTIFIERS
    path.write_bytes(content)
    catalogue = read("identifiers", lambda: Catalogue.load(path), names=path)
    if catalogue is not None:
        pairs = json.loads(content, object_pairs_hook=list)
        found = [(item, list(tokens)) for item, tokens in catalogue.identifiers.items()]
        assert found == sorted((int(item), tokens) for item, tokens in pairs)
        assert len({len(tokens) for _, tokens in found}) == 1
        catalogue.save(path)
        assert Catalogue.load(path) == catalogue


@cases(1000)
@given(content=damaged(CATALOGUE))
def test_damaged_identifiers(folder, content):
    check_catalogue(folder, content)


tokens = st.one_of(
    st.sampled_from(["<a>", "<b>", "<pad>", "<>", "a", "<a b>", "<a><b>", "<\\ud800>", "<\x1c>", "<é>"]),
    st.text(min_size=1, max_size=3).map("<{}>".format),
    st.integers(0, 3),
    st.none(),
)
keys = st.one_of(st.integers(-1, 5).map(str), st.sampled_from(["00", "1.0", "", "x", "9" * 5000, "9" * 25, "٣"]))
rows = st.one_of(st.lists(tokens, max_size=3), tokens, st.just({}))


@cases(1000)
@given(pairs=st.lists(st.tuples(keys, rows), max_size=5))
def test_identifiers_of_any_keys_and_tokens(folder, pairs):
    written = ", ".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in pairs)  # a key may come twice
    check_catalogue(folder, ("{" + written.replace("\\\\u", "\\u") + "}").encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"{}", "at least one item, got none"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"0": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"0": ["<a>"], "1": ["<b>"], "0": ["<c>"]}', 'the key "0" is there twice'),
        (b'{"0": ["<a>"], "00": ["<c>"]}', "item 0 is listed twice"),
        (b'{"0": ["<a>", "<b>"], "1": ["<b>"]}', "item 0 has 2, item 1 has 1"),
        (b'{"0": ["<\xff>"]}', "got the byte 0xff at offset 9, line 1"),
        (b'{"0": ["<\\ud800>"]}', "token 1 "),
    ],
)
def test_identifiers_that_are_refused_and_why(folder, content, message):
    (folder / IDENTIFIERS).write_bytes(content)
    with pytest.raises(SpecbeamError, match=re.escape(f"{folder / IDENTIFIERS}: ")) as error:
        Catalogue.load(folder / IDENTIFIERS)
    assert message in str(error.value)


@cases(300)
@given(names=st.sets(st.text(min_size=1, max_size=3).map("<{}>".format), min_size=1, max_size=4))
def test_every_token_of_a_catalogue_is_one_token_of_its_tokenizer(names):
    catalogue = read("tokens", lambda: Catalogue.of({item: [name] for item, name in enumerate(names)}))
    if catalogue is not None:
        tokenizer = build_tokenizer(catalogue, model=ModelSettings())
        numbers = [tokenizer.get_vocab()[token] for token in catalogue.tokens]
        for separator in ("", " "):
            assert tokenizer(separator.join(catalogue.tokens))["input_ids"] == numbers


@pytest.mark.parametrize("item", [5, 10**17])
def test_an_item_beyond_the_catalogue_is_named_with_user_and_file(folder, tmp_path, item):
    (folder / IDENTIFIERS).write_bytes(CATALOGUE)
    (folder / TRAIN).write_text(f"1 1\n2 {item}\n")
    with pytest.raises(SpecbeamError, match=rf"written {item} in {TRAIN}, user 2\); add it, or remove"):
        prepare(raw=folder, prepared=tmp_path / "prepared", model=ModelSettings())
    assert not (tmp_path / "prepared").exists()
