"""Options that several verbs of the command line share, and what their values must be."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from specbeam import settings as typed
from specbeam.errors import SpecbeamError
from specbeam.stages import FIGURES, StageSettings

Objective = StrEnum("Objective", list(get_args(typed.Objective)))
Figure = StrEnum("Figure", [*FIGURES, "ablations", "coding"])
Split = StrEnum("Split", ["train", "valid"])

SettingsOption = Annotated[
    str, typer.Option("--settings", help="Config file, or JSON of the sections this verb reads.")
]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Raw = Annotated[Path, typer.Option(help="Folder of raw files: downloaded, generated, or your own.")]
Prepared = Annotated[Path, typer.Option(help="Folder that `specbeam prepare` wrote.")]
Model = Annotated[Path, typer.Option(help="Folder of the model to write.")]
Target = Annotated[Path, typer.Option(help="Folder of the target model.")]
Losses = Annotated[Path, typer.Option(help="Loss curve to write (csv).")]
Seed = Annotated[int, typer.Option(min=0, help="Which of draft.seeds: of first weights and the order of batches.")]
Config = Annotated[Path, typer.Argument(help="Config file.")]
Dataset = Annotated[str, typer.Option(help="Name of the data set, for the records.")]
OwnDataset = Annotated[str, typer.Option(help="Name of the data set in own_data.")]


def drafts_of(pairs: list[str]) -> dict[str, Path]:
    """Parse OBJECTIVE=FOLDER arguments; raises SpecbeamError for anything else."""
    drafts = {}
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        if not separator or name not in Objective.__members__:
            raise SpecbeamError(f"{pair!r}: expected OBJECTIVE=FOLDER with one of {', '.join(Objective)}")
        drafts[name] = Path(folder)
    return drafts


def own_data_of(values: StageSettings, dataset: str, *, part: str) -> Any:
    """Settings of `dataset` in own_data; SpecbeamError if it has no `part`."""
    own = values.own_data.get(dataset)
    if own is None or getattr(own, part) is None:
        raise SpecbeamError(
            f"--dataset {dataset}: expected a name in own_data with `{part}`; name another, or add them there"
        )
    return own


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def timing_threads(threads: int | None) -> int:
    """`threads`, or as many as there are cores; SpecbeamError for more: threads that share a core distort."""
    there = cores()
    if threads is None:
        return there
    if threads > there:
        raise SpecbeamError(
            f"threads.timing (--threads): expected at most the {there} core(s) that this process may use, got "
            f"{threads}; times of threads that share a core mean nothing, so lower it, or use a bigger machine"
        )
    return threads
