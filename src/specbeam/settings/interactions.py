"""Settings of own interactions: where they are, which count, and how they are split."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from specbeam.settings.base import Count, Fraction, Section, SomeDistinct

Format = Literal["csv", "parquet", "jsonl", "amazon-2014", "amazon-2018", "amazon-2023"]
Column = Annotated[str, Field(min_length=1)] | Count
"""A column's name, or its number, counted from 1, in a CSV file without a header."""
Files = SomeDistinct[Annotated[str, Field(min_length=1)]]
Moment = Annotated[datetime, AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC))]


class TableSettings(Section):
    """Files of one table."""

    files: Files
    """Their paths, relative to the working directory, or patterns with `*`; each may be compressed with gzip."""
    format: Format
    """How a file is written: `csv`, `parquet`, `jsonl` (a JSON object a line), or a release of the Amazon reviews,
    whose fields are known."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Between the fields of a CSV file."""
    malformed: Annotated[int, Field(ge=0)] = 0
    """Lines that may be left out because they cannot be read; one more stops the job, which names it."""

    @model_validator(mode="after")
    def _knows_its_columns(self) -> "TableSettings":
        known = self.format.startswith("amazon-")
        if known and self.columns:
            raise ValueError(f"columns: {self.format} brings its own; remove columns, or set format: csv or jsonl")
        if not known and not self.columns:
            raise ValueError(f"columns: expected the names of the columns of {self.format}, got none")
        if self.columns and len({type(column) for column in self.columns.all()}) > 1:
            raise ValueError("columns: expected names, or numbers for files without a header, got both")
        if self.columns and self.format != "csv" and isinstance(self.columns.all()[0], int):
            raise ValueError(f"columns: numbers are for csv without a header, {self.format} has names")
        if self.format != "csv" and self.separator != ",":
            raise ValueError(f"separator: {self.format} has none of its own: remove it, or set format: csv")
        return self


class InteractionColumns(Section):
    """Which column holds what. Names, or numbers from 1 for CSV files without a header."""

    user: Column
    """The user's key: text, or a whole number."""
    item: Column
    """The item's key: text, or a whole number."""
    time: Column
    """When: Unix time, or a date in ISO 8601."""
    rating: Column | None = None
    """A number; read if filters.rating is set."""

    def all(self) -> list[str | int]:
        """The columns that are given."""
        return [column for column in (self.user, self.item, self.time, self.rating) if column is not None]


class InteractionSettings(TableSettings):
    """Who took which item when."""

    columns: InteractionColumns | None = None
    """Of csv, parquet and jsonl."""


class ItemColumns(Section):
    """Which column holds what. Names, or numbers from 1 for CSV files without a header."""

    item: Column
    """The item's key, as in the interactions."""
    text: SomeDistinct[Column]
    """What describes the item, in the order in which it is put together."""

    def all(self) -> list[str | int]:
        """The columns that are given."""
        return [self.item, *self.text]


class ItemSettings(TableSettings):
    """Texts of items."""

    columns: ItemColumns | None = None
    """Of csv, parquet and jsonl."""


class FilterSettings(Section):
    """Which interactions count."""

    rating: float | None = None
    """The least rating (the paper: 4); null: any, and none is needed."""
    user_core: Count = 1
    """Interactions that a user must have, among those that are kept; with item_core, until both hold. 1: off."""
    item_core: Count = 1
    """Interactions that an item must have, among those that are kept. 1: off."""
    training: Count = 2
    """Training interactions that a user must have; counted after the split, which they do not move (the paper: 2)."""


def _whole(shares: list[float]) -> list[float]:
    if abs(sum(shares) - 1) > 1e-9 or 0 in shares:
        raise ValueError("expected the shares of train, valid and test, each above 0, which add up to 1")
    return shares


class SplitSettings(Section):
    """Which interactions are trained on, validated on and tested on."""

    by: Literal["global-time", "leave-one-out", "date"] = "global-time"
    """`global-time` (the paper): all users at the same two times, percentiles of all interactions; `date`: at two times
    that are given; `leave-one-out`: each user's last but one is for validation, the last for test."""
    shares: Annotated[list[Fraction], Field(min_length=3, max_length=3), AfterValidator(_whole)] = [0.8, 0.1, 0.1]
    """global-time: shares of train, valid and test."""
    valid: Moment | None = None
    """date: validation begins, as 2014-01-01; UTC if no offset is given."""
    test: Moment | None = None
    """date: test begins."""

    @model_validator(mode="after")
    def _fits(self) -> "SplitSettings":
        dates = [name for name in ("valid", "test") if getattr(self, name)]
        if self.by == "date" and len(dates) < 2:
            raise ValueError("by: date needs valid and test: the dates on which they begin")
        if self.by == "date" and self.valid >= self.test:
            raise ValueError(f"expected valid before test, got {self.valid:%Y-%m-%d} and {self.test:%Y-%m-%d}")
        if self.by != "date" and dates:
            raise ValueError(f"by: {self.by} has no dates: remove {', '.join(dates)}, or set by: date")
        if self.by != "global-time" and self.shares != type(self).model_fields["shares"].default:
            raise ValueError(f"by: {self.by} has no shares: remove them, or set by: global-time")
        return self
