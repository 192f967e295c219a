"""What the tests of bad input share: how many cases they try, bytes that were damaged, and what a reader may do.

`SPECBEAM_FUZZ=100 pytest tests/fuzz` tries a hundred times as many cases as the suite does, other ones at each call.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from specbeam.errors import SpecbeamError

FACTOR = float(os.environ.get("SPECBEAM_FUZZ", "1"))
LONGEST_MESSAGE = 2000
COUNTS: Counter[tuple[str, str]] = Counter()
"""(reader, "read" or "refused") -> cases."""


def cases(number: int) -> settings:
    """Try `number` times SPECBEAM_FUZZ cases; the same ones at each call, unless that variable is set."""
    return settings(
        max_examples=max(1, round(number * FACTOR)),
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def read(reader: str, function: Callable[[], Any], *, names: str | Path | None = None) -> Any:
    """What `function` returns, or None where it refuses its input: by None, or by a short SpecbeamError with `names`.

    Whatever else it raises fails the test.
    """
    try:
        found = function()
    except SpecbeamError as error:
        message = str(error)
        assert names is None or str(names) in message, message
        assert len(message) < LONGEST_MESSAGE, f"{len(message)} characters: {message[:200]}"
        COUNTS[reader, "refused"] += 1
        return None
    COUNTS[reader, "refused" if found is None else "read"] += 1
    return found


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """`content` cut short, or with some bytes changed, removed, put in or written twice."""
    place = st.integers(0, len(content))
    spot = st.tuples(place, st.integers(0, 8), st.binary(max_size=8))
    return st.one_of(
        place.map(lambda end: content[:end]),
        st.tuples(place, st.integers(1, 255)).map(lambda at: _changed(content, *at)),
        st.lists(spot, min_size=1, max_size=3).map(lambda spots: _spliced(content, spots)),
        st.tuples(place, place).map(lambda ends: content[: max(ends)] + content[min(ends) :]),
    )


def _changed(content: bytes, at: int, by: int) -> bytes:
    return content[:at] + bytes(byte ^ by for byte in content[at : at + 1]) + content[at + 1 :]


def _spliced(content: bytes, spots: list[tuple[int, int, bytes]]) -> bytes:
    for at, removed, added in sorted(spots, reverse=True):
        content = content[:at] + added + content[at + removed :]
    return content
