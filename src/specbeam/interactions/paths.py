"""Which files are meant, and how they are written. The workflow asks too, so nothing large is imported here."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Literal

from specbeam.errors import SpecbeamError

Kind = Literal["csv", "parquet", "jsonl"]


def matching(patterns: Sequence[str]) -> list[Path]:
    """The files that paths and patterns name, in that order, those of a pattern by name; each once.

    Raises SpecbeamError for what is not there, and for folders.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = glob(pattern, recursive=True)  # noqa: PTH207, since Path's takes no absolute patterns
        paths = [Path(pattern)] if Path(pattern).exists() else sorted(map(Path, matches))
        if not paths:
            raise SpecbeamError(f"{pattern}: expected a file, or a pattern of some, found none; correct `files`")
        found |= dict.fromkeys(paths)
        if folders := [path for path in paths if path.is_dir()]:
            raise SpecbeamError(
                f"{folders[0]}: expected a file, got a folder; name its files, as in {folders[0]}/*.csv"
            )
    return list(found)


def kind_of(path: Path, format: str) -> Kind:
    """How a file of `format` is written; a release of the Amazon reviews has JSON lines and, by their names, CSV."""
    if format in ("csv", "parquet", "jsonl"):
        return format
    return "csv" if path.name.removesuffix(".gz").endswith(".csv") else "jsonl"
