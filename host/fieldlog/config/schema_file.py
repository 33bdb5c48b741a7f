"""A schema that a person wrote for a stock device: what its settings are, since the device does not tell.

Rule: no device here. All that is wrong with a file is told at once, with its place.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from fieldlog.config.document import Document, read_file
from fieldlog.config.model import Problem, Problems
from fieldlog.config.raw import REAL_FORMS, WHOLE_FORMS
from fieldlog.config.schema import Schema, nearest
from fieldlog.config.values import LEAST_STEP, MAX_CHOICES, Setting, encode, value_of
from fieldlog_protocol.commands.logger import SettingFlag, SettingType
from fieldlog_protocol.errors import UsageError

_SIZED = {"text": SettingType.TEXT, "bytes": SettingType.BYTES}
_KINDS: Mapping[str, tuple[SettingType, str]] = {
    "bool": (SettingType.BOOL, ""),
    "choice": (SettingType.CHOICE, "<B"),
    **{name: (kind, "") for name, kind in _SIZED.items()},
    **{name: (SettingType.I64, form) for name, form in WHOLE_FORMS.items()},
    **{name: (SettingType.F32, form) for name, form in REAL_FORMS.items()},
}
_FLAGS = {
    "read_only": SettingFlag.READ_ONLY,
    "needs_restart": SettingFlag.NEEDS_RESTART,
    "affects_link": SettingFlag.AFFECTS_LINK,
}
_TEXTS = ("unit", "text")
_LIMITS = ("min", "max", "step")
_LARGEST = sys.float_info.max
_FIELDS = ("type", *_TEXTS, *_LIMITS, "default", "choices", *_FLAGS)


def read_schema(path: Path) -> Schema:
    """The settings that a file describes; raises Problems."""
    document = read_file(path)
    reader = _Reader(document, list(document.problems))
    schema = {key: setting for key in document.values if (setting := reader.setting(key)) is not None}
    if not document.values and not reader.problems:
        reader.problems.append(Problem(None, 'no setting is described: write ["its/key"] and type = "u32" below it'))
    if reader.problems:
        raise Problems(tuple(reader.problems), document.name)
    return schema


class _Wrong(Exception):
    """Of one field; which one, and why."""

    def __init__(self, name: str | None, sentence: str) -> None:
        self.name = name
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class _Reader:
    document: Document
    problems: list[Problem] = field(default_factory=list[Problem])

    def setting(self, key: str) -> Setting | None:
        """The setting of one table; None where it makes no sense, which is told."""
        table = self.document.values[key]
        try:
            if not isinstance(table, dict):
                raise _Wrong(None, f'a setting is a table: write ["{key}"] and type = "u32" below it')
            given = cast("dict[str, object]", table)
            unknown = [name for name in given if name not in _FIELDS]
            for name in unknown:
                hint = nearest(name, _FIELDS) or f"There are {', '.join(_FIELDS)}"
                self._tell(key, name, f"a setting has no {name!r}. {hint}", at_key=True)
            return _with_default(_setting(key, given), given)
        except _Wrong as wrong:
            self._tell(key, wrong.name, str(wrong), at_key=wrong.name is None)
            return None

    def _tell(self, key: str, name: str | None, sentence: str, *, at_key: bool) -> None:
        path = (key,) if name is None else (key, name)
        located = self.document.located(None, path)
        place = located.key_place if at_key else located.place
        self.problems.append(Problem(place or self.document.key_place((key,)), sentence))


def _setting(key: str, given: Mapping[str, object]) -> Setting:
    kind, form = _kind(given)
    low, high, step = _limits(kind, form, given)
    return Setting(
        key=key,
        type=kind,
        unit=_text(given, "unit"),
        low=low,
        high=high,
        step=step,
        default=None,
        flags=_flags(given),
        text=_text(given, "text"),
        choices=_choices(kind, given),
        form=form,
    )


def _kind(given: Mapping[str, object]) -> tuple[SettingType, str]:
    name = given.get("type")
    if name is None:
        raise _Wrong(None, f"its type is missing: type = one of {', '.join(_KINDS)}")
    if not isinstance(name, str) or name not in _KINDS:
        hint = nearest(str(name), _KINDS) or f"There are {', '.join(_KINDS)}"
        raise _Wrong("type", f"there is no type {name!r}. {hint}")
    return _KINDS[name]


def _limits(
    kind: SettingType, form: str, given: Mapping[str, object]
) -> tuple[float | None, float | None, float | None]:
    """Lowest, highest and step; a whole number has limits that its size sets."""
    if kind in (SettingType.BOOL, SettingType.CHOICE):
        for name in _LIMITS:
            if name in given:
                raise _Wrong(name, f"a {kind.name.lower()} has no {name}")
        return None, None, None
    whole = kind is not SettingType.F32
    low, high, step = (_number(given, name, whole=whole) for name in _LIMITS)
    if kind is SettingType.I64:
        low, high = (_own_limit(form, limit, highest=end) for limit, end in ((low, False), (high, True)))
    if low is not None and high is not None and low > high:
        raise _Wrong("min", f"its lowest value {low} is above its highest {high}")
    if step is not None and not step >= (1 if whole else LEAST_STEP):
        raise _Wrong("step", "a step is above 0, and no smaller than a 32-bit float can be")
    return low, high, step


def _own_limit(form: str, limit: float | None, *, highest: bool) -> float:
    bits = 8 * struct.calcsize(form)
    signed = form[1].islower()
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if limit is None:
        return most if highest else least
    if not least <= limit <= most:
        raise _Wrong("max" if highest else "min", f"{limit} is no number of {bits // 8} bytes: {least} to {most}")
    return limit


def _number(given: Mapping[str, object], name: str, *, whole: bool) -> int | float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise _Wrong(name, f"{name} is a number, and a finite one")
    if whole and not isinstance(value, int):
        raise _Wrong(name, f"{name} is a whole number for this type")
    return value


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise _Wrong(name, f"{name} is a text: write it in quotes")
    return value


def _flags(given: Mapping[str, object]) -> SettingFlag:
    flags = SettingFlag(0)
    for name, flag in _FLAGS.items():
        value = given.get(name, False)
        if not isinstance(value, bool):
            raise _Wrong(name, f"{name} is true or false")
        flags |= flag if value else SettingFlag(0)
    return flags


def _choices(kind: SettingType, given: Mapping[str, object]) -> tuple[str, ...]:
    value = given.get("choices")
    if kind is not SettingType.CHOICE:
        if value is not None:
            raise _Wrong("choices", 'choices go with type = "choice"')
        return ()
    names: list[object] = cast("list[object]", value) if isinstance(value, list) else []
    texts = [name for name in names if isinstance(name, str)]
    if not names or len(set(texts)) < len(names) or len(names) > MAX_CHOICES:
        where = "choices" if value is not None else None
        raise _Wrong(
            where, f'choices are up to {MAX_CHOICES} different texts, the first for 0: choices = ["off", "on"]'
        )
    return tuple(texts)


def _with_default(setting: Setting, given: Mapping[str, object]) -> Setting:
    if "default" not in given:
        return setting
    try:
        settable = replace(setting, flags=SettingFlag(0))
        return replace(setting, default=encode(settable, value_of(settable, given["default"])))
    except UsageError as error:
        raise _Wrong("default", f"its default does not fit: {error}") from error
