"""The session, where one request brings several replies."""

from __future__ import annotations

import pytest

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.session_events import Answered, Ask, Expired
from session_bench import ONCE, Bench, ask, numbered


def several(count: int) -> Ask:
    return ask(ONCE)._replace(replies=count)


def test_each_reply_is_an_answer_and_the_next_request_waits_for_the_last() -> None:
    bench = Bench()
    ticket, then = bench.session.ask(several(3), 0.0), bench.session.ask(numbered(7), 0.0)
    (request,) = bench.sent()
    for now in (0.5, 0.6):
        bench.answer(request, now)
        assert bench.answered() == [ticket]
        assert bench.sent() == []
    bench.answer(request, 0.7)
    assert bench.answered() == [ticket]
    (following,) = bench.sent()
    bench.answer(request, 0.8)
    assert bench.session.counters.stale == 1, "one too many"
    bench.answer(following, 0.9)
    assert bench.answered() == [then]


def test_only_the_first_reply_tells_the_round_trip() -> None:
    bench = Bench()
    bench.session.ask(several(3), 0.0)
    (request,) = bench.sent()
    for now in (0.5, 0.501, 0.502):
        bench.answer(request, now)
    assert bench.session.round_trip_s == 0.5
    waited = [event.round_trip_s for event in bench.events() if isinstance(event, Answered)]
    assert waited == pytest.approx([0.5, 0.001, 0.001])


def test_patience_begins_anew_with_each_reply_and_nothing_is_sent_again() -> None:
    bench = Bench()
    ticket = bench.session.ask(several(3), 0.0)
    (request,) = bench.sent()
    bench.answer(request, 0.9)
    assert bench.answered() == [ticket]
    bench.session.tick(1.5)
    assert bench.events() == []
    deadline = bench.session.deadline()
    assert deadline is not None
    assert deadline > 1.5
    bench.session.tick(deadline)
    assert bench.events() == [Expired(ticket, 1)]
    assert bench.sent() == []
    bench.answer(request, deadline + 0.1)
    assert bench.events() == []


def test_the_device_may_make_an_end_before() -> None:
    bench = Bench()
    ticket = bench.session.ask(several(9), 0.0)
    bench.session.ask(numbered(7), 0.0)
    (request,) = bench.sent()
    bench.answer(request, 0.1)
    bench.session.finish(ticket, 0.1)
    assert len(bench.sent()) == 1, "the next one goes out"
    bench.session.finish(ticket, 0.1)
    assert bench.sent() == []


def test_what_still_comes_of_a_row_that_seemed_to_end_holds_up_the_next_request_and_is_no_loss() -> None:
    bench = Bench()
    ticket, then = bench.session.ask(several(200), 0.0), bench.session.ask(numbered(7), 0.0)
    (request,) = bench.sent()
    bench.answer(request, 0.1)
    bench.session.finish(ticket, 0.1)
    (following,) = bench.sent()
    now = 0.1
    while now < 3.0:
        now += 0.1
        bench.session.tick(now)
        bench.answer(request, now)
    bench.answer(following, now + 0.1)
    assert bench.sent() == []
    assert bench.answered() == [ticket, then]


def test_a_device_that_repeats_one_reply_for_ever_keeps_nobody_waiting_for_ever() -> None:
    bench = Bench()
    bench.session.ask(numbered(7), 0.0)
    (first,) = bench.sent()
    bench.answer(first, 0.1)
    row = bench.session.ask(several(9), 0.1)
    (request,) = bench.sent()
    bench.answer(request, 0.2)
    bench.session.finish(row, 0.2)
    ticket, now = bench.session.ask(numbered(8, tries=2), 0.2), 0.2
    while now < 60:
        now += 0.1
        bench.session.tick(now)
        bench.answer(request, now)
    assert Expired(ticket, 2) in bench.events()


def test_one_that_was_not_sent_is_forgotten_and_one_that_was_runs_out() -> None:
    bench = Bench()
    sent, waiting = bench.session.ask(several(2), 0.0), bench.session.ask(several(2), 0.0)
    (request,) = bench.sent()
    assert bench.session.cancel(waiting, 0.0)
    assert not bench.session.cancel(sent, 0.0)
    bench.session.ask(numbered(7), 0.0)
    bench.answer(request, 0.1)
    assert bench.sent() == []
    bench.answer(request, 0.2)
    assert len(bench.sent()) == 1
    assert bench.answered() == [sent, sent]


def test_what_is_lost_of_several_is_not_repeated_with_all_of_them() -> None:
    with pytest.raises(UsageError, match="by itself"):
        Bench().session.ask(ask(tries=2)._replace(replies=2), 0.0)
