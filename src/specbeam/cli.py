"""`specbeam <verb>`: what the workflow's rules call, usable without them, and what looks at a run before and after.

`--settings` takes a config file, or JSON with just the sections that the stage reads (specbeam.stages). Exit codes: 0
done, 1 a problem that the message says how to mend, 2 wrong usage, 130 interrupted.
"""

import logging
import os
import sys

import typer
from tqdm.contrib.logging import logging_redirect_tqdm

from specbeam import (
    bench_verb,
    cost_verb,
    diff_verb,
    explain_verb,
    loudness,
    own_data_verbs,
    parent,
    precision_verb,
    recommend_verb,
    report_verbs,
    serve_verb,
    stage_verbs,
    training_verbs,
)
from specbeam.errors import SpecbeamError
from specbeam.masking import masked
from specbeam.progress import Bar

log = logging.getLogger(__name__)

VERBS = {
    "A run, before and after": (
        report_verbs.check,
        report_verbs.show,
        recommend_verb.recommend,
        explain_verb.explain,
        serve_verb.serve,
        bench_verb.bench,
        serve_verb.bench_serve,
        precision_verb.precision,
        diff_verb.diff,
        cost_verb.cost,
        own_data_verbs.generate_shop,
    ),
    "Stages of a run, in the order in which snakemake calls them": (
        stage_verbs.download,
        stage_verbs.generate_synthetic,
        own_data_verbs.read_interactions,
        own_data_verbs.embed_items,
        own_data_verbs.identify_items,
        stage_verbs.prepare,
        training_verbs.train_target,
        stage_verbs.infer_target,
        stage_verbs.rate_baselines,
        stage_verbs.record_trajectories,
        training_verbs.train_draft,
        training_verbs.align,
        stage_verbs.evaluate,
        stage_verbs.time,
        stage_verbs.record_search,
        stage_verbs.plot,
        stage_verbs.summarise,
        stage_verbs.page,
    ),
    "For editors and developers": (report_verbs.schema, report_verbs.digest),
}
"""Verbs by the panel of `--help` that they stand in."""

app = typer.Typer(
    name="specbeam",
    help="Speculative decoding for generative recommendation.\n\n"
    "To run everything: `snakemake --cores all`. A verb does one part of it; its options: `specbeam VERB --help`.",
    epilog="Exit codes: 0 done, 1 a problem that the message says how to mend, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(loudness.choose)
for panel, verbs in VERBS.items():
    for verb in verbs:
        app.command(rich_help_panel=panel)(loudness.heard(verb))


def main() -> None:
    """Run the command line; a SpecbeamError becomes one message and exit code 1."""
    parent.watch()
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the bars of libraries, which would fill the logs
    loudness.begin()
    try:
        with logging_redirect_tqdm(tqdm_class=Bar):  # lines go above bars
            app()
    except SpecbeamError as error:
        log.debug("where the error came from", exc_info=error)
        sys.exit(f"specbeam: {masked(str(error))}")
