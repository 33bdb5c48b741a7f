"""Times as people write and read them: in the deployment's zone, with UTC beside.

Rule: no zone is guessed silently. What was typed without an offset is meant in the zone that the deployment names, else in
UTC, and what is shown says which it was.
"""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

from fieldlog.datetimes import utc_of, utc_text
from fieldlog_protocol.errors import UsageError

_LAST_S = 2**32
_DAY_FIRST = re.compile(r"(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})\b.*", re.ASCII)
"""With full stops the day comes first wherever dates are written so; with slashes that differs."""


def iso(seconds: float) -> str:
    """For programs, in UTC."""
    return utc_text(int(seconds) * 1_000_000, "seconds")


def typed_time(text: str, option: str, zone: ZoneInfo | None) -> dt.datetime:
    """The aware time that was written; one without offset is meant in the zone, else in UTC. Devices know whole seconds."""
    try:
        time = dt.datetime.fromisoformat(text).replace(microsecond=0)
    except ValueError:
        raise no_time(option, text) from None
    if time.tzinfo is None:
        time = _local(time, option, zone) if zone is not None else time.replace(tzinfo=dt.UTC)
    if not 0 <= time.timestamp() < _LAST_S:
        raise UsageError(f"{option} {text} lies outside the years 1970 to 2106, which devices know")
    return time


def no_time(option: str, text: str) -> UsageError:
    """What is said of a text that is no time; where its parts can only mean one day, that day too."""
    match = _DAY_FIRST.fullmatch(text.strip())
    day = None if match is None else f"{match['year']}-{int(match['month']):02}-{int(match['day']):02}"
    hint = f": the year comes first, {day}" if day is not None and _is_day(day) else ""
    return UsageError(f"{option} takes a time such as 2030-07-01T12:00:00+02:00 or 2030-07-01, not {text!r}{hint}")


def _is_day(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_bare(text: str) -> bool:
    """Whether a time has no offset; False for what is no time."""
    try:
        return dt.datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False


def _local(time: dt.datetime, option: str, zone: ZoneInfo) -> dt.datetime:
    aware = time.replace(tzinfo=zone)
    if aware.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != time:
        raise UsageError(f"{option} {time.isoformat()} does not exist in {zone}: the clocks are put forward then")
    if aware.utcoffset() != aware.replace(fold=1).utcoffset():
        raise UsageError(f"{option} {time.isoformat()} comes twice in {zone}: add the offset that is meant")
    return aware


def moment_text(seconds: int, zone: dt.tzinfo | None) -> str:
    """2030-07-01 06:00 Europe/Berlin (04:00 UTC); in UTC alone without a zone, and what no calendar holds as it is."""
    utc = utc_of(seconds * 1_000_000) if seconds < _LAST_S else None
    if utc is None:
        return iso(seconds)
    if zone is None or zone == dt.UTC:
        return f"{_day_and_time(utc)} UTC"
    local = utc.astimezone(zone)
    beside = _time(utc) if local.date() == utc.date() else _day_and_time(utc)
    named = f" {zone}" if isinstance(zone, ZoneInfo) else local.isoformat()[-6:]
    return f"{_day_and_time(local)}{named} ({beside} UTC)"


def _day_and_time(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d} {_time(time)}"


def _time(time: dt.datetime) -> str:
    return f"{time:%H:%M:%S}" if time.second else f"{time:%H:%M}"
