"""What is wrong with a config, a line a mistake."""

import reprlib
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from specbeam.errors import brief
from specbeam.settings.objectives import Objectives, ObjectiveSettings

MOST = 5
"""Mistakes that are told at once."""
_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 200, 200


def listed(error: ValidationError, *, within: type[BaseModel]) -> str:
    """The first MOST of pydantic's errors on `within`, a line each, and how many more there are."""
    lines = [f"\n  {brief(describe(problem, within=within), 380)}" for problem in error.errors()[:MOST]]
    more = error.error_count() - MOST
    return "".join(lines) + (f"\n  and {more} more" if more > 0 else "")


def describe(problem: dict[str, Any], *, within: type[BaseModel]) -> str:
    """One line for the user on one of pydantic's errors on `within`: the key, what is wrong, what came."""
    key = ".".join(str(part) for part in problem["loc"]) or "(whole config)"
    if problem["type"] == "extra_forbidden":
        *above, last = problem["loc"]
        allowed = ", ".join(_keys_at(above, within)) or "none"
        if above[:2] == ["alignment", "objectives"] and above[2:] and last in ObjectiveSettings.model_fields:
            return f"{key}: without effect on {above[2]}, whose settings are: {allowed}"
        return f"{key}: unknown key; allowed here: {allowed}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], dict | BaseModel) else f", got {_short.repr(problem['input'])}"
    return f"{key}: {message}{shown}"


def _keys_at(location: list[Any], within: type[BaseModel]) -> list[str]:
    """Names of the settings under `location`, for the message about an unknown key."""
    here: list[Any] = [within]
    for part in location:
        here = [below for kind in here for below in _below(kind, part)]
    return list(dict.fromkeys(name for kind in here for name in _keys(kind) or ()))


def _below(kind: Any, part: Any) -> list[Any]:
    """The sections, or dicts of sections, that a part of a location has below `kind`."""
    keys = _keys(kind)
    if keys is None:
        return _sections_of(get_args(kind)[-1])  # a dict's values
    return _sections_of(keys[part]) if part in keys else [kind]  # else it says which of several sections it is


def _sections_of(annotation: Any) -> list[Any]:
    """A type without its `Annotated` and `| None`."""
    if _keys(annotation) is not None or get_origin(annotation) is dict:
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections_of(part)]


def _keys(section: Any) -> dict[str, Any] | None:
    """Key -> type of a section or of Objectives; None for what has no keys."""
    if section is Objectives:
        return get_type_hints(Objectives)
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    return None
