"""`specbeam diff`: what differs between two runs, and how their results moved."""

from pathlib import Path
from typing import Annotated

import typer

A = Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of a run, or its name under results/.")]
B = Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one.")]
Everything = Annotated[bool, typer.Option("--all", help="Numbers at every K and N, not the largest alone.")]
Json = Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")]
Output = Annotated[Path | None, typer.Option(help="File for the numbers of both runs, at every K and N (csv).")]


def diff(a: A, b: B, everything: Everything = False, json: Json = False, output: Output = None) -> None:
    """Say what differs between two runs, and what it moved.

    Settings, code, machine; then results. The exit code is 0 whether they differ or not.
    """
    from specbeam.comparison import report
    from specbeam.files import replacing

    found = report.compare(a, b)
    if output is not None:
        with replacing(output) as temporary:
            found["movement"].to_csv(temporary, index=False, lineterminator="\n")
    typer.echo(report.as_json(found) if json else report.text(found, everything=everything), nl=json)
