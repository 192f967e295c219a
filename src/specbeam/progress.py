"""Progress of what takes longer than a few seconds: a bar in a terminal, else lines in the log now and then.

Both have the rate and the time left. Lines come rarer as a job grows old, so that a log of days stays short.
"""

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS = 10.0
"""Until the first line, and between two of them."""
SHARE = 0.05
"""Of the time since the beginning, between two lines, once that is more than SECONDS."""

LINE = "{desc}: {percentage:.0f} %, {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left{postfix}"


class Bar(tqdm):
    """tqdm's bar, with its arguments, of which `desc`, `unit` and a known length are expected.

    Quiet where this module's logger takes no INFO: under `--quiet`, and in all but the main process of a training.
    """

    def __init__(self, iterable: Iterable | None = None, **options: Any) -> None:
        self.in_terminal, self.due, self.told = sys.stderr.isatty(), SECONDS, None
        options["disable"] = not log.isEnabledFor(logging.INFO)
        if not self.in_terminal:
            options |= {
                "file": io.StringIO(),  # what tqdm writes besides its meter: line ends
                "delay": SECONDS,
                "mininterval": SECONDS,
                "miniters": 1,
                "bar_format": LINE,
            }
        super().__init__(iterable, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the bar, or log the line."""
        if self.in_terminal:
            return super().display(msg, pos)
        elapsed, closing = self.format_dict["elapsed"], self.disable
        if self.n != self.told and (closing or elapsed >= self.due):
            log.info(" ".join(str(self).split()))
            self.due, self.told = elapsed + max(SECONDS, SHARE * elapsed), self.n
        return True
