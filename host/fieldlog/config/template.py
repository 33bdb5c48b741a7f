"""One file for many devices: sections that hold for some of them, and variables.

Rule: no I/O. Sections are taken in the file's order, later ones win; whatever is wrong is told with its place. What a
table may hold is for others to judge, except that of variables.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import cast

from fieldlog.config.document import Document
from fieldlog.config.model import Located, Problem, Problems, Resolved
from fieldlog.config.toml_places import Path
from fieldlog.config.toml_text import key as toml_key
from fieldlog.logger_info import LoggerInfo

TABLES = ("settings", "calibration", "metadata", "log", "variables")
DEVICES = "devices"
BUILT_IN = ("serial", "uid", "product", "label", "index")
"""Variables that every device has."""

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[^{}]*)\}|\$\{")
_LITERAL = "$${"
_LONGEST_TEXT = 10_000
"""More than any setting takes; variables of variables would grow without bound."""
_NAMED = 8
_MOST_NESTED = 50
"""Variables that are made of each other in one chain."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a device from others. `index` counts the devices of one command, from 1."""

    serial: str = ""
    uid: str = ""
    product: str = ""
    label: str = ""
    index: int = 1


def identity_of(info: LoggerInfo, index: int = 1) -> Identity:
    """The label of a device is the name that its user gave it."""
    return Identity(info.serial, info.uid.hex(), info.product, info.name, index)


def escaped(text: str) -> str:
    """A text as a file must hold it, so that nothing in it is taken for a variable."""
    return text.replace("${", _LITERAL)


def resolve(document: Document, identity: Identity) -> Resolved:
    """What the file says for one device; raises Problems."""
    found, problems = resolved(document, identity)
    if problems:
        raise Problems(problems, document.name)
    return found


def resolved(document: Document, identity: Identity) -> tuple[Resolved, tuple[Problem, ...]]:
    """What the file says for one device, and all that is wrong, its syntax included."""
    reader = _Reader(document)
    sections = [path for path, pattern in reader.sections() if matches(pattern, identity)]
    tables = {name: reader.merged(name, [(), *sections]) for name in TABLES}
    variables = _Variables(tables["variables"] or {}, identity, reader.problems)
    filled = {name: variables.fill_table(name, table) for name, table in tables.items() if table is not None}
    found = Resolved(
        settings=filled.get("settings", {}),
        calibration=filled.get("calibration", {}),
        metadata=filled.get("metadata"),
        log=filled.get("log", {}),
        name=document.name,
    )
    return found, (*document.problems, *reader.problems)


def unused_sections(document: Document, identities: Iterable[Identity]) -> list[str]:
    """The sections that hold for none of these devices."""
    known = list(identities)
    patterns = [pattern for _, pattern in _Reader(document).sections()]
    return [pattern for pattern in patterns if not any(matches(pattern, identity) for identity in known)]


def section_settings(document: Document, section: str) -> Mapping[str, Located[object]]:
    """What a section says of settings, its variables not replaced."""
    return _Reader(document).merged("settings", [(DEVICES, section)]) or {}


def matches(pattern: str, identity: Identity) -> bool:
    """Whether a section holds for a device: `serial:`, `uid:` and `label:` say what is meant, else any of them is."""
    texts = {"serial": identity.serial, "uid": identity.uid, "label": identity.label}
    kind, colon, rest = pattern.partition(":")
    if colon and kind in texts:
        texts, pattern = {kind: texts[kind]}, rest
    return any(
        text and fnmatchcase(text, pattern.lower() if name == "uid" else pattern) for name, text in texts.items()
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes the tables of a document apart; what does not belong is told."""

    document: Document
    problems: list[Problem] = field(default_factory=list[Problem])

    def sections(self) -> Iterator[tuple[Path, str]]:
        """The sections for some devices, in order. Tells what is wrong with the file's frame: call it once."""
        self._frame((), (*TABLES, DEVICES))
        for pattern, section in self._table((DEVICES,)).items():
            path = (DEVICES, pattern)
            if not isinstance(section, dict):
                self._tell(path, f"a section is a table: write [{DEVICES}.{toml_key(pattern)}.settings]")
                continue
            self._frame(path, TABLES)
            yield path, pattern

    def _frame(self, path: Path, names: tuple[str, ...]) -> None:
        for key, value in self._table(path).items():
            if key not in names:
                self._tell((*path, key), _no_table(key, value, names))
            elif not isinstance(value, dict):
                self._tell(
                    (*path, key), f"{key} is a table: write [{'.'.join(toml_key(str(part)) for part in (*path, key))}]"
                )

    def merged(self, name: str, sections: Iterable[Path]) -> dict[str, Located[object]] | None:
        """A table with what sections say of it; None where none has it."""
        found: dict[str, Located[object]] | None = None
        for section in sections:
            path = (*section, name)
            if self._is_table(path):
                own = {key: self.document.located(value, (*path, key)) for key, value in self._table(path).items()}
                found = (found or {}) | own
        return found

    def _is_table(self, path: Path) -> bool:
        return isinstance(self._at(path), dict)

    def _table(self, path: Path) -> Mapping[str, object]:
        value = self._at(path)
        return cast("dict[str, object]", value) if isinstance(value, dict) else {}

    def _at(self, path: Path) -> object:
        value: object = self.document.values
        for key in path:
            value = cast("Mapping[object, object]", value).get(key) if isinstance(value, dict) else None
        return value

    def _tell(self, path: Path, sentence: str) -> None:
        self.problems.append(Problem(self.document.key_place(path), sentence))


def _no_table(key: str, value: object, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, names, n=1)
    if isinstance(value, dict):
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}"
        return f"a configuration has no table {key!r} here. {hint}"
    return f"{key!r} stands in no table: settings stand below [settings]"


def _chain(names: Sequence[str]) -> str:
    return " of ".join(names if len(names) <= _NAMED else [*names[:_NAMED], "..."])


class _Variables:
    """What `${name}` stands for. Variables may be made of others."""

    def __init__(self, table: Mapping[str, Located[object]], identity: Identity, problems: list[Problem]) -> None:
        self._built_in = {name: str(getattr(identity, name)) for name in BUILT_IN}
        self._problems = problems
        self._unknown = 0
        self._table = {name: located for name, located in table.items() if self._fit(name, located)}
        self._unfit = frozenset(table) - frozenset(self._table)
        self._open: list[str] = []
        self._spoiled: set[str] = set()
        self._values: dict[str, str] = {}

    def _fit(self, name: str, located: Located[object]) -> bool:
        if name in self._built_in:
            self._tell(located, f"the variable {name} is given by the device: choose another name", key=True)
            return False
        if not isinstance(located.value, (str, int, float)):
            self._tell(located, f"the variable {name} must be a text, a number, true or false")
            return False
        return True

    def fill_table(self, name: str, table: Mapping[str, Located[object]]) -> dict[str, Located[object]]:
        """The table with all variables replaced. In a calibration one that stands alone stays the number that it is."""
        keep = name == "calibration"
        filled = {key: self._located(located, keep) for key, located in table.items()}
        return {key: located for key, located in filled.items() if located is not None}

    def _located(self, located: Located[object], keep: bool) -> Located[object] | None:
        """None for what cannot be known, which is told: nobody shall judge it."""
        before = self._unknown
        value = self._fill(located.value, located, keep)
        if self._unknown != before:
            return None
        return located if value is located.value else replace(located, value=value)

    def _fill(self, value: object, located: Located[object], keep: bool) -> object:
        if isinstance(value, str):
            return self._text(value, located, keep) if "${" in value else value
        if isinstance(value, list):
            return [self._fill(item, located, keep) for item in cast("list[object]", value)]
        if isinstance(value, dict):
            items = cast("dict[str, object]", value).items()
            return {key: self._fill(item, located, keep) for key, item in items}
        return value

    def _text(self, text: str, located: Located[object], keep: bool) -> object:
        alone = _REFERENCE.fullmatch(text)
        if keep and alone and alone["name"] in self._table:
            return self._table[alone["name"]].value
        if len(text) > _LONGEST_TEXT:
            self._tell(located, f"a text with variables has no more than {_LONGEST_TEXT} characters")
            return ""
        filled = _REFERENCE.sub(lambda match: self._replaced(match, located), text)
        if len(filled) > _LONGEST_TEXT:
            self._tell(located, f"with its variables this is a text of more than {_LONGEST_TEXT} characters")
            return ""
        return filled

    def _replaced(self, match: re.Match[str], located: Located[object]) -> str:
        name = match["name"]
        if match[0] == _LITERAL:
            return "${"
        if name is None:
            self._tell(located, "a variable that begins with ${ ends with }; for a literal ${ write $${")
            return match[0]
        return self._value(name, located)

    def _value(self, name: str, located: Located[object]) -> str:
        if name in self._built_in:
            return self._built_in[name]
        if name in self._unfit:
            self._unknown += 1
            return ""
        if name not in self._table:
            near = difflib.get_close_matches(name, [*self._table, *self._built_in], n=1)
            hint = f"Did you mean ${{{near[0]}}}?" if near else f"Name it below [variables], or use {self._known()}"
            self._tell(located, f"there is no variable {name!r}. {hint}")
            return ""
        if name not in self._values:
            before = self._unknown
            self._values[name] = self._nested(name)
            if self._unknown != before:
                self._spoiled.add(name)
        elif name in self._spoiled:
            self._unknown += 1
        return self._values[name]

    def _nested(self, name: str) -> str:
        """Each variable is worked out once, and what is wrong with it told once."""
        own = self._table[name]
        if name in self._open:
            ring = [*self._open[self._open.index(name) :], name]
            self._tell(own, f"the variable {name} is made of itself: {_chain(ring)}")
            return ""
        if len(self._open) >= _MOST_NESTED:
            self._tell(own, f"more than {_MOST_NESTED} variables are made of each other here: {_chain(self._open)}")
            return ""
        self._open.append(name)
        value = self._fill(own.value, own, keep=False)
        self._open.pop()
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _known(self) -> str:
        return ", ".join(f"${{{name}}}" for name in BUILT_IN)

    def _tell(self, located: Located[object], sentence: str, *, key: bool = False) -> None:
        place = located.key_place or located.place if key else located.place
        self._unknown += 1
        self._problems.append(Problem(place, sentence))
