"""The tables of docs/smp.md and docs/fl-group.md, made from the declarations of the commands.

    .venv/bin/python -m tools.command_reference     writes them anew; a test tells when they are out of date

Rule: what stands between `<!-- NAME -->` and `<!-- end -->` is made here, all else in the pages is written by hand.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from enum import EnumMeta, IntEnum
from pathlib import Path
from typing import Any, cast

import msgspec
import msgspec.inspect as mi

from fieldlog_protocol.commands import TABLE, Command, Group, Message, Op, logger

DOCS = Path(__file__).parent.parent / "docs"
PAGES = (DOCS / "smp.md", DOCS / "fl-group.md")
_MADE = re.compile(r"<!-- (?!end)(.+?) -->\n.*?<!-- end -->", re.DOTALL)
_RANGES = {
    (0, 0xFF): "u8",
    (0, 0xFFFF): "u16",
    (0, 0xFFFF_FFFF): "u32",
    (0, (1 << 63) - 1): "u63",
    (-(1 << 31), (1 << 31) - 1): "i32",
    (-(1 << 63), (1 << 63) - 1): "i64",
}
_WIDTH = 118
_OPS = {Op.READ: "R", Op.WRITE: "W"}


def main() -> None:
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


def renewed(text: str) -> str:
    """A page with its tables as the declarations have them now."""
    return _MADE.sub(lambda found: f"<!-- {found[1]} -->\n{_part(found[1])}\n<!-- end -->", text)


def _part(name: str) -> str:
    if name == "stock commands":
        return _stock()
    if name == "logger commands":
        return _overview()
    if name == "logger errors":
        return _table("code", "what it says", rows=((str(code), text) for code, text in logger.ERRORS.items()))
    declared = getattr(logger, name, None)
    if isinstance(declared, EnumMeta):
        return _enum(cast("type[IntEnum]", declared))
    if declared is not None:
        return _table("key", "type", "what it is", rows=_fields(declared))
    return _command([command for command in logger.COMMANDS if command.id == int(name.removeprefix("command "))])


def _enum(numbers: type[IntEnum]) -> str:
    words = "; ".join(f"{item.value} {item.name.lower().replace('_', ' ')}" for item in numbers)
    return textwrap.fill(words, _WIDTH)


def _stock() -> str:
    rows = (
        (
            f"{command.group}/{command.id}",
            _OPS[command.op],
            command.name,
            _keys(command.request),
            _keys(command.response),
        )
        for command in TABLE
        if command.group != Group.LOGGER
    )
    return _table("group/id", "op", "command", "request", "reply", rows=rows)


def _keys(message: type[Message]) -> str:
    if message.whole_map:
        return "a map by name"
    fields = msgspec.structs.fields(message)
    return " ".join(f"`{field.encode_name}`{'' if field.required else '?'}" for field in fields)


def _overview() -> str:
    rows = (
        (str(command.id), _OPS[command.op], command.text, ", ".join(map(str, command.errors)))
        for command in logger.COMMANDS
    )
    return _table("id", "op", "what it does", "errors", rows=rows)


def _command(both: list[Command[Any, Any]]) -> str:
    """The keys of a command's requests and replies, of both operations where it has two."""
    rows: list[tuple[str, ...]] = []
    for command in both:
        op = _OPS[command.op]
        rows += [(f"{op} request", *row) for row in _fields(command.request)]
        rows += [(f"{op} reply", *row) for row in _fields(command.response)]
    return _table("in", "key", "type", "what it is", rows=rows)


def _fields(message: type[msgspec.Struct]) -> Iterator[tuple[str, str, str]]:
    described = mi.type_info(message)
    assert isinstance(described, mi.StructType)
    for field in described.fields:
        kind, text, unit = _described(field.type)
        optional = "" if field.required else "?"
        yield f"`{field.encode_name}`{optional}", kind, text + (f" [{unit.strip('[]{}')}]" if unit != "1" else "")


def _described(kind: mi.Type) -> tuple[str, str, str]:
    """Type, text and unit of a field."""
    text, unit = "", "1"
    if isinstance(kind, mi.UnionType):
        kind = next(item for item in kind.types if not isinstance(item, mi.NoneType))
    while isinstance(kind, mi.Metadata):
        declared = cast("Any", kind)  # its maps have no types
        said: dict[str, str] = {**(declared.extra_json_schema or {}), **(declared.extra or {})}
        text, unit = said.get("description", text), said.get("unit", unit)
        kind = kind.type
    return _kind(kind), text, unit


def _kind(kind: mi.Type) -> str:
    return _KINDS[type(kind)](kind)


def _int(kind: mi.IntType) -> str:
    if kind.ge is None or kind.le is None:
        return "int"
    return _RANGES.get((kind.ge, kind.le), f"{kind.ge} to {kind.le}")


def _most(length: int | None) -> str:
    return "" if length is None else f" ≤ {length}"


_KINDS: dict[type[mi.Type], Callable[[Any], str]] = {
    mi.IntType: _int,
    mi.StrType: lambda kind: "text" + _most(kind.max_length),
    mi.BytesType: lambda kind: "bytes" + _most(kind.max_length),
    mi.BoolType: lambda _: "bool",
    mi.FloatType: lambda _: "float",
    mi.VarTupleType: lambda kind: f"list of {_described(kind.item_type)[0]}",
    mi.StructType: lambda kind: kind.cls.__name__,
    mi.UnionType: lambda kind: " or ".join(map(_kind, kind.types)),
}


def _table(*heads: str, rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


if __name__ == "__main__":
    main()
