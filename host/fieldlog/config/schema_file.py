"""A schema that a person wrote for a stock device: what its settings are, since the device does not tell.

Rule: no device here. All that is wrong with a file is told at once, with its place.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from fieldlog.config.document import Document, read_file
from fieldlog.config.model import Problem, Problems
from fieldlog.config.raw import REAL_FORMS, WHOLE_FORMS
from fieldlog.config.schema import Schema, nearest
from fieldlog.config.values import LEAST_STEP, MAX_CHOICES, Setting, encode_given
from fieldlog.text import count
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
_ENDS = ("min", "max")
_STEP = "step"
_LIMITS = (*_ENDS, _STEP)
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


@dataclass(frozen=True, slots=True)
class _Reader:
    document: Document
    problems: list[Problem] = field(default_factory=list[Problem])

    def setting(self, key: str) -> Setting | None:
        """The setting of one table; None where it makes no sense, which is told."""
        table = self.document.values[key]
        if not isinstance(table, dict):
            place = self.document.key_place((key,))
            self.problems.append(Problem(place, f'a setting is a table: write ["{key}"] and type = "u32" below it'))
            return None
        return _Setting(self.document, key, cast("dict[str, object]", table), self.problems).read()


@dataclass(frozen=True, slots=True)
class _Setting:
    """Reads one table: each of its fields is judged, whatever is wrong with the others."""

    document: Document
    key: str
    given: Mapping[str, object]
    problems: list[Problem]

    def read(self) -> Setting | None:
        before = len(self.problems)
        self._unknown()
        unit, text = (self._text(name) for name in _TEXTS)
        flags = self._flags()
        known = self._kind()
        if known is None:
            return None
        kind, form = known
        low, high, step = self._limits(kind, form)
        choices = self._choices(kind)
        setting = Setting(self.key, kind, unit or "", low, high, step, None, flags, text or "", choices or (), form)
        if "default" in self.given and unit is not None and choices is not None:
            setting = self._with_default(setting)
        return setting if len(self.problems) == before else None

    def _tell(self, name: str | None, sentence: str, *, at_key: bool = False) -> None:
        """At the field, its value or its key; at the table where it has no such field."""
        path = (self.key,) if name is None else (self.key, name)
        located = self.document.located(None, path)
        place = located.key_place if at_key or name is None else located.place
        self.problems.append(Problem(place or self.document.key_place((self.key,)), sentence))

    def _unknown(self) -> None:
        for name in self.given:
            if name not in _FIELDS:
                hint = nearest(name, _FIELDS) or f"There are {', '.join(_FIELDS)}"
                self._tell(name, f"a setting has no {name!r}. {hint}", at_key=True)

    def _text(self, name: str) -> str | None:
        value = self.given.get(name, "")
        if isinstance(value, str):
            return value
        self._tell(name, f"{name} is a text: write it in quotes")
        return None

    def _flags(self) -> SettingFlag:
        flags = SettingFlag(0)
        for name, flag in _FLAGS.items():
            value = self.given.get(name, False)
            if not isinstance(value, bool):
                self._tell(name, f"{name} is true or false")
            elif value:
                flags |= flag
        return flags

    def _kind(self) -> tuple[SettingType, str] | None:
        name = self.given.get("type")
        if isinstance(name, str) and name in _KINDS:
            return _KINDS[name]
        if name is None:
            self._tell(None, f"its type is missing: type = one of {', '.join(_KINDS)}")
        else:
            hint = nearest(str(name), _KINDS) or f"There are {', '.join(_KINDS)}"
            self._tell("type", f"there is no type {name!r}. {hint}")
        return None

    def _limits(self, kind: SettingType, form: str) -> tuple[float | None, float | None, float | None]:
        """Lowest, highest and step; a whole number has limits that its size sets."""
        if kind in (SettingType.BOOL, SettingType.CHOICE):
            self._none_of(_LIMITS, kind)
            return None, None, None
        whole = kind is not SettingType.F32
        low, high = (self._number(name, whole=whole) for name in _ENDS)
        if kind is SettingType.I64:
            low, high = (self._own_limit(form, limit, name) for limit, name in zip((low, high), _ENDS, strict=True))
        if low is not None and high is not None and low > high:
            self._tell("min", f"its lowest value {low} is above its highest {high}")
            low = high = None
        if kind in _SIZED.values():
            self._none_of((_STEP,), kind)
            return low, high, None
        step = self._number(_STEP, whole=whole)
        if step is not None and not step >= (1 if whole else LEAST_STEP):
            self._tell(_STEP, "a step is above 0, and no smaller than a 32-bit float can be")
            step = None
        return low, high, step

    def _none_of(self, names: Iterable[str], kind: SettingType) -> None:
        for name in names:
            if name in self.given:
                self._tell(name, f"a {kind.name.lower()} has no {name}")

    def _own_limit(self, form: str, limit: float | None, name: str) -> float:
        bits = 8 * struct.calcsize(form)
        signed = form[1].islower()
        least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if limit is not None and least <= limit <= most:
            return limit
        if limit is not None:
            self._tell(name, f"{limit} is no number of {count(bits // 8, 'byte')}: {least} to {most}")
        return most if name == "max" else least

    def _number(self, name: str, *, whole: bool) -> int | float | None:
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
            self._tell(name, f"{name} is a number, and a finite one")
        elif whole and not isinstance(value, int):
            self._tell(name, f"{name} is a whole number for this type")
        else:
            return value
        return None

    def _choices(self, kind: SettingType) -> tuple[str, ...] | None:
        """None where they are wrong."""
        value = self.given.get("choices")
        if kind is not SettingType.CHOICE:
            if value is not None:
                self._tell("choices", 'choices go with type = "choice"')
            return ()
        names: list[object] = cast("list[object]", value) if isinstance(value, list) else []
        texts = [name for name in names if isinstance(name, str)]
        if not names or len(set(texts)) < len(names) or len(names) > MAX_CHOICES:
            where = "choices" if value is not None else None
            sentence = f'choices are up to {MAX_CHOICES} different texts, the first for 0: choices = ["off", "on"]'
            self._tell(where, sentence)
            return None
        return tuple(texts)

    def _with_default(self, setting: Setting) -> Setting:
        try:
            settable = replace(setting, flags=SettingFlag(0))
            return replace(setting, default=encode_given(settable, self.given["default"]))
        except UsageError as error:
            self._tell("default", f"its default does not fit: {error}")
            return setting
