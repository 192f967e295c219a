"""The file beside a result that says how it was made: its format, and reading it. specbeam.job_provenance writes it."""

from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from specbeam import files
from specbeam.errors import SpecbeamError
from specbeam.provenance import beside
from specbeam.stages import STAGES

FORMAT = 1
"""Version of what `job_provenance.recorded` writes."""


class _Options(TypedDict):
    objective: NotRequired[str | None]
    dataset: NotRequired[str | None]


class Provenance(TypedDict):
    """What `job_provenance.recorded` writes; see there."""

    format: int
    stage: str
    code: str
    options: _Options
    settings: dict[str, Any]
    seeds: dict[str, int]
    threads: int
    host: str
    start: str
    commit: str
    dirty: bool
    versions: dict[str, str]
    cpu: str
    device: str
    seconds: float
    cpu_seconds: NotRequired[float]
    """Not of older versions, as all that follows."""
    memory_mb: NotRequired[float]
    slurm_job: NotRequired[str | None]
    prepared: NotRequired[str]


_PROVENANCE = TypeAdapter(Provenance)


def load(path: Path) -> dict[str, Any]:
    """What lies in `path`. SpecbeamError, naming the file, for what is damaged or of another format."""
    value = files.read_json(path)
    found = value.get("format") if isinstance(value, dict) else type(value).__name__
    if found != FORMAT:
        raise SpecbeamError(f"{path}: expected format {FORMAT}, got {found!r:.80}, of another specbeam")
    try:
        _PROVENANCE.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise SpecbeamError(f"{path}: damaged, or of another specbeam: {place}: {first['msg']}") from None
    if value["stage"] not in STAGES:
        raise SpecbeamError(f"{path}: damaged, or of another specbeam: no stage {value['stage'][:80]!r}")
    return value


def how_made(result: Path) -> dict[str, Any]:
    """What lies beside `result`; empty where there is nothing. Errors as for `load`."""
    path = beside(result)
    return load(path) if path.exists() else {}
