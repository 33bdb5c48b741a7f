"""Lines and their pacing on virtual time: when bytes are where, and that lag is never added up."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.errors import UsageError
from fieldlog_sim.faults import Faults
from fieldlog_sim.links import MemoryLink

BAUD = 115_200
BYTE_S = 10 / BAUD


class EchoPort:
    """Answers each line (or datagram) with `reply_of(line)` and writes down when it was asked what."""

    def __init__(self, repeat: int = 1, *, datagrams: bool = False) -> None:
        self.repeat = repeat
        self.datagrams = datagrams
        self.pieces: list[tuple[float, bytes]] = []
        self.served: list[tuple[float, bytes]] = []
        self.sent_at: list[float] = []
        self.ups = 0
        self.downs = 0
        self.wakes: list[float] = []
        self._partial = b""
        self._waiting: list[bytes] = []
        self._sending = False

    def receive(self, data: bytes, now: float) -> None:
        self.pieces.append((now, data))
        if self.datagrams:
            self._waiting.append(data)
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._waiting.extend(line + b"\n" for line in lines)

    def serve(self, now: float) -> bytes | None:
        assert not self._sending, "served while the last reply was still leaving"
        if self.wakes and self.wakes[0] <= now:
            request = b"woken\n"
            self.wakes.pop(0)
        elif self._waiting:
            request = self._waiting.pop(0)
        else:
            return None
        self._sending = True
        self.served.append((now, request))
        return request * self.repeat

    def sent(self, now: float) -> None:
        self._sending = False
        self.sent_at.append(now)

    def wake_at(self) -> float | None:
        return self.wakes[0] if self.wakes else None

    def link_up(self) -> None:
        self.ups += 1

    def link_down(self) -> None:
        self.downs += 1
        self._partial = b""


def test_an_unpaced_request_is_answered_at_once() -> None:
    port = EchoPort()
    link = MemoryLink(port, now=5.0)
    link.send(b"hello\nthere\n")
    link.advance(5.0)
    assert link.received == [(5.0, b"hello\n"), (5.0, b"there\n")]
    assert port.sent_at == [5.0, 5.0]
    assert link.idle


def test_a_request_and_its_reply_each_take_ten_bits_a_byte() -> None:
    port = EchoPort(repeat=100)
    link = MemoryLink(port, baud=BAUD)
    request = b"x" * 19 + b"\n"
    link.send(request)
    link.settle()
    asked_at = 20 * BYTE_S
    assert port.served == [(pytest.approx(asked_at), request)]
    assert port.sent_at == [pytest.approx(asked_at + 2000 * BYTE_S)]
    assert link.received[-1][0] == pytest.approx(asked_at + 2000 * BYTE_S)
    assert b"".join(piece for _, piece in link.received) == request * 100


def test_no_byte_arrives_before_its_time() -> None:
    link = MemoryLink(EchoPort(repeat=60), baud=BAUD, latency_s=0.016)
    link.send(b"0123456789abcdef\n")
    link.settle()
    start = 17 * BYTE_S + 0.016
    arrived = 0
    for at, piece in link.received:
        arrived += len(piece)
        assert at == pytest.approx(start + arrived * BYTE_S, abs=1e-9)
    assert arrived == 17 * 60
    assert max(len(piece) for _, piece in link.received) * BYTE_S < 0.005


def test_the_next_reply_starts_when_the_last_one_has_left() -> None:
    port = EchoPort(repeat=50)
    link = MemoryLink(port, baud=BAUD)
    link.send(b"one\n" + b"two\n" + b"three\n")
    link.settle()
    first = 4 * BYTE_S
    assert [at for at, _ in port.served] == pytest.approx([first, first + 200 * BYTE_S, first + 400 * BYTE_S])
    assert port.sent_at[-1] == pytest.approx(first + 700 * BYTE_S)


def test_both_directions_are_used_at_the_same_time() -> None:
    port = EchoPort(repeat=100)
    link = MemoryLink(port, baud=BAUD)
    link.send(b"first\n")
    link.advance(6 * BYTE_S)
    link.send(b"second\n")
    link.settle()
    assert port.pieces[1] == (pytest.approx(13 * BYTE_S), b"second\n"), "received while the reply to the first leaves"


def test_latency_overlaps_with_the_next_message() -> None:
    """A USB adapter's delay is one of delivery: it does not keep the device from answering."""
    port = EchoPort(repeat=10)
    link = MemoryLink(port, baud=BAUD, latency_s=0.05)
    link.send(b"ab\ncd\nef\n")
    link.settle()
    assert port.sent_at[-1] == pytest.approx((3 + 90) * BYTE_S)
    assert link.received[-1][0] == pytest.approx((3 + 90) * BYTE_S + 0.05)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), latency_ms=st.sampled_from([0, 1, 16, 50]))
def test_who_comes_to_look_late_sees_the_same(seed: int, latency_ms: int) -> None:
    """The lag of timers is not added up: requests are served at the same times, however seldom anybody looks."""

    def served(looks: list[float]) -> tuple[list[tuple[float, bytes]], bytes]:
        port = EchoPort(repeat=30)
        link = MemoryLink(port, baud=1_000_000, latency_s=latency_ms / 1e3)
        for number in range(20):
            link.send(b"request %d\n" % number)
        for at in looks:
            link._schedule.advance(at)
        return port.served, link.take()

    random = Random(seed)
    late = sorted(random.uniform(0, 2.0) for _ in range(random.randrange(5)))
    assert served([*late, 10.0]) == served([0.0001 * step for step in range(5000)] + [10.0])


def test_a_slow_host_does_not_slow_a_saturated_line_down() -> None:
    """With a window of three and a host whose every look is 2 ms late the line is never idle."""
    port = EchoPort(repeat=60)  # 600 bytes: 6 ms at a megabaud
    link = MemoryLink(port, baud=1_000_000, latency_s=0.001)
    request = b"123456789\n"
    for _ in range(3):
        link.send(request)
    replies, got = 0, 0
    while replies < 200:
        link.advance(link.now + 0.002)
        got += len(link.take())
        while got >= 600:
            got -= 600
            replies += 1
            link.send(request)
    starts = [at for at, _ in port.served]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == pytest.approx([0.006] * len(gaps), abs=1e-9)


def test_a_port_is_woken_when_it_wants_to_be() -> None:
    port = EchoPort()
    port.wakes = [1.0, 2.5]
    link = MemoryLink(port)
    link.advance(0.9)
    assert link.take() == b""
    assert link.next_at == 1.0
    link.advance(3.0)
    assert [at for at, _ in port.served] == [1.0, 2.5]


def test_a_port_that_asks_for_the_past_is_not_asked_without_end() -> None:
    class Restless(EchoPort):
        calls = 0

        def serve(self, now: float) -> bytes | None:
            self.calls += 1
            return None

        def wake_at(self) -> float | None:
            return -1.0

    port = Restless()
    MemoryLink(port).advance(1.0)
    assert 50 < port.calls < 500


def test_a_datagram_arrives_whole_at_its_end() -> None:
    port = EchoPort(repeat=100, datagrams=True)
    link = MemoryLink(port, baud=BAUD, datagrams=True)
    link.send(b"ping")
    link.settle()
    assert link.received == [(pytest.approx(404 * BYTE_S), b"ping" * 100)]


@pytest.mark.parametrize("seed", range(5))
def test_a_lost_frame_takes_its_time_on_the_line_and_nothing_else(seed: int) -> None:
    port = EchoPort()
    link = MemoryLink(port, baud=BAUD, faults=Faults(seed=seed, loss=0.3))
    for number in range(100):
        link.send(b"\x06\x09frame %02d\n" % number)
        link.settle()
    replies = link.take().split(b"\n")[:-1]
    assert 20 < len(replies) < 80
    assert replies == sorted(replies)
    assert len(port.served) > len(replies), "both directions lose"


def test_faults_of_one_direction_do_not_depend_on_the_other() -> None:
    quiet, busy = (Faults(seed=7, loss=0.5).direction("x") for _ in range(2))
    other = Faults(seed=7, loss=0.5).direction("y")
    assert quiet is not None
    assert busy is not None
    assert other is not None
    frames = [bytes([number]) for number in range(64)]
    alone = [quiet.arrivals(frame) for frame in frames]
    with_other = [(other.arrivals(frame), busy.arrivals(frame))[1] for frame in frames]
    assert alone == with_other


def test_a_corrupt_frame_differs_in_one_bit() -> None:
    port = EchoPort()
    link = MemoryLink(port, faults=Faults(seed=3, corrupt=1.0))
    link.send(bytes(32))
    link.settle()
    damaged = b"".join(data for _, data in port.pieces)
    assert sum(byte.bit_count() for byte in damaged) == 1
    assert len(damaged) == 32


@pytest.mark.parametrize("seed", range(5))
def test_a_corrupt_datagram_is_lost_and_none_arrives_damaged(seed: int) -> None:
    port = EchoPort(datagrams=True)
    link = MemoryLink(port, datagrams=True, faults=Faults(seed=seed, corrupt=0.3))
    sent = [b"datagram %d" % number for number in range(200)]
    for data in sent:
        link.send(data)
        link.settle()
    arrived = [data for _, data in port.pieces]
    answered = link.take_datagrams()
    assert set(answered) <= set(arrived) <= set(sent)
    assert 100 < len(arrived) < 180, "of 200, three in ten are lost"
    assert len(answered) < len(arrived), "both directions lose"


def test_a_duplicate_is_received_twice() -> None:
    port = EchoPort(datagrams=True)
    link = MemoryLink(port, datagrams=True, faults=Faults(seed=3, duplicate=1.0))
    link.send(b"a")
    link.settle()
    assert [data for _, data in port.pieces] == [b"a", b"a"]
    assert link.take_datagrams() == [b"a"] * 4


def test_delayed_datagrams_are_overtaken_and_delayed_streams_wait() -> None:
    faults = Faults(seed=1, delay=0.5, delay_s=0.1)
    numbers = list(range(40))
    for datagrams in (True, False):
        port = EchoPort(datagrams=datagrams)
        link = MemoryLink(port, datagrams=datagrams, faults=faults)
        for number in numbers:
            link.send(b"\x06\x09%02d\n" % number)
            link.advance(link.now + 0.001)
        link.settle()
        order = [int(line[2:]) for line in link.take().splitlines()]
        assert sorted(order) == numbers
        assert (order == numbers) is not datagrams


def test_a_disconnect_loses_what_is_under_way_and_ends() -> None:
    port = EchoPort()
    link = MemoryLink(port, baud=BAUD, faults=Faults(seed=1, disconnect=1.0, away_s=0.5))
    link.send(b"\x06\x09first\n")
    link.advance(0.1)
    assert (port.ups, port.downs) == (1, 1)
    link.send(b"\x06\x09lost\n")
    link.advance(0.4)
    assert link.take() == b""
    link.advance(1.0)
    assert (port.ups, port.downs) == (2, 1)
    link.send(b"\x06\x09again\n")
    link.advance(1.1)
    assert port.served[-1][1] == b"\x06\x09again\n"


@pytest.mark.parametrize("arguments", [{"loss": 1.5}, {"corrupt": -0.1}, {"disconnect": float("nan")}])
def test_what_is_no_probability_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="probability"):
        Faults(**arguments)


def test_a_negative_baud_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="baud"):
        MemoryLink(EchoPort(), baud=-1)
