"""A fleet as a table: a header, then a line for each device. Spreadsheets write such files.

`name`, `serial`, `uid` and `config` mean what they say; a column with a / is a setting; `settings.KEY`, `calibration.CHANNEL`,
`metadata.NAME` and `log.NAME` are of these tables; every other column is a variable of its name. Empty cells say nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from fieldlog.config.log_section import FIELDS as LOG_FIELDS
from fieldlog.config.model import Place, Problem
from fieldlog.config.schema import nearest
from fieldlog.provision.fleet import Draft, Wrong, checked_uid
from fieldlog_protocol.errors import UsageError

_PLAIN = ("name", "serial", "uid", "config")
_TABLES = ("settings", "calibration", "metadata", "log", "variables")
_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_table(text: str, wrong: Wrong) -> list[tuple[Draft, str]]:
    """The rows, each with the configuration that it names or an empty text; problems go to `wrong`."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip() for name in next(lines, list[str]())]
        _check_header(header, wrong)
        rows: list[tuple[Draft, str]] = []
        line = lines.line_num + 1
        for cells in lines:
            if any(cell.strip() for cell in cells):
                rows.append(_row(header, cells, line, len(rows) + 1, wrong))
            line = lines.line_num + 1
    except csv.Error as error:
        wrong.tell(Problem(Place(lines.line_num, 1), f"this is no table of comma-separated values: {error}"))
        return []
    if not rows:
        wrong.tell(Problem(None, "no device stands in it: a header such as name,serial and a line for each"))
    return rows


def _delimiter(text: str) -> str:
    """Spreadsheets of half the world write semicolons."""
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _check_header(header: Sequence[str], wrong: Wrong) -> None:
    seen: set[str] = set()
    for at, name in enumerate(header):
        place = Place(1, at + 1)  # the column of the table
        table, dot, key = name.partition(".")
        if name in seen:
            wrong.tell(Problem(place, f"there are two columns {name!r}"))
        elif name == "image":
            wrong.tell(Problem(place, "firmware is for all devices, and no column: give --image"))
        elif dot and not key and table in _TABLES:
            wrong.tell(Problem(place, f"the column {name!r} does not say which of {table} it is: write {table}.NAME"))
        elif name and name not in _PLAIN and "/" not in name and "." not in name:
            near = nearest(name.lower(), _PLAIN)
            if near:
                wrong.tell(Problem(place, f"the column {name!r} would be a variable of that name. {near}"))
        elif "." in name and "/" not in name and name.partition(".")[0] not in _TABLES:
            hint = nearest(name.partition(".")[0], _TABLES) or f"There are {', '.join(_TABLES)}"
            wrong.tell(Problem(place, f"the column {name!r} is of no table. {hint}"))
        seen |= {name} if name else set()  # spreadsheets leave empty columns behind


def _row(header: Sequence[str], cells: Sequence[str], line: int, number: int, wrong: Wrong) -> tuple[Draft, str]:
    draft, config = Draft(number, line), ""
    if len(cells) > len(header):
        wrong.tell(Problem(Place(line, len(header) + 1), f"{len(cells)} cells stand below {len(header)} columns"))
    for at, (name, cell) in enumerate(zip(header, cells, strict=False)):
        text = cell.strip()
        if not text:
            continue
        if not name:
            wrong.tell(Problem(Place(line, at + 1), f"{text!r} stands in a column that has no name"))
            continue
        try:
            config = text if name == "config" else config
            _take(draft, name, text)
        except (UsageError, ValueError) as error:
            wrong.tell(Problem(Place(line, at + 1), str(error)))
    return draft, config


def _take(draft: Draft, name: str, text: str) -> None:
    if name == "uid":
        draft.uid = _uid(text)
    elif name in _PLAIN:
        if name != "config":
            setattr(draft, name, text)
    elif name.partition(".")[0] in _TABLES:
        table, _, key = name.partition(".")
        if key:
            draft.put(table, key, _value(table, key, text))
    else:
        draft.put("settings" if "/" in name else "variables", name, text)


def _uid(text: str) -> str:
    try:
        return checked_uid(text)
    except ValueError:
        raise UsageError(f"a uid is hexadecimal digits, unlike {text!r}") from None


def _value(table: str, key: str, text: str) -> object:
    if table == "calibration":
        return _numbers(key, text)
    if table == "log" and key in LOG_FIELDS:
        if key == "streams":
            return text.replace(",", " ").replace(";", " ").split()
        if key in ("on-button", "wrap"):
            return _SWITCHES.get(text.lower(), text)
    return text


def _numbers(channel: str, text: str) -> list[float]:
    try:
        return [] if text == "none" else [float(word) for word in text.replace(";", " ").split()]
    except ValueError:
        raise UsageError(
            f"{channel} is calibrated with numbers such as 0.12 1.0004, constant first, or none, not with {text!r}"
        ) from None
