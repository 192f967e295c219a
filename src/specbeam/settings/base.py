"""What all settings are made of: their base class, and the ranges that several share."""

import functools
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=1e-3)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


def _distinct(values: list[T]) -> list[T]:
    if any(value in values[:place] for place, value in enumerate(values)):  # not all that YAML holds can be hashed
        raise ValueError("expected each value once")
    return values


SomeDistinct = Annotated[
    list[T], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_distinct)
]


class Section(BaseModel):
    """Base of all settings: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @functools.cached_property
    def plain(self) -> dict[str, Any]:
        """The same as nested dicts of what JSON knows; made once, for the workflow asks by the thousand. Read only."""
        return self.model_dump(mode="json")
