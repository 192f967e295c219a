"""Secrets stay out of what is written: tokens in the environment, and what opens or signs an address."""

import logging
import os
import re
import sys
import traceback
from types import TracebackType

HIDDEN = "***"
SHORTEST = 8
"""Characters that a value in the environment must have to be taken for a secret."""
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|KEY|CREDENTIALS)$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY = re.compile(r"(://[^\s?'\"]+\?)[^\s'\",)]+")


def masked(text: str) -> str:
    """`text` without the values of variables such as HF_TOKEN, and without logins and queries in addresses."""
    values = {value for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= SHORTEST}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _QUERY.sub(rf"\1{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", text))


class Formatter(logging.Formatter):
    """Formats records, with their tracebacks, and masks them."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return masked(super().format(record))


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, masked; for sys.excepthook."""
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
