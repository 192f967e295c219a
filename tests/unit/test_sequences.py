import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specbeam.data.sequences import history_and_targets, load_users, read_raw, save_users, write_raw
from specbeam.errors import SpecbeamError

SPLITS = ("train", "valid", "test")


def raw_folder(folder, *, train, valid, test):
    for split, text in zip(SPLITS, (train, valid, test), strict=True):
        (folder / f"sequential_{split}.txt").write_text(text)
    return folder


def test_ids_in_the_text_files_count_from_one_and_are_counted_from_zero_here(tmp_path):
    users = read_raw(raw_folder(tmp_path, train="1 1 5\n2 3\n", valid="1 4\n2\n", test="1\n2 2 6\n"))
    assert users.to_dict("list") == {
        "user": [0, 1],
        "train": [[0, 4], [2]],
        "valid": [[3], []],
        "test": [[], [1, 5]],
    }


def test_a_user_whom_a_file_does_not_name_has_nothing_in_that_split(tmp_path):
    users = read_raw(raw_folder(tmp_path, train="3 1 2\n", valid="", test="\n7 1\n"))
    assert users["user"].tolist() == [2, 6]
    assert users["valid"].tolist() == [[], []]
    assert users["train"].tolist() == [[0, 1], []]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 3 x", "got 'x'"),
        ("2 0", "got '0'"),
        ("2 -4", "got '-4'"),
        ("2 3.5", "got '3.5'"),
        ("1 3", "user 1 is listed twice"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, message):
    raw_folder(tmp_path, train=f"1 2 3\n{line}\n", valid="1\n", test="1\n")
    with pytest.raises(SpecbeamError, match=r"sequential_train\.txt:2: ") as error:
        read_raw(tmp_path)
    assert message in str(error.value)


def test_a_missing_file_other_bytes_and_files_without_users_are_named(tmp_path):
    with pytest.raises(SpecbeamError, match=r"sequential_train\.txt: expected a text file"):
        read_raw(tmp_path)
    raw_folder(tmp_path, train="", valid="", test="")
    with pytest.raises(SpecbeamError, match="at least one user"):
        read_raw(tmp_path)
    (tmp_path / "sequential_test.txt").write_bytes(b"1 2\n\xff\n")
    with pytest.raises(SpecbeamError, match=r"sequential_test\.txt: .* got the byte 0xff at offset 4, line 2"):
        read_raw(tmp_path)


@settings(max_examples=30, deadline=None)
@given(
    lists=st.lists(
        st.tuples(*[st.lists(st.integers(0, 10**6), max_size=5)] * 3),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_written_is_read_again_as_text_and_as_parquet(tmp_path_factory, lists):
    folder = tmp_path_factory.mktemp("raw")
    write_raw(folder, {split: [user[n] for user in lists] for n, split in enumerate(SPLITS)})
    users = read_raw(folder)
    assert [tuple(row) for row in users[list(SPLITS)].itertuples(index=False)] == lists
    save_users(users, folder / "users.parquet")
    pd.testing.assert_frame_equal(load_users(folder / "users.parquet"), users)


def test_loading_users_names_a_file_that_is_missing_or_something_else(tmp_path):
    with pytest.raises(SpecbeamError, match=r"users\.parquet: expected the prepared users"):
        load_users(tmp_path / "users.parquet")
    (tmp_path / "users.parquet").write_text("no parquet at all")
    with pytest.raises(SpecbeamError, match=r"users\.parquet: expected the prepared users, got no parquet file"):
        load_users(tmp_path / "users.parquet")


USERS = pd.DataFrame(
    {
        "user": [0, 1, 2, 3],
        "train": [[1, 2, 3], [4], [5, 6], []],
        "valid": [[7, 8], [], [9], [3]],
        "test": [[], [10], [11, 12], [13]],
    }
)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [(0, [1, 2], [3]), (2, [5], [6])]),
        ("valid", [(0, [1, 2, 3], [7]), (2, [5, 6], [9])]),
        ("test", [(1, [4], [10]), (2, [5, 6, 9], [11, 12]), (3, [3], [13])]),
    ],
)
def test_each_split_asks_for_its_targets_given_all_that_came_before(split, expected):
    asked = history_and_targets(USERS, split)
    assert list(asked.itertuples(index=False, name=None)) == expected


def test_an_unknown_split_is_refused():
    with pytest.raises(SpecbeamError, match="one of train, valid, test, got 'testing'"):
        history_and_targets(USERS, "testing")


@pytest.mark.mirror
@pytest.mark.parametrize("dataset", ["beauty", "games"])
def test_the_text_files_hold_the_same_facts_as_the_authors_pickled_dictionaries(mirror, dataset):
    checksums = dict(reversed(line.split()) for line in (mirror / "SHA256SUMS").read_text().splitlines())
    users = read_raw(mirror / dataset)
    for split, name in zip(SPLITS, ("training", "validation", "testing"), strict=True):
        path = mirror / dataset / f"{name}_dict.npy"
        # Unpickling can run anything: only here, and only the bytes that are known.
        assert hashlib.sha256(path.read_bytes()).hexdigest() == checksums[f"{dataset}/{name}_dict.npy"]
        pickled = np.load(path, allow_pickle=True).item()
        assert {user: [int(i) for i in items] for user, items in pickled.items() if len(items)} == {
            user: items for user, items in zip(users["user"], users[split], strict=True) if items
        }
