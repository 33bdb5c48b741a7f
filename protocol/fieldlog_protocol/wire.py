"""SMP messages as bytes: the 8-byte header and the CBOR map behind it (docs/smp.md#messages, #errors).

Rule: whether a reply is a success or an error is read from its bytes, never found by trying. Whatever does not fit the
declarations raises ProtocolError and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import cbor2
import msgspec

from fieldlog_protocol.alike_keys import load_numbered
from fieldlog_protocol.commands.base import Command, Group, Message, Op
from fieldlog_protocol.error_texts import GROUP_TEXTS, error_text
from fieldlog_protocol.errors import ProtocolError, RefusedError
from fieldlog_protocol.layout import Layout

HEADER_SIZE = 8
MAX_MESSAGE = HEADER_SIZE + 0xFFFF
_CODE_LIMIT = 1 << 32
_INTEGERS = range(-(1 << 63), 1 << 64)
_REASON_MAX = 200
_FORMER_ERR = "ret"
"""What Zephyr 3.4 called the map `err`. A number under this key is what a shell command returned."""

M = TypeVar("M", bound=Message)
Rsp = TypeVar("Rsp", bound=Message)
Req = TypeVar("Req", bound=Message)


@dataclass(frozen=True, slots=True)
class _RawHeader:
    first: int
    flags: int
    length: int
    group: int
    sequence: int
    id: int


_LAYOUT = Layout(
    _RawHeader,
    [("first", "u8"), ("flags", "u8"), ("length", "u16"), ("group", "u16"), ("sequence", "u8"), ("id", "u8")],
    endian="big",
)


class Packet(NamedTuple):
    """One SMP message. `version` is the header's: 0 for SMP v1, 1 for v2; `payload` is the CBOR map, undecoded.

    Two of them are made for every request, and a tuple is made in a third of the time of a frozen dataclass.
    """

    op: Op
    version: int
    group: int
    id: int
    sequence: int
    payload: bytes

    @property
    def is_request(self) -> bool:
        return not self.op & 1

    @property
    def reply_key(self) -> tuple[int, int, int, int]:
        """(sequence, group, id, op) that a reply to this request bears."""
        return self.sequence, self.group, self.id, self.op + 1

    @property
    def key(self) -> tuple[int, int, int, int]:
        return self.sequence, self.group, self.id, self.op

    def encode(self) -> bytes:
        first = self.op | self.version << 3
        return _LAYOUT.pack(first, 0, len(self.payload), self.group, self.sequence, self.id) + self.payload


def message_length(head: bytes | bytearray) -> int | None:
    """Length of the whole message that begins with `head`, or None while fewer than four bytes are known."""
    return HEADER_SIZE + int.from_bytes(head[2:4], "big") if len(head) >= 4 else None


def decode_packet(data: bytes) -> Packet:
    """The one message that `data` is, without a byte more or less."""
    packets = list(iter_packets(data))
    if len(packets) != 1:
        raise ProtocolError(f"{len(packets)} messages where one belongs")
    return packets[0]


_OPS: tuple[Op, ...] = tuple(Op)


def iter_packets(data: bytes) -> Iterator[Packet]:
    """The messages that sit back to back in `data`; raises ProtocolError where one is cut short."""
    position, size = 0, len(data)
    while position < size:
        if size - position < HEADER_SIZE:
            raise ProtocolError(f"{size - position} bytes are too few for a message header of {HEADER_SIZE}")
        first, _, length, group, sequence, id_ = _LAYOUT.values(data, position)
        end = position + HEADER_SIZE + length
        op: int = first & 7
        if op > Op.WRITE_REPLY:
            raise ProtocolError(f"operation {op} does not exist in SMP")
        if end > size:
            raise ProtocolError(f"message of {end - position} bytes cut short at {size - position}")
        yield Packet(_OPS[op], first >> 3 & 3, group, id_, sequence, data[position + HEADER_SIZE : end])
        position = end


def decode_map(payload: bytes, type_: type[Message] = Message) -> dict[str, Any]:
    """The CBOR map with text keys that `payload` is, and nothing behind it, as a message of `type_` may be."""
    stream = io.BytesIO(payload)
    errors = "replace" if type_.any_text else "strict"
    try:
        value: object = cbor2.load(stream, strict_hashable_types=True, str_errors=errors)
        if type_.alike and isinstance(value, dict):
            value = load_numbered(payload, type_.alike)
    except cbor2.CBORDecodeError as error:
        raise ProtocolError(f"the body of the message is not CBOR: {error}") from error
    if stream.tell() != len(payload):
        raise ProtocolError(f"{len(payload) - stream.tell()} bytes behind the end of the message's CBOR map")
    if not isinstance(value, dict):
        raise ProtocolError("the body of the message is not a CBOR map")
    body = cast("dict[object, Any]", value)
    nested: list[object] = []
    for key, item in body.items():
        if not isinstance(key, str):
            raise ProtocolError("a key of the message's CBOR map is not text")
        if not (isinstance(item, (bytes, str)) or (isinstance(item, int) and item in _INTEGERS)):
            nested.append(item)
    if nested:
        _require_plain_integers(nested)
    return cast("dict[str, Any]", body)


def _require_plain_integers(waiting: list[object]) -> None:
    """No bignums: SMP has no use for them, and no counter, database or line of text is made for 10000 digits."""
    seen: set[int] = set()  # CBOR can share a part among many, and with itself
    while waiting:
        value = waiting.pop()
        if isinstance(value, int):
            if value not in _INTEGERS:
                raise ProtocolError("a number in the message has more than 64 bits")
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:  # pyright: ignore[reportUnknownArgumentType]
            seen.add(id(value))  # pyright: ignore[reportUnknownArgumentType]
            waiting += cast("dict[object, object]", value).values() if isinstance(value, dict) else value


def encode_body(message: Message) -> bytes:
    """The CBOR map of a message; fields that are None are left out."""
    body = msgspec.to_builtins(message, builtin_types=(bytes,))
    return cbor2.dumps(body[message.whole_map] if message.whole_map else body)


def decode_body(payload: bytes, type_: type[M]) -> M:
    """The message of type `type_` that `payload` holds; unknown keys are ignored."""
    return _convert(decode_map(payload), type_)


def _convert(body: Mapping[str, Any], type_: type[M]) -> M:
    if type_.whole_map:
        # servers that always add `rc` (docs/smp.md#errors) add it here too
        whole = {key: value for key, value in body.items() if key != "rc"}
        body = {type_.whole_map: _unwrapped(whole, type_)}
    try:
        return msgspec.convert(body, type_, builtin_types=(bytes,))
    except (msgspec.ValidationError, OverflowError) as error:
        raise ProtocolError(f"{type_.__name__}: {error}") from error


def _unwrapped(body: dict[str, Any], type_: type[Message]) -> dict[str, Any]:
    """The map whose keys are data, out of the one it may be in: what it holds are maps, so that a name is no wrapper."""
    ((key, inner), *more) = body.items() or [("", None)]
    if more or key not in type_.wrapped_in or not isinstance(inner, dict):
        return body
    entries = cast("dict[str, Any]", inner)
    return entries if all(isinstance(value, dict) for value in entries.values()) else body


def decode_reply(payload: bytes, command: Command[Req, Rsp]) -> Rsp:
    """The response to `command`. Raises RefusedError if the device reports an error, v1 (`rc`) or v2 (`err`, once `ret`)."""
    body = _with_result(decode_map(payload, command.response), command.response)
    refused = _refusal(body, command.group)
    if refused is not None:
        raise refused
    return _convert(body, command.response)


def _with_result(body: dict[str, Any], type_: type[Message]) -> dict[str, Any]:
    """The map as servers of today send it: see `Message.result`."""
    if not type_.result or "rc" not in body or {*type_.__struct_encode_fields__} - body.keys() != {type_.result}:
        return body
    return {(type_.result if key == "rc" else key): value for key, value in body.items()}


def refusal(payload: bytes) -> tuple[int | None, int] | None:
    """(group or None, code) when `payload` is an error reply, else None; raises ProtocolError for what is no reply."""
    error = _refusal(decode_map(payload), None)
    return None if error is None else (error.group, error.code)


def _refusal(body: dict[str, Any], asked_group: int | None) -> RefusedError | None:
    error = body["err"] if "err" in body else body.get(_FORMER_ERR)
    if "err" in body or isinstance(error, dict):
        if not isinstance(error, dict):
            raise ProtocolError("the error in the reply is not a map")
        group, code = _number(error, "group"), _number(error, "rc")  # pyright: ignore[reportUnknownArgumentType]
        if code == 0:
            return None
        # Zephyr's statistics group reports its codes under group 63 (docs/smp.md#seen-on-zephyr)
        named = Group.STAT if (asked_group, group) == (Group.STAT, Group.BASIC) else group
        return RefusedError(code, group, error_text(code, named), _details(body))
    if "rc" not in body or (code := _number(body, "rc")) == 0:
        return None
    text = error_text(code, None)
    reason = body.get("rsn")
    if isinstance(reason, str) and reason:
        text = f"{text}: {_one_line(reason)}"
    return RefusedError(code, None, text, _details(body))


def _details(body: dict[str, Any]) -> dict[str, Any]:
    """What stands beside an error."""
    return {key: value for key, value in body.items() if key not in ("rc", "err", "rsn", _FORMER_ERR)}


def _one_line(reason: str) -> str:
    """The device's words with their control characters as escapes, so that they cannot pass for lines of ours."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in reason[:_REASON_MAX])


def _number(body: Mapping[Any, Any], key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProtocolError(f"the error in the reply has no number {key!r}")
    if not -_CODE_LIMIT <= value < _CODE_LIMIT:  # a CBOR bignum may even be too long to be printed
        raise ProtocolError(f"the number {key!r} of the error in the reply is out of range")
    return value


def encode_error(version: int, code: int, group: int | None, details: Mapping[str, object] | None = None) -> bytes:
    """The body of an error reply. In SMP v1 a group's code has no place and becomes rc 1 (docs/smp.md#errors)."""
    if group is not None and version > 0:
        error: dict[str, object] = {"err": {"group": group, "rc": code}}
    else:
        error = {"rc": code if group is None else 1}
    return cbor2.dumps(error | dict(details or {}))


def known_codes(group: int) -> frozenset[int]:
    """Every error code of a group that has a text."""
    return frozenset(GROUP_TEXTS.get(group, {}))
