"""The [log] table of a configuration: what `log arm` takes, by the names of its options.

Rule: no I/O. The same readers serve files and command lines; all that is wrong with a file is told at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fieldlog.arming import Wish
from fieldlog.config.model import Located, Problem, Resolved
from fieldlog.config.schema import nearest
from fieldlog.local_times import typed_time
from fieldlog_protocol.commands.logger import LABEL_MAX
from fieldlog_protocol.durations import parse_duration_us, parse_period_us
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


def _quantity(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f'{name} takes a time with its unit in quotes, such as "10 s", not {_shown(value)}')
    return value


def _period(name: str, value: object) -> int:
    return parse_period_us(_quantity(name, value))


def _seconds(name: str, value: object) -> int:
    whole, rest = divmod(parse_duration_us(_quantity(name, value)), 1_000_000)
    if rest or not 0 < whole < _MOST_SECONDS:
        raise UsageError(f"{name} takes whole seconds, from 1 s on, not {value}")
    return whole


def _time(name: str, value: object) -> str:
    """As text: in which zone it is meant is known only beside the device."""
    text = value.isoformat() if isinstance(value, dt.date) else _text(name, value)
    typed_time(text, name, None)
    return text


def _frames(name: str, value: object) -> int:
    number = (
        int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20 else value
    )
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UsageError(f"{name} takes a whole number from 1 on, not {_shown(value)}")
    if number >= _MOST_FRAMES:
        raise UsageError(f"{name} takes a number that some logger may reach")
    return number


class _SomeWrong(UsageError):
    """Some items of a list are wrong: `faults` are their numbers and what is wrong, `value` is made of the others."""

    def __init__(self, value: object, faults: Sequence[tuple[int, str]]) -> None:
        self.value = value
        self.faults = faults
        super().__init__("; ".join(sentence for _, sentence in faults))


def _streams(name: str, value: object) -> dict[str, int | None]:
    """Periods by name of the stream, of a list of NAME or NAME=PERIOD; None where none is given."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UsageError(f'{name} takes a list such as ["environment", "wind=10s"], not {_shown(value)}')
    chosen: dict[str, int | None] = {}
    faults: list[tuple[int, str]] = []
    for number, word in enumerate(cast("Sequence[object]", value)):
        try:
            stream, equals, period = _text(name, word).partition("=")
            if stream.strip() in chosen:
                raise UsageError(f"stream {stream.strip()!r} is named twice")
            chosen[stream.strip()] = None
            chosen[stream.strip()] = parse_period_us(period) if equals else None
        except UsageError as error:
            faults.append((number, str(error)))
    if faults:
        raise _SomeWrong(chosen, faults)
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
        except _SomeWrong as wrong:
            fields[FIELDS[key].name] = wrong.value
            problems += [Problem(located.place_of(number), sentence) for number, sentence in wrong.faults]
        except UsageError as error:
            problems.append(Problem(located.place, str(error)))
    texts = {key: item.value for key, item in (found.metadata or {}).items() if isinstance(item.value, str)}
    if texts:
        fields["metadata"] = texts
    return fields, tuple(problems)


def log_problems(found: Resolved) -> tuple[Problem, ...]:
    """What is wrong with a [log] table, as far as it can be told without a device."""
    return (*read_log(found)[1], *one_start(found))


def one_start(found: Resolved) -> tuple[Problem, ...]:
    """The problem of more than one way to begin, readable or not."""
    starts = [_KEYS[name] for name in START_FIELDS if _asked_for(found.log.get(_KEYS[name]))]
    if len(starts) < 2:
        return ()
    place = max((place for key in starts if (place := found.log[key].key_place)), default=None)
    return (Problem(place, f"a session begins on one condition, not on {' and '.join(starts)}"),)


def _asked_for(item: Located[object] | None) -> bool:
    return item is not None and item.value is not False


def combined(section: Mapping[str, object], options: Mapping[str, object]) -> Wish:
    """The wish of a file, with the options of a command line, which win: a way to begin there is the only one."""
    begins = any(options.get(name) for name in START_FIELDS)
    kept = {name: value for name, value in section.items() if not (begins and name in START_FIELDS)}
    both = [cast("Mapping[str, str]", fields.get("metadata", {})) for fields in (section, options)]
    fields: dict[str, Any] = {**kept, **options, "metadata": {**both[0], **both[1]}}
    return Wish(**fields)
