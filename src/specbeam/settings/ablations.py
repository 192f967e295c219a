"""Variants of a run, as overrides of its config: an ablation is several of them under one name."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from specbeam.errors import SpecbeamError, brief

_IN_PATHS = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
UNUSED = ("measurement.timing_users", "measurement.repeats")
"""A variant is not timed."""
Name = Annotated[str, Field(pattern=_IN_PATHS)]
Label = Annotated[str, Field(pattern=_IN_PATHS), BeforeValidator(lambda label: str(label), json_schema_input_type=str)]
MOST_VALUES = 1000
"""Values in the overrides of one variant, at all depths."""


def _plain(overrides: dict[str, Any]) -> dict[str, Any]:
    """Refuse what cannot be written as JSON: YAML has dates and sets, and its aliases may hold themselves."""
    below, seen = [overrides], 0
    while below and seen <= MOST_VALUES:
        value, seen = below.pop(), seen + 1
        if isinstance(value, dict):
            below += [*value, *value.values()]
        elif isinstance(value, list):
            below += value
        elif not isinstance(value, str | int | float | None):
            raise ValueError(f"expected text, numbers, lists and mappings, found a {type(value).__name__}")
    if below:
        raise ValueError(f"expected at most {MOST_VALUES} values, found more, or an alias that holds itself")
    return overrides


Overrides = Annotated[dict[str, Any], Field(min_length=1), AfterValidator(_plain)]
Ablations = dict[Name, Annotated[dict[Label, Overrides], Field(min_length=1)]]
"""Name -> label -> dotted path of a setting -> its value in this variant."""


def overridden(
    values: Mapping[str, Any], overrides: Mapping[str, Any], objectives: Sequence[str], *, source: str
) -> dict[str, Any]:
    """A copy of the config `values` with `overrides` (dotted path -> value) set; `objectives` are the run's.

    Raises SpecbeamError, beginning with `source`, for a path that cannot vary: a variant shares its run's data, target
    and trajectories.
    """
    varied = deepcopy(dict(values))
    aligned = varied.setdefault("alignment", {})
    aligned.setdefault("objectives", {name: {} for name in objectives})  # a variant drops none of the default ones
    allowed = ["draft.model", "draft.training", "alignment.training", "decoding.draft_length", "measurement"]
    allowed += [f"alignment.objectives.{name}" for name in objectives]
    for path, value in overrides.items():
        if path in UNUSED or not any(path == start or path.startswith(f"{start}.") for start in allowed):
            raise SpecbeamError(
                f"{source}: {brief(path, 100)} cannot vary: a variant has the data, target, trajectories, objectives "
                f"and seeds of its run; what can vary, with all below it: {', '.join(allowed)}"
            )
        *parents, last = path.split(".")
        section = varied
        for part in parents:
            section[part] = {} if section.get(part) is None else section[part]  # a section that is off
            section = section[part]
            if not isinstance(section, dict):
                raise SpecbeamError(
                    f"{source}: {brief(path, 100)}: {brief(part, 100)} is a single setting, so nothing is below it"
                )
        section[last] = value
    return varied
