"""Framings as incremental decoders: however bytes are cut, garbled or interleaved, the next good frame comes through."""

from __future__ import annotations

import base64
import binascii
import itertools
import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.commands import Op
from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, RawFraming, fragments
from fieldlog_protocol.wire import Packet

ECHO = bytes.fromhex("0a00000600004200 a16164626869")
ECHO_LINE = b"\x06\x09ABAKAAAGAABCAKFhZGJoaZsK\n"
START, CONTINUE = b"\x06\x09", b"\x04\x14"
IDLE_S = 0.2


def message(size: int, seed: int = 0) -> bytes:
    """A whole message of `size` bytes with a body of noise."""
    return Packet(Op.READ_REPLY, 1, 8, 0, seed & 0xFF, random.Random(seed).randbytes(size - 8)).encode()


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at positions modulo its length."""
    at = sorted({position % (len(data) + 1) for position in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


def feed_all(framing: Framing, pieces: list[bytes], now: float = 0.0) -> list[bytes]:
    return [found for piece in pieces for found in framing.feed(piece, now)]


MESSAGES = st.lists(st.builds(message, st.integers(8, 600), st.integers(0, 999)), min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 4000), max_size=20)
STREAMS: dict[str, Callable[[], Framing]] = {"console": ConsoleFraming, "raw": RawFraming}


@pytest.fixture(params=STREAMS.values(), ids=list(STREAMS))
def stream(request: pytest.FixtureRequest) -> Callable[[], Framing]:
    """A framing whose link knows no bounds."""
    factory: Callable[[], Framing] = request.param
    return factory


@given(sent=MESSAGES, cuts=CUTS)
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("factory", STREAMS.values(), ids=list(STREAMS))
def test_messages_come_through_however_they_are_cut(
    factory: Callable[[], Framing], sent: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(factory().encode(one) for one in sent)
    for pieces in ([data], [bytes([byte]) for byte in data], cut(data, cuts)):
        framing = factory()
        assert feed_all(framing, pieces) == sent
        assert framing.dropped == 0
        assert framing.take_text() == b""


def test_each_message_is_given_out_with_its_last_byte(stream: Callable[[], Framing]) -> None:
    framing, data = stream(), stream().encode(ECHO)
    assert framing.feed(data[:-1], 0.0) == []
    assert framing.feed(data[-1:], 0.0) == [ECHO]
    assert framing.feed(b"", 0.0) == []


def test_a_following_part_waits_for_its_rest(stream: Callable[[], Framing]) -> None:
    framing, second = stream(), stream().encode(message(300))
    assert framing.feed(stream().encode(ECHO) + second[:100], 0.0) == [ECHO]
    assert framing.feed(second[100:], 0.0) == [message(300)]


def test_the_longest_message_comes_through_and_a_longer_one_does_not() -> None:
    for framing in (ConsoleFraming(384), RawFraming(384)):
        assert framing.feed(framing.encode(message(384)), 0.0) == [message(384)]
        assert framing.feed(framing.encode(message(385)), 1.0) == []
        assert framing.dropped == 1
        assert framing.feed(framing.encode(message(384)), 2.0) == [message(384)]


@settings(deadline=None)
@given(data=st.binary(max_size=2000), cuts=CUTS)
@pytest.mark.parametrize("factory", STREAMS.values(), ids=list(STREAMS))
def test_garbage_never_raises_and_never_hides_the_next_frame(
    factory: Callable[[], Framing], data: bytes, cuts: list[int]
) -> None:
    _assert_found_after(factory(), cut(data, cuts))


MARKED = st.lists(
    st.sampled_from(
        [START, CONTINUE, b"\n", b"\r\n", b"=", b"AAAA", b"AAIAAA==", b"/////", ECHO_LINE, b"\x06", b"\x04"]
    )
    | st.binary(max_size=3),
    max_size=40,
)


@settings(deadline=None)
@given(pieces=MARKED)
def test_garbage_that_looks_like_frames_never_hides_the_next_one(pieces: list[bytes]) -> None:
    _assert_found_after(ConsoleFraming(384), pieces)
    _assert_same_however_cut(lambda: ConsoleFraming(384, max_line=40), b"".join(pieces))


@pytest.mark.faults
@pytest.mark.parametrize("factory", STREAMS.values(), ids=list(STREAMS))
@settings(max_examples=5000, deadline=None)
@given(data=st.binary(max_size=4000) | MARKED.map(b"".join), cuts=CUTS)
def test_garbage_in_full(factory: Callable[[], Framing], data: bytes, cuts: list[int]) -> None:
    _assert_found_after(factory(), cut(data, cuts))


def _assert_found_after(framing: Framing, garbage: list[bytes]) -> None:
    """After a line end (console) or silence (raw), a good frame is found whatever came before."""
    feed_all(framing, garbage)
    framing.feed(b"\n", 0.0)
    framing.take_text()
    dropped = framing.dropped
    later = IDLE_S * 1.01
    found = framing.feed(framing.encode(ECHO) + framing.encode(message(300)), later)
    assert found == [ECHO, message(300)]
    assert framing.dropped - dropped <= 1  # what was under way when the frame began
    assert framing.take_text() == b""


def _assert_same_however_cut(factory: Callable[[], Framing], data: bytes) -> None:
    data += b"\n"  # what is held back of a line without an end may differ
    whole, bytewise = factory(), factory()
    assert whole.feed(data, 0.0) == feed_all(bytewise, [bytes([byte]) for byte in data])
    assert whole.take_text() == bytewise.take_text()
    assert whole.dropped == bytewise.dropped


def test_a_flipped_bit_on_the_console_costs_that_frame_alone() -> None:
    """The CRC sees any single flip; a flip that makes or unmakes a marker is no exception."""
    data, after = ConsoleFraming().encode(message(200)), ConsoleFraming().encode(ECHO)
    for at in range(len(data)):
        for bit in range(8):
            framing = ConsoleFraming(384)
            garbled = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            assert framing.feed(garbled + b"\n" + after, 0.0)[-1:] == [ECHO]
            assert set(feed_all(ConsoleFraming(384), [garbled])) <= {message(200)}


# console


def test_the_golden_frame() -> None:
    assert ConsoleFraming().encode(ECHO) == ECHO_LINE
    assert ConsoleFraming().feed(ECHO_LINE, 0.0) == [ECHO]


@pytest.mark.parametrize("size", [8, 85, 88, 89, 90, 91, 92, 181, 380, 384, 4000, 65533])
def test_lines_are_as_long_as_smp_allows(size: int) -> None:
    lines = ConsoleFraming().encode(message(size)).splitlines(keepends=True)
    assert [line[:2] for line in lines] == [START] + [CONTINUE] * (len(lines) - 1)
    assert all(len(line) <= 127 and line.endswith(b"\n") for line in lines)
    assert all(len(line) == 127 for line in lines[:-1])
    decoded = base64.b64decode(b"".join(line[2:-1] for line in lines), validate=True)
    assert int.from_bytes(decoded[:2], "big") == size + 2 == len(decoded) - 2
    assert decoded[2:-2] == message(size)
    assert binascii.crc_hqx(decoded[2:], 0) == 0
    assert ConsoleFraming().feed(b"".join(lines), 0.0) == [message(size)]


def test_a_message_that_no_frame_holds_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="65534"):
        ConsoleFraming().encode(bytes(65534))


def test_text_between_frames_and_fragments_is_kept() -> None:
    lines = ConsoleFraming().encode(message(200)).splitlines(keepends=True)
    data = b"boot\r\n" + lines[0] + b"[00:01] log\n" + b"\n" + lines[1] + b"".join(lines[2:]) + b"done\n"
    framing = ConsoleFraming()
    assert framing.feed(data, 0.0) == [message(200)]
    assert framing.take_text() == b"boot\r\n[00:01] log\n\ndone\n"
    assert framing.take_text() == b""
    assert framing.dropped == 0


def test_carriage_returns_before_line_ends() -> None:
    data = ConsoleFraming().encode(message(300)).replace(b"\n", b"\r\n")
    assert ConsoleFraming().feed(data, 0.0) == [message(300)]


def test_a_prompt_glued_to_a_frame() -> None:
    framing = ConsoleFraming()
    assert framing.feed(b"uart:~$ " + ECHO_LINE, 0.0) == [ECHO]
    assert framing.take_text() == b"uart:~$ \n"


def test_padding_inside_a_message() -> None:
    """A sender may code every line on its own, so that padding stands in the middle."""
    framed = base64.b64decode(ECHO_LINE[2:-1])
    lines = [base64.b64encode(framed[:4]), base64.b64encode(framed[4:11]), base64.b64encode(framed[11:])]
    assert all(line.endswith(b"==") for line in lines)
    data = START + lines[0] + b"\n" + CONTINUE + lines[1] + b"\n" + CONTINUE + lines[2] + b"\n"
    assert ConsoleFraming().feed(data, 0.0) == [ECHO]


def test_lines_without_content_do_no_harm() -> None:
    encoded = ECHO_LINE[2:-1]
    data = START + b"\n" + CONTINUE + b"\n" + CONTINUE + encoded + b"\n"
    framing = ConsoleFraming()
    assert framing.feed(data, 0.0) == [ECHO]
    assert framing.dropped == 0


def test_a_start_begins_anew() -> None:
    framing = ConsoleFraming()
    first_line = ConsoleFraming().encode(message(200)).splitlines(keepends=True)[0]
    assert framing.feed(first_line + ECHO_LINE, 0.0) == [ECHO]
    assert framing.dropped == 1


def test_a_continuation_without_a_start_is_dropped() -> None:
    framing = ConsoleFraming()
    assert framing.feed(CONTINUE + ECHO_LINE[2:], 0.0) == []
    assert framing.feed(ECHO_LINE + CONTINUE + b"AAAA\n" + ECHO_LINE, 0.0) == [ECHO, ECHO]
    assert framing.take_text() == b""


@pytest.mark.parametrize(
    "line",
    [
        ECHO_LINE.replace(b"ZsK", b"ZsL"),
        ECHO_LINE.replace(b"ABAK", b"ABAL"),
        ECHO_LINE.replace(b"\n", b"AAAA\n"),
        ECHO_LINE.replace(b"FhZ", b"F!Z"),
        ECHO_LINE.replace(b"FhZ", b"F hZ"),
        ECHO_LINE[:-2] + b"\n",
        START + b"AAAA\n",
        START + b"AAE=\n",
        START + b"A\n",
        START + b"====\n",
    ],
    ids=["crc", "content", "trailing", "alphabet", "blank", "cut", "length0", "length1", "single", "padding"],
)
def test_a_bad_frame_is_dropped_counted_and_no_text(line: bytes) -> None:
    framing = ConsoleFraming()
    assert framing.feed(line, 0.0) == []
    assert framing.dropped == 1
    assert framing.feed(CONTINUE + b"AAAA\n", 0.0) == []
    assert framing.feed(ECHO_LINE, 0.0) == [ECHO]
    assert framing.take_text() == b""
    assert framing.dropped == 1


def test_a_short_frame_behind_long_text_survives_byte_by_byte() -> None:
    data = b"x" * 1000 + ECHO_LINE
    _assert_same_however_cut(ConsoleFraming, data)
    assert feed_all(ConsoleFraming(), [bytes([byte]) for byte in data]) == [ECHO]


def test_an_overlong_line_is_dropped_to_its_end() -> None:
    data = START + b"A" * 3000 + b"\n" + ECHO_LINE
    _assert_same_however_cut(ConsoleFraming, data)
    framing = ConsoleFraming()
    assert feed_all(framing, [data[at : at + 100] for at in range(0, len(data), 100)]) == [ECHO]
    assert (framing.dropped, framing.take_text()) == (1, b"")


def test_the_line_limit_counts_marker_and_line_end_as_smp_does() -> None:
    assert ConsoleFraming(max_line=len(ECHO_LINE)).feed(ECHO_LINE, 0.0) == [ECHO]
    assert ConsoleFraming(max_line=len(ECHO_LINE) - 1).feed(ECHO_LINE, 0.0) == []


def test_text_without_a_line_end_is_given_out_and_bounded() -> None:
    framing = ConsoleFraming()
    sent = b"".join(b"%07d " % number for number in range(20_000))
    for at in range(0, len(sent), 64):
        framing.feed(sent[at : at + 64], 0.0)
    text = framing.take_text()
    assert 60_000 <= len(text) <= 64 * 1024
    assert text in sent
    framing.feed(b"\n", 0.0)
    assert sent.endswith(framing.take_text().rstrip(b"\n"))


def test_silence_ends_a_torn_message() -> None:
    framing = RawFraming(idle_s=IDLE_S)
    assert framing.feed(message(300)[:50], 10.0) == []
    assert framing.feed(ECHO, 10.0 + IDLE_S * 1.01) == [ECHO]
    assert framing.dropped == 1


def test_a_pause_shorter_than_silence_does_not_tear_a_message() -> None:
    framing, sent = RawFraming(idle_s=IDLE_S), message(300)
    found = [framing.feed(sent[at : at + 10], 10.0 + at / 10 * IDLE_S * 0.99) for at in range(0, 300, 10)]
    assert found[-1] == [sent]
    assert framing.dropped == 0


@pytest.mark.parametrize(
    "header", ["0a 00 ff ff 00 00 00 00", "0f 00 00 06 00 00 42 00", "ff"], ids=["long", "op", "op1"]
)
def test_a_torn_header_holds_nothing_hostage_beyond_the_silence(header: str) -> None:
    framing = RawFraming(384, IDLE_S)
    framing.feed(bytes.fromhex(header), 0.0)
    framing.feed(ECHO, 0.1)  # may be lost
    assert framing.feed(ECHO, 0.1 + IDLE_S * 1.01) == [ECHO]


def test_a_header_that_promises_too_much_drops_what_follows_in_one_go_until_silence() -> None:
    framing = RawFraming(384, IDLE_S)
    assert feed_all(framing, [b"\x0a\x00\xff\xff"] + [ECHO] * 5) == []
    assert framing.dropped == 1
    assert framing.feed(ECHO, 1.0) == [ECHO]


@pytest.mark.parametrize("extra", [b"\x00", b"\xff", ECHO, ECHO[:9], b"\x0a\x00\xff\xff"])
def test_an_exact_receiver_discards_a_message_with_bytes_behind_it(extra: bytes) -> None:
    framing = RawFraming(384, exact=True)
    assert framing.feed(ECHO + extra, 0.0) == []
    assert framing.dropped >= 1
    assert framing.feed(ECHO, 0.01) == [ECHO]
    assert framing.feed(ECHO[:9], 0.02) == []
    assert framing.feed(ECHO[9:], 0.03) == [ECHO]


def test_raw_takes_one_request_at_a_time_and_has_no_text() -> None:
    assert RawFraming().in_flight_limit == 1
    assert RawFraming().ordered
    assert RawFraming().encode(ECHO) == ECHO
    assert RawFraming().take_text() == b""


# datagrams and fragments


def test_a_datagram_is_a_message_or_nothing() -> None:
    framing = DatagramFraming()
    assert framing.encode(ECHO) == ECHO
    assert framing.feed(ECHO, 0.0) == [ECHO]
    assert framing.feed(ECHO + ECHO, 0.0) == [ECHO + ECHO]
    assert framing.dropped == 0
    for size in range(len(ECHO)):
        assert framing.feed(ECHO[:size], 0.0) == []
    assert framing.dropped == len(ECHO)
    assert not framing.ordered


@settings(deadline=None)
@given(data=st.binary(max_size=100))
def test_arbitrary_datagrams_never_raise_nor_spoil_the_next(data: bytes) -> None:
    framing = DatagramFraming()
    assert framing.feed(data, 0.0) in ([], [data])
    assert framing.feed(ECHO, 0.0) == [ECHO]
    assert framing.take_text() == b""


@settings(deadline=None)
@given(size=st.integers(8, 600), piece=st.integers(1, 250))
def test_fragments_are_rebuilt_by_the_raw_decoder(size: int, piece: int) -> None:
    pieces = fragments(message(size), piece)
    assert all(1 <= len(one) <= piece for one in pieces)
    assert len(pieces) == -(-size // piece)
    assert feed_all(RawFraming(), pieces) == [message(size)]


@pytest.mark.parametrize("size", [64 * 1024, 1024 * 1024])
@pytest.mark.parametrize(
    "pattern", [b"A", START + b"A", CONTINUE + b"A", b"\x06", b"\x00", b"\xff", b"\x0a\x00\xff\xfe"]
)
def test_a_stream_without_a_delimiter_is_held_in_bounds(
    stream: Callable[[], Framing], pattern: bytes, size: int
) -> None:
    framing = stream()
    data = pattern + b"A" * (size - len(pattern)) if len(pattern) > 1 else pattern * size
    for pieces in ([data], [data[at : at + 4096] for at in range(0, size, 4096)]):
        tracemalloc.start()
        for piece in pieces:
            framing.feed(piece, 0.0)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 200 * 1024
    framing.feed(b"\n", 0.0)
    assert framing.feed(framing.encode(ECHO), 1.0) == [ECHO]


def test_a_message_of_endless_fragments_is_held_in_bounds() -> None:
    framing = ConsoleFraming(384)
    framing.feed(START + base64.b64encode(b"\x01\x00") + b"\n", 0.0)
    tracemalloc.start()
    for _ in range(10_000):
        framing.feed(CONTINUE + b"A" * 120 + b"\n" + CONTINUE + b"\n", 0.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000
    assert framing.feed(ECHO_LINE, 0.0) == [ECHO]


def test_a_raw_message_of_no_operation_is_no_message_though_its_length_fits() -> None:
    framing = RawFraming()
    wrong = bytes([ECHO[0] | 7]) + ECHO[1:]
    assert framing.feed(wrong, 0.0) == []
    assert framing.dropped == 1
    assert framing.feed(ECHO, 0.0) == [], "what follows cannot be told apart until the line has been silent"
    assert framing.feed(ECHO, IDLE_S * 1.01) == [ECHO]
