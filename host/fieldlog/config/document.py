"""A TOML file with the place of every key and value, and with all that is wrong with its syntax, not only the first.

Rule: what the text means is tomllib's word. A statement that is wrong is told, left out, and the rest is read on.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, cast

from fieldlog.config.model import Located, Place, Problem, Problems
from fieldlog.config.toml_places import MAX_DEPTH, Path, Places, Spot, Statement, find_places
from fieldlog_protocol.errors import FieldlogError, UsageError

_TOO_LONG = "this number has thousands of digits"
_LARGEST = 10**300

_MOST_PROBLEMS = 25
"""A file with more is no TOML at all."""

MOST_BYTES = 1_000_000
_MOST_READ = 2_000_000
_LEAST_PROBLEMS = 3
"""Every error makes the whole file be read once more: of very long files fewer are told at once."""
_AT = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_LONG_QUOTES = ("'''", '"""')
_PLACEHOLDER = "\0"
"""Begins the name of the table that takes the place of a header that is wrong: so what follows is in no other table."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and where. `problems`: what is wrong with its syntax; the statements concerned are left out."""

    name: str
    values: Mapping[str, Any]
    spots: Mapping[Path, Spot] = field(repr=False)
    lines: tuple[int, ...] = field(repr=False)
    """The offset at which each line begins."""
    problems: tuple[Problem, ...] = ()

    def located(self, value: object, path: Path) -> Located[Any]:
        """A value of this document with its place, or a part of it, as `path` leads to it."""
        spot = self.spots.get(path)
        if spot is None:
            return Located(value)
        return Located(value, self.place(spot.value), self.place(spot.key), self._items(value, path))

    def _items(self, value: object, path: Path) -> tuple[Place, ...]:
        numbers = range(len(cast("list[object]", value))) if isinstance(value, list) else ()
        spots = [self.spots.get((*path, number)) for number in numbers]
        return tuple(self.place(spot.value) for spot in spots if spot is not None)

    def key_place(self, path: Path) -> Place | None:
        spot = self.spots.get(path)
        return None if spot is None else self.place(spot.key)

    def place(self, offset: int) -> Place:
        return _place(self.lines, offset)


def read_file(path: FilePath) -> Document:
    """`parse` of a file; raises Problems for what is no text, UsageError for what is not there, FieldlogError for what cannot be read."""
    return parse(_decoded(read_bytes(path, "configuration"), str(path)), str(path))


def read_bytes(path: FilePath, what: str) -> bytes:
    """What a file holds that is not endless; `what` it is meant to be. Raises as `read_file` does."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{path} cannot be read: there is no such file. Nothing was changed") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} cannot be read: it is a folder. Nothing was changed") from error
    except OSError as error:
        raise FieldlogError(f"{path} cannot be read: {error.strerror or error}. Nothing was changed") from error
    if len(data) > MOST_BYTES:
        raise Problems((Problem(None, f"no {what} is longer than {MOST_BYTES} bytes"),), str(path))
    return data


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig").replace("\r\n", "\n")
        place = _place(_lines(before), len(before))
        wrong = f"the byte 0x{data[error.start]:02x} is no UTF-8: save the file as UTF-8"
        raise Problems((Problem(place, wrong),), name) from None


def read_document(text: str, name: str) -> Document:
    """The document; raises Problems with all that is wrong with its syntax."""
    document = parse(text, name)
    if document.problems:
        raise Problems(document.problems, name)
    return document


def parse(text: str, name: str) -> Document:
    """The document, with what is wrong with its syntax in `problems`."""
    return _Reader(text.removeprefix("\ufeff").replace("\r\n", "\n"), name).read()


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._lines = _lines(text)
        self._problems: list[Problem] = []

    def read(self) -> Document:
        most = max(_LEAST_PROBLEMS, min(_MOST_PROBLEMS, _MOST_READ // (len(self._text) + 1)))
        while len(self._problems) < most:
            places = find_places(self._text)
            if places.too_deep is not None:
                self._leave_out(
                    places, places.too_deep, f"more than {MAX_DEPTH} tables or arrays are within each other"
                )
                continue
            try:
                values = tomllib.loads(self._text)
                if not self._endless(values, places):
                    return self._document(values, places)
            except tomllib.TOMLDecodeError as error:
                self._wrong(places, str(error))
            except ValueError:  # tomllib does not say where
                self._leave_out(places, _too_long(self._text, places.statements), _TOO_LONG)
        self._problems.append(Problem(None, f"after {most} errors the rest was not looked at: is this a TOML file?"))
        return self._document({}, Places())

    def _document(self, values: dict[str, Any], places: Places) -> Document:
        kept = {key: value for key, value in values.items() if not key.startswith(_PLACEHOLDER)}
        return Document(self._name, kept, places.spots, self._lines, tuple(self._problems))

    def _endless(self, values: Mapping[str, Any], places: Places) -> bool:
        """Leave out a number that Python itself cannot turn into text: one of thousands of hexadecimal digits."""
        path = _find_endless(values, ())
        if path is None:
            return False
        self._leave_out(places, places.spots[path].value, _TOO_LONG)
        return True

    def _wrong(self, places: Places, words: str) -> None:
        at = _AT.search(words)
        said = words[: at.start()] if at else words
        offset = len(self._text)
        if at and at["line"]:
            offset = self._lines[int(at["line"]) - 1] + int(at["column"]) - 1
        elif places.stuck is not None:
            offset = places.stuck
        if said.startswith("Cannot "):  # told at the statement's end
            self._leave_out(places, offset, "this name is taken already: keep one of the two", at_start=True)
        else:
            self._leave_out(places, offset, f"this is not TOML: {said[0].lower()}{said[1:]}")

    def _leave_out(self, places: Places, offset: int, sentence: str, *, at_start: bool = False) -> None:
        """Note a problem, and blank the statement in which it is, to the end of its line, or of the line at `offset`."""
        statement = _statement_at(places.statements, offset)
        start = statement.start if statement else offset
        self._problems.append(Problem(_place(self._lines, start if at_start else offset), sentence))
        end = self._text.find("\n", max(offset, statement.end or 0) if statement else offset)
        if end < 0 or self._text.startswith(_LONG_QUOTES, offset):  # what is text and what is not, nobody knows
            end = len(self._text)
        instead = f'["\\u0000{len(self._problems)}"]' if statement and statement.header else ""
        blanks = re.sub(r"[^\n]", " ", self._text[start:end])  # line ends stay, so that all below keeps its place
        self._text = self._text[:start] + instead + blanks + self._text[end:]
        self._lines = _lines(self._text)


def _statement_at(statements: Sequence[Statement], offset: int) -> Statement | None:
    """That in which a place is; None between two, as in a comment."""
    last = next((statement for statement in reversed(statements) if statement.start <= offset), None)
    return None if last is None or (last.end is not None and last.end < offset) else last


def _too_long(text: str, statements: Sequence[Statement]) -> int:
    """Where the statement is that tomllib takes by no means."""
    for statement in statements:
        try:
            tomllib.loads(text[statement.start : statement.end])
        except tomllib.TOMLDecodeError:
            continue
        except ValueError:
            return statement.start
    return 0


def _find_endless(value: object, path: Path) -> Path | None:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return path
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
    elif isinstance(value, list):
        items = enumerate(cast("list[object]", value))
    return next((found for key, item in items if (found := _find_endless(item, (*path, key))) is not None), None)


def _lines(text: str) -> tuple[int, ...]:
    return (0, *(match.end() for match in re.finditer("\n", text)))


def _place(lines: Sequence[int], offset: int) -> Place:
    line = bisect_right(lines, offset)
    return Place(line, offset - lines[line - 1] + 1)
