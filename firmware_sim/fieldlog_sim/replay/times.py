"""Which column of a table is the time, and what instants its cells mean.

Rule of this module: a time without an offset is UTC. What cannot be read as a time is an error with its line, never a
guess: 03/04/2013 has two meanings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fieldlog_sim.replay.numbers import Number, parse_number
from fieldlog_sim.replay.table import Column, Table, Words

_NAMES = frozenset(
    {"time", "date", "timestamp", "time stamp", "datetime", "date time", "utc", "time utc", "utc time", "date time utc"}
)
_UNITS_US = {"s": 10**6, "sec": 10**6, "seconds": 10**6, "ms": 10**3, "us": 1, "µs": 1}
_SAMPLE_ROWS = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ELAPSED_BELOW_US = 10**14  # earlier than 1973-03: not a date, but the time since something began
_CALENDAR_UNTIL_US = 5 * 10**15  # after 2128: not a date, but some number
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}\.\d{1,2}\.\d{4}", re.ASCII)
# What people mean as a date, though it may have two meanings, or a month by its name.
_LIKE_A_DATE = re.compile(
    r"\d{1,4}[-/. ](?:\d{1,2}|[^\W\d]{3,9}\.?)[-/. ,]+\d{1,4}\b|[^\W\d]{3,9}\.? \d{1,2},? \d{4}\b"
)
_DATE_AND_TIME = re.compile(
    r"(?:(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
    r"|(?P<Day>\d{1,2})\.(?P<Month>\d{1,2})\.(?P<Year>\d{4}))"
    r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?)?"
    r"\s*(?P<offset>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?")


class Kind(IntEnum):
    """What the cells of a column look like; the lower, the better it serves as the time."""

    CALENDAR = 0
    EPOCH = 1
    ELAPSED = 2
    DATE = 3


@dataclass(frozen=True, slots=True)
class Times:
    """Instants of the rows in the order of the file. `columns` are those they were read from, by number.

    `elapsed`: they count from an unknown beginning.
    """

    utc_us: npt.NDArray[np.int64]
    columns: tuple[int, ...]
    elapsed: bool


def read_times(table: Table) -> Times | None:
    """The time of each row; None when no column tells it."""
    found = _find(table)
    if found is None:
        return None
    number, kind = found
    column = table.columns[number]
    if kind is Kind.CALENDAR:
        return Times(_instants(table, column.name, column.words(), parse_calendar), (number,), elapsed=False)
    if kind is Kind.DATE:
        return _date_and_clock(table, number)
    instants = _instants(table, column.name, column.words(), parse_epoch(_unit_us(column)))
    return Times(instants, (number,), elapsed=kind is Kind.ELAPSED)


def unreadable_time(table: Table) -> tuple[Column, str] | None:
    """A column that is meant as the time, by its name or by what its cells look like, and its first cell that cannot be
    read as such."""
    named = [column for column in table.columns if _is_named_time(column) and column.sample(1)]
    dated = (column for column in table.columns if any(map(_LIKE_A_DATE.match, column.sample(1))))
    column = next(iter(named), None) or next(dated, None)
    if column is None:
        return None
    cells = column.sample(_SAMPLE_ROWS)
    return column, next((cell for cell in cells if _all_parse([cell], parse_calendar) is None), cells[0])


def parse_calendar(text: str) -> int:
    """Microseconds since 1970 of ISO 8601, also with slashes, or of day.month.year, which nobody writes the other way
    round; with or without fraction and offset. ValueError for others."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _lenient(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _lenient(text: str) -> datetime:
    match = _DATE_AND_TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    part = {name.lower(): text for name, text in match.groupdict().items() if text is not None}
    offset = part.get("offset", "Z")
    fraction, clock = part.get("fraction", "0"), [part.get(name, "00") for name in ("hour", "minute", "second")]
    return datetime.fromisoformat(
        f"{part['year']}-{part['month']:>02}-{part['day']:>02}T{clock[0]:>02}:{clock[1]}:{clock[2]}.{fraction:0<6.6}"
        f"{offset if offset[0] in '+-' else '+00:00'}"
    )


def parse_epoch(unit_us: int | None) -> Callable[[str], int]:
    """Microseconds of a number in `unit_us`; without it, seconds, milli-, micro- or nanoseconds by its size."""

    def parse(text: str) -> int:
        number = parse_number(text)
        if number is None or abs(number.exponent) > 30:
            raise ValueError(text)
        return _scaled(number, unit_us or _unit_by_size(number))

    return parse


def _unit_by_size(number: Number) -> int:
    seconds = abs(number.rounded())
    return 10**6 if seconds < 10**11 else 10**3 if seconds < 10**14 else 1 if seconds < 10**17 else 0


def _scaled(number: Number, unit_us: int) -> int:
    if unit_us == 0:  # nanoseconds
        return Number(number.mantissa, number.exponent - 3).rounded()
    return Number(number.mantissa * unit_us, number.exponent).rounded()


def _find(table: Table) -> tuple[int, Kind] | None:
    """The best of the columns whose name says time, else the first that can be nothing else."""
    kinds = [(number, _kind(column)) for number, column in enumerate(table.columns)]
    named = [(kind, n) for n, kind in kinds if kind is not None and _is_named_time(table.columns[n])]
    if named:
        kind, number = min(named)
        return number, kind
    return next(
        ((n, kind) for n, kind in kinds if kind is not None and _can_only_be_time(table.columns[n], kind)), None
    )


def _can_only_be_time(column: Column, kind: Kind) -> bool:
    """Numbers that could be dates are counters or frequencies, unless they rise."""
    if kind is Kind.EPOCH:
        instants = _all_parse(column.sample(_SAMPLE_ROWS), parse_epoch(_unit_us(column))) or []
        return all(earlier < later for earlier, later in pairwise(instants))
    return kind is not Kind.ELAPSED


def _is_named_time(column: Column) -> bool:
    return re.sub(r"[\W_]+", " ", column.name).strip().lower() in _NAMES


def _unit_us(column: Column) -> int | None:
    return _UNITS_US.get(column.unit.lower())


def _kind(column: Column) -> Kind | None:
    sample = column.sample(_SAMPLE_ROWS)
    if not sample:
        return None
    if all(_DATE.fullmatch(text) for text in sample):
        return Kind.DATE if _all_parse(sample, parse_calendar) else None
    if all(_DATE.match(text) or re.match(r"\d{8}T", text) for text in sample):
        return Kind.CALENDAR if _all_parse(sample, parse_calendar) else None
    instants = _all_parse(sample, parse_epoch(_unit_us(column)))
    if instants is None:
        return None
    if all(_ELAPSED_BELOW_US <= instant <= _CALENDAR_UNTIL_US for instant in instants):
        return Kind.EPOCH
    return Kind.ELAPSED


def _all_parse(texts: Sequence[str], parse: Callable[[str], int]) -> list[int] | None:
    try:
        return [parse(text) for text in texts]
    except ValueError:
        return None


def _instants(table: Table, name: str, words: Words, parse: Callable[[str], int]) -> npt.NDArray[np.int64]:
    meanings = np.empty(len(words.texts), np.int64)
    for number, text in enumerate(words.texts):
        try:
            meanings[number] = parse(text)
        except (ValueError, OverflowError) as error:
            row = words.first_row_of(number)
            raise table.source.row_error(row, f"{text[:40]!r} in the column {name} is no time") from error
    return meanings[words.index]


def _date_and_clock(table: Table, number: int) -> Times:
    """A date, with the time of day of another column where there is one."""
    date = table.columns[number]
    for other, column in enumerate(table.columns):
        if other != number and (cells := column.sample(_SAMPLE_ROWS)) and all(map(_CLOCK.fullmatch, cells)):
            joined = _joined(date.words(), column.words())
            instants = _instants(table, f"{date.name} and {column.name}", joined, parse_calendar)
            return Times(instants, (number, other), elapsed=False)
    return Times(_instants(table, date.name, date.words(), parse_calendar), (number,), elapsed=False)


def _joined(days: Words, clocks: Words) -> Words:
    pairs = zip(days.index.tolist(), clocks.index.tolist(), strict=True)
    texts = [f"{days.texts[day]} {clocks.texts[clock]}" for day, clock in pairs]
    return Words(texts, np.arange(len(texts), dtype=np.int32))
