"""Fixed binary layouts, each declared once as a field list; the parser, the builder and the numpy dtype come from it.

Rule of this module: it is the only one that knows construct. construct is untyped, ignores trailing bytes and has an
error tree of its own; none of that passes this door. Here a length must match exactly, bytes that do not fit raise
ProtocolError, and values that do not fit raise UsageError. A message or block passes here several times, and construct's
own parser takes ten times as long as struct's: the declaration is construct's, and a struct format is read off it.
"""

# construct has no types; the rules that complain of it are silenced in this adapter alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

import construct  # type: ignore[import-untyped]

from fieldlog_protocol.errors import ProtocolError, UsageError

if TYPE_CHECKING:
    import numpy as np

Endian = Literal["little", "big"]
FieldList = Sequence[tuple[str, str]]

_NAMES = {"u": "Int{bits}u{endian}", "i": "Int{bits}s{endian}"}
_KINDS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=_Dataclass)


class Layout(Generic[T]):
    """A packed record of integers and fixed byte strings that reads into and is built from the dataclass `type_`.

    `field_list` names the fields in wire order, each with a code: u8 u16 u32 u64 i8 i16 i32 i64, or bytes:N. The
    dataclass must have exactly these fields in this order.
    """

    def __init__(self, type_: type[T], field_list: FieldList, *, endian: Endian) -> None:
        names = tuple(name for name, _ in field_list)
        if names != tuple(field.name for field in fields(type_)):
            raise UsageError(f"the fields of {type_.__name__} are not those of its layout: {', '.join(names)}")
        self._type = type_
        self._names = names
        self._fields = tuple(field_list)
        self._endian: Endian = endian
        self._byte_lengths = {name: _byte_length(code) for name, code in field_list if code.startswith("bytes:")}
        declaration = construct.Struct(*(name / _subcon(code, endian) for name, code in field_list))
        self.size: int = declaration.sizeof()
        self._struct = struct.Struct(_struct_format(declaration, endian))

    def parse(self, data: bytes) -> T:
        """The record in `data`, which must be exactly `size` bytes."""
        if len(data) != self.size:
            raise ProtocolError(f"{self._type.__name__}: {len(data)} bytes where exactly {self.size} belong")
        return self._type(**dict(zip(self._names, self._struct.unpack(data), strict=True)))

    def values(self, data: bytes, offset: int = 0) -> tuple[Any, ...]:
        """What the fields of the record at `offset` hold, in their order: for where a dataclass each takes too long."""
        if len(data) - offset < self.size:
            raise ProtocolError(f"{self._type.__name__}: {len(data) - offset} bytes where {self.size} belong")
        return self._struct.unpack_from(data, offset)

    def position(self, name: str) -> int:
        """Which of `values` is that of the field `name`."""
        return self._names.index(name)

    def build(self, value: T) -> bytes:
        for name, length in self._byte_lengths.items():
            if (found := len(getattr(value, name))) != length:
                raise UsageError(f"{self._type.__name__}.{name} is {found} bytes long, not {length}")
        return self.pack(*(getattr(value, name) for name in self._names))

    def pack(self, *values: Any) -> bytes:
        """The record of these values, given in the order of the fields: the way back from `values`."""
        try:
            return self._struct.pack(*values)
        except struct.error as error:
            raise UsageError(f"{self._type.__name__} holds a value out of range: {error}; {values!r}") from error

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The same record for numpy, packed, in the same byte order."""
        import numpy as np

        return np.dtype([(name, _numpy_code(code, self._endian)) for name, code in self._fields])


def _subcon(code: str, endian: Endian) -> Any:
    if code.startswith("bytes:"):
        return construct.Bytes(_byte_length(code))
    if code not in _KINDS:
        raise UsageError(f"unknown field code {code!r}: one of {', '.join(_KINDS)} or bytes:N")
    return getattr(construct, _NAMES[code[0]].format(bits=code[1:], endian=endian[0]))


def _struct_format(declaration: Any, endian: Endian) -> str:
    """The same record for struct: each integer of construct's bears its format, a byte string its length."""
    codes = (field.subcon for field in declaration.subcons)
    return ("<" if endian == "little" else ">") + "".join(
        f"{code.length}s" if isinstance(code, construct.Bytes) else code.fmtstr[1:] for code in codes
    )


def _byte_length(code: str) -> int:
    return int(code.removeprefix("bytes:"))


def _numpy_code(code: str, endian: Endian) -> str:
    if code.startswith("bytes:"):
        return f"V{_byte_length(code)}"
    return f"{'<' if endian == 'little' else '>'}{code[0]}{int(code[1:]) // 8}"
