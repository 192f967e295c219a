"""`specbeam bench`: its options, and what their values must be. It stands apart from the other verbs for its length."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from specbeam.errors import SpecbeamError
from specbeam.options import timing_threads

Device = StrEnum("Device", ["cpu", "cuda"])
Dtype = StrEnum("Dtype", ["float32", "bfloat16", "float16"])

_RUN, _RANDOM = {"rich_help_panel": "A finished run"}, {"rich_help_panel": "Random weights"}
Folder = Annotated[Path | None, typer.Argument(help="Data set of a finished run, such as results/default/synthetic.")]
Objectives = Annotated[
    list[str], typer.Option("--objective", help="Draft of the run, by objective; repeatable.", **_RUN)
]
Drafts = Annotated[list[str], typer.Option("--draft", help="Another draft, as NAME=FOLDER; repeatable.", **_RUN)]
Shape = Annotated[str | None, typer.Option(help="Target: HIDDENxLAYERSxHEADSxINTERMEDIATE.", **_RANDOM)]
DraftShape = Annotated[str | None, typer.Option(help="Draft, written alike.", **_RANDOM)]
Items = Annotated[int, typer.Option(min=1, help="Items of the catalogue.", **_RANDOM)]
Length = Annotated[int, typer.Option(min=1, help="Tokens of an identifier.", **_RANDOM)]
Branching = Annotated[int, typer.Option(min=1, help="Tokens at each position of an identifier.", **_RANDOM)]
PromptLength = Annotated[int, typer.Option(min=1, help="Tokens of a prompt.", **_RANDOM)]
BeamWidths = Annotated[str, typer.Option(help="K: items in a list.")]
BatchSizes = Annotated[str, typer.Option(help="Prompts searched at once.")]
Verifications = Annotated[str, typer.Option(help="Which verifications to time.")]
DraftWidth = Annotated[int, typer.Option("--draft-beam-width", min=1, help="N of the flat drafts.")]
DraftLength = Annotated[int, typer.Option(min=1, help="Levels that the flat drafts have a round (gamma).")]
Plans = Annotated[
    list[str],
    typer.Option(
        "--plan",
        help="Tree beside the flat ones: widths by level (60,80,100), with the levels of the draft's model, if not all "
        "(60,80,100:2); 'choose' lets the planner choose; 'none' for none. Repeatable.",
    ),
]
Users = Annotated[int, typer.Option(min=1, help="Prompts to time; of a larger batch size, one batch.")]
Repeats = Annotated[int, typer.Option(min=1, help="Timed repeats; the median counts.")]
Catalogue = Annotated[
    int, typer.Option(min=0, help="Items of the synthetic catalogue for timing look-ups and filters; 0: none.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all that there are, if not given.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Draws prompts, noise and random weights; else the run's.")]
UseDevice = Annotated[Device | None, typer.Option(help="Where to run; else as the run's config says.")]
UseDtype = Annotated[Dtype | None, typer.Option(help="Precision of the weights; else as the run's config says.")]
Compile = Annotated[bool, typer.Option(help="Run the models through torch.compile.")]
Captured = Annotated[bool, typer.Option(help="Capture passes as CUDA graphs (GPU only).")]
Output = Annotated[Path | None, typer.Option(help="Folder for records and tables; else FOLDER/bench.")]

_WRITTEN = (
    "bench.parquet (records), bench.csv, passes.csv, lookups.csv, filters.csv (of a large catalogue), bench.txt, "
    "roofline.png, .svg, .csv and .txt"
)


def bench(
    folder: Folder = None,
    objective: Objectives = [],  # noqa: B006 - typer makes a new one
    draft: Drafts = [],  # noqa: B006
    shape: Shape = None,
    draft_shape: DraftShape = None,
    items: Items = 10_000,
    identifier_length: Length = 4,
    branching: Branching = 256,
    prompt_length: PromptLength = 90,
    beam_widths: BeamWidths = "1,3,5,10,20",
    batch_sizes: BatchSizes = "1,8,32",
    verifications: Verifications = "strict,relaxed,relaxed-ranked,coupled",
    draft_beam_width: DraftWidth = 40,
    draft_length: DraftLength = 3,
    plan: Plans = ["choose"],  # noqa: B006
    users: Users = 20,
    repeats: Repeats = 5,
    lookup_items: Catalogue = 1_000_000,
    threads: Threads = None,
    seed: Seed = None,
    device: UseDevice = None,
    dtype: UseDtype = None,
    compile: Compile = False,
    graphs: Captured = False,
    output: Output = None,
) -> None:
    """Time every way to make a list against every other.

    That is transformers' generate, plain beam search, and all speculation, interleaved and warm. Give a data set's
    folder of a finished run, or --shape for random weights.
    """
    from specbeam.figures import roofline
    from specbeam.measurement import bench as stage
    from specbeam.measurement import bench_methods as ways
    from specbeam.measurement import bench_subject as subjects

    _check_subject(folder, shape, {"--objective": objective, "--draft": draft, "--draft-shape": draft_shape})
    plans = tuple(ways.plan_of(text) for text in dict.fromkeys(plan) if text != "none")
    grid = ways.Grid(
        _counts("--beam-widths", beam_widths), _counts("--batch-sizes", batch_sizes), tuple(verifications.split(",")),
        draft_beam_width, draft_length, plans, users, repeats, lookup_items,
    )  # fmt: skip
    threads = timing_threads(threads)
    where, precision = device and device.value, dtype and dtype.value
    loading = subjects.Loading(grid.prompts, grid.calibration, threads, where, precision, compile, graphs, seed)
    if folder:
        subject = subjects.of_run(folder, objectives=objective, drafts=_named(draft), loading=loading)
    else:
        sizes = {"items": items, "identifier_length": identifier_length, "branching": branching}
        subject = subjects.of_shapes(shape, draft_shape, **sizes, prompt_length=prompt_length, loading=loading)
    output = output or (folder or Path("results")) / "bench"
    typer.echo(stage.bench(subject=subject, grid=grid, output=output, threads=threads))
    roofline.plot(inputs=[output / "bench.parquet", output / "passes.csv"], output=output / "roofline")
    typer.echo(f"written to {output}/: {_WRITTEN}")


def _check_subject(folder: Path | None, shape: str | None, given: dict[str, object]) -> None:
    """Raise SpecbeamError unless there is one subject, and no option that belongs to the other kind."""
    if (folder is None) == (shape is None):
        raise SpecbeamError(
            "expected a data set's folder of a finished run, or --shape for random weights: one of them"
        )
    for option in ("--draft-shape",) if folder else ("--objective", "--draft"):
        if given[option]:
            kind = "random weights (--shape)" if folder else "a finished run"
            raise SpecbeamError(f"{option} goes with {kind} only: remove it")


def _counts(option: str, text: str) -> tuple[int, ...]:
    """The whole numbers of "1,3,5"."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SpecbeamError(f"{option} {text}: expected whole numbers separated by commas, such as 1,5,20") from None


def _named(pairs: list[str]) -> dict[str, Path]:
    """Name -> folder, of NAME=FOLDER."""
    drafts = {}
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        if not (name and separator and folder):
            raise SpecbeamError(f"--draft {pair}: expected NAME=FOLDER")
        drafts[name] = Path(folder)
    return drafts
