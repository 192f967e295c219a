"""Settings of data sets of one's own: one entry, and all that can be made of the built-in ones can be made of it."""

from typing import Annotated

from pydantic import Field

from specbeam.settings.base import Section

BUILT_IN = ("synthetic", "beauty", "games")
"""Data sets that need no entry."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class OwnDataSettings(Section):
    """Where a data set of one's own comes from."""

    sequences: str | None = None
    """Folder of four ready files: `sequential_train.txt`, `sequential_valid.txt`, `sequential_test.txt` and
    `identifiers.json` (docs/own-data.md). `results/downloads/beauty` is that of a built-in one, which is fetched."""


OwnData = dict[Name, OwnDataSettings]
"""Data sets by name."""
