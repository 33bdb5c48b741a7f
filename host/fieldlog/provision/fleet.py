"""A fleet file: a row for each device, as CSV or TOML, and the configuration that they share.

Rule: no device here. All that is wrong with a file is told at once, each with its line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from fieldlog.config.document import Document
from fieldlog.config.model import Problem
from fieldlog.config.template import DEVICES

NAME_KEY = "device/name"
"""The setting that a row's name is written to."""

SAYS = "says:"
"""Begins the key of a row that is known by its words alone."""

Tables = Mapping[str, Mapping[str, object]]
"""What a row says by the tables of a configuration: settings, calibration, metadata, log, variables."""


@dataclass(frozen=True, slots=True)
class Row:
    """One device of a fleet. `uid` and `serial` recognise it; a row without them is for whichever device comes.

    `config` is what the row's tables are laid upon; `digest` changes with anything that the row or its file says. `key`
    names the row in the state file, whatever rows come and go around it: by what it recognises a device by, else by its
    name, else by all that it says.
    """

    number: int
    line: int
    name: str
    serial: str
    uid: str
    config: Document
    tables: Tables
    key: str
    digest: str = ""

    @property
    def free(self) -> bool:
        return not self.uid and not self.serial

    @property
    def nameless(self) -> bool:
        return self.free and not self.name

    @property
    def title(self) -> str:
        return self.name or self.serial or self.uid or f"row {self.number}"

    def document(self) -> Document:
        """The configuration with the row's own tables as its last section, which wins."""
        present: object = self.config.values.get(DEVICES)
        sections = {**cast("dict[str, object]", present)} if isinstance(present, dict) else {}
        pattern = "uid:*"
        while pattern in sections:
            pattern += "*"
        sections[pattern] = self.tables
        return replace(self.config, values={**self.config.values, DEVICES: sections})


@dataclass(frozen=True, slots=True)
class Fleet:
    """All rows of a file, as far as they are right. `image` is the firmware that it names.

    `problems` are what is wrong with the file itself: `check_rows` raises them, with all that is wrong with the rows.
    """

    path: Path
    rows: tuple[Row, ...]
    image: Path | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Draft:
    """A row as it is read: `tables` can still be added to."""

    number: int
    line: int
    name: str = ""
    serial: str = ""
    uid: str = ""
    config: Document | None = None
    tables: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])

    def put(self, table: str, key: str, value: object) -> None:
        self.tables.setdefault(table, {})[key] = value

    def row(self, config: Document, source: bytes, named: str) -> Row:
        """`source` is what `config` was read from, `named` how the row itself names it."""
        tables = {**self.tables}
        if self.name:
            tables["settings"] = {NAME_KEY: _literal(self.name), **tables.get("settings", {})}
            tables["variables"] = {"name": self.name, **tables.get("variables", {})}
        said = json.dumps([self.name, self.serial, self.uid, tables], sort_keys=True, default=str)
        digest = hashlib.sha256(source + said.encode()).hexdigest()
        return Row(self.number, self.line, self.name, self.serial, self.uid, config, tables, self._key(named), digest)

    def _key(self, named: str) -> str:
        for kind, text in (("uid", self.uid), ("serial", self.serial), ("name", self.name)):
            if text:
                return f"{kind}:{text}"
        said = json.dumps([named, self.tables], sort_keys=True, default=str)
        return f"{SAYS}{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def told_apart(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows that say the same are numbered: which of them a device has makes no difference."""
    seen: Counter[str] = Counter()
    found: list[Row] = []
    for row in rows:
        seen[row.key] += 1
        found.append(row if seen[row.key] == 1 else replace(row, key=f"{row.key}.{seen[row.key]}"))
    return tuple(found)


def _literal(text: str) -> str:
    """A name is taken as it is, and no variable in it."""
    return text.replace("${", "$${")


@dataclass(slots=True)
class Wrong:
    """Collects what is wrong with a fleet file."""

    problems: list[Problem] = field(default_factory=list[Problem])

    def tell(self, problem: Problem) -> None:
        self.problems.append(problem)


def checked_uid(text: str) -> str:
    """Hexadecimal digits in small letters, without what people put between them; ValueError for anything else."""
    uid = bytes.fromhex(re.sub(r"[\s:-]", "", text)).hex()
    if not uid:
        raise ValueError(text)
    return uid


def require_sound(drafts: list[Draft], tell: Callable[[int, str], None]) -> None:
    """Tell of rows that recognise the same device or are called the same, and of those that give two names."""
    for kind in ("uid", "serial", "name"):
        first: dict[str, int] = {}
        for draft in drafts:
            text: str = getattr(draft, kind)
            if text and text in first:
                tell(draft.line, f"the {kind} {text!r} stands in line {first[text]} already")
            first.setdefault(text, draft.line)
    for draft in drafts:
        for table, key in (("settings", NAME_KEY), ("variables", "name")):
            if draft.name and key in draft.tables.get(table, {}):
                tell(draft.line, f"name is what {key} of {table} shall be too: keep one of them")
