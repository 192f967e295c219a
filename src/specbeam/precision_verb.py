"""`specbeam precision`: how far lists of float32, bfloat16 and float16 are the same, on a finished run's test users."""

from typing import Annotated

import typer

from specbeam.bench_verb import Dtype
from specbeam.errors import SpecbeamError
from specbeam.explain_verb import DraftWidth, Objective
from specbeam.options import cores
from specbeam.recommend_verb import Device, Folder, K, UseDevice

Users = Annotated[int, typer.Option(min=1, help="Test users, drawn by the run's seed.")]
Dtypes = Annotated[list[Dtype], typer.Option("--dtype", help="Precision of target and draft; repeatable.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all that there are, if not given.")]


def precision(
    folder: Folder,
    users: Users = 200,
    k: K = 20,
    draft_beam_width: DraftWidth = 40,
    objective: Objective = None,
    dtype: Dtypes = list(Dtype),  # noqa: B006 - typer makes a new one
    threads: Threads = None,
    device: UseDevice = Device.auto,
) -> None:
    """Tell how far lists depend on the precision.

    Strict lists against plain beam search in the same precision, that against itself in batches, and against float32.
    """
    from specbeam import models
    from specbeam.finished_run import FinishedRun
    from specbeam.measurement import precision as stage
    from specbeam.provenance import commit_of, environment

    run = FinishedRun.of(folder)
    draft = run.draft(objective)
    if draft is None:
        raise SpecbeamError(
            f"{folder}: expected a draft for strict lists, there is none to use; name one by --objective"
        )
    where = models.choose_device(device.value)
    values = run.settings.model_copy(update={"device": where.type})
    threads = threads or cores()
    sizes = {"users": users, "beam_width": k, "draft_beam_width": draft_beam_width}
    names = [each.value for each in dtype]
    rows = stage.differences(run, values, draft, dtypes=names, threads=threads, **sizes)
    found, facts = stage.table(rows), environment()
    versions = facts["versions"]
    lines = [
        f"{folder}: {len(rows) // len(found)} test users, seed {values.seed}; K = {k}, N = {draft_beam_width}, draft "
        f"{draft.parents[1].name}, normalise {values.decoding.normalise}",
        f"machine: {facts['cpu']}, {where.type}, {threads} thread(s)",
        f"torch {versions['torch']}, transformers {versions['transformers']}, commit {commit_of(facts)}",
        "",
        stage.text(found),
    ]
    typer.echo("\n".join(lines))
