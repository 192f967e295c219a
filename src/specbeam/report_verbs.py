"""Verbs that tell of configs, stages and finished runs."""

import typer

from specbeam import reports
from specbeam.options import Config


def schema() -> None:
    """Print the JSON schema of config files."""
    typer.echo(reports.schema())


def check(config: Config) -> None:
    """Validate a config file and say what it would run."""
    typer.echo("\n".join(reports.plan(config)))


def show(config: Config) -> None:
    """Print a finished run's table, and where the rest is."""
    typer.echo("\n".join(reports.result(config)))


def digest() -> None:
    """Print what decides whether a stage runs again.

    That is the digest of its code, and the settings that it reads.
    """
    typer.echo("\n".join(reports.digests()))
