"""Reading the csv files that figures are drawn from."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from specbeam.errors import SpecbeamError


def read_csv(path: Path, columns: Iterable[str], *, missing: str) -> pd.DataFrame:
    """Read a csv file that must have `columns`.

    Raises SpecbeamError naming the file: with the text `missing` when it is not there, or when it cannot be read or
    lacks a column.
    """
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: {missing}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise SpecbeamError(f"{path}: not a readable csv file ({error})") from None
    if lacking := [name for name in columns if name not in frame]:
        raise SpecbeamError(f"{path}: missing column(s) {', '.join(lacking)}; expected {', '.join(columns)}")
    return frame
