"""`specbeam <verb>`: one verb a stage, called by the workflow's rules and usable without them.

Each verb only parses its options and calls the stage's function; imports stand inside the verbs, so that `--help` and
dry runs load neither torch nor transformers. `--settings` takes a config file, or JSON with just the sections that the
stage reads (specbeam.stages). Exit codes: 0 done, 1 a problem that the message says how to mend, 2 wrong usage.
"""

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from specbeam import bench_verb, diff_verb, parent, recommend_verb, reports, training_verbs
from specbeam.errors import SpecbeamError
from specbeam.job_provenance import recorded
from specbeam.options import (
    Config,
    Dataset,
    Figure,
    Objective,
    Prepared,
    SettingsOption,
    Split,
    Target,
    Threads,
    drafts_of,
    timing_threads,
)  # fmt: skip
from specbeam.stages import StageSettings

app = typer.Typer(
    name="specbeam",
    help="Speculative decoding for generative recommendation, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; a SpecbeamError becomes one message and exit code 1."""
    parent.watch()
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the bars of libraries too, which would fill the logs
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)  # they log addresses, which may be signed
    try:
        app()
    except SpecbeamError as error:
        sys.exit(f"specbeam: {error}")


@app.command()
@recorded("download", output="destination")
def download(
    dataset: Annotated[str, typer.Argument(help="Name of a data set in the registry.")],
    destination: Annotated[Path, typer.Option(help="Folder for the verified files.")],
    mirror: Annotated[
        str | None,
        typer.Option(envvar="SPECBEAM_MIRROR", help="Folder or URL to take the files from; same layout and checksums."),
    ] = None,
) -> None:
    """Download one real data set and verify it before use."""
    from specbeam.data import download as stage

    stage.download(dataset=dataset, destination=destination, mirror=mirror or None)


@app.command()
@recorded("generate", output="destination")
def generate_synthetic(
    settings: SettingsOption,
    destination: Annotated[Path, typer.Option(help="Folder for the files, in the format of a download.")],
) -> None:
    """Generate the embedded catalogue and its users."""
    from specbeam.data import synthetic as stage

    values = StageSettings.read("generate", settings)
    stage.generate(settings=values.synthetic, seed=values.seed, destination=destination)


@app.command()
@recorded("prepare", output="prepared")
def prepare(
    settings: SettingsOption,
    raw: Annotated[Path, typer.Option(help="Folder of raw files, downloaded or generated.")],
    prepared: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Turn raw files into splits, catalogue, tokenizer and statistics."""
    from specbeam.data import prepare as stage

    stage.prepare(raw=raw, prepared=prepared, model=StageSettings.read("prepare", settings).target.model)


app.command()(training_verbs.train_target)


@app.command()
@recorded("infer_target", output="lists")
def infer_target(
    settings: SettingsOption,
    prepared: Prepared,
    model: Target,
    lists: Annotated[Path, typer.Option(help="Recommended lists to write (parquet).")],
    ranking: Annotated[Path, typer.Option(help="Recall and NDCG to write (csv).")],
    threads: Threads,
) -> None:
    """Recommend items to all test users by the target's beam search, and rate the lists."""
    from specbeam.target import infer as stage

    values = StageSettings.read("infer_target", settings)
    stage.recommend(prepared=prepared, model=model, lists=lists, ranking=ranking, settings=values, threads=threads)


@app.command()
@recorded("rate_baselines", output="ranking")
def rate_baselines(
    settings: SettingsOption,
    prepared: Prepared,
    ranking: Annotated[Path, typer.Option(help="Recall and NDCG to write (csv).")],
    threads: Threads,
) -> None:
    """Recommend items to all test users by item-to-item counts and SASRec, and rate the lists."""
    from specbeam.baselines import rate as stage

    values = StageSettings.read("rate_baselines", settings)
    stage.rate_baselines(prepared=prepared, ranking=ranking, settings=values, threads=threads)


def recording(options: Mapping[str, Any]) -> str:
    """The stage that `record-trajectories` is for its split."""
    return "record" if options["split"] is Split.train else "record_validation"


@app.command()
@recorded(recording, output="output")
def record_trajectories(
    settings: SettingsOption,
    prepared: Prepared,
    model: Target,
    output: Annotated[Path, typer.Option(help="Shard to write (safetensors).")],
    split: Annotated[Split, typer.Option(help="Prompts of which split.")],
    threads: Threads,
    shard: Annotated[int, typer.Option(min=0, help="Which part, from 0.")] = 0,
    shards: Annotated[int, typer.Option(min=1, help="Parts in all.")] = 1,
) -> None:
    """Record the target's beams, and its logits along them, for one shard of prompts."""
    from specbeam.trajectories import record as stage

    if shard >= shards:
        raise SpecbeamError(f"--shard {shard}: expected less than --shards {shards}, since parts count from 0")
    stage.record(
        prepared=prepared,
        model=model,
        output=output,
        split=split.value,
        shard=shard,
        shards=shards,
        settings=StageSettings.read(recording({"split": split}), settings),
        threads=threads,
    )


app.command()(training_verbs.train_draft)


app.command()(training_verbs.align)


@app.command()
@recorded("evaluate", output="output")
def evaluate(
    settings: SettingsOption,
    prepared: Prepared,
    target: Target,
    draft: Annotated[Path, typer.Option(help="Folder of the aligned draft.")],
    objective: Annotated[Objective, typer.Option(help="What the draft was aligned by, for the records.")],
    draft_seed: Annotated[int, typer.Option(min=0, help="Which of draft.seeds it was trained with, for the records.")],
    dataset: Dataset,
    output: Annotated[Path, typer.Option(help="Records to write (parquet).")],
    trees: Annotated[Path, typer.Option(help="Records of target calls by drafted tree to write (parquet).")],
    threads: Threads,
) -> None:
    """Measure accepted levels, target calls and recall of one draft, for every verification, K and N."""
    from specbeam.measurement import evaluate as stage

    stage.evaluate(
        prepared=prepared,
        target=target,
        draft=draft,
        objective=objective.value,
        draft_seed=draft_seed,
        dataset=dataset,
        output=output,
        trees=trees,
        settings=StageSettings.read("evaluate", settings),
        threads=threads,
    )


@app.command()
@recorded("time", output="output")
def time(
    drafts: Annotated[list[str], typer.Argument(help="The drafts to time, each as OBJECTIVE=FOLDER.")],
    settings: SettingsOption,
    prepared: Prepared,
    target: Target,
    dataset: Dataset,
    beam_width: Annotated[int, typer.Option(min=1, help="K: items in a list.")],
    output: Annotated[Path, typer.Option(help="Records to write (parquet).")],
    threads: Threads,
) -> None:
    """Time every draft, verification and baseline at one K, interleaved on the same prompts."""
    from specbeam.measurement import timing as stage

    stage.time_methods(
        prepared=prepared,
        target=target,
        drafts=drafts_of(drafts),
        dataset=dataset,
        beam_width=beam_width,
        output=output,
        settings=StageSettings.read("time", settings),
        threads=timing_threads(threads),
    )


app.command()(bench_verb.bench)
app.command()(recommend_verb.recommend)
app.command()(diff_verb.diff)


@app.command()
@recorded(lambda options: options["figure"].value, output="output")
def plot(
    figure: Annotated[Figure, typer.Argument(help="Which figure.")],
    inputs: Annotated[list[Path], typer.Argument(help="Records or loss curves that it shows.")],
    output: Annotated[Path, typer.Option(help="Path without suffix: .png, .svg and .csv are written.")],
) -> None:
    """Draw one figure from records."""
    stage = importlib.import_module(f"specbeam.figures.{figure.value}")
    stage.plot(inputs=inputs, output=output)


@app.command()
@recorded("summarise", output="output")
def summarise(
    inputs: Annotated[
        list[Path], typer.Argument(help="Evaluation and timing records, and rankings of target and baselines.")
    ],
    output: Annotated[Path, typer.Option(help="Table to write (csv); its text goes beside it (.txt).")],
    run: Annotated[str, typer.Option(help="Name of the run, for the heading.")],
) -> None:
    """Put a run's main numbers into one table, and print it."""
    from specbeam.figures import summary as stage

    typer.echo(stage.summarise(inputs=inputs, output=output, run=run))


@app.command()
def schema() -> None:
    """Print the JSON schema of config files, for editors."""
    typer.echo(reports.schema())


@app.command()
def check(config: Config) -> None:
    """Validate a config file and say what it would run."""
    typer.echo("\n".join(reports.plan(config)))


@app.command()
def show(config: Config) -> None:
    """Print the result table of a finished run, and where its figures are."""
    typer.echo("\n".join(reports.result(config)))


@app.command()
def digest() -> None:
    """Print each stage's code digest and the settings it reads: what decides whether the stage runs again."""
    typer.echo("\n".join(reports.digests()))
