"""Users' interactions, split by time: the authors' text files, and what a model is asked in each split.

A text file holds one user a line, `user item item ...`, ids counted from 1; a line with a user alone is a user without
interactions in that split. Inside specbeam users and items are counted from 0.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from specbeam import parquet
from specbeam.data import SPLITS, Split, file_of
from specbeam.errors import SpecbeamError
from specbeam.files import read_text, replacing

LONGEST_ID = 18
"""Digits of a number that surely fits 64 bits."""
SPACES = re.compile(" +")
SCHEMA = pa.schema([("user", pa.int64()), *((split, pa.list_(pa.int64())) for split in SPLITS)])


def read_raw(folder: Path) -> pd.DataFrame:
    """Read `sequential_{train,valid,test}.txt` of `folder`.

    Returns one row a user, by user id: `user` (int, 0-based) and `train`, `valid`, `test`: lists of 0-based item ids in
    the order of the file. A user whom a file does not name has an empty list there.
    Raises SpecbeamError naming file and line for a missing file, a bad id, or a user listed twice.
    """
    splits = {split: _read_split(Path(folder) / file_of(split)) for split in SPLITS}
    users = sorted(set().union(*splits.values()))
    if not users:
        raise SpecbeamError(f"{folder}: expected at least one user in {file_of('train')}, the files name none")
    columns = {split: [sequences.get(user, []) for user in users] for split, sequences in splits.items()}
    return pd.DataFrame({"user": users, **columns})


def write_raw(folder: Path, splits: Mapping[Split, Iterable[Sequence[int]]]) -> None:
    """Write the three text files; `splits[split]` are the 0-based items of user after user, the same in every split."""
    for split in SPLITS:
        lines = (" ".join(str(n + 1) for n in (user, *items)) for user, items in enumerate(splits[split]))
        with replacing(Path(folder) / file_of(split)) as temporary, temporary.open("w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)


def save_users(users: pd.DataFrame, path: Path) -> None:
    """Write users as parquet (user int64; train, valid, test list<int64>), atomically."""
    table = pa.Table.from_pydict({name: users[name].tolist() for name in SCHEMA.names}, schema=SCHEMA)
    parquet.write(table, path)


def load_users(path: Path) -> pd.DataFrame:
    """Read what `save_users` wrote; raises SpecbeamError naming the file if it is missing or something else."""
    table = parquet.read(path, expected="the prepared users", again="prepare the data")
    if not table.schema.equals(SCHEMA):
        expected, found = (
            ", ".join(f"{field.name}: {field.type}" for field in schema)[:300] for schema in (SCHEMA, table.schema)
        )
        raise SpecbeamError(f"{path}: expected prepared users ({expected}), found {found}; prepare the data again")
    for name in SCHEMA.names:
        ids = table[name] if name == "user" else pc.list_flatten(table[name])
        if table[name].null_count or ids.null_count or (len(ids) and pc.min(ids).as_py() < 0):
            raise SpecbeamError(f"{path}: column {name}: expected ids from 0 on in every row; prepare the data again")
    return pd.DataFrame({name: table[name].to_pylist() for name in SCHEMA.names})


def history_and_targets(users: pd.DataFrame, split: Split) -> pd.DataFrame:
    """What the model is asked in `split`: columns `user`, `history` (items, oldest first) and `targets` (items).

    train: all training items but the last, and the last; users with two or more.
    valid: the training items, and the first validation item; users who have one.
    test: training and validation items, and ALL test items; users who have one.
    Users without a history are left out of every split.
    """
    pairs = {"train": _train_pair, "valid": _valid_pair, "test": _test_pair}
    if split not in pairs:
        raise SpecbeamError(f"split: expected one of {', '.join(pairs)}, got {split!r}")
    columns = zip(users["user"], users["train"], users["valid"], users["test"], strict=True)
    asked = [(user, *pairs[split](train, valid, test)) for user, train, valid, test in columns]
    kept = [(user, history, targets) for user, history, targets in asked if history and targets]
    return pd.DataFrame(kept, columns=["user", "history", "targets"])


def _train_pair(train: list[int], valid: list[int], test: list[int]) -> tuple[list[int], list[int]]:
    return train[:-1], train[-1:]


def _valid_pair(train: list[int], valid: list[int], test: list[int]) -> tuple[list[int], list[int]]:
    return train, valid[:1]


def _test_pair(train: list[int], valid: list[int], test: list[int]) -> tuple[list[int], list[int]]:
    return train + valid, test


def _read_split(path: Path) -> dict[int, list[int]]:
    """User -> items of one text file, both 0-based."""
    text = read_text(path, expected="a text file of `user item item ...` lines", encoding="ascii")
    sequences: dict[int, list[int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines also splits at control characters
        words = line.replace("\t", " ").strip(" ")
        if not words:
            continue
        user, *items = _zero_based(SPACES.split(words), where=f"{path}:{number}")
        if user in sequences:
            raise SpecbeamError(f"{path}:{number}: user {user + 1} is listed twice; expected one line a user")
        sequences[user] = items
    return sequences


def _zero_based(words: list[str], *, where: str) -> list[int]:
    ids = [int(word) - 1 if word.isdigit() and len(word) <= LONGEST_ID else -1 for word in words]
    if min(ids) < 0:
        wrong = words[next(place for place, number in enumerate(ids) if number < 0)]
        raise SpecbeamError(
            f"{where}: expected whole ids from 1 on, of at most {LONGEST_ID} digits, separated by spaces, got "
            f"{wrong[:80]!r}; correct or remove it"
        )
    return ids
