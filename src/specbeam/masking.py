"""Secrets stay out of what is written: tokens in the environment, and what opens or signs an address."""

import json
import logging
import os
import re
import sys
import traceback
from types import TracebackType
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 8
"""Characters that a value in the environment must have to be taken for a secret."""
_SECRET = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL|(?<![A-Z])PAT(?![A-Z])|_PWD$", re.IGNORECASE)
"""What names of variables with secrets hold: MY_PASSWD and GITHUB_PAT, but neither PATH nor PWD."""
_LOGIN = re.compile(r"(?<=://)[^\s/'\"]+@")
_QUERY = re.compile(r"(://[^\s?'\"]+\?)[^\s'\",)]+")


def masked(text: str) -> str:
    """`text` without the values of variables such as HF_TOKEN, and without logins and queries in addresses."""
    values = {value.strip() for name, value in os.environ.items() if _SECRET.search(name)}
    forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return _QUERY.sub(rf"\1{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", text))


def _forms(value: str) -> set[str]:
    """`value` as it is, as Python and JSON quote it, and as it stands in addresses."""
    shown = {value, *(quoted(value)[1:-1] for quoted in (repr, ascii, json.dumps))}
    return shown | {encode(value, safe, errors="replace") for encode in (quote, quote_plus) for safe in ("", "/")}


class Formatter(logging.Formatter):
    """Formats records, with their tracebacks, and masks them."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return masked(super().format(record))


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, masked; for sys.excepthook."""
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
