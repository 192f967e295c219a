"""The verbs that train - `train-target`, `train-draft`, `align` - in as many processes as their settings say."""

from pathlib import Path
from typing import Annotated

import typer

from specbeam import launch
from specbeam.job_provenance import recorded
from specbeam.options import Losses, Model, Objective, Prepared, Seed, SettingsOption, Threads
from specbeam.stages import StageSettings


@recorded("train_target", output="model")
def train_target(settings: SettingsOption, prepared: Prepared, model: Model, losses: Losses, threads: Threads) -> None:
    """Train the target; keep the epoch with the least loss."""
    from specbeam.target import train as stage

    values = StageSettings.read("train_target", settings)
    files = {"prepared": prepared, "model": model, "losses": losses}
    launch.run(stage.train_target, values.target.training.processes, settings=values, threads=threads, **files)


@recorded("train_draft", output="model")
def train_draft(
    settings: SettingsOption,
    prepared: Prepared,
    seed: Seed,
    model: Model,
    losses: Losses,
    threads: Threads,
    target: Annotated[Path | None, typer.Argument(help="Folder of the target, for distil and from_target.")] = None,
) -> None:
    """Train the draft that every objective starts from."""
    from specbeam.target import draft as stage

    values = StageSettings.read("train_draft", settings)
    files = {"prepared": prepared, "model": model, "losses": losses, "target": target}
    processes = values.draft.training.processes
    launch.run(stage.train_draft, processes, settings=values, seed=seed, threads=threads, **files)


@recorded("align", output="model")
def align(
    trajectories: Annotated[list[Path], typer.Argument(help="Recorded shards of the training prompts.")],
    objective: Annotated[Objective, typer.Option(help="What the draft is aligned by.")],
    settings: SettingsOption,
    prepared: Prepared,
    base: Annotated[Path, typer.Option(help="Folder of the draft to start from.")],
    valid: Annotated[Path, typer.Option(help="Recorded validation prompts.")],
    seed: Seed,
    model: Model,
    losses: Losses,
    threads: Threads,
) -> None:
    """Align the draft to the target by one objective."""
    from specbeam.alignment import train as stage

    values = StageSettings.read("align", settings, objective=objective.value)
    launch.run(
        stage.align,
        values.alignment.training.processes,
        prepared=prepared,
        base=base,
        trajectories=trajectories,
        valid=valid,
        objective=objective.value,
        settings=values,
        seed=seed,
        model=model,
        losses=losses,
        threads=threads,
    )
