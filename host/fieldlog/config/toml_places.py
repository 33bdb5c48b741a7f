"""Where the keys and values of a TOML text stand.

Rule: tomllib says what a text means and what is wrong with it; this only finds the places, and takes more than TOML
allows. Offsets count characters from 0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""Keys from the top of the document, and numbers in arrays."""

MAX_DEPTH = 50
"""Arrays and tables within each other: no configuration has more, and tomllib gives up some hundreds later."""

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|(?!""")"(?:[^"\\\n]|\\.)*"'
    r"|(?!''')'[^'\n]*'",
    re.DOTALL,
)
_OTHER = re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:)?[^\s,\[\]{}#=\"']+")


@dataclass(slots=True)
class Statement:
    """An assignment or a header. `end` is None where the text broke off within it."""

    start: int
    header: bool
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a key and its value begin. A table's value begins at its key; an element of an array is its own key."""

    key: int
    value: int


@dataclass(slots=True)
class Places:
    """What was found, up to the first place where no sense could be made of the text."""

    statements: list[Statement] = field(default_factory=list[Statement])
    spots: dict[Path, Spot] = field(default_factory=dict[Path, Spot])
    stuck: int | None = None
    """Where no sense could be made of the text."""
    too_deep: int | None = None
    """Where more is within each other than MAX_DEPTH."""


class _Stuck(Exception):
    """No sense can be made of what follows."""


class _TooDeep(_Stuck):
    pass


def find_places(text: str) -> Places:
    """The places of a text, its line ends made "\\n" before."""
    scanner = _Scanner(text)
    try:
        scanner.statements()
    except _TooDeep:
        scanner.found.too_deep = scanner.at
    except _Stuck:
        scanner.found.stuck = scanner.at
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.found = Places()
        self.at = 0
        self._text = text
        self._table: Path = ()
        self._counts: dict[Path, int] = {}

    def statements(self) -> None:
        self._skip(_BLANK)
        while self.at < len(self._text):
            statement = Statement(self.at, header=self._next("["))
            self.found.statements.append(statement)
            if statement.header:
                self._header()
            else:
                self._assignment(self._table)
            statement.end = self.at
            self._skip(_BLANK)

    def _header(self) -> None:
        array = self._text.startswith("[[", self.at)
        self.at += 1 + array
        keys = list(self._keys())
        path: Path = ()
        for key, at in keys:
            path = (*self._current(path), key)
            self._note(path, at, at)
        if array:
            number = self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, number)
            self._note(path, keys[-1][1], keys[-1][1])
        self._table = self._current(path)
        self._expect("]")
        if array:
            self._expect("]")

    def _current(self, path: Path) -> Path:
        """Of an array of tables its last table."""
        return (*path, self._counts[path]) if path in self._counts else path

    def _assignment(self, table: Path) -> None:
        path = table
        at = self.at
        for key, at in self._keys():
            path = (*self._current(path), key)
            self._note(path, at, at)
        self._expect("=")
        self._skip(_SPACE)
        self.found.spots[path] = Spot(at, self.at)
        self._value(path)

    def _note(self, path: Path, key: int, value: int) -> None:
        if len(path) > MAX_DEPTH:
            raise _TooDeep
        self.found.spots.setdefault(path, Spot(key, value))

    def _keys(self) -> Iterator[tuple[str, int]]:
        """The parts of a dotted key, each with its place."""
        while True:
            self._skip(_SPACE)
            at = self.at
            quoted = self._next('"') or self._next("'")
            part = self._take(_STRING if quoted else _BARE)
            yield _unquoted(part) if quoted else part, at
            self._skip(_SPACE)
            if not self._next("."):
                return
            self.at += 1

    def _value(self, path: Path) -> None:
        if self._next("["):
            self._array(path)
        elif self._next("{"):
            self._inline_table(path)
        else:
            self._take(_STRING if self._next('"') or self._next("'") else _OTHER)

    def _array(self, path: Path) -> None:
        self.at += 1
        number = 0
        while not self._closed("]"):
            self._note((*path, number), self.at, self.at)
            self._value((*path, number))
            self._comma("]")
            number += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while not self._closed("}"):
            self._assignment(path)
            self._comma("}")

    def _closed(self, bracket: str) -> bool:
        self._skip(_BLANK)
        closed = self._next(bracket)
        self.at += closed
        return closed

    def _comma(self, bracket: str) -> None:
        """Step over a comma, which only the last one before the bracket may lack."""
        self._skip(_BLANK)
        if not self._next(bracket):
            self._expect(",")

    def _next(self, start: str) -> bool:
        return self._text.startswith(start, self.at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self.at)
        self.at = match.end() if match else self.at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self.at)
        if match is None:
            raise _Stuck
        self.at = match.end()
        return match[0]

    def _expect(self, mark: str) -> None:
        self._skip(_SPACE)
        if not self._next(mark):
            raise _Stuck
        self.at += len(mark)


def _unquoted(text: str) -> str:
    try:
        return str(tomllib.loads(f"x = {text}")["x"])
    except tomllib.TOMLDecodeError:
        raise _Stuck from None
