"""Captions: what a figure shows, of how many users and seeds, how sure it is, and where it was measured.

One paragraph of plain text, so that it can stand below the figure in a paper, on a page and in Snakemake's report.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from specbeam.figures.bootstrap import RESAMPLES
from specbeam.measurement import records


def join(*sentences: str) -> str:
    """The caption that `sentences` make, in lines of at most 100 characters."""
    return textwrap.fill(" ".join(sentences), 100, break_on_hyphens=False) + "\n"


def of_records(what: str, frame: pd.DataFrame, files: Iterable[Path]) -> str:
    """The caption of a figure that shows `what`, of the records `frame`, read from `files`."""
    return join(what, sample(frame), measured(frame, files))


def sample(frame: pd.DataFrame) -> str:
    """How many users, and seeds of drafts if records have them, a figure is of, and what its bars mean."""
    over = {"user": counted(frame["user"].nunique(), "test user")}
    if "draft_seed" in frame:
        over["seed"] = f"{counted(frame['draft_seed'].nunique(), 'seed')} of drafts"
    resampled = " and ".join(f"{name}s" for name in over)
    return f"{', '.join(over.values())}; bars are 95 % intervals from {RESAMPLES:,} resamples of {resampled}."


def counted(number: int, name: str) -> str:
    """`1 user`, or `150 users`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def measured(frame: pd.DataFrame, files: Iterable[Path]) -> str:
    """The data set of `frame`, read from the record `files`, how its lists were decoded, and on what machine."""

    def of(column: str) -> str:
        return ", ".join(str(value) for value in frame[column].unique())

    ways = dict.fromkeys(_decoding(path) for path in files)
    device = "" if of("device") == "cpu" else f"{of('device')}, "
    commits = ", ".join(commit[:12] for commit in frame["commit"].unique())
    machine = f"{device}{of('threads')} thread(s) of {of('cpu')}, {of('dtype')}"
    return f"Data set {of('dataset')}; {' or '.join(ways)}; {machine}, seed {of('seed')}, commit {commits}."


def _decoding(path: Path) -> str:
    chosen = records.settings_of(path).get("decoding", {})
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen.items())
