"""`specbeam serve`: the lists of a finished run over HTTP; `specbeam bench-serve`: the same under load."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specbeam.errors import SpecbeamError
from specbeam.options import timing_threads
from specbeam.recommend_verb import Device, Folder, K, ObjectiveOption, UseDevice

if TYPE_CHECKING:
    from specbeam.recommender import Recommender

log = logging.getLogger(__name__)

NEEDED = ("fastapi", "prometheus_client", "uvicorn")
"""Packages of the extra `serve`."""
EXAMPLES = 32
"""Histories of test users on which it is measured what to draft."""

Host = Annotated[str, typer.Option(help="Address to listen at; there is no login, so mind who can reach it.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free one, which the log names.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Requests searched at once, at most.")]
MaxWait = Annotated[float, typer.Option(min=0, help="How long a request waits for others, at most.")]
Queue = Annotated[int, typer.Option(min=1, help="Requests that may wait; more get 503.")]
Timeout = Annotated[float, typer.Option(min=0.001, help="Until a request gets 504.")]
MaxK = Annotated[int, typer.Option(min=1, help="Items that a request may ask for.")]
Tune = Annotated[
    list[int],
    typer.Option(min=1, help="Measure at the start what to draft for lists of so many items; repeatable."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; as torch chooses, if not given.")]

Requests = Annotated[int, typer.Option(min=1, help="Requests to each way of making lists.")]
Callers = Annotated[int, typer.Option(min=1, help="Requests under way at a time.")]
Rounds = Annotated[int, typer.Option(min=1, help="Parts that the requests come in, each way's after another's.")]
BenchThreads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the models; all cores, if not given.")]
Output = Annotated[Path | None, typer.Option(help="Folder for the table; else FOLDER/load.")]


def serve(
    folder: Folder,
    objective: ObjectiveOption = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    batch_size: BatchSize = 16,
    max_wait_ms: MaxWait = 5.0,
    queue: Queue = 256,
    timeout_seconds: Timeout = 10.0,
    max_k: MaxK = 100,
    tune: Tune = [],  # noqa: B006 - typer makes a new one
    threads: Threads = None,
    device: UseDevice = Device.auto,
) -> None:
    """Answer requests for lists over HTTP, in batches.

    With the models of a finished run; items of own data are called by their keys. SIGTERM or Ctrl+C stops it when those
    that wait are answered.
    """
    require()
    import torch

    from specbeam.recommender import Recommender
    from specbeam.serving import server
    from specbeam.serving.app import Service
    from specbeam.serving.batching import Limits

    limits = Limits(batch_size, max_wait_ms / 1000, queue)
    if threads:
        torch.set_num_threads(threads)
    with server.bound(host, port) as opened:  # before models are loaded, which may take minutes
        loaded = {"objective": objective, "device": device.value, "batch_size": batch_size}
        recommender = Recommender.load(folder, keys=True, **loaded)
        _warm(recommender, folder, tune, batch_size)
        server.run(Service(recommender, limits=limits, timeout=timeout_seconds, most=max_k), opened)


def bench_serve(
    folder: Folder,
    objective: ObjectiveOption = None,
    requests: Requests = 200,
    callers: Callers = 8,
    k: K = 10,
    rounds: Rounds = 5,
    batch_size: BatchSize = 16,
    max_wait_ms: MaxWait = 5.0,
    threads: BenchThreads = None,
    device: UseDevice = Device.auto,
    output: Output = None,
) -> None:
    """Load-test the service on loopback.

    With a draft, by plain beam search and by transformers' generate, under the same requests in the same run.
    """
    require()
    import torch

    from specbeam.files import replacing
    from specbeam.measurement import load_test as stage
    from specbeam.recommender import Recommender
    from specbeam.serving.batching import Limits

    load, limits = stage.Load(requests, callers, k, rounds), Limits(batch_size, max_wait_ms / 1000, max(256, callers))
    threads = timing_threads(threads)
    torch.set_num_threads(threads)
    examples = max(EXAMPLES, batch_size)
    users = histories(folder, examples + requests)
    recommender = Recommender.load(folder, objective=objective, device=device.value, batch_size=batch_size)
    asked = {"histories": users[examples:] or users, "examples": users[:examples]}
    table = stage.load_test(recommender, **asked, load=load, limits=limits)
    name = f"{folder.resolve().parent.name}/{folder.resolve().name}"
    text = stage.text(table, name=name, load=load, limits=limits, recommender=recommender, threads=threads)
    output = output or folder / "load"
    with replacing(output / "load.csv") as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    with replacing(output / "load.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    typer.echo(text)
    typer.echo(f"written to {output}/: load.csv, load.txt")


def require() -> None:
    """Raise SpecbeamError unless the packages of the extra `serve` are there."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise SpecbeamError(
            f"serving needs the package(s) {', '.join(missing)}, which are not installed: pip install 'specbeam[serve]'"
        )


def histories(folder: Path, count: int, *, keys: bool = False) -> list[list[Any]]:
    """Those of the first `count` test users of a finished run; with `keys` as `Recommender.load` takes them."""
    from specbeam.data.prepared import USERS
    from specbeam.data.sequences import history_and_targets, load_users
    from specbeam.finished_run import FinishedRun

    run = FinishedRun.of(folder)
    users = history_and_targets(load_users(run.prepared / USERS), "test")
    found, own = [list(map(int, history)) for history in users["history"][:count]], run.item_keys() if keys else None
    return [[own.keys[item] for item in history] for history in found] if own else found


def _warm(recommender: "Recommender", folder: Path, tune: list[int], batch_size: int) -> None:
    """Make one list, since the first takes longer, and choose plans."""
    examples = histories(folder, max(EXAMPLES, batch_size), keys=True)
    recommender.for_histories(examples[:1])
    for k in tune:
        for size in {1, batch_size}:
            planned = recommender.tune(histories=examples, k=k, batch_size=size)
            log.info("K = %d, batch of %d: drafts %s", k, size, list(planned.plan.widths) or "nothing")
