"""How a command is declared: once, with both sides' message types.

Rule: definitions have no behaviour. A message is a frozen struct whose field names (or renamed keys) are the CBOR keys
of the wire; every field carries its text, and its unit and range where it has one. From these declarations come the
host's typed requests, the simulator's dispatch and validation, and the golden vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Meta


class Op(IntEnum):
    """Operation of an SMP header; a reply is its request plus one (docs/smp.md#messages)."""

    READ = 0
    READ_REPLY = 1
    WRITE = 2
    WRITE_REPLY = 3


class Group(IntEnum):
    """Management groups; ids from 64 on belong to applications."""

    OS = 0
    IMAGE = 1
    STAT = 2
    SETTINGS = 3
    FS = 8
    SHELL = 9
    ENUM = 10
    TRANSPORT = 11
    BASIC = 63
    LOGGER = 0x464C


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all request and response bodies. Optional fields default to None and are then left out of the map.

    `whole_map` names the one field that stands for the entire CBOR map, for replies whose keys are data. Servers that
    put that map into another do it under one of the keys `wrapped_in`.
    `result` names the field that old servers call `rc`: beside all the others it is no error.
    `alike` names the field whose map may hold several entries of one key: names of things that share theirs.
    `any_text`: its text is whatever a program printed; bytes that are no UTF-8 are replaced, where they are an error else.
    """

    whole_map: ClassVar[str] = ""
    wrapped_in: ClassVar[tuple[str, ...]] = ()
    result: ClassVar[str] = ""
    alike: ClassVar[str] = ""
    any_text: ClassVar[bool] = False


class Empty(Message, frozen=True, kw_only=True):
    """A body with no fields: `a0` on the wire."""


Req = TypeVar("Req", bound=Message)
Rsp = TypeVar("Rsp", bound=Message)


@dataclass(frozen=True, slots=True)
class Command(Generic[Req, Rsp]):
    """One SMP command.

    `repeatable`: sending it twice leaves the device as sending it once does, so a lost reply is simply asked for again.
    `service_s`: how long a device may work on it before it answers, over and above the link's own time.
    `errors`: the codes of its group that it answers, besides 1 (unknown), which any command may.
    """

    name: str
    op: Op
    group: int
    id: int
    request: type[Req]
    response: type[Rsp]
    text: str
    errors: tuple[int, ...] = ()
    repeatable: bool = True
    service_s: float = 0.0

    @property
    def key(self) -> tuple[int, int, int]:
        """(op, group, id), unique in the table."""
        return self.op, self.group, self.id


def string(description: str, *, max_length: int | None = None) -> Meta:
    """A text field; `max_length` in characters."""
    return Meta(description=description, max_length=max_length)


def blob(description: str, *, max_length: int | None = None) -> Meta:
    """A byte string field; `max_length` in bytes."""
    return Meta(description=description, max_length=max_length)


def number(description: str, unit: str = "1", *, ge: float | None = None, le: float | None = None) -> Meta:
    """A number with its unit (UCUM) and limits."""
    return Meta(description=description, ge=ge, le=le, extra={"unit": unit})


def u8(description: str, unit: str = "1") -> Meta:
    """An unsigned 8-bit number."""
    return number(description, unit, ge=0, le=0xFF)


def u16(description: str, unit: str = "1") -> Meta:
    """An unsigned 16-bit number."""
    return number(description, unit, ge=0, le=0xFFFF)


def u32(description: str, unit: str = "1") -> Meta:
    """An unsigned 32-bit number."""
    return number(description, unit, ge=0, le=0xFFFF_FFFF)


def u63(description: str, unit: str = "1") -> Meta:
    """An unsigned number that fits a signed 64-bit integer, so that every database can hold it."""
    return number(description, unit, ge=0, le=0x7FFF_FFFF_FFFF_FFFF)


def i32(description: str, unit: str = "1") -> Meta:
    """A signed 32-bit number."""
    return number(description, unit, ge=-0x8000_0000, le=0x7FFF_FFFF)


def i64(description: str, unit: str = "1") -> Meta:
    """A signed 64-bit number."""
    return number(description, unit, ge=-(1 << 63), le=(1 << 63) - 1)


def about(description: str) -> Meta:
    """The text of a field that needs no unit or limit."""
    return Meta(description=description)


Flag = Annotated[bool, Meta()]
ErrorTexts = Mapping[int, str]
