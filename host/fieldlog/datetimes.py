"""The text in which SMP carries a date and time, both ways (docs/smp.md#commands)."""

from __future__ import annotations

import datetime as dt
import re

from fieldlog_protocol.errors import ProtocolError, UsageError

MAX_UTC_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999. Times beyond it, or before 1970, are nonsense, and no time is known."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_TEXT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:Z|([+-])(\d\d):?(\d\d))?", re.ASCII)


def from_device(text: str) -> dt.datetime:
    """The device's time: Zephyr's has no zone and is UTC by convention, Mynewt's is local and names it. Raises ProtocolError."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ProtocolError(f"the device's time {text!r} is not of the form YYYY-MM-DDTHH:MM:SS")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    try:
        whole = dt.datetime(year, month, day, hour, minute, second, tzinfo=_zone(*match.groups()[7:]))
        whole = whole.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"the device's time {text!r} does not exist: {error}") from error
    return whole + _fraction(match[7] or "0")


def utc_of(utc_us: int) -> dt.datetime | None:
    """The aware time of microseconds since 1970; None for what lies outside the years 1970 to 9999."""
    return _EPOCH + dt.timedelta(microseconds=utc_us) if 0 <= utc_us <= MAX_UTC_US else None


def utc_text(utc_us: int, timespec: str = "auto") -> str:
    """The same for people."""
    time = utc_of(utc_us)
    return f"nonsense ({utc_us} us since 1970)" if time is None else time.isoformat(timespec=timespec)


def to_device(time: dt.datetime) -> str:
    """An aware time as the device wants it, in UTC, to the second."""
    if time.tzinfo is None:
        raise UsageError(f"{time} has no time zone: give an aware time, so that no zone has to be guessed")
    return time.astimezone(dt.UTC).replace(tzinfo=None, microsecond=0).isoformat()


def _zone(sign: str | None, hours: str, minutes: str) -> dt.tzinfo:
    if sign is None:
        return dt.UTC
    east = dt.timedelta(hours=int(hours), minutes=int(minutes))
    return dt.timezone(east if sign == "+" else -east)


def _fraction(digits: str) -> dt.timedelta:
    """Zephyr prints milliseconds without leading zeros: `.5` is 5 ms."""
    return (
        dt.timedelta(milliseconds=int(digits))
        if len(digits) <= 3
        else dt.timedelta(microseconds=int(digits.ljust(6, "0")))
    )
