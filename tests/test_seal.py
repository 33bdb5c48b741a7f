"""The check value inside requests on raw lines: its bytes, and that no loss or damage on the line passes for a request."""

from __future__ import annotations

import binascii
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.commands import TABLE, Command, Op, image
from fieldlog_protocol.errors import ProtocolError
from fieldlog_protocol.framing import RawFraming
from fieldlog_protocol.seal import SEAL_SIZE, is_damaged, sealed
from fieldlog_protocol.wire import Packet, decode_body, decode_packet, encode_body

PLAIN = bytes.fromhex("0a00000c00002a00" + "a1" + "6164" + "68" + "6669656c646c6f67")
SEALED = bytes.fromhex("0a00001500002a00" + "a2" + "63637263" + "1a" + "56277de4" + "6164" + "68" + "6669656c646c6f67")


def test_the_check_value_is_the_first_entry_and_covers_all_other_bytes() -> None:
    assert sealed(PLAIN) == SEALED
    assert len(SEALED) - len(PLAIN) == SEAL_SIZE
    others = SEALED[:9] + SEALED[18:]
    assert int.from_bytes(SEALED[14:18], "big") == binascii.crc32(others)
    assert not is_damaged(SEALED)


def test_who_does_not_know_it_reads_the_request_as_ever() -> None:
    asked = image.ImageUploadRequest(off=1000, data=b"firmware")
    packet = Packet(Op.WRITE, 1, 1, 1, 7, encode_body(asked))
    found = decode_packet(sealed(packet.encode()))
    assert found._replace(payload=b"") == packet._replace(payload=b"")
    assert decode_body(found.payload, image.ImageUploadRequest) == asked
    assert list(cbor2.loads(found.payload)) == ["crc", "off", "data"]


BITS_OF_KEY = range(8 * 9, 8 * 14)
VALUES: tuple[object, ...] = (0, 23, 255, 1 << 15, "x", b"x", [1], {}, True)
OTHER_BITS = [at for at in range(8 * len(SEALED)) if at not in BITS_OF_KEY]


@given(
    in_key=st.sets(st.sampled_from(BITS_OF_KEY), max_size=1),
    elsewhere=st.sets(st.sampled_from(OTHER_BITS), max_size=3),
)
def test_bits_that_flip_are_noticed_those_of_the_key_too(in_key: set[int], elsewhere: set[int]) -> None:
    """Else one that takes the key away would let all others pass."""
    damaged = bytearray(SEALED)
    for at in in_key | elsewhere:
        damaged[at // 8] ^= 1 << at % 8
    assert is_damaged(bytes(damaged)) == bool(in_key | elsewhere)


@pytest.mark.parametrize("command", TABLE, ids=lambda command: command.name)
def test_no_request_is_taken_for_one_whose_key_was_damaged(command: Command[Any, Any]) -> None:
    """As others send it, with any key in front."""
    for name in command.request.__struct_encode_fields__:
        for value in VALUES:
            body = cbor2.dumps({name: value, "x": bytes(20)})
            assert not is_damaged(Packet(command.op, 1, command.group, command.id, 1, body).encode())


@pytest.mark.parametrize("message", [b"", PLAIN[:8], PLAIN, PLAIN[:8] + b"\xbf\xff", PLAIN[:8] + b"\xb7", SEALED[:17]])
def test_what_bears_none_is_not_damaged(message: bytes) -> None:
    assert not is_damaged(message)


def test_a_map_that_is_full_or_of_no_said_length_stays_as_it_is() -> None:
    for body in (b"\xbf\xff", b"\xb7", b"\xb8\x20"):
        assert sealed(PLAIN[:8] + body) == PLAIN[:8] + body


def upload(number: int, size: int) -> bytes:
    piece = image.ImageUploadRequest(off=1000 + number * size, data=bytes(i * 7 + number & 0xFF for i in range(size)))
    return Packet(Op.WRITE, 1, 1, 1, number, encode_body(piece)).encode()


def is_upload(message: bytes) -> bool:
    packet = decode_packet(message)
    try:
        decode_body(packet.payload, image.ImageUploadRequest)
    except ProtocolError:
        return False
    return (packet.op, packet.group, packet.id) == (Op.WRITE, 1, 1)


@settings(deadline=None, max_examples=200)
@given(
    size=st.integers(30, 300),
    lost=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 40)), min_size=1, max_size=3),
    pieces=st.integers(1, 500),
)
def test_what_is_lost_of_one_request_is_never_filled_up_from_the_next(
    size: int, lost: list[tuple[int, int]], pieces: int
) -> None:
    """Without a check value a request that lost bytes would take as many from the one behind it, and be believed."""
    host, device = RawFraming(back_to_back=True), RawFraming(max_message=400, back_to_back=True)
    sent = [host.encode(upload(number, size)) for number in range(12)]
    line = bytearray(b"".join(sent))
    for at, length in lost:
        del line[at % len(line) : at % len(line) + length]
    found = [
        message for at in range(0, len(line), pieces) for message in device.feed(bytes(line[at : at + pieces]), 0.0)
    ]
    bearing = [message for message in found if message[9:14] == b"\x63crc\x1a"]
    assert all(message in sent for message in bearing)
    assert not [message for message in found if message not in sent and is_upload(message)], "an upload made up"


def test_a_device_that_takes_requests_back_to_back_drops_a_damaged_one_and_takes_the_next() -> None:
    device = RawFraming(max_message=400, back_to_back=True)
    first, second = sealed(upload(0, 100)), sealed(upload(1, 100))
    damaged = first[:60] + bytes([first[60] ^ 4]) + first[61:]
    assert device.feed(damaged + second, 0.0) == [second]
    assert device.dropped == 1
    assert device.feed(upload(2, 100), 0.0) == [upload(2, 100)], "others' requests bear none"


def test_replies_bear_none() -> None:
    reply = Packet(Op.WRITE_REPLY, 1, 0, 0, 1, cbor2.dumps({"r": "x"})).encode()
    assert RawFraming(back_to_back=True).encode(reply) == reply
