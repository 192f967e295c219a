"""A prepared data set, as every later stage reads it.

Apart from `prepare`, so that a change of how it is made, or of its statistics, does not rerun what only reads it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from specbeam.catalogue import Catalogue
from specbeam.data.sequences import load_users
from specbeam.errors import SpecbeamError
from specbeam.pretrained import tokenizer_in

CATALOGUE = "catalogue.json"
USERS = "users.parquet"
TOKENIZER = "tokenizer"
STATISTICS = "statistics.csv"


@dataclass(frozen=True)
class Prepared:
    """A prepared data set in memory."""

    catalogue: Catalogue
    users: pd.DataFrame
    """`user` and `train`, `valid`, `test` (lists of 0-based item ids); see specbeam.data.sequences.read_raw."""
    tokenizer: Any
    """A transformers tokenizer that knows every item token."""


def load(prepared: Path) -> Prepared:
    """Read a folder that `prepare` wrote; raises SpecbeamError naming the file that is missing or broken."""
    prepared = Path(prepared)
    return Prepared(
        catalogue=Catalogue.load(prepared / CATALOGUE),
        users=load_users(prepared / USERS),
        tokenizer=load_tokenizer(prepared / TOKENIZER),
    )


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that `prepare` saved in `folder`; raises SpecbeamError if there is none."""
    if not (Path(folder) / "tokenizer_config.json").is_file():
        raise SpecbeamError(f"{folder}: expected a saved tokenizer here, found none; prepare the data first")
    return tokenizer_in(folder, of="this data set", mend="prepare the data again")
