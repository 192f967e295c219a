"""Settings of data sets of one's own: one entry, and all that can be made of the built-in ones can be made of it."""

from typing import Annotated

from pydantic import Field, model_validator

from specbeam.settings.base import Section
from specbeam.settings.identifiers import IdentifierSettings
from specbeam.settings.interactions import FilterSettings, InteractionSettings, ItemSettings, SplitSettings

BUILT_IN = ("synthetic", "beauty", "games")
"""Data sets that need no entry."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class OwnDataSettings(Section):
    """Where a data set of one's own comes from: ready files, or interactions."""

    sequences: str | None = None
    """Folder of four ready files: `sequential_train.txt`, `sequential_valid.txt`, `sequential_test.txt` and
    `identifiers.json` (docs/own-data.md). `results/downloads/beauty` is that of a built-in one, which is fetched."""
    interactions: InteractionSettings | None = None
    """Who took which item when, to be filtered and split."""
    items: ItemSettings | None = None
    """Texts of the items of `interactions`; null: none."""
    filters: FilterSettings = FilterSettings()
    split: SplitSettings = SplitSettings()
    identifiers: IdentifierSettings | None = None
    """Learn identifiers (docs/identifiers.md), instead of those of `sequences`; null: take these."""

    @model_validator(mode="after")
    def _has_the_ratings_that_it_filters_by(self) -> "OwnDataSettings":
        columns = self.interactions and self.interactions.columns
        if columns and not columns.rating and self.filters.rating is not None:
            raise ValueError("filters.rating needs interactions.columns.rating: name that column, or remove the filter")
        return self

    def check_origin(self, name: str) -> None:
        """Raise ValueError if the data set `name` comes from nowhere, or from two places."""
        if not self.sequences and not self.interactions:
            raise ValueError(f"{name}: expected `interactions`, its files, or `sequences`, a folder of ready ones")
        if self.interactions and not self.identifiers:
            raise ValueError(f"{name}: interactions need `identifiers`; {{}} learns them from co-occurrence")
        if self.interactions and not self.items and self.identifiers and self.identifiers.embeddings.source == "text":
            raise ValueError(f"{name}: identifiers from text need `items`, the files that texts are in")
        parts = ("interactions", "items", "filters", "split")
        given = [part for part in parts if getattr(self, part) != type(self).model_fields[part].default]
        if self.sequences and given:
            raise ValueError(f"{name}: sequences are ready as they are: remove {', '.join(given)}, or sequences")


OwnData = dict[Name, OwnDataSettings]
"""Data sets by name."""
