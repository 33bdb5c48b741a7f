"""The session, step by step in virtual time: the window, what was overtaken, cancelling, numbers."""

from __future__ import annotations

import pytest

from fieldlog_protocol.framing import DatagramFraming, Framing, RawFraming
from fieldlog_protocol.round_trip import Timeouts
from fieldlog_protocol.session_events import Expired
from fieldlog_protocol.wire import Packet
from session_bench import ONCE, Bench, Ordered, ask, numbered, numbers

# the window


def test_no_more_requests_are_under_way_than_the_window_allows() -> None:
    bench = Bench(3)
    first = bench.ask_many(10)
    assert numbers(first) == [0, 1, 2]
    for at, request in enumerate(first):
        bench.answer(request, 0.1)
        assert numbers(bench.sent()) == [3 + at]


@pytest.mark.parametrize(("wanted", "given"), [(0, 1), (-1, 1), (1, 1), (128, 128), (1000, 128)])
def test_the_window_has_limits(wanted: int, given: int) -> None:
    bench = Bench(wanted)
    assert bench.session.window == given
    sent = bench.ask_many(600)
    assert len(sent) == len({packet.sequence for packet in sent}) == given


def test_raw_framing_carries_one_request_at_a_time() -> None:
    bench = Bench(8, RawFraming())
    assert bench.session.window == 1
    assert len(bench.ask_many(3)) == 1


def test_on_raw_framing_the_window_counts_where_the_device_takes_requests_back_to_back() -> None:
    framing = RawFraming(back_to_back=True)
    bench = Bench(3, framing)
    under_way = bench.ask_many(8)
    assert len(under_way) == 3
    framing.back_to_back = False
    bench.session.set_window(3)
    for at, request in enumerate(under_way):
        bench.answer(request, 0.1)
        assert len(bench.sent()) == (at == 2), "one at a time again, once the others are answered"


def test_one_at_a_time_something_urgent_waits_until_what_is_under_way_must_be_through() -> None:
    """Right behind it, it would spoil it on a raw line; and without it a lost piece is only missed when its time is over."""
    bench = Bench(8, RawFraming())
    (slow,) = bench.ask_many(1, tries=ONCE)
    bench.session.ask(numbered(1, ONCE)._replace(urgent=True), 1.0)
    assert bench.sent() == []
    bench.session.ask(numbered(2, ONCE)._replace(urgent=True), 6.0)
    (probe,) = bench.sent()
    bench.session.ask(numbered(3, ONCE)._replace(urgent=True), 6.0)
    assert bench.sent() == [], "two are the most"
    bench.answer(slow, 7.0)
    bench.answer(probe, 7.0)
    assert bench.answered() == [0, 2]


def test_a_window_set_later_takes_effect() -> None:
    bench = Bench(1)
    (request,) = bench.ask_many(10)
    bench.session.set_window(4)
    bench.answer(request, 0.1)
    sent = bench.sent()
    assert numbers(sent) == [1, 2, 3, 4]
    bench.session.set_window(2)
    for request in sent[:3]:
        bench.answer(request, 0.2)
    assert numbers(bench.sent()) == [5]


def test_after_silence_twice_one_at_a_time_and_back_as_answers_come() -> None:
    bench = Bench(3)
    bench.ask_many(100)
    bench.session.tick(1.0)
    assert (numbers(bench.sent()), bench.session.window) == ([0, 1, 2], 3)
    bench.session.tick(10.0)
    again = bench.sent()
    assert (numbers(again), bench.session.window) == ([0], 1)
    windows: list[int] = []
    while again:
        bench.answer(again.pop(0), 10.1)
        windows.append(bench.session.window)
        again += bench.sent()
    assert windows == sorted(windows)
    assert [windows.count(width) for width in (1, 2)] == [15, 16]
    assert len(windows) == 100


def test_silence_narrows_the_window_even_if_nothing_may_be_repeated() -> None:
    bench = Bench(3)
    assert numbers(bench.ask_many(9, tries=ONCE)) == [0, 1, 2]
    bench.session.tick(1.0)
    assert numbers(bench.sent()) == [3, 4, 5]
    bench.session.tick(2.0)
    assert (numbers(bench.sent()), bench.session.window) == ([6], 1)


def test_an_answer_between_two_silences_keeps_the_window() -> None:
    bench = Bench(3)
    first = bench.ask_many(30, tries=ONCE)
    bench.answer(first[0], 0.5)
    bench.session.tick(1.0)
    bench.answer(bench.sent()[-1], 1.1)
    bench.session.tick(100.0)
    assert bench.session.window == 3


def test_one_loss_does_not_narrow_the_window() -> None:
    bench = Bench(3)
    for request in bench.ask_many(3)[1:]:
        bench.answer(request, 0.1)
    assert (numbers(bench.sent()), bench.session.window) == ([0], 3)


@pytest.mark.parametrize("framing", [Ordered, DatagramFraming])
@pytest.mark.parametrize("window", [2, 3, 8])
def test_a_device_that_takes_one_at_a_time_is_asked_so(framing: type[Framing], window: int) -> None:
    """It drops what comes while it is busy: nothing may run out of its tries, and most requests are sent once."""
    bench = Bench(window, framing())
    arrived, now, answered = bench.ask_many(200, tries=3), 0.0, 0
    while answered < 200:
        request = arrived[0] if arrived else None
        if request is None:
            now = max(now, bench.session.deadline() or now)
            bench.session.tick(now)
        else:
            now += 0.02
            bench.answer(request, now)
        events = bench.events()
        assert not [event for event in events if isinstance(event, Expired)]
        answered += len(events)
        arrived = bench.sent()
    assert bench.session.counters.sent < 320


# what was overtaken


def test_on_an_ordered_link_an_overtaken_request_is_repeated_at_once() -> None:
    bench = Bench(3)
    sent = bench.ask_many(3)
    bench.answer(sent[2], 0.1)
    again = bench.sent()
    assert numbers(again) == [0, 1]
    assert not {packet.sequence for packet in again} & {packet.sequence for packet in sent}
    for packet in again:
        bench.answer(packet, 0.2)
    assert bench.answered() == [2, 0, 1]


def test_where_datagrams_overtake_each_other_three_later_answers_tell_a_loss() -> None:
    bench = Bench(5, DatagramFraming())
    sent = bench.ask_many(5)
    for at in (1, 2):
        bench.answer(sent[at], 0.1)
        assert bench.sent() == []
    bench.answer(sent[3], 0.1)
    assert numbers(bench.sent()) == [0]


def test_what_was_lost_goes_before_what_waits_in_order() -> None:
    bench = Bench(3)
    bench.ask_many(6)
    bench.session.tick(1.0)
    assert numbers(bench.sent()) == [0, 1, 2]


def test_an_overtaken_request_that_must_not_be_repeated_is_still_waited_for() -> None:
    bench = Bench(2)
    first = bench.session.ask(numbered(0, ONCE), 0.0)
    second = bench.session.ask(numbered(1), 0.0)
    sent = bench.sent()
    bench.answer(sent[1], 0.1)
    assert (bench.sent(), bench.answered()) == ([], [second])
    assert bench.session.deadline() == 1.0
    bench.answer(sent[0], 0.9)
    assert bench.answered() == [first]


def test_a_reply_to_the_lost_attempt_spares_the_repetition() -> None:
    """Ticket 0 waits to be repeated behind a full window when its first reply arrives after all."""
    bench = Bench(1)
    sent = bench.ask_many(2)
    bench.session.tick(1.0)
    bench.answer(sent[0], 1.1)
    bench.sent()
    bench.session.tick(100.0)
    assert numbers(bench.sent()) == [1]
    assert bench.answered() == [0]


# cancelling


def test_a_request_cancelled_while_it_waits_is_never_sent() -> None:
    bench = Bench(1)
    tickets = [bench.session.ask(numbered(number), 0.0) for number in range(3)]
    (request,) = bench.sent()
    bench.session.cancel(tickets[1], 0.0)
    bench.answer(request, 0.1)
    assert numbers(bench.sent()) == [2]


def _cancelled_under_way(window: int = 1, count: int = 2) -> tuple[Bench, list[Packet]]:
    """So many requests asked for; those that the window lets pass are under way, and the first is cancelled."""
    bench = Bench(window)
    tickets = [bench.session.ask(numbered(number), 0.0) for number in range(count)]
    requests = bench.sent()
    bench.session.cancel(tickets[0], 0.1)
    return bench, requests


def test_a_request_cancelled_under_way_keeps_its_place_until_it_is_answered() -> None:
    bench, (request,) = _cancelled_under_way()
    assert bench.sent() == [], "the device still works on the one before"
    bench.answer(request, 0.2)
    assert bench.events() == []
    assert numbers(bench.sent()) == [1]


def test_a_request_cancelled_under_way_keeps_its_place_until_its_time_is_over() -> None:
    bench, _ = _cancelled_under_way()
    due = bench.session.deadline()
    assert due is not None
    bench.session.tick(due)
    assert numbers(bench.sent()) == [1], "and it is not repeated itself"
    assert bench.events() == []


def test_a_request_cancelled_under_way_makes_room_when_a_later_one_is_answered_first() -> None:
    bench, requests = _cancelled_under_way(window=2, count=3)
    bench.answer(requests[1], 0.2)
    assert numbers(bench.sent()) == [2]
    bench.answer(requests[0], 0.3)
    assert bench.session.counters.stale == 1, "what was lost came late"
    assert bench.answered() == [1]


def test_a_request_known_to_be_lost_makes_room_as_soon_as_it_is_cancelled() -> None:
    bench = Bench(2)
    tickets = [bench.session.ask(numbered(number, ONCE), 0.0) for number in range(4)]
    requests = bench.sent()
    bench.answer(requests[1], 0.1)
    assert numbers(bench.sent()) == [2]
    bench.session.cancel(tickets[0], 0.2)
    assert numbers(bench.sent()) == [3]


def test_to_cancel_what_is_over_does_nothing() -> None:
    bench, (request,) = _cancelled_under_way()
    bench.session.cancel(0, 0.2)
    bench.session.cancel(999, 0.2)
    bench.answer(request, 0.3)
    bench.session.cancel(0, 0.4)
    assert bench.events() == []
    assert numbers(bench.sent()) == [1]


# numbers

SHORT_S = 1e-3
LINGER = Timeouts(initial_s=SHORT_S, least_s=SHORT_S, linger_s=30.0)


def _given_up(bench: Bench, now: float) -> int:
    """The number of a request that nobody answered in its short time."""
    bench.session.ask(ask(ONCE), now - 2 * SHORT_S)
    (request,) = bench.sent()
    bench.session.tick(now)
    assert [type(event) for event in bench.events()] == [Expired]
    return request.sequence


def _overtaken(bench: Bench, now: float) -> int:
    """The number of a request that was cancelled, and then a later one was answered."""
    ticket = bench.session.ask(ask(), now)
    bench.session.ask(ask(), now)
    request, later = bench.sent()
    bench.session.cancel(ticket, now)
    bench.answer(later, now)
    return request.sequence


def test_numbers_go_round() -> None:
    bench = Bench()
    used: list[int] = []
    for number in range(600):
        bench.session.ask(ask(), float(number))
        (request,) = bench.sent()
        used.append(request.sequence)
        bench.answer(request, number + 0.1)
    assert used[:256] == used[256:512]
    assert set(used[:256]) == set(range(256))


def test_a_number_given_up_is_not_used_until_a_late_reply_can_no_longer_come() -> None:
    bench = Bench(timeouts=LINGER)
    resting = [_given_up(bench, 0.0) for _ in range(200)]
    assert len(set(resting)) == 200
    for number in range(300):
        bench.session.ask(ask(), 1.0)
        (request,) = bench.sent()
        assert request.sequence not in resting, number
        bench.answer(request, 1.1)
    used: set[int] = set()
    for _ in range(256):
        bench.session.ask(ask(), 30.0)
        (request,) = bench.sent()
        used.add(request.sequence)
        bench.answer(request, 30.1)
    assert used == set(range(256))


def test_when_all_numbers_rest_the_one_given_up_longest_ago_is_taken() -> None:
    bench = Bench(timeouts=LINGER)
    resting = [_given_up(bench, at / 100) for at in range(256)]
    assert sorted(resting) == list(range(256))
    assert [_given_up(bench, 3.0) for _ in range(5)] == resting[:5]


def test_a_number_is_never_in_use_twice_while_others_rest() -> None:
    """126 under way and more than 130 given up: the ones under way keep theirs."""
    bench = Bench(128, timeouts=Timeouts(linger_s=30.0))
    under_way = {packet.sequence for packet in bench.ask_many(126, tries=ONCE)}
    for at in range(200):
        number = _overtaken(bench, at / 1000)
        assert number not in under_way


def test_a_late_reply_ends_a_request_that_waits_to_be_sent_again() -> None:
    """So many were overtaken that the window shrinks: some wait, and what waits is not sent once it is answered."""
    bench = Bench(window=6)
    first = bench.ask_many(6)
    bench.answer(first[5], 0.1)
    again = bench.sent()
    assert numbers(again) == [0, 1, 2], "the others wait for room"
    bench.answer(first[4], 0.2)
    for request in again:
        bench.answer(request, 0.3)
    assert numbers(bench.sent()) == [3]
    assert sorted(bench.answered()) == [0, 1, 2, 4, 5]
