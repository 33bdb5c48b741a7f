"""Following a logger: each frame once and in order, over slow lines, breaks and restarts, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import pairwise

import numpy as np
import pytest

from device_bench import START_US, Bench
from fieldlog.device import Device
from fieldlog.live import Event, Found, Frames, LinkBack, LinkLost, Restarted, Wanted, follow
from fieldlog.live.frames import layout_of
from fieldlog.logger_info import NoLogger
from fieldlog.recording import StreamInfo
from fieldlog.steady_link import OtherDevice
from fieldlog.transports.base import Sink
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.commands.logger import Capability, LatestResponse, State, StreamPeriod
from fieldlog_protocol.errors import LinkError, ProtocolError, UsageError
from fieldlog_sim.noise import Floats, Integers
from fieldlog_sim.port import Buffers
from fieldlog_sim.sensors import Synthetic
from fieldlog_sim.sim_time import SimTime
from virtual_link import LinkKind, VirtualTransport, run

SMALL = Buffers(384, 4)
SERIAL = LinkKind(baud=115_200, latency_s=0.001)


class Six(Synthetic):
    """Six channels of 32 bits, a hundred times a second."""

    period_range_us = (1_000, 60_000_000)

    def __init__(self) -> None:
        channels = tuple(Channel(f"c{at}", "V", ChannelType.I32, exponent=-3) for at in range(6))
        self.stream = Stream(id=0, name="six", period_us=10_000, channels=channels)

    def truth(self, utc_us: Integers) -> Floats:
        return np.column_stack([np.sin(utc_us / 1e6 + at) * 1000 for at in range(6)])


class Cable(VirtualTransport):
    """A link that can be pulled, and plugged in again after a while."""

    away_until_s = 0.0

    async def open(self, sink: Sink) -> None:
        if asyncio.get_running_loop().time() < self.away_until_s:
            raise LinkError("nothing is plugged in")
        await super().open(sink)

    def pull(self, for_s: float) -> None:
        assert self._sink is not None
        self.away_until_s = asyncio.get_running_loop().time() + for_s
        self._link = None
        self._sink.lost(LinkError("the cable was pulled"))


Step = tuple[float, Callable[[Bench, Cable], object]]
"""What is done to the bench or the cable, and when."""


def seen(
    bench: Bench,
    seconds: float,
    *steps: Step,
    kind: LinkKind = SERIAL,
    wanted: Wanted | None = None,
    slow: Callable[[Event], Awaitable[None]] | None = None,
    reconnect_s: float = 30.0,
) -> list[Event]:
    """All events of so many seconds; `slow` is what the one who looks does with each."""
    events: list[Event] = []

    async def look() -> list[Event]:
        cable = Cable(bench, kind)
        client = cable.client()
        await client.open()
        loop = asyncio.get_running_loop()
        for at_s, step in steps:
            loop.call_later(at_s, step, bench, cable)
        scope = asyncio.timeout(seconds)
        try:
            async with scope, aclosing(follow(Device(client), wanted, reconnect_s=reconnect_s)) as following:
                async for event in following:
                    events.append(event)
                    if slow is not None:
                        await slow(event)
        except TimeoutError:
            assert scope.expired()
        finally:
            await client.close()
        return events

    return run(bench, look())


def frames(events: Sequence[Event], stream: int | None = None) -> list[Frames]:
    return [event for event in events if isinstance(event, Frames) and stream in (None, event.stream.id)]


def ticks(events: Sequence[Event], stream: int | None = None) -> list[int]:
    return [tick for some in frames(events, stream) for tick in some.ticks.tolist()]


def lost(events: Sequence[Event]) -> int:
    return sum(some.lost for some in frames(events))


def recording(**options: object) -> Bench:
    """Six channels a hundred times a second."""
    bench = Bench(buffers=SMALL, sensors=(Six(),), log_sectors=256, **options)  # type: ignore[arg-type]
    bench.arm(wrap=True)
    bench.wait(1)
    return bench


# nothing is lost


@pytest.mark.parametrize(
    "kind",
    [SERIAL, LinkKind(baud=None, latency_s=0.06), LinkKind("datagrams", None, 0.02)],
    ids=["serial", "slow as BLE", "udp"],
)
def test_every_frame_comes_once_and_is_what_the_log_holds(kind: LinkKind) -> None:
    bench = recording()
    events = seen(bench, 4, kind=kind)
    bench.stop()
    log = bench.frames(bench.sensors[0])
    found = ticks(events)
    begin = log.ticks.tolist().index(found[0])
    assert lost(events) == 0
    assert len(found) > 350
    assert np.abs(found - log.ticks[begin : begin + len(found)]).max() <= 1, "the log tells instants between its own"
    for at, channel in enumerate(bench.sensors[0].stream.channels):
        shown = np.concatenate([some.columns[at] for some in frames(events)])
        assert (shown == channel.values(log.columns[at][begin : begin + len(found)])).all()


def test_times_are_those_of_this_computer() -> None:
    bench = recording(clock_ppm=20)
    events = seen(bench, 3)
    error_us = next(event.error_us for event in events if isinstance(event, Found))
    for some in frames(events):
        off_us = (some.utc_us - START_US) % 10_000
        assert (np.minimum(off_us, 10_000 - off_us) <= error_us + 500).all()


def test_frames_come_at_least_ten_times_a_second() -> None:
    bench = recording()
    came: list[float] = []

    async def note(event: Event) -> None:
        if isinstance(event, Frames):
            came.append(bench.now)

    seen(bench, 4, slow=note)
    assert max(later - earlier for earlier, later in pairwise(came)) < 0.1


def test_a_line_with_faults_loses_no_frame() -> None:
    from fieldlog_sim.faults import Faults

    bench = recording()
    events = seen(bench, 6, kind=LinkKind(faults=Faults(seed=3, loss=0.05, corrupt=0.05)))
    assert lost(events) == 0
    assert max(np.diff(ticks(events))) <= 329


def test_who_looks_away_too_long_is_told_how_many_were_missed() -> None:
    bench = recording()
    away = [4.0]

    async def dawdle(event: Event) -> None:
        if isinstance(event, Frames) and bench.now > 2 and away:
            await asyncio.sleep(away.pop())

    events = seen(bench, 8, slow=dawdle)
    found = ticks(events)
    steps = np.rint(np.diff(found) / 327.68)
    assert lost(events) == steps.sum() - len(steps) > 100
    (after,) = [some for some in frames(events) if some.lost]
    assert steps[found.index(int(after.ticks[0])) - 1] == after.lost + 1


def test_nothing_is_sealed_or_changed() -> None:
    bench = recording()
    before = bench.info()
    seen(bench, 3)
    after = bench.info()
    assert (after.state, after.session, after.released) == (before.state, before.session, before.released)
    watched = bench.read_log()
    alone = recording()
    alone.wait(bench.now - alone.now)
    assert watched == alone.read_log()


# the link breaks, the device restarts


def test_a_break_that_the_device_remembers_costs_no_frame() -> None:
    bench = recording()
    events = seen(bench, 6, (2, lambda _, cable: cable.pull(1)))
    assert [type(event) for event in events if isinstance(event, (LinkLost, LinkBack))] == [LinkLost, LinkBack]
    assert lost(events) == 0
    assert len(ticks(events)) > 450
    assert set(np.rint(np.diff(ticks(events)) / 327.68)) == {1.0}


def test_of_a_longer_break_what_the_device_forgot_is_counted() -> None:
    bench = recording()
    events = seen(bench, 16, (2, lambda _, cable: cable.pull(5)))
    steps = np.rint(np.diff(ticks(events)) / 327.68)
    assert lost(events) == steps.sum() - len(steps) > 100


def test_a_link_that_stays_away_is_an_error_after_the_time_given() -> None:
    bench = recording()
    with pytest.raises(LinkError, match="cable was pulled"):
        seen(bench, 60, (1, lambda _, cable: cable.pull(100)), reconnect_s=2)
    assert bench.now < 10
    with pytest.raises(LinkError):
        seen(recording(), 60, (1, lambda _, cable: cable.pull(0)), reconnect_s=0)


def test_a_restart_is_told_and_the_session_is_followed_on() -> None:
    bench = recording()

    def restart(bench: Bench, cable: Cable) -> None:
        bench.power_cycle()
        cable.pull(1)

    events = seen(bench, 6, (3, restart))
    (told,) = [event for event in events if isinstance(event, Restarted)]
    at = events.index(told)
    assert {some.boot_id for some in frames(events[:at])} == {1}
    assert {some.boot_id for some in frames(events[at:])} == {2} == {told.boot_id}
    assert ticks(events[at:]) == sorted(set(ticks(events[at:])))
    times = np.concatenate([some.utc_us for some in frames(events)])
    assert (np.diff(times) > 0).all()


def test_a_restart_that_the_link_survives_is_noticed() -> None:
    bench = recording()
    events = seen(bench, 6, (3, lambda bench, _: bench.power_cycle()))
    (told,) = [event for event in events if isinstance(event, Restarted)]
    assert len(ticks(events[events.index(told) :])) > 200


def test_after_a_restart_nothing_is_counted_by_the_count_of_before() -> None:
    bench = recording()

    def restart(bench: Bench, cable: Cable) -> None:
        bench.power_cycle()
        cable.pull(5)

    events = seen(bench, 9, (0.5, restart))
    (told,) = [event for event in events if isinstance(event, Restarted)]
    assert lost(events) == 0
    assert len(ticks(events[events.index(told) :])) > 50


def test_another_device_in_its_place_is_not_followed() -> None:
    bench = recording()

    def swap(bench: Bench, cable: Cable) -> None:
        other = Bench(buffers=SMALL, sensors=(Six(),), seed=7)
        other.device.time = SimTime(START_US, monotonic=lambda: bench.now)
        bench.device = other.device
        cable.pull(1)

    with pytest.raises(OtherDevice, match="another logger"):
        seen(bench, 30, (1, swap))


# what it records


def test_a_session_that_begins_meanwhile_is_followed() -> None:
    bench = Bench(buffers=SMALL)
    events = seen(bench, 7, (3, lambda bench, _: bench.arm(streams=(StreamPeriod(s=1, us=10_000),), wrap=True)))
    states = [event.info.state for event in events if isinstance(event, Found)]
    assert states[0] == State.IDLE
    assert states[-1] == State.LOGGING
    assert lost(events) == 0
    assert len(ticks(events, 1)) > 350
    assert not frames(events, 0)


def test_a_session_that_ends_is_told() -> None:
    bench = recording()
    events = seen(bench, 7, (2, lambda bench, _: bench.stop()))
    assert [event.info.state for event in events if isinstance(event, Found)][-1] == State.IDLE


def test_a_faster_session_loses_nothing() -> None:
    """From one frame in ten seconds to a hundred a second, announced or not."""
    bench = Bench(buffers=SMALL, log_sectors=256)
    bench.arm(streams=(StreamPeriod(s=1, us=10_000_000),), wrap=True)
    bench.wait(11)

    def faster(bench: Bench, _: Cable) -> None:
        bench.stop()
        bench.arm(streams=(StreamPeriod(s=1, us=10_000),), wrap=True)

    events = seen(bench, 7, (3, faster))
    steps = np.rint(np.diff(ticks(events)) / 327.68)
    assert lost(events) == 0
    assert len(steps) > 350
    assert set(steps[steps.tolist().index(1) :]) == {1}, "nor is it passed over when the new session is noticed"


def test_streams_and_channels_are_chosen_by_name() -> None:
    bench = Bench(buffers=SMALL)
    bench.arm(wrap=True)
    bench.wait(30)
    events = seen(bench, 2, wanted=Wanted(channels=("humidity", "acceleration z")))
    assert {some.stream.name: [one.name for one in some.channels] for some in frames(events)} == {
        "environment": ["humidity"],
        "motion": ["acceleration z"],
    }
    assert {some.stream.name for some in frames(seen(bench, 1, wanted=Wanted(streams=("1",))))} == {"motion"}
    with pytest.raises(UsageError, match=r"no channel 'humidty'\. Its channels: acceleration x, "):
        seen(bench, 3, wanted=Wanted(channels=("humidty",)))
    with pytest.raises(UsageError, match=r"no stream 'wind'\. Its streams: environment, motion"):
        seen(bench, 1, wanted=Wanted(streams=("wind",)))
    with pytest.raises(UsageError, match="no channel 'humidity'"):
        seen(bench, 3, wanted=Wanted(("motion",), ("humidity",)))


def test_a_device_without_a_log_says_so() -> None:
    with pytest.raises(NoLogger):
        seen(Bench(profile="smp-server"), 3)


def test_a_logger_that_keeps_no_newest_frames_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldlog_sim.logger.Logger.capabilities", Capability.WRAP)
    with pytest.raises(UsageError, match="keeps no newest readings"):
        seen(Bench(), 3)


# what cannot be true

_STREAM = StreamInfo(0, "odd", 1000, (Channel("a", "V", ChannelType.I16), Channel("b", "V", ChannelType.F32)))
_FRAME = bytes(8) + b"\x01\x00" + b"\x00\x00\x80\x3f"


@pytest.mark.parametrize(
    ("n", "data", "stream"),
    [
        (1, _FRAME[:-1], 0),
        (2, _FRAME, 0),
        (1, _FRAME, 1),
        (1, b"\xff" * 14, 0),
        (2, b"\x09" + bytes(13) + b"\x08" + bytes(13), 0),
    ],
    ids=["torn", "too few", "other stream", "ticks beyond all time", "ticks backwards"],
)
def test_nonsense_is_refused(n: int, data: bytes, stream: int) -> None:
    layout = layout_of(_STREAM, [0, 1])
    with pytest.raises(ProtocolError):
        layout.decode(LatestResponse(s=stream, c=1, n=n, d=data))


def test_values_are_those_of_the_channels_that_are_wanted() -> None:
    layout = layout_of(_STREAM, [1])
    found, columns = layout.decode(LatestResponse(s=0, c=1, n=1, d=_FRAME))
    assert (found.tolist(), [column.tolist() for column in columns]) == ([0], [[1.0]])
