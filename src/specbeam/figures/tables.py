"""Reading the csv files that figures are drawn from."""

import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from specbeam.errors import SpecbeamError
from specbeam.files import read_text


def read_csv(path: Path, columns: Iterable[str], *, missing: str) -> pd.DataFrame:
    """Read a csv file that must have `columns`.

    Raises SpecbeamError naming the file: with the text `missing` when it is not there, or when it cannot be read or
    lacks a column.
    """
    if not Path(path).exists():
        raise SpecbeamError(f"{path}: {missing}")
    text = read_text(path, expected="a csv file")
    try:
        frame = pd.read_csv(io.StringIO(text))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise SpecbeamError(
            f"{path}: expected a csv file, got: {str(error)[:300]}; delete it and make it again"
        ) from None
    if lacking := [name for name in columns if name not in frame]:
        raise SpecbeamError(f"{path}: missing column(s) {', '.join(lacking)}; expected {', '.join(columns)}")
    return frame
