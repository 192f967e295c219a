"""How much the load tests try, and what they measured; SPECBEAM_LOAD=1 is the full load (docs/safety.md)."""

import os
from pathlib import Path

FULL = os.environ.get("SPECBEAM_LOAD", "0") != "0"
MEASURED: list[str] = []
"""Lines for the end of the test run."""


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
