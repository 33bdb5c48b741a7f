"""Reading a fleet file, CSV or TOML, with the configurations that it names.

Rule: no device here. All that is wrong with a file is told at once, each with its line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from fieldlog.config.document import Document, parse, read_bytes, read_file
from fieldlog.config.model import Place, Problem
from fieldlog.config.schema import nearest
from fieldlog.config.template import TABLES
from fieldlog.provision.fleet import Draft, Fleet, Row, Wrong, checked_uid, require_sound, told_apart
from fieldlog.provision.fleet_csv import read_table
from fieldlog_protocol.errors import FieldlogError, UsageError

_OWN = ("image", "config", "device")
_ELSEWHERE = {
    "image": 'Firmware is for all devices: write image = "..." in the first lines of the file, above every table',
    "key": "Who must have signed the firmware is said by --key PEM on the command line, and not in the file",
}
"""What people look for in a place where it is not."""
_FIELDS = ("name", "serial", "uid", "config", *TABLES)


def read_fleet(path: Path, config: Path | None = None) -> Fleet:
    """The fleet; `config` is the configuration of rows that name none.

    What is wrong with it is in its `problems`; raises UsageError, and other FieldlogErrors, for what is no fleet at all.
    """
    kind = path.suffix.lower()
    if kind == ".toml":
        return _Toml(path, config).read()
    if kind == ".csv":
        return _read_csv(path, config)
    raise UsageError(f"{path} is neither a .csv nor a .toml file: a fleet is one of them")


def _read_csv(path: Path, config: Path | None) -> Fleet:
    try:
        text = read_bytes(path, "fleet").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: save it as CSV in UTF-8. Nothing was changed") from error
    wrong = Wrong()
    found = read_table(text, wrong)
    require_sound([draft for draft, _ in found], lambda line, why: wrong.tell(Problem(Place(line, 1), why)))
    configs = _Configs(path, config, parse("", str(path)))
    rows = [configs.row(draft, named, wrong) for draft, named in found]
    return Fleet(path, told_apart(rows), problems=tuple(wrong.problems))


class _Configs:
    """The configurations that rows name, each read once. Without any, `instead` holds."""

    def __init__(self, fleet: Path, default: Path | None, instead: Document, instead_source: bytes = b"") -> None:
        self._folder = fleet.parent
        self._default = default
        self._instead = instead, instead_source
        self._read: dict[Path, tuple[Document, bytes]] = {}

    def row(self, draft: Draft, named: str, wrong: Wrong) -> Row:
        path = self._folder / named if named else self._default
        document, source = self._instead
        if path is not None:
            try:
                document, source = self._document(path)
            except FieldlogError as error:
                wrong.tell(Problem(Place(draft.line, 1), str(error)))
        return draft.row(document, source, named)

    def _document(self, path: Path) -> tuple[Document, bytes]:
        if path not in self._read:
            self._read[path] = read_file(path), path.read_bytes()
        return self._read[path]


class _Toml:
    """`[[device]]` for each; `image` and `config`, or the tables of a configuration in the same file."""

    def __init__(self, path: Path, config: Path | None) -> None:
        self._path = path
        self._config = config
        self._document = read_file(path)
        self._wrong = Wrong(list(self._document.problems))

    def read(self) -> Fleet:
        values = self._document.values
        image, config = (self._path_of(name) for name in ("image", "config"))
        if "key" in values:
            self._tell(("key",), f"a fleet has no 'key'. {_ELSEWHERE['key']}")
        shared = {key: value for key, value in values.items() if key not in (*_OWN, "key")}
        if config is not None and shared:
            self._tell(("config",), f"the file has {', '.join(shared)} of its own: keep these or the config")
        named = self._config or config
        own = replace(self._document, values=shared, problems=())
        configs = _Configs(self._path, named, own, repr(shared).encode())
        drafts = self._drafts(values.get("device"))
        require_sound([draft for draft, _ in drafts], self._tell_line)
        rows = [configs.row(draft, text, self._wrong) for draft, text in drafts]
        if image is not None and not image.is_file():
            self._tell(("image",), f"there is no file {image}")
        return Fleet(self._path, told_apart(rows), image, tuple(self._wrong.problems))

    def _path_of(self, name: str) -> Path | None:
        value = self._document.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self._tell((name,), f"{name} is the name of a file, in quotes")
            return None
        return self._path.parent / value

    def _drafts(self, devices: object) -> list[tuple[Draft, str]]:
        if not isinstance(devices, list) or not devices:
            self._wrong.tell(Problem(None, "no device stands in it: write [[device]] for each, and its name below"))
            return []
        items = cast("list[object]", devices)
        return [
            self._draft(at, cast("dict[str, object]", item)) for at, item in enumerate(items) if self._table(at, item)
        ]

    def _table(self, at: int, item: object) -> bool:
        if not isinstance(item, dict):
            self._tell(("device", at), "a device is a table: write [[device]] for each")
        return isinstance(item, dict)

    def _draft(self, at: int, given: dict[str, object]) -> tuple[Draft, str]:
        path = ("device", at)
        place = self._document.key_place(path) or self._first_place(path, given)
        draft, config = Draft(at + 1, place.line), ""
        for key, value in given.items():
            if key in TABLES:
                self._take_table(draft, (*path, key), key, value)
            elif key not in _FIELDS:
                hint = _ELSEWHERE.get(key) or nearest(key, _FIELDS) or f"There are {', '.join(_FIELDS)}"
                self._tell((*path, key), f"a device has no {key!r}. {hint}")
            elif not isinstance(value, str):
                self._tell((*path, key), f"{key} is a text: write it in quotes")
            elif key == "config":
                config = value
            else:
                setattr(draft, key, self._uid(path, value) if key == "uid" else value)
        return draft, config

    def _first_place(self, path: tuple[str | int, ...], given: dict[str, object]) -> Place:
        places = [place for key in given if (place := self._document.key_place((*path, key))) is not None]
        return min(places, default=Place(1, 1))

    def _take_table(self, draft: Draft, path: tuple[str | int, ...], name: str, value: object) -> None:
        if not isinstance(value, dict):
            self._tell(path, f"{name} of a device is a table: write [device.{name}] below its [[device]]")
            return
        for key, item in cast("dict[str, object]", value).items():
            draft.put(name, key, item)

    def _uid(self, path: tuple[str | int, ...], text: str) -> str:
        try:
            return checked_uid(text)
        except ValueError:
            self._tell((*path, "uid"), f"a uid is hexadecimal digits, unlike {text!r}")
            return ""

    def _tell(self, path: tuple[str | int, ...], sentence: str) -> None:
        self._wrong.tell(Problem(self._document.key_place(path), sentence))

    def _tell_line(self, line: int, sentence: str) -> None:
        self._wrong.tell(Problem(Place(line, 1), sentence))
