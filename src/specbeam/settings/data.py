"""Settings of where the data come from."""

from typing import Annotated

from pydantic import Field

from specbeam.settings.base import Count, Fraction, Section


class SourceSettings(Section):
    """Where real data sets come from."""

    mirror: str | None = None
    """Folder or URL to download from instead of the pinned address; same layout, same checksums. The environment
    variable SPECBEAM_MIRROR overrides it, unless it is empty."""


class SyntheticSettings(Section):
    """The embedded catalogue and users (specbeam.data.synthetic)."""

    users: Count = 2500
    """Users before the split."""
    items: Count = 3000
    """Items of the catalogue."""
    clusters: Count = 24
    """Latent interest groups; the first identifier token is mostly a group's."""
    mean_length: Annotated[float, Field(ge=4)] = 9.0
    """Mean interactions a user, before the split."""
    popularity_exponent: Annotated[float, Field(ge=0)] = 0.9
    """Zipf exponent of item popularity inside a group."""
    persistence: Fraction = 0.75
    """Chance that the next item follows from the last one rather than from the user's interests at large."""
