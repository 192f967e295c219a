"""`specbeam cost`: what a config would take, predicted from finished runs."""

from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from specbeam.options import Config


class Device(StrEnum):
    """Where jobs with models run."""

    MEASURED = "measured"
    A100 = "a100"
    H100 = "h100"
    A5000 = "a5000"


Runs = Annotated[
    list[Path],
    typer.Option("--measured", help="A finished run, or a file of --save. Two of different size tell starts."),
]
OnDevice = Annotated[Device, typer.Option("--device", help="A GPU, or the machine that was measured.")]
Times = Annotated[list[float], typer.Option(min=0, help="So many times the users and items.")]
Workers = Annotated[list[int], typer.Option(min=1, help="Wall time on so many workers (GPUs, or such machines).")]
Processes = Annotated[
    int | None, typer.Option(min=1, help="GPUs that train the target together, instead of what the config says.")
]
Save = Annotated[Path | None, typer.Option(help="Write what was measured to this file (yaml), for later calls.")]


def cost(
    config: Config,
    measured: Runs,
    device: OnDevice = Device.MEASURED,
    times: Times = [1.0],  # noqa: B006 -- typer reads it only
    workers: Workers = [1],  # noqa: B006
    processes: Processes = None,
    save: Save = None,
) -> None:
    """Predict the hours, storage and wall time of a config.

    docs/scale.md says how, and how far off it is.
    """
    from specbeam.cost import measured as finished
    from specbeam.cost import report
    from specbeam.cost.predict import ACCELERATORS
    from specbeam.settings import load, parse

    settings, runs = load(config), finished.read(measured)
    if processes is not None:
        changed = deepcopy(settings.plain)
        changed["target"]["training"]["processes"] = processes
        settings = parse(changed, source=str(config))
    if save is not None:
        finished.save(runs, save)
    gpu = ACCELERATORS.get(device.value)
    found = {factor: report.costs(settings, runs, gpu, times=factor) for factor in times}
    typer.echo("\n".join([*report.by_rule(next(iter(found.values()))), "", *report.by_workers(found, workers)]))
