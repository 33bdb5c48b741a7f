"""The session, step by step in virtual time: matching, answering, repeating, timeouts."""

from __future__ import annotations

from typing import Any

import pytest

from fieldlog_protocol.commands import Op, os
from fieldlog_protocol.errors import ProtocolError, UsageError
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.round_trip import Timeouts
from fieldlog_protocol.session_events import Answered, Expired, Requested
from fieldlog_protocol.wire import Packet, decode_packet, decode_reply, iter_packets
from session_bench import EMPTY, ONCE, Bench, ask, numbered, reply_to

# matching


def test_a_request_goes_out_as_smp_v2_and_its_reply_comes_back() -> None:
    bench = Bench()
    ticket = bench.session.ask(ask(payload=b"\xa1\x61a\x01"), 5.0)
    (request,) = bench.sent()
    assert (request.op, request.version, request.group, request.id) == (Op.READ, 1, 8, 2)
    assert request.payload == b"\xa1\x61a\x01"
    assert bench.sent() == []
    bench.answer(request, 5.25, b"\xa1\x61b\x02")
    assert bench.events() == [Answered(ticket, reply_to(request, b"\xa1\x61b\x02"), 0.25)]
    assert bench.events() == []
    assert bench.session.round_trip_s == 0.25
    assert bench.session.deadline() is None


@pytest.mark.parametrize("field", ["sequence", "group", "id", "op"])
def test_a_reply_must_match_in_number_group_id_and_operation(field: str) -> None:
    bench = Bench()
    bench.session.ask(ask(), 0.0)
    (request,) = bench.sent()
    right = reply_to(request)
    wrong: dict[str, dict[str, Any]] = {
        "sequence": {"sequence": 77},
        "group": {"group": 9},
        "id": {"id": 3},
        "op": {"op": Op.WRITE_REPLY},
    }
    bench.session.receive(right._replace(**wrong[field]).encode(), 0.1)
    assert bench.events() == []
    assert bench.session.counters.stale == 1
    bench.session.receive(right.encode(), 0.1)
    assert len(bench.events()) == 1


def test_a_reply_in_version_1_is_an_answer() -> None:
    bench = Bench()
    bench.session.ask(ask(), 0.0)
    (request,) = bench.sent()
    bench.session.receive(Packet(Op.READ_REPLY, 0, 8, 2, request.sequence, b"\xa1\x62rc\x08").encode(), 0.1)
    (event,) = bench.events()
    assert isinstance(event, Answered)
    assert event.packet.version == 0


def test_a_second_reply_is_stale() -> None:
    bench = Bench()
    bench.session.ask(ask(), 0.0)
    (request,) = bench.sent()
    bench.answer(request, 0.1)
    bench.answer(request, 0.2)
    assert len(bench.events()) == 1
    assert (bench.session.counters.answered, bench.session.counters.stale) == (1, 1)


def test_a_late_reply_to_an_earlier_attempt_counts_and_the_later_one_is_stale() -> None:
    bench = Bench()
    ticket = bench.session.ask(ask(), 0.0)
    (first,) = bench.sent()
    bench.session.tick(1.0)
    (second,) = bench.sent()
    assert second.sequence != first.sequence
    bench.answer(first, 1.5)
    assert bench.answered() == [ticket]
    assert bench.session.deadline() is None
    bench.answer(second, 1.6)
    assert bench.answered() == []
    assert bench.session.counters.stale == 1


def test_a_reply_that_is_no_cbor_reaches_the_asker() -> None:
    bench = Bench()
    bench.session.ask(ask(), 0.0)
    (request,) = bench.sent()
    bench.answer(request, 0.1, b"\xff\xff")
    (event,) = bench.events()
    assert isinstance(event, Answered)
    with pytest.raises(ProtocolError):
        decode_reply(event.packet.payload, os.PARAMS)


def test_messages_of_one_frame_are_taken_until_one_is_torn() -> None:
    bench = Bench(2, ConsoleFraming())
    for number in range(2):
        bench.session.ask(numbered(number), 0.0)
    frames = [ConsoleFraming().feed(frame, 0.0)[0] for frame in bench.session.outgoing()]
    replies = b"".join(reply_to(decode_packet(frame)).encode() for frame in frames)
    bench.session.receive(b"log line\n" + ConsoleFraming().encode(replies + b"\x09\x00\x00"), 0.1)
    assert bench.answered() == [0, 1]
    assert (bench.session.counters.malformed, bench.session.dropped) == (1, 1)
    assert bench.session.take_text() == b"log line\n"


# the other role


def test_a_request_of_the_other_end_is_answered_in_its_own_version() -> None:
    for version, answered_in in [(0, 0), (1, 1), (2, 1)]:
        bench = Bench()
        request = Packet(Op.WRITE, version, 3, 1, 200, EMPTY)
        bench.session.receive(request.encode(), 0.0)
        assert bench.events() == [Requested(request)]
        bench.session.reply(request, b"\xa1\x62rc\x00")
        assert bench.sent() == [Packet(Op.WRITE_REPLY, answered_in, 3, 1, 200, b"\xa1\x62rc\x00")]


def test_requests_packed_together_are_all_handed_on_in_order() -> None:
    bench = Bench()
    requests = [Packet(Op.READ, 1, 0, 6, number, EMPTY) for number in range(3)]
    bench.session.receive(b"".join(request.encode() for request in requests), 0.0)
    assert bench.events() == [Requested(request) for request in requests]


# repeating and timeouts


def test_a_silent_device_is_asked_with_doubled_patience_until_the_tries_are_over() -> None:
    bench = Bench()
    ticket = bench.session.ask(ask(4), 100.0)
    sent_at: list[float] = []
    now = 100.0
    while True:
        sent_at += [now] * len(bench.sent())
        deadline = bench.session.deadline()
        if deadline is None:
            break
        now = deadline
        bench.session.tick(now)
    assert sent_at == [100.0, 101.0, 103.0, 107.0]
    assert now == 115.0
    assert bench.events() == [Expired(ticket, 4)]
    assert (bench.session.counters.sent, bench.session.counters.repeated, bench.session.counters.expired) == (4, 3, 1)


def test_what_must_not_be_repeated_is_sent_once() -> None:
    bench = Bench()
    ticket = bench.session.ask(ask(ONCE), 0.0)
    assert len(bench.sent()) == 1
    bench.session.tick(1.0)
    assert bench.sent() == []
    assert bench.events() == [Expired(ticket, 1)]


def test_a_request_with_no_tries_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        Bench().session.ask(ask(0), 0.0)


def test_tick_before_the_deadline_does_nothing_and_at_it_repeats() -> None:
    bench = Bench()
    bench.session.ask(ask(), 0.0)
    bench.sent()
    assert bench.session.deadline() == 1.0
    bench.session.tick(0.999)
    assert (bench.sent(), bench.events(), bench.session.deadline()) == ([], [], 1.0)
    bench.session.tick(1.0)
    assert len(bench.sent()) == 1
    assert bench.session.deadline() == 3.0


def test_nothing_to_wait_for_means_no_deadline() -> None:
    bench = Bench()
    assert bench.session.deadline() is None
    bench.session.tick(1e9)
    assert (bench.sent(), bench.events()) == ([], [])


def test_the_deadline_is_the_earliest_of_all() -> None:
    bench = Bench(3)
    bench.session.ask(ask(service_s=40.0), 0.0)
    bench.session.ask(ask(), 0.5)
    assert bench.session.deadline() == 1.5


def _after_round_trips(round_trip_s: float, count: int = 30, timeouts: Timeouts | None = None) -> float:
    """Patience with the next request, once replies have taken so long each."""
    bench = Bench(timeouts=timeouts)
    for number in range(count):
        bench.session.ask(ask(), float(number * 100))
        bench.answer(bench.sent()[0], number * 100 + round_trip_s)
    bench.session.ask(ask(), 1e6)
    deadline = bench.session.deadline()
    assert deadline is not None
    return deadline - 1e6


def test_patience_follows_the_round_trip() -> None:
    wide = Timeouts(least_s=0.0, most_s=1e3)
    for round_trip_s in (0.01, 0.5, 3.0):
        assert round_trip_s < _after_round_trips(round_trip_s, timeouts=wide) < 1.2 * round_trip_s
    assert _after_round_trips(0.5, 1, wide) == pytest.approx(1.5)  # RFC 6298: first sample R, then R + 4 * R / 2


def test_patience_stays_in_its_bounds() -> None:
    assert _after_round_trips(0.001) == pytest.approx(Timeouts().least_s)
    assert _after_round_trips(60.0) == pytest.approx(Timeouts().most_s)
    assert _after_round_trips(0.0, 0) == pytest.approx(Timeouts().initial_s)


def test_patience_comes_down_again_when_the_link_recovers() -> None:
    bench = Bench(timeouts=Timeouts(least_s=0.0))
    patience: list[float] = []
    for number in range(90):
        now = number * 100.0
        bench.session.ask(ask(), now)
        patience.append((bench.session.deadline() or 0.0) - now)
        bench.answer(bench.sent()[0], now + (2.0 if 30 <= number < 60 else 0.1))
    assert max(patience[20:30]) < 0.2
    assert min(patience[40:60]) > 2.0
    assert patience[59] < 3.0
    assert patience[89] < 0.5


def test_patience_grows_with_jitter() -> None:
    bench = Bench(timeouts=Timeouts(least_s=0.0))
    for number in range(40):
        bench.session.ask(ask(), float(number))
        bench.answer(bench.sent()[0], number + (0.1 if number % 2 else 0.3))
    bench.session.ask(ask(), 1000.0)
    deadline = bench.session.deadline()
    assert deadline is not None
    assert 0.4 < deadline - 1000.0 < 1.0


def test_the_device_s_own_work_adds_to_patience_and_is_no_round_trip() -> None:
    bench = Bench()
    bench.session.ask(ask(service_s=40.0), 0.0)
    assert bench.session.deadline() == 41.0
    bench.answer(bench.sent()[0], 30.0)
    assert bench.session.round_trip_s is None


def test_malformed_datagrams_are_counted() -> None:
    bench = Bench()
    bench.session.receive(b"\xff" * 8, 0.0)
    bench.session.receive(b"\x09", 0.0)
    assert bench.session.dropped == 2
    assert list(iter_packets(b"")) == []
    assert bench.events() == []


def test_patience_has_an_end_however_often_it_was_tried() -> None:
    timeouts = Timeouts(initial_s=1.0, most_s=5.0)
    bench = Bench(timeouts=timeouts)
    bench.session.ask(ask(tries=8), 0.0)
    waits: list[float] = []
    now = 0.0
    while (due := bench.session.deadline()) is not None:
        waits.append(due - now)
        now = due
        bench.session.tick(now)
        bench.sent()
    assert waits == [1.0, 2.0, 4.0, *[5.0] * 5]
