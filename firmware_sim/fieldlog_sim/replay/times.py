"""Which column of a table is the time, and what instants its cells mean.

Rule of this module: a time without an offset is UTC. What cannot be read as a time is an error with its line, never a
guess: 03/04/2013 has two meanings, and so has 2013010106, which is an hour of 2013 or a second of 2033. Nor is a day's
beginning the time of several rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from fieldlog_sim.replay.numbers import Number, parse_number
from fieldlog_sim.replay.table import Column, Table, Words

_NAMES = frozenset(
    {"time", "date", "timestamp", "time stamp", "datetime", "date time", "utc", "time utc", "utc time", "date time utc"}
)
_MINUTE_US = 60 * 10**6
_UNITS_US = {
    **dict.fromkeys(("us", "µs"), 1),
    "ms": 10**3,
    **dict.fromkeys(("s", "sec", "seconds"), 10**6),
    **dict.fromkeys(("min", "minutes"), _MINUTE_US),
    **dict.fromkeys(("h", "hours"), 60 * _MINUTE_US),
    **dict.fromkeys(("d", "days"), 24 * 60 * _MINUTE_US),
}
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
_DIGITS = re.compile(r"(\d+)(?:[.,]\d*)?", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?")
# Digits of a year, month, day, hour, minute, second, millisecond; the first four at least.
_COMPACT = re.compile(r"(?P<digits>(?:19|20)(?:\d{6}|\d{8}|\d{10}|\d{12}|\d{15}))(?:[.,](?P<fraction>\d+))?", re.ASCII)
_DAY, _HOUR, _SECOND = 8, 10, 14  # digits


class Kind(IntEnum):
    """What the cells of a column look like; the lower, the better it serves as the time."""

    CALENDAR = 0
    EPOCH = 1
    ELAPSED = 2
    DATE = 3


@dataclass(frozen=True, slots=True)
class Times:
    """Instants of the rows in the order of the file. `columns` are those they were read from, by number.

    `elapsed`: they count from an unknown beginning. `notes` tell what digits were taken for dates.
    """

    utc_us: npt.NDArray[np.int64]
    columns: tuple[int, ...]
    elapsed: bool
    notes: tuple[str, ...] = ()


def read_times(table: Table) -> Times | None:
    """The time of each row; None when no column tells it."""
    found = _find(table)
    if found is None:
        return None
    number, kind = found
    column = table.columns[number]
    if kind is Kind.CALENDAR:
        instants = _instants(table, column.name, column.words(), _parse_alike(column))
        return Times(instants, (number,), elapsed=False, notes=_notes(column))
    if kind is Kind.DATE:
        return _date_and_clock(table, number)
    instants = _instants(table, column.name, column.words(), parse_epoch(_unit_us(column)))
    if kind is Kind.ELAPSED:
        _refuse_times_of_day(table, column, instants)
    return Times(instants, (number,), elapsed=kind is Kind.ELAPSED)


def unreadable_time(table: Table) -> str | None:
    """Why a column that is meant as the time, by its name or by what its cells look like, cannot be read as such."""
    filled = [column for column in table.columns if column.sample(1)]
    named = (column for column in filled if _is_named_time(column))
    dated = (column for column in filled if any(map(_LIKE_A_DATE.match, column.sample(1))))
    digits = (column for column in filled if _compact_digits(column))
    column = next(chain(named, dated, digits), None)
    if column is None:
        return None
    cells = column.sample(_SAMPLE_ROWS)
    if length := _compact_digits(column):
        telling = "a heading such as time [s]" if length == _HOUR else "a heading such as date, or time [s],"
        return f"{cells[0]!r} in the column {column.name} may be a date or a number: {telling} would tell"
    cell = next((cell for cell in cells if _all_parse([cell], parse_calendar) is None), cells[0])
    return f"{cell[:40]!r} in the column {column.name} cannot be read as a time"


def parse_calendar(text: str) -> int:
    """Microseconds since 1970 of ISO 8601, also with slashes, or of day.month.year, which nobody writes the other way
    round; with or without fraction and offset. Digits alone begin with the year. ValueError for others."""
    text = _spelled_out(text)
    if _COMPACT.fullmatch(text):  # with a fraction, in which Python would find an hour
        raise ValueError(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _lenient(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _spelled_out(text: str) -> str:
    """A date of nothing but digits with what parts them; others, and fractions of days or minutes, as they are."""
    match = _COMPACT.fullmatch(text)
    if match is None:
        return text
    digits, fraction = match["digits"], (match["fraction"] or "").rstrip("0")
    if fraction and len(digits) < _SECOND:
        return text
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    if len(digits) == _DAY:
        return day
    fraction = (digits[14:] + fraction).rstrip("0")
    clock = f"{digits[8:10]}:{digits[10:12] or '00'}:{digits[12:14] or '00'}"
    return f"{day} {clock}.{fraction}" if fraction else f"{day} {clock}"


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
    """Microseconds of a number in `unit_us`; without it, seconds, milli-, micro- or nanoseconds by its size, which has to
    be alike for all that one such function is given, but 0. ValueError for others."""
    units: set[int] = set()

    def parse(text: str) -> int:
        number = parse_number(text)
        if number is None or abs(number.exponent) > 30:
            raise ValueError(text)
        if number.mantissa == 0:
            return 0
        unit = unit_us or _unit_by_size(number)
        units.add(unit)
        if len(units) > 1:
            raise ValueError(text)
        return _scaled(number, unit)

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
    return " ".join(_words_of(column.name)) in _NAMES


def _says_date(column: Column) -> bool:
    return bool({"date", "datetime"} & set(_words_of(column.name)))


def _words_of(name: str) -> list[str]:
    return re.sub(r"[\W_]+", " ", name).strip().lower().split()


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
    length = _compact_digits(column)
    return _kind_of_digits(column, length) if length else _kind_of_numbers(column, sample)


def _kind_of_numbers(column: Column, sample: Sequence[str]) -> Kind | None:
    """What is called a date, or is in a unit that is not known here, does not count from an unknown beginning."""
    instants = _all_parse(sample, parse_epoch(_unit_us(column)))
    if instants is None:
        return None
    if all(_ELAPSED_BELOW_US <= instant <= _CALENDAR_UNTIL_US for instant in instants):
        return Kind.EPOCH
    return None if (column.unit or _says_date(column)) and _unit_us(column) is None else Kind.ELAPSED


def _compact_digits(column: Column) -> int:
    """How many digits the first of the cells has that looks like a date with nothing between the digits, where half of
    them do and all are digits; 0 for others."""
    sample = column.sample(_SAMPLE_ROWS)
    if _unit_us(column) is not None or not all(map(_digits, sample)):
        return 0
    dates = [text for text in sample if _COMPACT.fullmatch(text) and _all_parse([text], parse_calendar) is not None]
    return _digits(dates[0]) if dates and 2 * len(dates) >= len(sample) else 0


def _digits(text: str) -> int:
    """How many digits a number without a sign has before its point; 0 for others."""
    match = _DIGITS.fullmatch(text)
    return len(match[1]) if match else 0


def _parse_alike(column: Column) -> Callable[[str], int]:
    """Dates of digits as long as those that the column begins with: of others nobody knows whether they are dates."""
    length = _compact_digits(column)

    def parse(text: str) -> int:
        if _digits(text) != length:
            raise ValueError(text)
        return parse_calendar(text)

    return parse


def _kind_of_digits(column: Column, length: int) -> Kind | None:
    """None where they may be a number as well: ten digits may be seconds since 1970 whatever they are called, and
    no time is fourteen digits long but a date."""
    is_date = _says_date(column) or _words_of(column.name) in (["timestamp"], ["time", "stamp"])
    if length == _HOUR or not (is_date or (length >= _SECOND and _is_named_time(column))):
        return None
    return Kind.DATE if length == _DAY else Kind.CALENDAR


def _notes(column: Column) -> tuple[str, ...]:
    text = column.sample(1)[0]
    spelled = _spelled_out(text)
    return () if spelled == text else (f"column {column.name}: {text} is read as {spelled}",)


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
            raise table.source.row_error(
                row, f"{text[:40]!r} in the column {name} {_fault(text, words.texts[0][:40])}"
            ) from error
    return meanings[words.index]


def _fault(text: str, first: str) -> str:
    digits, others = _digits(text), _digits(first)
    return f"has {digits} digits, and {first} has {others}" if digits and others and digits != others else "is no time"


def _refuse_times_of_day(table: Table, column: Column, instants: npt.NDArray[np.int64]) -> None:
    """Beside dates 0005 is five past midnight, or five seconds after some beginning. What counts on from a beginning
    says so with a unit, and does not begin anew each day."""
    days = [each for each in table.columns if each is not column and _is_of_days(each)]
    back = np.flatnonzero(np.diff(instants) < 0) + 1
    doubtful = any(_kind(day) is Kind.DATE for day in days) and _unit_us(column) is None
    if days and (back.size or doubtful):
        row = int(back[0]) if back.size else 0
        why = "less than in the row before" if back.size else "a time of day, or counts from some beginning"
        raise table.source.row_error(
            row,
            f"{column.words().cell(row)[:40]!r} in the column {column.name} is {why}, and the column {days[0].name} holds "
            "dates: 06:00 would tell a time of day, and a heading such as time [s], of numbers that rise, what counts on",
        )


def _is_of_days(column: Column) -> bool:
    return _kind(column) is Kind.DATE or _compact_digits(column) == _DAY


def _date_and_clock(table: Table, number: int) -> Times:
    """A date, with the time of day of another column where there is one."""
    date = table.columns[number]
    for other, column in enumerate(table.columns):
        if other != number and (cells := column.sample(_SAMPLE_ROWS)) and all(map(_CLOCK.fullmatch, cells)):
            joined = _joined(date.words(), column.words())
            instants = _instants(table, f"{date.name} and {column.name}", joined, parse_calendar)
            return Times(instants, (number, other), elapsed=False, notes=_notes(date))
    words = date.words()
    instants = _instants(table, date.name, words, _parse_alike(date))
    _, firsts = np.unique(instants, return_index=True)
    if len(firsts) < len(instants):
        row = int(np.setdiff1d(np.arange(len(instants)), firsts)[0])
        raise table.source.row_error(
            row,
            f"{words.cell(row)!r} is in the column {date.name} once more, and no column tells the time of "
            "day: write it as 06:00 in a column of its own, or behind the date",
        )
    return Times(instants, (number,), elapsed=False, notes=_notes(date))


def _joined(days: Words, clocks: Words) -> Words:
    pairs = zip(days.index.tolist(), clocks.index.tolist(), strict=True)
    dates = list(map(_spelled_out, days.texts))
    texts = [f"{dates[day]} {clocks.texts[clock]}" for day, clock in pairs]
    return Words(texts, np.arange(len(texts), dtype=np.int32))
