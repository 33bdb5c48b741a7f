"""The [log] table of a configuration: what `log arm` takes, by the names of its options.

Rule: no I/O. The same readers serve files and command lines; all that is wrong with a file is told at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fieldlog.arming import Survey, UnfitWish, Wish, unfit
from fieldlog.config.document import Document
from fieldlog.config.model import Located, Place, Problem, Problems, Resolved
from fieldlog.config.schema import nearest
from fieldlog.config.template import identity_of, resolved
from fieldlog.local_times import typed_time
from fieldlog_protocol.commands.logger import LABEL_MAX
from fieldlog_protocol.durations import parse_duration_us
from fieldlog_protocol.errors import UsageError

_MOST_FRAMES = 2**63
_MOST_SECONDS = 2**32
START_FIELDS = ("at", "after_s", "above", "below", "on_button")
"""Of these a session has one."""


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} takes a text in quotes, not {_shown(value)}")
    return value


def _label(name: str, value: object) -> str:
    label = _text(name, value)
    size = len(label.encode())
    if size > LABEL_MAX:
        raise UsageError(f"a label has at most {LABEL_MAX} bytes, this one has {size}")
    return label


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} takes true or false, not {_shown(value)}")
    return value


def _period(name: str, value: object) -> int:
    if not isinstance(value, str):
        raise UsageError(f'{name} takes a time with its unit in quotes, such as "10 s", not {_shown(value)}')
    return parse_duration_us(value)


def _seconds(name: str, value: object) -> int:
    whole, rest = divmod(_period(name, value), 1_000_000)
    if rest or not 0 < whole < _MOST_SECONDS:
        raise UsageError(f"{name} takes whole seconds, from 1 s on, not {value}")
    return whole


def _time(name: str, value: object) -> str:
    """As text: in which zone it is meant is known only beside the device."""
    text = value.isoformat() if isinstance(value, dt.date) else _text(name, value)
    typed_time(text, name, None)
    return text


def _frames(name: str, value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UsageError(f"{name} takes a whole number from 1 on, not {_shown(value)}")
    if number >= _MOST_FRAMES:
        raise UsageError(f"{name} takes a number that some logger may reach")
    return number


def _streams(name: str, value: object) -> dict[str, int | None]:
    """Periods by name of the stream, of a list of NAME or NAME=PERIOD; None where none is given."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UsageError(f'{name} takes a list such as ["environment", "wind=10s"], not {_shown(value)}')
    chosen: dict[str, int | None] = {}
    for word in cast("Sequence[object]", value):
        stream, equals, period = _text(name, word).partition("=")
        if stream.strip() in chosen:
            raise UsageError(f"stream {stream.strip()!r} is named twice")
        chosen[stream.strip()] = parse_duration_us(period) if equals else None
    return chosen


def _shown(value: object) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a table"
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a Wish, and how it is read; the name is what sentences call it."""

    name: str
    read: Callable[[str, object], object]


FIELDS: Mapping[str, Field] = {
    "label": Field("label", _label),
    "streams": Field("streams", _streams),
    "period": Field("period_us", _period),
    "at": Field("at", _time),
    "after": Field("after_s", _seconds),
    "above": Field("above", _text),
    "below": Field("below", _text),
    "on-button": Field("on_button", _flag),
    "until": Field("until", _time),
    "for": Field("for_s", _seconds),
    "frames": Field("frames", _frames),
    "wrap": Field("wrap", _flag),
}
"""What a [log] table may hold."""

_KEYS = {field.name: key for key, field in FIELDS.items()}


def read_log(found: Resolved) -> tuple[dict[str, object], tuple[Problem, ...]]:
    """Fields of a Wish that a file gives, its metadata with them, and all that is wrong."""
    fields: dict[str, object] = {}
    problems: list[Problem] = []
    for key, located in found.log.items():
        if key not in FIELDS:
            hint = nearest(key, FIELDS) or f"There are {', '.join(FIELDS)}"
            problems.append(Problem(located.key_place or located.place, f"[log] has no {key!r}. {hint}"))
            continue
        try:
            fields[FIELDS[key].name] = FIELDS[key].read(key, located.value)
        except UsageError as error:
            problems.append(Problem(located.place, str(error)))
    texts = {key: item.value for key, item in (found.metadata or {}).items() if isinstance(item.value, str)}
    if texts:
        fields["metadata"] = texts
    return fields, tuple(problems)


def log_problems(found: Resolved) -> tuple[Problem, ...]:
    """What is wrong with a [log] table, as far as it can be told without a device that is ready to record."""
    fields, problems = read_log(found)
    starts = [name for name in START_FIELDS if fields.get(name)]
    if len(starts) < 2:
        return problems
    ways = " and ".join(_KEYS[name] for name in starts)
    place = found.log[_KEYS[starts[-1]]].key_place
    return (*problems, Problem(place, f"a session begins on one condition, not on {ways}"))


def combined(section: Mapping[str, object], options: Mapping[str, object]) -> Wish:
    """The wish of a file, with the options of a command line, which win: a way to begin there is the only one."""
    begins = any(options.get(name) for name in START_FIELDS)
    kept = {name: value for name, value in section.items() if not (begins and name in START_FIELDS)}
    both = [cast("Mapping[str, str]", fields.get("metadata", {})) for fields in (section, options)]
    fields: dict[str, Any] = {**kept, **options, "metadata": {**both[0], **both[1]}}
    return Wish(**fields)


def wish_of(document: Document, known: Survey, options: Mapping[str, object]) -> Wish:
    """What a file and a command line want of a device; raises Problems with all that is wrong with the file.

    `options` are fields of a Wish. What is wrong with them raises UnfitWish.
    """
    found, problems = resolved(document, identity_of(known.info))
    section, more = read_log(found)
    wish = combined(section, options)
    refused = unfit(wish, known)
    wrong = [_problem(error, found) for error in refused if error.field not in options]
    if problems or more or wrong:
        raise Problems((*problems, *more, *wrong), document.name)
    if refused:
        raise refused[0]
    return wish


def _problem(error: UnfitWish, found: Resolved) -> Problem:
    """At the place in the file where it is asked for."""
    if error.field == "metadata":
        return Problem(_first(found.metadata or {}), str(error))
    item = found.log.get(_KEYS[error.field])
    return Problem(None if item is None else item.place, str(error))


def _first(table: Mapping[str, Located[object]]) -> Place | None:
    return min((item.key_place for item in table.values() if item.key_place), default=None)
