"""The head of a CSV file: what its columns are, seen from its first lines.

Rule of this module: it takes back what `fieldlog export` does to names, and asks of other files one column of times.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path

from fieldlog.tables.table import Name
from fieldlog.text import printable
from fieldlog_protocol.errors import UsageError

_HEAD_BYTES = 1 << 20
_ROWS_LOOKED_AT = 1000
_DELIMITERS = (",", ";", "\t")
_TIME = re.compile(r"time(?: \((?P<zone>.+)\))?")
_OTHER_TIMES = ("timestamp", "datetime", "date_time", "date time", "date/time", "date", "utc")
_WITH_UNIT = re.compile(r"(?P<name>.*) \[(?P<unit>[^\[\]]*)\]", re.DOTALL)
_FORMULA_STARTS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_QUALITY, _DEVICE = "time quality", "device"
NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-")
WANTED = (
    "Nothing was plotted; a table has names in its first row, one of them time, and below them times such as "
    "2013-07-01T12:00:00+02:00 and numbers, as `fieldlog export` writes them"
)


@dataclass(frozen=True, slots=True)
class Long:
    """Places of the columns of a table with a row for each value."""

    channel: int
    value: int
    unit: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """Columns by their places. `n_lines`: those before the first reading; `aware`: times have an offset, others are those of
    `tz`; `words`: columns that hold no numbers."""

    delimiter: str
    decimal_point: str
    n_columns: int
    n_lines: int
    time: int
    aware: bool
    tz: tzinfo
    channels: dict[int, Name]
    words: tuple[str, ...]
    device: int | None
    quality: int | None
    long: Long | None


def header_of(path: Path, tz: tzinfo) -> Header:
    """UsageError for a file that is no table of readings; what the system refuses is an OSError."""
    text = _head(path)
    delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        titles = [printable(title.strip()) for row in islice(reader, 1) for title in row]
        n_lines = reader.line_num
        body = list(islice(reader, 1))
        n_first = reader.line_num
        body += islice(reader, _ROWS_LOOKED_AT)
    except csv.Error as error:
        raise UsageError(f"{path} is no table ({error}). {WANTED}") from None
    time, tz = _time_column(path, titles, tz)
    units: Sequence[str] = ()
    if body and _is_unit_row(body[0], titles, time):
        units, n_lines, body = body[0], n_first, body[1:]
    body = [row for row in body if len(row) == len(titles)]
    aware = _is_aware(path, [row[time] for row in body if row[time].strip()])
    point = "," if delimiter != "," and any("," in cell for row in body for cell in row) else "."
    names = [Name(unguarded(title), unguarded(units[at])) if units else _name(title) for at, title in enumerate(titles)]
    others = [at for at, name in enumerate(names) if not _is_aside(titles[at], name)]
    long = _long(titles)
    numbers = [] if long else [at for at in others if _is_number([row[at] for row in body], point)]
    words = () if long else tuple(names[at].name for at in others if at not in numbers)
    places = {title: at for at, title in enumerate(titles)}
    return Header(
        delimiter,
        point,
        len(titles),
        n_lines,
        time,
        aware,
        tz,
        {at: names[at] for at in numbers},
        words,
        places.get(_DEVICE),
        places.get(_QUALITY),
        long,
    )


def _head(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise UsageError(f"{path} is empty. {WANTED}")
    if b"\0" in data:
        raise UsageError(f"{path} is no text. {WANTED}")
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data)


def _time_column(path: Path, titles: Sequence[str], tz: tzinfo) -> tuple[int, tzinfo]:
    """UTC is better than local times, which may come twice."""
    lower = [title.lower() for title in titles]
    if "time (utc)" in lower:
        return lower.index("time (utc)"), UTC
    found = [at for at, title in enumerate(lower) if _TIME.fullmatch(title)]
    found += [lower.index(title) for title in _OTHER_TIMES if title in lower]
    if not found:
        shown = ", ".join(title[:30] for title in titles[:8])
        raise UsageError(f"{path} has no column of times among {shown or 'none'}. {WANTED}")
    return found[0], tz


def _is_unit_row(row: Sequence[str], titles: Sequence[str], time: int) -> bool:
    """No time, and no number anywhere."""
    return len(row) == len(titles) and not row[time].strip() and not any(_number(cell, ",") for cell in row)


def _is_aware(path: Path, cells: Sequence[str]) -> bool:
    for cell in cells[:1]:
        try:
            return datetime.fromisoformat(cell.strip()).tzinfo is not None
        except ValueError:
            raise UsageError(f"{path} has {cell[:40]!r} for a time. {WANTED}") from None
    raise UsageError(f"{path} holds no readings. {WANTED}")


def _name(title: str) -> Name:
    """As the channel is called: without its unit, and without what keeps a spreadsheet from reckoning."""
    match = _WITH_UNIT.fullmatch(title)
    return Name(unguarded(match["name"]), match["unit"]) if match else Name(unguarded(title))


def unguarded(text: str) -> str:
    """Without the mark that `fieldlog export` puts before what a spreadsheet would take for a formula."""
    guarded = text.startswith("'") and text[1:].lstrip()[:1] in _FORMULA_STARTS
    return text[1:] if guarded and text[1:].strip() else text


def _is_aside(title: str, name: Name) -> bool:
    lower = title.lower()
    clock = name == Name("time error", "s") or lower == "time error"
    return bool(_TIME.fullmatch(lower)) or lower in (*_OTHER_TIMES, _QUALITY, _DEVICE) or clock


def _long(titles: Sequence[str]) -> Long | None:
    if "channel" not in titles or "value" not in titles:
        return None
    return Long(titles.index("channel"), titles.index("value"), titles.index("unit") if "unit" in titles else None)


def _is_number(cells: Sequence[str], point: str) -> bool:
    """All that are not empty."""
    return all(_number(cell, point) for cell in cells if cell.strip() not in NULLS)


def _number(cell: str, point: str) -> bool:
    try:
        float(cell.replace(point, "."))
    except ValueError:
        return False
    return True
