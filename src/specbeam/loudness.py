"""How much the command line says on stderr: warnings alone, what it does (as usual), or every detail."""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from specbeam import masking

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say warnings and errors only; results are still printed.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, and where an error came from.")]


def begin() -> None:
    """Log to stderr, as much as usual, and without secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(masking.Formatter("%(asctime)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.excepthook = masking.excepthook
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)  # they log addresses, which may be signed


def choose(quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Say less or more than usual, from now on; typer.BadParameter for both."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    if quiet:
        logging.getLogger().setLevel(logging.WARNING)
    if verbose:
        logging.getLogger("specbeam").setLevel(logging.DEBUG)


def heard(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb` with the options of `choose` after its own."""

    @functools.wraps(verb)
    def wrapped(*, quiet: Quiet = False, verbose: Verbose = False, **options: object) -> None:
        choose(quiet, verbose)
        verb(**options)

    own, added = inspect.signature(verb), inspect.signature(choose).parameters.values()
    keywords = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in added]
    wrapped.__signature__ = own.replace(parameters=[*own.parameters.values(), *keywords])
    return wrapped
