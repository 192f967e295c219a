"""What fields of interactions and item tables mean. All raise ValueError with what is wrong with the value."""

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
UNITS = ((10**11, 10**6, 1), (10**14, 10**3, 1), (10**17, 1, 1), (10**20, 1, 1000))
"""Numbers below are seconds, milliseconds, microseconds, nanoseconds: factor and divisor that make microseconds."""
FIRST_DIGITS, LAST_DIGITS = 1900_01_01, 2099_12_31
"""Numbers between them that form a date are refused."""
FIRST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
"""The year 1, before which there are no dates."""


def key(value: Any) -> str:
    """What a user or an item is called: text as it stands, or a whole number."""
    if isinstance(value, str):
        if not value:
            raise ValueError("is empty")
        return _utf8(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("is empty" if value is None else f"is {_short(value)}; expected text or a whole number")


def microseconds(value: Any) -> int:
    """Time since 1970: Unix time, its unit by its size, or a date, in UTC if it has no offset.

    Dates are those of ISO 8601, as 2014-01-05T09:30:00+01:00 or 2014-01-05, and as the release of 2018 has them,
    01 5, 2014.
    """
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) < 25:
            return _scaled(int(value))
        try:
            return _scaled(float("" if "_" in value else value))
        except ValueError:
            return _since_epoch(_date(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _scaled(value)
    if isinstance(value, datetime):
        return _since_epoch(value)
    if isinstance(value, date):
        return _since_epoch(datetime(value.year, value.month, value.day))
    raise ValueError("is empty" if value is None else f"is {_short(value)}; expected a time")


def number(value: Any) -> float:
    """A rating."""
    if isinstance(value, str | int | float) and not isinstance(value, bool) and "_" not in str(value):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise ValueError("is empty" if value in (None, "") else f"is {_short(value)}; expected a number")


def text(values: Iterable[Any]) -> str | None:
    """One text of several values, lists among them, with single spaces; None if nothing is in them."""
    parts = (" ".join(part.split()) for part in _parts(values))
    return _utf8(". ".join(part.rstrip(".") for part in parts if part)) or None


def iso(time: int) -> str:
    """Microseconds since 1970, readable."""
    return (EPOCH + time * MICROSECOND).isoformat()


def _scaled(time: float) -> int:
    if FIRST_DIGITS <= time <= LAST_DIGITS and time == int(time):
        _refuse_date(int(time))
    for limit, factor, divisor in UNITS:  # NaN is below none
        if abs(time) < limit:
            found = round(time * factor) // divisor
            if found < FIRST:
                break
            return found
    raise ValueError(f"is {_short(time)}, which is no time")


def _refuse_date(digits: int) -> None:
    """Eight digits would be seconds of 1970, which no shop has, if they are not a date."""
    try:
        written = datetime.strptime(str(digits), "%Y%m%d")
    except ValueError:
        return
    raise ValueError(f"is {digits}, which may be a date or Unix time; write {written.date()}")


def _date(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        pass
    try:
        return datetime.strptime(value, "%m %d, %Y")
    except ValueError:
        wrong = "is empty" if not value else f"is {_short(value)}; expected Unix time or a date as 2014-01-05"
        raise ValueError(wrong) from None


def _since_epoch(time: datetime) -> int:
    try:
        return ((time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
    except OverflowError:
        raise ValueError(f"is {time}, which is no time") from None


def _parts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _parts(value)
        elif isinstance(value, str | int | float):
            yield str(value)
        elif value is not None:
            raise ValueError(f"is {_short(value)}; expected text, or a list of texts")


def _utf8(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"is {_short(value)}, which is not UTF-8; save the file in UTF-8") from None
    return value


def _short(value: Any) -> str:
    return ascii(value)[:80]
