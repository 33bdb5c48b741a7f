"""Two sessions over a bad link: every request ends once, with its own answer, whatever the link does."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing
from fieldlog_protocol.round_trip import Timeouts
from lossy_link import End, Link, Weather

TIMEOUTS = Timeouts(initial_s=1.0, least_s=0.3, most_s=4.0, linger_s=30.0)
PATIENCE = 8
PARDONS = 12  # so often what others overtake is repeated beyond its tries


def scenario(seed: int) -> tuple[Link, random.Random]:
    """A link of seeded badness, console or datagram, with two ends that ask each other."""
    draw = random.Random(seed)
    console = draw.random() < 0.5
    framing: Callable[[], Framing] = ConsoleFraming if console else DatagramFraming
    weather = Weather(
        loss=draw.choice([0.0, 0.02, 0.2, 0.5]),
        duplicate=draw.choice([0.0, 0.1, 0.5]),
        corrupt=draw.choice([0.0, 0.05]) if console else 0.0,
        least_delay_s=0.01,
        most_delay_s=draw.choice([0.01, 0.05, 0.5]),
        ordered=console,
    )
    ends = [End(name, framing, draw.choice([1, 2, 3, 8]), TIMEOUTS) for name in ("host", "device")]
    for end in ends:
        for _ in range(draw.randrange(0, 40)):
            end.ask(draw.choice([1, 2, PATIENCE]), 0.0)
    return Link((ends[0], ends[1]), weather, seed), draw


def run_scenario(seed: int) -> None:
    """On failure the seed is in the traceback's notes."""
    try:
        link, draw = scenario(seed)
        for _ in range(draw.randrange(4)):  # ask in between, too
            link.run(until=link.now + draw.uniform(0.0, 2.0))
            link.ends[draw.randrange(2)].ask(PATIENCE, link.now)
        link.run()
        for end in link.ends:
            assert_all_ended_once(end)
        assert_within_time(link)
    except AssertionError as error:
        error.add_note(f"seed {seed}")
        raise


def assert_all_ended_once(end: End) -> None:
    assert end.answers.keys() | end.expired.keys() == end.asked.keys()
    assert not end.answers.keys() & end.expired.keys()
    for ticket, ask in end.asked.items():
        sends = end.sends[ask.payload]
        assert 1 <= sends <= (1 if ask.tries == 1 else ask.tries + PARDONS)
        if ticket in end.expired:
            assert sends == end.expired[ticket] >= ask.tries
    assert end.session.deadline() is None
    counters = end.session.counters
    assert counters.sent == end.sends.total()
    assert counters.repeated == end.sends.total() - len(end.asked)
    assert (counters.answered, counters.expired) == (len(end.answers), len(end.expired))


def assert_within_time(link: Link) -> None:
    """Even one after the other, each with all its tries in vain; up to six seconds had passed when the last was asked."""
    in_vain = [sum(TIMEOUTS.most_s * (2**ask.tries - 1) for ask in end.asked.values()) for end in link.ends]
    assert link.now <= 6.0 + max(in_vain)


@pytest.mark.parametrize("seed", range(60))
def test_every_request_ends_once_with_its_own_answer(seed: int) -> None:
    run_scenario(seed)


@pytest.mark.faults
@pytest.mark.parametrize("block", range(10))
def test_every_request_ends_once_in_full(block: int) -> None:
    for seed in range(1000 + block * 300, 1000 + (block + 1) * 300):
        run_scenario(seed)


def pair(framing: Callable[[], Framing], weather: Weather, window: int, seed: int = 1) -> Link:
    host = End("host", framing, window, TIMEOUTS)
    return Link((host, End("device", framing, 1, TIMEOUTS)), weather, seed)


@pytest.mark.parametrize("framing", [ConsoleFraming, DatagramFraming])
@pytest.mark.parametrize("window", [1, 3, 8])
def test_a_good_link_carries_each_request_once(framing: Callable[[], Framing], window: int) -> None:
    link = pair(framing, Weather(least_delay_s=0.02, most_delay_s=0.02), window)
    for _ in range(600):  # the numbers wrap twice
        link.ends[0].ask(5, 0.0)
    link.run()
    counters = link.ends[0].session.counters
    assert (counters.sent, counters.answered, counters.stale) == (600, 600, 0)
    assert link.now == pytest.approx(600 / window * 0.04, rel=0.02)


def test_on_a_link_that_loses_one_in_ten_everything_repeatable_is_answered() -> None:
    for seed in range(10):
        link = pair(ConsoleFraming, Weather(loss=0.1), 3, seed)
        for _ in range(100):
            link.ends[0].ask(PATIENCE, 0.0)
        link.run()
        assert len(link.ends[0].answers) == 100, f"seed {seed}"


def test_losses_on_an_ordered_link_are_mended_without_waiting_for_a_timeout() -> None:
    """With others under way the gap shows at once: 5 % of loss must not cost a timeout of 0.3 s each."""
    link = pair(ConsoleFraming, Weather(loss=0.05, least_delay_s=0.01, most_delay_s=0.01), 4, seed=3)
    for _ in range(400):
        link.ends[0].ask(PATIENCE, 0.0)
    link.run()
    assert link.ends[0].session.counters.repeated > 20
    assert link.now < 400 * 0.02 / 4 + 40 * 0.3 / 2


def test_duplicates_are_counted_and_answer_nothing() -> None:
    link = pair(DatagramFraming, Weather(duplicate=1.0, most_delay_s=0.01), 4)
    for _ in range(50):
        link.ends[0].ask(1, 0.0)
    link.run()
    host, device = link.ends
    assert device.served.total() > 90
    assert host.session.counters.answered == 50
    assert host.session.counters.stale > 130


def test_both_ends_may_use_the_same_numbers_at_once() -> None:
    """Requests and replies with equal number, group and id cross each other; the operation tells them apart."""
    ends = (End("a", ConsoleFraming, 4, TIMEOUTS), End("b", ConsoleFraming, 4, TIMEOUTS))
    link = Link(ends, Weather(most_delay_s=0.01), 0)
    for _ in range(300):
        ends[0].ask(1, 0.0)
        ends[1].ask(1, 0.0)
    link.run()
    assert [len(end.answers) for end in ends] == [300, 300]
    assert [end.served.total() for end in ends] == [300, 300]


def test_on_a_dead_link_each_request_expires_when_its_tries_are_over() -> None:
    link = pair(ConsoleFraming, Weather(loss=1.0), 4)
    for _ in range(4):
        link.ends[0].ask(3, 0.0)
    link.run()
    assert list(link.ends[0].expired.values()) == [3, 3, 3, 3]
    assert link.now <= 4 * (1 + 2 + 4)
