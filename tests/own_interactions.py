"""Files of interactions that tests write, and what is read from them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from specbeam import parquet
from specbeam.data import ITEMS, SPLITS, USERS
from specbeam.data.sequences import read_raw
from specbeam.interactions import READING
from specbeam.interactions.read import read_own
from specbeam.settings import OwnDataSettings

COLUMNS = {"user": "who", "item": "what", "time": "when", "rating": "stars"}


def csv(path: Path, rows: Iterable[Iterable[Any]], header: str = "who,what,when,stars") -> Path:
    """A CSV file of `rows`."""
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def settings_of(path: Path, **changed: Any) -> OwnDataSettings:
    """An entry of own_data that reads `path`; `changed` are sections, or keys of `interactions`."""
    sections = {name: changed.pop(name) for name in ("items", "filters", "split") if name in changed}
    interactions = {"files": [str(path)], "format": "csv", "columns": COLUMNS, **changed}
    return OwnDataSettings.model_validate({"interactions": interactions, **sections})


def read(folder: Path, own: OwnDataSettings) -> dict[str, Any]:
    """Read a data set to `folder`: its report."""
    read_own(name="shop", own=own, raw=folder)
    return json.loads((folder / READING).read_text())


def splits_in(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Split -> user's key -> keys of items, of all users with some."""
    users, items = (table(folder / name)["key"].tolist() for name in (USERS, ITEMS))
    frame = read_raw(folder)
    assert frame["user"].tolist() == list(range(len(users)))
    return {
        split: {users[n]: [items[item] for item in own] for n, own in enumerate(frame[split]) if own}
        for split in SPLITS
    }


def table(path: Path) -> pd.DataFrame:
    """A table of a raw data set."""
    return parquet.read(path, expected="a table", again="read it again").to_pandas()


def texts_in(folder: Path) -> Mapping[str, str | None]:
    """Item's key -> its text."""
    items = parquet.read(folder / ITEMS, expected="items", again="read them again")
    return dict(zip(items["key"].to_pylist(), items["text"].to_pylist(), strict=True))
