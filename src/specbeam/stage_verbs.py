"""The verbs of the stages, which the workflow's rules call; those that train are in specbeam.training_verbs.

Each only parses its options and calls the stage's function; imports stand inside the verbs, so that `--help` and dry
runs load neither torch nor transformers.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from specbeam.errors import SpecbeamError
from specbeam.job_provenance import recorded
from specbeam.options import (
    Dataset,
    Figure,
    Objective,
    Prepared,
    Raw,
    SettingsOption,
    Split,
    Target,
    Threads,
    drafts_of,
    timing_threads,
)  # fmt: skip
from specbeam.stages import StageSettings


@recorded("download", output="destination")
def download(
    dataset: Annotated[str, typer.Argument(help="Name of a data set in the registry.")],
    destination: Annotated[Path, typer.Option(help="Folder for the verified files.")],
    store: Annotated[
        Path | None, typer.Option(help="Folder that keeps the data sets for other destinations: fetched once, copied.")
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(envvar="SPECBEAM_MIRROR", help="Folder or URL to take the files from; same layout and checksums."),
    ] = None,
) -> None:
    """Download one real data set and verify it before use."""
    from specbeam.data import download as stage

    stage.download(dataset=dataset, destination=destination, store=store, mirror=mirror or None)


@recorded("generate", output="destination")
def generate_synthetic(
    settings: SettingsOption,
    destination: Annotated[Path, typer.Option(help="Folder for the files, in the format of a download.")],
) -> None:
    """Generate the embedded catalogue and its users."""
    from specbeam.data import synthetic as stage

    values = StageSettings.read("generate", settings)
    stage.generate(settings=values.synthetic, seed=values.seed, destination=destination)


@recorded("prepare", output="prepared")
def prepare(
    settings: SettingsOption,
    raw: Raw,
    prepared: Annotated[Path, typer.Option(help="Folder to write.")],
    identifiers: Annotated[
        Path | None, typer.Option(help="Identifiers to take instead of those among the raw files (json).")
    ] = None,
) -> None:
    """Turn raw files into splits, catalogue and tokenizer."""
    from specbeam.data import prepare as stage

    model = StageSettings.read("prepare", settings).target.model
    stage.prepare(raw=raw, prepared=prepared, model=model, identifiers=identifiers)


@recorded("infer_target", output="lists")
def infer_target(
    settings: SettingsOption,
    prepared: Prepared,
    model: Target,
    lists: Annotated[Path, typer.Option(help="Recommended lists to write (parquet).")],
    ranking: Annotated[Path, typer.Option(help="Recall and NDCG to write (csv).")],
    threads: Threads,
) -> None:
    """Make and rate the target's lists of all test users."""
    from specbeam.target import infer as stage

    values = StageSettings.read("infer_target", settings)
    stage.recommend(prepared=prepared, model=model, lists=lists, ranking=ranking, settings=values, threads=threads)


@recorded("rate_baselines", output="ranking")
def rate_baselines(
    settings: SettingsOption,
    prepared: Prepared,
    ranking: Annotated[Path, typer.Option(help="Recall and NDCG to write (csv).")],
    threads: Threads,
) -> None:
    """Rate what a target has to beat, on the same users.

    Last-item transitions, weighted co-occurrence, and SASRec.
    """
    from specbeam.baselines import rate as stage

    values = StageSettings.read("rate_baselines", settings)
    stage.rate_baselines(prepared=prepared, ranking=ranking, settings=values, threads=threads)


def recording(options: Mapping[str, Any]) -> str:
    """The stage that `record-trajectories` is for its split."""
    return "record" if options["split"] is Split.train else "record_validation"


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
    """Record the target's beams and logits for some prompts."""
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


@recorded("evaluate", output="output", keep=("output", "trees"))
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
    """Measure acceptance, target calls, recall of one draft.

    For every verification, plan, K and N of the settings.
    """
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
    """Time drafts, verifications and baselines at one K.

    Interleaved, on the same prompts, after a warm-up.
    """
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


@recorded("record_search", output="output")
def record_search(
    settings: SettingsOption,
    prepared: Prepared,
    target: Target,
    draft: Annotated[Path, typer.Option(help="Folder of the aligned draft.")],
    objective: Annotated[Objective, typer.Option(help="What the draft was aligned by, for the record.")],
    output: Annotated[Path, typer.Option(help="What happened to write (json).")],
    threads: Threads,
) -> None:
    """Record one test user's search node by node.

    For the figure that shows how a list comes about.
    """
    from specbeam.measurement import explained as stage

    stage.record_search(
        prepared=prepared,
        target=target,
        draft=draft,
        objective=objective.value,
        output=output,
        settings=StageSettings.read("record_search", settings),
        threads=threads,
    )


@recorded(lambda options: options["figure"].value, output="output")
def plot(
    figure: Annotated[Figure, typer.Argument(help="Which figure.")],
    inputs: Annotated[list[Path], typer.Argument(help="Records or loss curves that it shows.")],
    output: Annotated[Path, typer.Option(help="Path without suffix: .png, .svg, .csv and .txt (caption) are written.")],
) -> None:
    """Draw one figure from records."""
    stage = importlib.import_module(f"specbeam.figures.{figure.value}")
    stage.plot(inputs=inputs, output=output)


@recorded("summarise", output="output")
def summarise(
    inputs: Annotated[
        list[Path], typer.Argument(help="Evaluation and timing records, and rankings of target and baselines.")
    ],
    output: Annotated[Path, typer.Option(help="Table to write (csv); its text goes beside it (.txt).")],
    run: Annotated[str, typer.Option(help="Name of the run, for the heading.")],
) -> None:
    """Put a run's main numbers into one table; print it."""
    from specbeam.figures import summary as stage

    typer.echo(stage.summarise(inputs=inputs, output=output, run=run))


@recorded("page", output="output")
def page(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, such as results/default.")],
    output: Annotated[Path, typer.Option(help="Page to write (html).")],
    summary: Annotated[Path, typer.Option(help="The same without figures to write (html), for the report.")],
    parts: Annotated[Path, typer.Option(help="Folder to write, of pages by data set and objective, for the report.")],
) -> None:
    """Write a page on a run: numbers, figures, what is next."""
    from specbeam.page import write as stage

    stage.write_page(run=run, output=output, summary=summary, parts=parts)
