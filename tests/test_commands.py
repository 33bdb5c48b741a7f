"""The command table: golden bytes of every command both ways, and one lint of the whole table."""

# The dicts of msgspec.inspect name no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from fieldlog_protocol.commands import GROUP_NAMES, TABLE, Command, Group, Message, Op, image, logger, os, shell
from fieldlog_protocol.commands import fs as files
from fieldlog_protocol.error_texts import GROUP_TEXTS
from fieldlog_protocol.wire import Packet, decode_body, decode_packet, decode_reply, encode_body
from golden_logger import LOGGER
from golden_stock import STOCK, Golden

GOLDEN = STOCK + LOGGER
BUFFER = 384
"""The smallest usual message buffer; whatever is not bulk data must fit it, header included."""

ACTS_ONCE = {(os.RESET.key), (files.WRITE.key), (shell.EXECUTE.key)}
WITH_REQUEST_ID = {logger.ARM.key, logger.STOP.key, logger.ERASE.key, logger.MARK.key, logger.CALIBRATE.key}
SLOW = {image.UPLOAD.key, image.ERASE.key, logger.ERASE.key}


def _id(golden: Golden) -> str:
    return f"{golden.command.name}-{golden.sequence}"


@pytest.mark.parametrize("golden", GOLDEN, ids=_id)
def test_request_bytes_both_ways(golden: Golden) -> None:
    command, data = golden.command, bytes.fromhex(golden.request_hex)
    packet = Packet(command.op, 1, command.group, command.id, golden.sequence, encode_body(golden.request))
    assert packet.encode().hex(" ", -4) == data.hex(" ", -4)
    decoded = decode_packet(data)
    assert decoded == packet
    assert decoded.is_request
    assert decode_body(decoded.payload, command.request) == golden.request


@pytest.mark.parametrize("golden", GOLDEN, ids=_id)
def test_response_bytes_both_ways(golden: Golden) -> None:
    command, data = golden.command, bytes.fromhex(golden.response_hex)
    op = Op.WRITE_REPLY if command.op is Op.WRITE else Op.READ_REPLY
    packet = Packet(op, 1, command.group, command.id, golden.sequence, encode_body(golden.response))
    assert packet.encode().hex(" ", -4) == data.hex(" ", -4)
    decoded = decode_packet(data)
    assert decoded == packet
    assert not decoded.is_request
    assert decoded.key == decode_packet(bytes.fromhex(golden.request_hex)).reply_key
    assert decode_reply(decoded.payload, command) == golden.response


def test_every_command_has_golden_bytes() -> None:
    assert {command.key for command in TABLE} == {golden.command.key for golden in GOLDEN}


def test_every_field_of_every_message_occurs_in_the_golden_bytes() -> None:
    used = {name for golden in GOLDEN for message in (golden.request, golden.response) for name in _names_used(message)}
    declared = {(type_.__name__, field.name) for type_ in _all_messages() for field in _fields(type_)}
    # the boot loader answers its name or its mode, and the golden bytes show the mode
    assert declared - used == {("BootloaderResponse", "bootloader")}


def _names_used(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Message):
        for name in value.__struct_fields__:
            inner = getattr(value, name)
            if inner is not None:
                yield type(value).__name__, name
                yield from _names_used(inner)
    elif isinstance(value, dict):
        for inner in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _names_used(inner)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, tuple):
        for inner in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _names_used(inner)  # pyright: ignore[reportUnknownArgumentType]


# the lint


def test_names_and_keys_are_unique() -> None:
    assert len({command.key for command in TABLE}) == len(TABLE)
    assert len({command.name for command in TABLE}) == len(TABLE)


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.name)
def test_a_command_is_a_request_with_a_text_and_errors_that_have_texts(command: Command[Any, Any]) -> None:
    assert command.op in (Op.READ, Op.WRITE)
    assert command.group in GROUP_NAMES
    assert 0 <= command.id <= 0xFF
    _assert_phrase(command.text)
    assert set(command.errors) <= set(GROUP_TEXTS[command.group])
    assert list(command.errors) == sorted(set(command.errors) - {0, 1})


def test_what_may_be_repeated() -> None:
    assert {command.key for command in TABLE if not command.repeatable} == ACTS_ONCE
    for command in TABLE:
        if command.key in WITH_REQUEST_ID:
            assert {"id"} <= {field.name for field in _fields(command.request) if field.required}


def test_what_takes_the_device_long_is_given_time() -> None:
    assert all(command.service_s >= 40 for command in TABLE if command.key in SLOW)
    assert all(command.service_s >= 0 for command in TABLE)


def test_message_names_are_unique() -> None:
    names = [type_.__name__ for type_ in _all_messages()]
    assert len(names) == len(set(names))


def test_every_field_says_what_it_is() -> None:
    for type_ in _all_messages():
        assert type_.__doc__, type_
        for field in _fields(type_):
            _assert_phrase(_meta(field.type).description, f"{type_.__name__}.{field.name}")


def test_no_two_fields_share_a_key() -> None:
    for type_ in _all_messages():
        keys = [field.encode_name for field in _fields(type_)]
        assert len(keys) == len(set(keys)), type_


def test_every_number_has_a_unit_and_limits() -> None:
    """Either of its own, or that of the unit field beside it."""
    for type_ in _all_messages():
        unit_beside = "u" in type_.__struct_fields__
        for field in _fields(type_):
            meta = _meta(field.type)
            if unit_beside and meta.unit is None:
                continue
            if isinstance(meta.type, inspect.IntType):
                assert meta.unit in {"1", "By", "s", "us", "mV", "uA", "mA.h", "%", "[ppm]", "{tick}", "{word}"}, (
                    type_,
                    field.name,
                )
                assert None not in (meta.type.ge, meta.type.le), (type_, field.name)
            assert not isinstance(meta.type, inspect.FloatType) or meta.unit, (type_, field.name)


def test_optional_fields_default_to_none_and_are_then_left_out() -> None:
    for type_ in _all_messages():
        assert all(field.default is None for field in _fields(type_) if not field.required), type_


def test_messages_of_the_logger_fit_the_smallest_buffer() -> None:
    """All text at its longest, all numbers at their widest, a list with one entry: what does not fit could not be paged."""
    for command in logger.COMMANDS:
        for type_ in (command.request, command.response):
            if type_ is not logger.InfoResponse:
                assert _size(_widest(inspect.type_info(type_), items=1)) <= BUFFER, type_


@pytest.mark.parametrize("part", [slice(0, 13), slice(13, 29), slice(29, None)], ids=["who", "doing", "planned"])
def test_each_part_of_info_fits_the_smallest_buffer(part: slice) -> None:
    widest = _widest(inspect.type_info(logger.InfoResponse), items=8)
    names = logger.InfoResponse.__struct_fields__
    assert (names[13], names[29]) == ("boot", "plan")
    kept = {name: getattr(widest, name) for name in {"parts", *names[part]}}
    assert _size(logger.InfoResponse(**kept)) <= BUFFER


def test_requests_with_lists_fit_the_smallest_buffer() -> None:
    """Eight streams to arm, eight coefficients to calibrate, a text setting as long as one may be."""
    assert _size(_widest(inspect.type_info(logger.ArmRequest), items=8)) <= BUFFER
    assert _size(_widest(inspect.type_info(logger.CalibrateRequest), items=8)) <= BUFFER
    text = logger.SettingInfo(
        k="k" * 64,
        t=logger.SettingType.TEXT,
        lo=0,
        hi=120,
        d=b"d" * logger.SETTING_TEXT_MAX,
        f=7,
        x="x" * logger.SETTING_TEXT_MAX,
    )
    assert _size(logger.SchemaResponse(n=0xFFFF, i=0xFFFF, s=(text,))) <= BUFFER


def test_groups_have_the_numbers_of_smp() -> None:
    stock = {
        "OS": 0,
        "IMAGE": 1,
        "STAT": 2,
        "SETTINGS": 3,
        "FS": 8,
        "SHELL": 9,
        "ENUM": 10,
        "TRANSPORT": 11,
        "BASIC": 63,
    }
    assert {group.name: group.value for group in Group} == {**stock, "LOGGER": 0x464C}


# walking declarations


class _Meta:
    """What a field's annotation says, whether it is optional or not."""

    def __init__(self, type_: inspect.Type) -> None:
        self.description = ""
        self.unit: str | None = None
        self.type = type_
        while True:
            if isinstance(self.type, inspect.Metadata):
                schema: dict[str, str] = self.type.extra_json_schema or {}
                extra: dict[str, str] = self.type.extra or {}
                self.description, self.unit = schema.get("description", ""), extra.get("unit")
                self.type = self.type.type
            elif isinstance(self.type, inspect.UnionType) and (inner := _without_none(self.type)):
                self.type = inner
            else:
                return


def _meta(type_: inspect.Type) -> _Meta:
    return _Meta(type_)


def _without_none(union: inspect.UnionType) -> inspect.Type | None:
    types = [type_ for type_ in union.types if not isinstance(type_, inspect.NoneType)]
    return types[0] if len(types) == 1 else None


def _fields(type_: type[Message]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(type_)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _all_messages() -> list[type[Message]]:
    found: dict[type[Message], None] = {}
    for command in TABLE:
        for type_ in (command.request, command.response):
            _collect(inspect.type_info(type_), found)
    return list(found)


def _collect(type_: inspect.Type, found: dict[type[Message], None]) -> None:
    plain = _meta(type_).type
    if isinstance(plain, inspect.StructType):
        assert issubclass(plain.cls, Message)
        found[plain.cls] = None
        for field in plain.fields:
            _collect(field.type, found)
    elif isinstance(plain, inspect.VarTupleType):
        _collect(plain.item_type, found)
    elif isinstance(plain, inspect.DictType):
        _collect(plain.value_type, found)


def _widest(type_: inspect.Type, items: int) -> Any:
    plain = _meta(type_).type
    if isinstance(plain, inspect.StructType):
        return plain.cls(**{field.name: _widest(field.type, items) for field in plain.fields})
    if isinstance(plain, inspect.VarTupleType):
        return tuple(_widest(plain.item_type, items) for _ in range(items))
    return _widest_plain(plain)


def _widest_plain(plain: inspect.Type) -> str | bytes | float:
    match plain:
        case inspect.StrType():
            return "x" * (plain.max_length or 0)
        case inspect.BytesType():
            return b"x" * (plain.max_length or 0)
        case inspect.IntType():
            return 2**63 - 1 if plain.le is None else plain.le
        case inspect.BoolType():
            return True
        case _:
            return 1.1  # a float, or a number that may be one: nine bytes


def _size(message: Message) -> int:
    packet = Packet(Op.WRITE, 1, Group.LOGGER, 0, 0, encode_body(message))
    msgspec.convert(msgspec.to_builtins(message), type(message))
    return len(packet.encode())


def _assert_phrase(text: str, where: str = "") -> None:
    assert text == " ".join(text.split()) != "", (where, text)
    assert not text.endswith("."), (where, text)
