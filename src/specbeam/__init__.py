"""Speculative decoding for generative recommendation: a library, and the pipeline that reproduces AtSpeed with it."""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Items": "specbeam.items",
    "Plan": "specbeam.decoding.plan",
    "Recommendations": "specbeam.recommendations",
    "Recommender": "specbeam.recommender",
    "SpecbeamError": "specbeam.errors",
    "Subset": "specbeam.subsets",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """The library's names, loaded when they are first used: the command line has to start without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What `from specbeam import` offers."""
    return sorted([*globals(), *_HOMES])
