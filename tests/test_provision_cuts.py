"""A line that is cut off anywhere goes on: the link goes at every message, the host and the power at every step.

In virtual time, on a device on a bench. What the device holds is read from itself.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from config_bench import FAST, Cut, CutTransport
from device_bench import Bench
from fieldlog.client import Client, LinkOptions
from fieldlog.device import Device
from fieldlog.provision.fleet import Fleet
from fieldlog.provision.fleet_file import read_fleet
from fieldlog.provision.line import Line, Visit
from fieldlog.provision.one_device import Options
from fieldlog.provision.progress import Progress, state_path
from fieldlog.steady_link import OtherDevice
from fieldlog.transports.base import Sink
from fieldlog.url import parse
from fieldlog_protocol.commands import logger, settings
from fieldlog_protocol.commands.logger import State
from fieldlog_protocol.framing import ConsoleFraming
from virtual_link import run

FLEET = """
[settings]
"alarm/high" = 35
"sensor/key" = "hex:0102"
[calibration]
temperature = [0.5, 1.0]
[metadata]
site = "Ridge"
[log]
label = "winter"
period = "10 s"
[[device]]
name = "North"
"""


class Killed(Exception):
    """The host's process is gone."""


def fleet_in(folder: Path) -> Fleet:
    path = folder / "fleet.toml"
    if not path.exists():
        path.write_text(FLEET)
    return read_fleet(path)


@dataclass
class Desk:
    """A line of one device, which reaches it over a link that can be cut."""

    bench: Bench
    folder: Path
    transport: CutTransport
    kill_at: int | None = None
    visits: list[Visit] = field(default_factory=list[Visit])
    told: list[str] = field(default_factory=list[str])

    @property
    def line(self) -> Line:
        fleet = fleet_in(self.folder)
        progress = Progress(state_path(fleet.path))
        if self.kill_at is not None:
            progress.keep = killing(progress.keep, self.kill_at)  # type: ignore[method-assign]
        return Line(fleet, progress, Options(), self.connect, self.yes, self.tell, self.visits.append)

    @asynccontextmanager
    async def connect(self, _url: object) -> AsyncGenerator[Device]:
        client = Client(self.transport, ConsoleFraming, LinkOptions())
        await client.open()
        try:
            yield Device(client)
        finally:
            await client.close()

    async def yes(self, *_: object) -> bool:
        return True

    def tell(self, _visit: Visit, step: str) -> None:
        self.told.append(step)


def attempt(bench: Bench, folder: Path, transport: CutTransport, kill_at: int | None = None) -> Visit:
    """One run of the command on the device; `kill_at`: the host dies at the end of that many writes of its state."""
    desk = Desk(bench, folder, transport, kill_at)
    run(bench, desk.line.attend_all([parse("/dev/bench")], wait_s=0))
    (visit,) = desk.visits
    return visit


def killing(keep: Callable[[Any], None], at: int) -> Callable[[Any], None]:
    """The host dies at the end of write `at`, or before it, where that is negative."""
    count = 0

    def work(record: Any) -> None:
        nonlocal count
        count += 1
        if count == -at:
            raise Killed
        keep(record)
        if count == at:
            raise Killed

    return work


def assert_prepared(bench: Bench, folder: Path, what: str) -> None:
    """All of the row holds, and one session is being recorded: no more, no fewer."""
    values = [
        bench.ask(settings.READ, settings.SettingReadRequest(name=key)).val for key in ("device/name", "sensor/key")
    ]
    assert values == [b"North", b"\1\2"], what
    (temperature, *_) = bench.ask(logger.STREAMS, logger.StreamsRequest()).ch
    assert temperature.cal == (0.5, 1.0), what
    assert bench.state() is State.LOGGING, what
    assert [(session.id, session.label) for session in bench.sessions()] == [(1, "winter")], what
    info = bench.info()
    assert info.set, f"{what}: the clock is not set"
    (record,) = Progress(state_path(folder / "fleet.toml")).all()
    assert record.done, what
    assert record.error is None, what
    assert set(record.steps) == {"configure", "clock", "selftest", "arm"}, what
    assert record.steps.get("arm", {}).get("session") == 1, what


def attempt_with_cut(folder: Path, cut: Cut, what: str) -> tuple[bool, bool]:
    """Whether it was cut, and whether that stopped the attempt. The next attempt must complete it."""
    bench = Bench()
    transport = CutTransport(bench, FAST, cut=cut)
    visit = attempt(bench, folder, transport)
    if transport.cut == cut:
        assert visit.error is None, what
        return False, False
    stopped = visit.error is not None
    if stopped:
        bench.wait(90)  # a transaction that was left open is over
        visit = attempt(bench, folder, CutTransport(bench, FAST))
        assert visit.error is None, f"{what}: {visit.error}"
    assert_prepared(bench, folder, what)
    return True, stopped


def test_the_same_without_a_cut(tmp_path: Path) -> None:
    bench = Bench()
    assert attempt(bench, tmp_path, CutTransport(bench, FAST)).error is None
    assert_prepared(bench, tmp_path, "uncut")
    again = attempt(bench, tmp_path, CutTransport(bench, FAST))
    assert (again.error, again.skipped) == (None, True)
    assert_prepared(bench, tmp_path, "again")


def test_a_named_device_whose_link_breaks_is_waited_for(tmp_path: Path) -> None:
    bench = Bench()
    desk = Desk(bench, tmp_path, CutTransport(bench, FAST, cut=Cut(request=40, away_s=5.0)))
    run(bench, desk.line.attend_all([parse("/dev/bench")], wait_s=300))
    (visit,) = desk.visits
    assert visit.error is None
    assert any("Waiting for it to come back" in step for step in desk.told)
    assert_prepared(bench, tmp_path, "waited for")


def test_what_is_plugged_in_is_attended_to_until_all_is_done(tmp_path: Path) -> None:
    """Nothing at first, then a device whose cable is pulled in the middle, and put in again."""
    bench = Bench()
    desk = Desk(bench, tmp_path, CutTransport(bench, FAST, cut=Cut(request=40, away_s=5.0)))
    looks = iter([0] * 4 + [1] * 10_000)
    run(bench, desk.line.attend_line(lambda: [parse("/dev/bench")] * next(looks), None, listed=True))
    assert [visit.error is None for visit in desk.visits] == [False, True]
    assert_prepared(bench, tmp_path, "plugged in twice")


def test_a_line_to_which_nothing_comes_ends_in_time(tmp_path: Path) -> None:
    bench = Bench()
    desk = Desk(bench, tmp_path, CutTransport(bench, FAST))
    run(bench, desk.line.attend_line(list, 60, listed=True))
    assert desk.visits == []
    assert 60 <= bench.now < 70


@dataclass
class SwapTransport(CutTransport):
    """Somebody puts another device to the port while the first one restarts."""

    other: Bench | None = None
    opened: int = 0

    async def open(self, sink: Sink) -> None:
        self.opened += 1
        if self.opened == 2 and self.other is not None:
            self.other.wait(self.bench.now - self.other.now)
            self.bench = self.other
        await super().open(sink)


def test_another_device_at_the_port_after_a_restart_is_left_alone(tmp_path: Path) -> None:
    bench, other = Bench(), Bench(seed=5)
    transport = SwapTransport(bench, FAST, other=other)
    visit = attempt(bench, tmp_path, transport)
    assert transport.bench is other
    assert isinstance(visit.error, OtherDevice)
    uid, others_uid = bench.info().uid, other.info().uid
    assert uid is not None
    assert others_uid is not None
    assert others_uid.hex() in str(visit.error)
    assert not other.info().set, "its clock was not set"
    assert other.state() is State.IDLE
    (record,) = Progress(state_path(tmp_path / "fleet.toml")).all()
    assert (record.uid, record.done) == (uid.hex(), False)
    bench.wait(other.now - bench.now)
    assert attempt(bench, tmp_path, CutTransport(bench, FAST)).error is None
    assert_prepared(bench, tmp_path, "the first one again")


def cut_all(folder: Path, every: int, seed: int) -> tuple[int, int]:
    """Cut at requests and at answers, at one of `every`; how many cuts, and how many stopped the attempt."""
    dice = random.Random(seed)
    cuts = stops = 0
    for side in ("request", "reply"):
        number, reached = dice.randrange(every), True
        while reached:
            away_s = dice.choice((0.0, 2.0, None))
            what = f"seed {seed}: link cut at {side} {number}, away for {away_s} s"
            own = folder / f"{side}{number}"
            own.mkdir()
            reached, stopped = attempt_with_cut(own, Cut(**{side: number}, away_s=away_s), what)  # type: ignore[arg-type]
            cuts += reached
            stops += stopped
            number += every
    return cuts, stops


def test_the_link_goes_at_some_messages(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    cuts, stops = cut_all(tmp_path, 11, seed=1)
    assert cuts > 5
    assert stops
    record_property("counted", f"provisioning cut at {cuts} messages, {stops} attempts stopped by it and gone on with")


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3])
def test_the_link_goes_at_every_message(
    tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    cuts, stops = cut_all(tmp_path, 1, seed)
    assert cuts > 60
    record_property("counted", f"provisioning cut at {cuts} messages, {stops} attempts stopped by it and gone on with")


@pytest.mark.parametrize("side", [1, -1], ids=["after", "before"])
def test_the_host_is_killed_at_every_write_of_its_state(tmp_path: Path, side: int) -> None:
    killed = 0
    for at in range(1, 40):
        folder = tmp_path / str(at)
        folder.mkdir()
        bench = Bench()
        try:
            attempt(bench, folder, CutTransport(bench, FAST), kill_at=side * at)
        except Killed:
            killed += 1
            bench.wait(90)
            assert attempt(bench, folder, CutTransport(bench, FAST)).error is None, f"killed at write {side * at}"
        assert_prepared(bench, folder, f"killed at write {side * at}")
        if killed < at:
            break
    assert killed >= 6


def test_power_goes_between_any_two_steps(tmp_path: Path) -> None:
    for at in range(1, 8):
        folder = tmp_path / str(at)
        folder.mkdir()
        bench = Bench()
        with pytest.raises(Killed):
            attempt(bench, folder, CutTransport(bench, FAST), kill_at=at)
        bench.power_cycle()
        bench.wait(5)
        assert attempt(bench, folder, CutTransport(bench, FAST)).error is None, f"power cut after write {at}"
        assert_prepared(bench, folder, f"power cut after write {at}")
