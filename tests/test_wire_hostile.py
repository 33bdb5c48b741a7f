"""Hostile bytes at the wire: whatever arrives, our own errors come out and nothing else, soon and without much memory."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.commands import TABLE, Command, os
from fieldlog_protocol.errors import ProtocolError, RefusedError
from fieldlog_protocol.wire import decode_body, decode_map, decode_packet, decode_reply, refusal

KEYS = sorted({key for c in TABLE for type_ in (c.request, c.response) for key in type_.__struct_encode_fields__})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([64, 20_000]).map(lambda bits: 1 << bits)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.sampled_from(
        [
            Decimal("1e30"),
            Fraction(1, 3),
            datetime(2025, 1, 1, tzinfo=UTC),
            uuid.UUID(int=1),
            ip_address("::1"),
            cbor2.CBORTag(60000, "x"),
            cbor2.CBORSimpleValue(99),
            cbor2.undefined,
            frozenset({"a"}),
        ]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.integers() | st.binary(max_size=2), inner)
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(st.sampled_from([*KEYS, "rc", "err", "rsn"]), VALUES, max_size=5).map(cbor2.dumps)


def _assert_only_our_errors(decode: Callable[[], object]) -> None:
    with contextlib.suppress(ProtocolError, RefusedError):
        decode()


def _decode_as_everything(payload: bytes) -> None:
    _assert_only_our_errors(lambda: refusal(payload))
    for command in TABLE:
        _assert_only_our_errors(lambda: decode_reply(payload, command))  # noqa: B023 - called at once
        _assert_only_our_errors(lambda: decode_body(payload, command.request))  # noqa: B023


@settings(deadline=None)
@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_raise_protocol_errors_only(data: bytes) -> None:
    _assert_only_our_errors(lambda: decode_packet(data))
    _decode_as_everything(data)


@settings(deadline=None, max_examples=60)
@given(payload=BODIES)
def test_cbor_of_any_shape_raises_protocol_errors_only(payload: bytes) -> None:
    _decode_as_everything(payload)


@pytest.mark.faults
@settings(max_examples=5000, deadline=None)
@given(payload=BODIES | st.binary(max_size=400))
def test_cbor_of_any_shape_raises_protocol_errors_only_in_full(payload: bytes) -> None:
    _decode_as_everything(payload)


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.name)
@settings(deadline=None, max_examples=5)
@given(data=st.data())
def test_one_changed_byte_of_a_reply_raises_our_errors_only(command: Command[Any, Any], data: st.DataObject) -> None:
    body = {"images": [{"slot": 0, "version": "1"}], "r": "hi", "rc": 0, "err": {"group": 1, "rc": 3}, "off": 5}
    payload = bytearray(cbor2.dumps(body))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(st.integers(0, 255))
    _assert_only_our_errors(lambda: decode_reply(bytes(payload), command))


@pytest.mark.parametrize(
    "payload",
    [
        b"\xa1\x61a" + b"\x81" * 50_000 + b"\x00",  # nesting
        b"\xa1\x61a\x9b" + b"\xff" * 8,  # a list of 2^64 entries
        b"\xa1\x61a\x5b" + b"\xff" * 8,  # a byte string as long
        b"\xbb" + b"\xff" * 8,  # a map as large
        b"\xd8\x1c\xa1\x65tasks\xd8\x1d\x00",  # a map that contains itself
        b"\xa1\x61a\xc4\x82\x1b\x00\x00\x00\xff\xff\xff\xff\xff\x01",  # 10^(10^12)
        b"\xa1\x61a\xc5\x82\x1b\x00\x00\x00\xff\xff\xff\xff\xff\x01",  # 2^(10^12)
        b"\xa1\x61a\xd8\x23\x6a(((a*)*)*)",  # a regular expression
    ],
    ids=["nested", "list", "bytes", "map", "cyclic", "decimal", "bigfloat", "regex"],
)
def test_cbor_made_to_exhaust_the_reader(payload: bytes) -> None:
    _decode_as_everything(payload)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, 1 << 40_000], ids=["above", "below", "endless"])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [0, [v]], lambda v: {"a": {"b": v}}])
def test_no_number_has_more_than_64_bits(value: int, wrap: Callable[[int], object]) -> None:
    with pytest.raises(ProtocolError, match="64 bits"):
        decode_map(cbor2.dumps({"x": wrap(value)}))


def test_numbers_of_64_bits_pass() -> None:
    body = {"x": [(1 << 64) - 1, -(1 << 63)], "flag": True, "ratio": 1e300}
    assert decode_map(cbor2.dumps(body)) == body


def test_a_reason_stays_in_its_line() -> None:
    refused = {"rc": 3, "rsn": "no\r\nerror: \x1b[31mforged\u202e" + "x" * 5000}
    with pytest.raises(RefusedError) as caught:
        decode_reply(cbor2.dumps(refused), os.ECHO)
    assert str(caught.value).isprintable()
    assert r"no\r\nerror: \x1b[31mforged\u202exxx" in str(caught.value)
    assert len(str(caught.value)) < 400
