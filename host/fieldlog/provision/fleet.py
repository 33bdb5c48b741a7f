"""A fleet file: a row for each device, as CSV or TOML, and the configuration that they share.

Rule: no device here. All that is wrong with a file is told at once, each with its line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from fieldlog.config.document import Document
from fieldlog.config.model import Problem, Problems
from fieldlog.config.template import DEVICES

NAME_KEY = "device/name"
"""The setting that a row's name is written to."""

Tables = Mapping[str, Mapping[str, object]]
"""What a row says by the tables of a configuration: settings, calibration, metadata, log, variables."""


@dataclass(frozen=True, slots=True)
class Row:
    """One device of a fleet. `uid` and `serial` recognise it; a row without them is for whichever device comes.

    `config` is what the row's tables are laid upon; `digest` changes with anything that the row or its file says.
    """

    number: int
    line: int
    name: str
    serial: str
    uid: str
    config: Document
    tables: Tables
    digest: str = ""

    @property
    def free(self) -> bool:
        return not self.uid and not self.serial

    @property
    def key(self) -> str:
        """What names the row in the state file, whatever rows come and go around it."""
        for kind, text in (("uid", self.uid), ("serial", self.serial), ("name", self.name)):
            if text:
                return f"{kind}:{text}"
        return f"row:{self.number}"

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
    """All rows of a file. `image` is the firmware that it names."""

    path: Path
    rows: tuple[Row, ...]
    image: Path | None = None


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

    def row(self, config: Document, source: bytes) -> Row:
        tables = {**self.tables}
        if self.name:
            tables["settings"] = {NAME_KEY: _literal(self.name), **tables.get("settings", {})}
            tables["variables"] = {"name": self.name, **tables.get("variables", {})}
        said = json.dumps([self.name, self.serial, self.uid, tables], sort_keys=True, default=str)
        digest = hashlib.sha256(source + said.encode()).hexdigest()
        return Row(self.number, self.line, self.name, self.serial, self.uid, config, tables, digest)


def _literal(text: str) -> str:
    """A name is taken as it is, and no variable in it."""
    return text.replace("${", "$${")


@dataclass(slots=True)
class Wrong:
    """Collects what is wrong with a fleet file."""

    name: str
    problems: list[Problem] = field(default_factory=list[Problem])

    def tell(self, problem: Problem) -> None:
        self.problems.append(problem)

    def raise_if_any(self) -> None:
        if self.problems:
            raise Problems(tuple(self.problems), self.name)


def checked_uid(text: str) -> str:
    """Hexadecimal digits in small letters, without what people put between them; ValueError for anything else."""
    return bytes.fromhex(re.sub(r"[\s:-]", "", text)).hex()


def require_distinct(drafts: list[Draft], tell: Callable[[int, str], None]) -> None:
    """Tell of rows that recognise the same device, or that are called the same."""
    for kind in ("uid", "serial", "name"):
        first: dict[str, int] = {}
        for draft in drafts:
            text: str = getattr(draft, kind)
            if text and text in first:
                tell(draft.line, f"the {kind} {text!r} stands in line {first[text]} already")
            first.setdefault(text, draft.line)
