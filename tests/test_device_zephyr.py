"""The simulated server does on the wire what a real Zephyr server was seen to do (docs/smp.md#seen-on-zephyr)."""

from __future__ import annotations

import base64
import binascii

import cbor2
import pytest

from fieldlog_protocol.commands import Group, Op
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, RawFraming
from fieldlog_protocol.wire import Packet, decode_map, iter_packets
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.handlers import register_all
from fieldlog_sim.links import MemoryLink
from fieldlog_sim.port import Buffers, SmpPort, console_framing, datagram_framing, raw_framing
from fieldlog_sim.profiles import PROFILES
from fieldlog_sim.sensors import default_sensors
from fieldlog_sim.sim_time import SimTime

USUAL = Buffers(384, 4)


class Wire:
    """A device's line, for hosts that write what they like."""

    def __init__(
        self, framing: str = "console", buffers: Buffers = USUAL, profile: str = "logger", baud: int | None = None
    ) -> None:
        self.buffers = buffers
        config = DeviceConfig(PROFILES[profile], buffers)
        time = SimTime(1_767_225_600_000_000, monotonic=lambda: 0.0)
        self.device = Device(config, time, default_sensors(0), register_all)
        sides: dict[str, tuple[Framing, Framing]] = {
            "console": (console_framing(buffers), ConsoleFraming()),
            "raw": (raw_framing(buffers), RawFraming()),
            "udp": (datagram_framing(buffers), DatagramFraming()),
        }
        theirs, self.framing = sides[framing]
        self.port = SmpPort(self.device, buffers, theirs, 0.0)
        self.link = MemoryLink(self.port, datagrams=framing == "udp", baud=baud)
        self.link.settle()
        self.link.take()

    def say(self, *pieces: bytes) -> list[Packet]:
        """Write the pieces at once; the replies, in order."""
        for piece in pieces:
            self.link.send(piece)
        self.link.settle(10.0)
        messages = [m for data in self.link.take_datagrams() for m in self.framing.feed(data, self.link.now)]
        return [packet for message in messages for packet in iter_packets(message)]

    def ask(self, *packets: Packet) -> list[Packet]:
        return self.say(*(self.framing.encode(packet.encode()) for packet in packets))


def echo(text: str = "hi", number: int = 1, version: int = 1) -> Packet:
    return Packet(Op.WRITE, version, Group.OS, 0, number, cbor2.dumps({"d": text}))


def request(group: int, id: int, body: object, op: Op = Op.READ, version: int = 1) -> Packet:
    return Packet(op, version, group, id, 7, cbor2.dumps(body))


def body(packets: list[Packet]) -> dict[str, object]:
    (packet,) = packets
    return decode_map(packet.payload)


# buffers


@pytest.mark.parametrize("framing", ["console", "udp", "raw"])
@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_bursts_are_answered_in_order_as_far_as_there_are_buffers(framing: str, count: int) -> None:
    wire = Wire(framing, Buffers(384, count, back_to_back=True))
    for extra in (-1, 0, 1, 5):
        answers = wire.ask(*(echo(f"{number}", number) for number in range(count + extra)))
        assert [answer.sequence for answer in answers] == list(range(min(count, count + extra)))
        bodies = [decode_map(answer.payload) for answer in answers]
        expected: list[dict[str, object]] = [{"r": f"{number}"} for number in range(len(answers))]
        if extra >= 0:  # no buffer was left for the first reply
            expected[0] = {"rc": 2}
        assert bodies == expected
    assert wire.ask(echo()) != [], "nothing is left of it"


def test_a_burst_paced_by_the_wire_is_answered_in_full() -> None:
    wire = Wire(baud=115_200)
    answers = wire.ask(*(echo(f"{number}", number) for number in range(20)))
    assert [decode_map(answer.payload) for answer in answers] == [{"r": f"{number}"} for number in range(20)]


def filler(length: int) -> Packet:
    """An echo request whose message has this length."""
    text = "x" * (length - 8 - 3 - 3)
    packet = echo(text)
    assert len(packet.encode()) == length
    return packet


@pytest.mark.parametrize("size", [384, 512, 2048])
def test_the_largest_request_on_the_console_is_four_bytes_less_than_a_buffer(size: int) -> None:
    wire = Wire(buffers=Buffers(size, 4))
    assert len(wire.ask(filler(size - 4))) == 1
    assert wire.ask(filler(size - 3)) == [], "dropped in silence"
    assert len(wire.ask(echo())) == 1


@pytest.mark.parametrize("size", [384, 2048])
def test_on_raw_and_udp_a_request_may_fill_the_buffer(size: int) -> None:
    wire = Wire("raw", Buffers(size, 4))
    assert len(wire.ask(filler(size))) == 1
    assert wire.ask(filler(size + 1)) == []
    wire.link.advance(wire.link.now + 1)
    assert len(wire.ask(echo())) == 1
    udp = Wire("udp", Buffers(size, 4))
    assert len(udp.ask(filler(size))) == 1
    assert udp.ask(filler(size + 1)) == []
    assert len(udp.ask(echo())) == 1


def test_a_reply_that_does_not_fit_is_refused_with_rc_7() -> None:
    wire = Wire("udp", Buffers(96, 4))
    assert body(wire.ask(request(Group.OS, 2, {}))) == {"rc": 7}


# lines


def in_lines(packet: Packet, length: int) -> bytes:
    """The frame cut into lines of at most this length, markers and line end included."""
    message = packet.encode()
    framed = (len(message) + 2).to_bytes(2, "big") + message + binascii.crc_hqx(message, 0).to_bytes(2, "big")
    encoded = base64.b64encode(framed)
    step = (length - 3) // 4 * 4
    lines = [encoded[at : at + step] for at in range(0, len(encoded), step)]
    return b"".join((b"\x04\x14" if at else b"\x06\x09") + line + b"\n" for at, line in enumerate(lines))


def test_lines_of_127_bytes_are_taken_and_131_are_not() -> None:
    wire = Wire()
    frame = in_lines(filler(300), 127)
    assert max(map(len, frame.splitlines(keepends=True))) == 127
    assert len(wire.say(frame)) == 1
    frame = in_lines(filler(300), 131)
    assert max(map(len, frame.splitlines(keepends=True))) == 131
    assert wire.say(frame) == []
    assert len(wire.say(in_lines(filler(300), 23))) == 1


def test_carriage_returns_and_log_lines_between_fragments_are_taken() -> None:
    wire = Wire()
    frame = in_lines(filler(300), 63)
    assert len(wire.say(frame.replace(b"\n", b"\r\n"))) == 1
    assert len(wire.say(frame.replace(b"\n", b"\n[00:00:01.000] <inf> app: hello\r\n"))) == 1


@pytest.mark.parametrize("length", [300, 301, 302])
def test_padding_is_taken(length: int) -> None:
    frame = in_lines(filler(length), 127)
    wire = Wire()
    assert len(wire.say(frame)) == 1
    every_line_padded = b"".join(
        (b"\x04\x14" if at else b"\x06\x09") + base64.b64encode(piece) + b"\n"
        for at, piece in enumerate(_pieces(filler(length), 40))
    )
    assert b"=\n\x04\x14" in every_line_padded
    assert len(wire.say(every_line_padded)) == 1


def _pieces(packet: Packet, size: int) -> list[bytes]:
    message = packet.encode()
    framed = (len(message) + 2).to_bytes(2, "big") + message + binascii.crc_hqx(message, 0).to_bytes(2, "big")
    return [framed[at : at + size] for at in range(0, len(framed), size)]


def test_a_new_frame_ends_one_that_was_not_finished() -> None:
    wire = Wire()
    frame = in_lines(filler(300), 63)
    half = b"".join(frame.splitlines(keepends=True)[:3])
    assert body(wire.say(half + in_lines(echo("after"), 127))) == {"r": "after"}
    assert wire.say(frame.splitlines(keepends=True)[-1]) == [], "a continuation of nothing"


def test_a_frame_with_a_wrong_check_value_is_dropped_in_silence() -> None:
    wire = Wire()
    frame = bytearray(in_lines(echo("abcdefgh"), 127))
    frame[12] = ord("A") if frame[12] != ord("A") else ord("B")
    assert wire.say(bytes(frame)) == []
    assert len(wire.ask(echo())) == 1


def test_console_text_comes_between_replies_and_not_within() -> None:
    wire = Wire()
    (answer,) = wire.ask(request(Group.OS, 5, {}, Op.WRITE))
    assert decode_map(answer.payload) == {}
    wire.link.settle(10)
    wire.ask(echo())
    assert b"fieldlog simulator" in wire.framing.take_text()


def test_two_messages_in_one_frame_are_both_answered() -> None:
    both = echo("one", 1).encode() + echo("two", 2).encode()
    for framing in ("console", "udp"):
        wire = Wire(framing)
        answers = wire.say(wire.framing.encode(both))
        assert [(answer.sequence, decode_map(answer.payload)) for answer in answers] == [
            (1, {"r": "one"}),
            (2, {"r": "two"}),
        ]
    wire = Wire("raw")
    assert wire.say(both) == [], "on raw serial bytes behind a message spoil it"
    wire.link.advance(wire.link.now + 1)
    assert len(wire.ask(echo())) == 1


# errors and versions


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("key", [(Group.OS, 200), (200, 0), (Group.LOGGER, 99), (Group.OS, 5)])
def test_an_unknown_group_or_command_is_rc_8(key: tuple[int, int], version: int) -> None:
    assert body(Wire().ask(request(*key, {}, version=version))) == {"rc": 8}


def test_the_logger_group_of_a_stock_server_is_rc_8() -> None:
    assert body(Wire(profile="smp-server").ask(request(Group.LOGGER, 0, {}))) == {"rc": 8}


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"\xa1", b"\x80", b"\xa1\x61d", b"\xa1\x61d\x01", b"\xa0", b"\xa1\x61d\x61\xff", b"\xa1\x01\x02"],
)
def test_bad_cbor_is_rc_3(payload: bytes) -> None:
    packet = Packet(Op.WRITE, 1, Group.OS, 0, 9, payload)
    (answer,) = Wire().ask(packet)
    assert (answer.sequence, decode_map(answer.payload)) == (9, {"rc": 3})


def test_unknown_keys_and_indefinite_maps_are_taken() -> None:
    wire = Wire()
    assert body(wire.ask(request(Group.OS, 0, {"d": "x", "new": [1, {"y": None}]}, Op.WRITE))) == {"r": "x"}
    indefinite = Packet(Op.WRITE, 1, Group.OS, 0, 9, b"\xbf\x61d\x61x\xff")
    assert body(wire.ask(indefinite)) == {"r": "x"}


def test_a_v1_request_gets_a_v1_reply_with_the_coarse_code() -> None:
    wire = Wire()
    (answer,) = wire.ask(request(Group.OS, 4, {}, version=0))
    assert (answer.version, decode_map(answer.payload)) == (0, {"rc": 1})
    (answer,) = wire.ask(request(Group.OS, 4, {}, version=1))
    assert (answer.version, decode_map(answer.payload)) == (1, {"err": {"group": 0, "rc": 4}})
    (answer,) = wire.ask(echo(version=0))
    assert (answer.version, decode_map(answer.payload)) == (0, {"r": "hi"})


@pytest.mark.parametrize("version", [2, 3])
def test_a_newer_version_is_rc_13(version: int) -> None:
    (answer,) = Wire().ask(echo(version=version))
    assert (answer.version, decode_map(answer.payload)) == (1, {"rc": 13})


def test_replies_are_not_answered() -> None:
    assert Wire().ask(Packet(Op.WRITE_REPLY, 1, Group.OS, 0, 1, cbor2.dumps({"d": "x"}))) == []


def test_a_success_is_an_empty_map_without_rc() -> None:
    (answer,) = Wire().ask(request(Group.FS, 4, {}, Op.WRITE))
    assert answer.payload == b"\xa0"


def test_a_stock_server_writes_indefinite_maps() -> None:
    wire = Wire(profile="smp-server")
    for packet in (echo(), request(Group.FS, 4, {}, Op.WRITE), request(Group.OS, 6, {})):
        (answer,) = wire.ask(packet)
        assert (answer.payload[:1], answer.payload[-1:]) == (b"\xbf", b"\xff")
    assert body(wire.ask(request(Group.OS, 6, {}))) == {"buf_size": 384, "buf_count": 4}
    assert wire.ask(request(Group.OS, 200, {}))[0].payload == cbor2.dumps({"rc": 8})


# os and stat


def test_the_clock_answers_only_when_it_has_been_set() -> None:
    wire = Wire()
    not_set = {"err": {"group": 0, "rc": 4}}
    assert body(wire.ask(request(Group.OS, 4, {}))) == not_set
    for said, then in (
        ("2026-05-04T03:02:01", "2026-05-04T03:02:01.0"),
        ("2026-05-04T03:02:01.5", "2026-05-04T03:02:01.5"),
        ("2026-05-04T03:02:01.250", "2026-05-04T03:02:01.250"),
        ("2026-05-04T03:02:01.12345", "2026-05-04T03:02:01.123"),
        ("2026-05-04T03:02:01+02:00", "2026-05-04T03:02:01.0"),
    ):
        assert body(wire.ask(request(Group.OS, 4, {"datetime": said}, Op.WRITE))) == {}
        assert body(wire.ask(request(Group.OS, 4, {}))) == {"datetime": then}
    wire.ask(request(Group.OS, 5, {}, Op.WRITE))
    assert body(wire.ask(request(Group.OS, 4, {}))) == not_set


@pytest.mark.parametrize(
    "text", ["", "now", "2026-05-04", "2026-13-04T03:02:01", "1969-12-31T23:59:59", "2107-01-01T00:00:00", "x" * 26]
)
def test_a_date_that_makes_no_sense_is_refused(text: str) -> None:
    wire = Wire()
    assert body(wire.ask(request(Group.OS, 4, {"datetime": text}, Op.WRITE))) == {"rc": 3}
    assert body(wire.ask(request(Group.OS, 4, {}))) == {"err": {"group": 0, "rc": 4}}


def test_reset_answers_first_and_then_restarts() -> None:
    wire = Wire(baud=9600)
    boot = wire.device.boot_id
    wire.link.send(wire.framing.encode(request(Group.OS, 5, {}, Op.WRITE).encode()))
    while not wire.link.received:
        assert wire.device.boot_id == boot, "restarted before the reply was out"
        at = wire.link.next_at
        assert at is not None
        wire.link.advance(at)
    wire.link.settle()
    assert wire.device.boot_id == boot + 1


def test_errors_of_statistics_name_group_63() -> None:
    assert body(Wire().ask(request(Group.STAT, 0, {"name": "none"}))) == {"err": {"group": 63, "rc": 2}}


def test_what_the_boot_loader_cannot_tell_is_os_3() -> None:
    assert body(Wire().ask(request(Group.OS, 8, {"query": "colour"}))) == {"err": {"group": 0, "rc": 3}}
    assert body(Wire().ask(request(Group.OS, 7, {"format": "q"}))) == {"err": {"group": 0, "rc": 2}}


@pytest.mark.parametrize(
    ("argv", "code"), [([], 3), ([""], 3), (["echo", "x" * 300], 2)], ids=["nothing", "blank", "too long"]
)
def test_shell_refusals(argv: list[str], code: int) -> None:
    wire = Wire("udp", Buffers(2048, 4))
    assert body(wire.ask(request(Group.SHELL, 0, {"argv": argv}, Op.WRITE))) == {
        "err": {"group": Group.SHELL, "rc": code}
    }
