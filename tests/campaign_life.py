"""Lives of a logger, drawn from a seed: it records while it is pulled, over bad links, through power cuts.

A life goes in rounds: some time passes, then hosts pull until one comes through, while an operator marks, seals, stops,
arms and erases, and power is cut at random flash operations. In the end all is steady, each host pulls once more, and
its archive is held against the truth.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

import numpy as np

import fieldlog.archive
from campaign_truth import Truth
from device_bench import Bench, PowerLost
from fieldlog.device import Device
from fieldlog.pull import PullResult, pull
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.commands import logger, os, settings
from fieldlog_protocol.commands.logger import State, StreamPeriod
from fieldlog_protocol.errors import LinkError, ProtocolError, RefusedError, RequestTimeout
from fieldlog_sim.noise import Integers, bits, stream_seed
from fieldlog_sim.port import Buffers
from fieldlog_sim.sensors import Raw, Synthetic
from virtual_link import LinkKind, VirtualTransport, run

T = TypeVar("T")
_MS = 1000
_TYPES = (ChannelType.I8, ChannelType.I16, ChannelType.I32, ChannelType.U8, ChannelType.U16, ChannelType.U32)
_TRIES = 40


class Dice(Synthetic):
    """Channels of all widths that tell their time: no two samples are likely to be the same."""

    period_range_us = (_MS, 10**12)

    def __init__(self, seed: int, stream_id: int, dice: Random) -> None:
        self._seed = stream_seed(seed, "dice", stream_id)
        types = [dice.choice(_TYPES) for _ in range(dice.randint(1, 4))]
        self._widths = [dice.randint(1, 8 * np.dtype(kind.dtype).itemsize) for kind in types]
        types[0], self._widths[0] = ChannelType.I32, dice.randint(12, 32)
        self.bytes_a_frame = sum(self._widths) / 8
        channels = tuple(Channel(name=f"c{i}", unit="V", type=kind) for i, kind in enumerate(types))
        self.stream = Stream(id=stream_id, name=f"dice {stream_id}", period_us=_MS, channels=channels)

    def sample(self, utc_us: Integers) -> Raw:
        raw = np.empty((len(utc_us), len(self._widths)), np.int64)
        for index, (width, channel) in enumerate(zip(self._widths, self.stream.channels, strict=True)):
            noise = (bits(self._seed + index, utc_us) >> np.uint64(64 - width)).astype(np.int64)
            raw[:, index] = noise + max(channel.type.minimum, -(1 << width - 1))
        return raw


@dataclass
class Outcome:
    """What a life went through."""

    seen: Counter[str] = field(default_factory=Counter[str])
    readings: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Plan:
    """How hard a life is; everything else is drawn from the seed.

    `cuts`: power cuts in all. `hosts`: how many pull, each into its own archive. `links`: of which each connection draws.
    """

    links: tuple[LinkKind, ...]
    cuts: int = 0
    hosts: int = 1
    rounds: int = 3
    sectors: tuple[int, int] = (20, 28)


class Life:
    """One device's life. `folder`: for the archives of its hosts."""

    def __init__(self, plan: Plan, seed: int, folder: Path) -> None:
        self.dice = Random(seed)
        self.plan = plan
        self.seed = seed
        self.outcome = Outcome()
        self.cuts_left = plan.cuts
        self.sensors = [Dice(seed, id_, self.dice) for id_ in range(self.dice.randint(1, 4))]
        buffers = Buffers(self.dice.choice((384, 512, 1024, 2048)), self.dice.randint(2, 8))
        self.bench = Bench(
            buffers=buffers,
            log_sectors=self.dice.randint(*plan.sectors),
            sensors=self.sensors,
            seed=seed,
            clock_ppm=self.dice.choice((0.0, 18.0, -60.0)),
        )
        self.truth = Truth(self.bench)
        self.wrap = self.dice.random() < 0.6
        self.folders = [folder / f"host{index}" for index in range(plan.hosts)]
        self.told: list[set[int]] = [set() for _ in self.folders]
        self.recorded: tuple[int, ...] = ()
        self.block_s = 1.0
        self.pulling = 0
        self.failed_pulls = [0] * plan.hosts
        self._watch_power()

    def _watch_power(self) -> None:
        flash = self.bench.device.flash
        power_on = flash.power_on

        def back() -> None:
            power_on()
            self.outcome.seen["power lost in a pull"] += self.pulling > 0
            self._plan_cut(self.dice.choice((12, 250)))

        flash.power_on = back  # type: ignore[method-assign]

    def _plan_cut(self, within: int) -> None:
        if self.cuts_left:
            self.cuts_left -= 1
            self.bench.device.flash.cut_after = self.dice.randint(1, within)

    # the life

    def live(self) -> Outcome:
        try:
            self._live()
        except BaseException as error:
            error.add_note(f"seed {self.seed}, {self.plan}, so far {dict(self.outcome.seen + self.truth.seen)}")
            raise
        self.outcome.seen += self.truth.seen
        return self.outcome

    def _live(self) -> None:
        self.set_age()
        self.arm()
        self._plan_cut(250)
        for _ in range(self.plan.rounds):
            self.some_time()
            run(self.bench, self.round())
            self.between()
        self.cuts_left = 0
        self.bench.device.flash.cut_after = None
        self.some_time()
        if self.dice.random() < 0.5:
            self.stop()
        for index in range(self.plan.hosts):
            run(self.bench, self.end(index))
        self.truth.check_device()

    def some_time(self) -> None:
        """From nothing to more than a lap of a ring."""
        laps = self.dice.choice((0.0, 0.1, 0.3, 0.8, 1.5))
        self.bench.wait(laps * self.truth.pages * self.block_s + self.dice.random(), self.dice.randint(1, 4))

    def between(self) -> None:
        """What an owner does after a pull: what is held by all may be overwritten, at times everything is erased."""
        if self.dice.random() < 0.7:
            kept = min(self.held_up_to(folder) for folder in self.folders)
            self.steady(lambda: self.bench.ask(logger.RELEASE, logger.ReleaseRequest(q=kept)))
        self.act(self.dice.choice(("nothing", "nothing", "arm", "erase", "reset", "power")))

    def held_up_to(self, folder: Path) -> int:
        """The seq up to which nothing is wanted any more."""
        with fieldlog.archive.open(folder, writable=False) as archive:
            (log,) = archive.logs()
            held = log.held()
            absent = log.unread(0, held.stop)
            return absent[0].start if absent else held.stop

    # the device's owner

    def steady(self, ask: Callable[[], T]) -> T:
        """Ask again whenever power went before there was an answer."""
        while True:
            try:
                return ask()
            except PowerLost:
                continue

    def act(self, action: str) -> None:
        """Do something to the device; that it may refuse is part of life."""
        try:
            getattr(self, action)()
        except RefusedError:
            self.outcome.seen[f"refused: {action}"] += 1
        else:
            self.outcome.seen[action] += 1

    def nothing(self) -> None:
        pass

    def set_age(self) -> None:
        age = settings.SettingWriteRequest(
            name="log/max_age", val=struct.pack("<I", self.dice.choice((0, 3, 60, 86_400)))
        )
        self.bench.ask(settings.WRITE, age)
        self.bench.ask(settings.SAVE, settings.SettingSaveRequest())

    def arm(self) -> None:
        """Streams and periods drawn anew; the first of them fills blocks, the others keep theirs open."""
        self.stop()
        sensors = self.dice.sample(self.sensors, self.dice.randint(1, len(self.sensors)))
        periods = {sensor.stream.id: self.period_us(index) for index, sensor in enumerate(sensors)}
        streams = tuple(StreamPeriod(s=id_, us=period) for id_, period in periods.items())
        request = next(self.bench.request_ids)

        def begin() -> logger.ArmResponse:
            self.truth.armed()
            return self.bench.arm(id=request, label="life", wrap=self.wrap, streams=streams)

        session = self.steady(begin).session
        self.truth.periods_us |= {(session, id_): period for id_, period in periods.items()}
        self.recorded = tuple(periods)
        bytes_s = sum(sensor.bytes_a_frame * 1e6 / periods[sensor.stream.id] for sensor in sensors)
        self.block_s = 1000 / bytes_s

    def period_us(self, index: int) -> int:
        return self.dice.choice((5, 10, 20) if index == 0 else (7, 30, 100, 1000, 7000, 60_000)) * _MS

    def stop(self) -> None:
        request = logger.StopRequest(id=next(self.bench.request_ids))
        while self.steady(self.bench.state) is State.LOGGING:
            with suppress(PowerLost):
                session = self.bench.ask(logger.STOP, request).session
                self.truth.stopped(session)

    def erase(self) -> None:
        self.stop()
        request = next(self.bench.request_ids)

        def ask() -> None:
            token = self.bench.info().token
            assert token is not None
            self.bench.ask(logger.ERASE, logger.EraseRequest(id=request, token=token))

        self.steady(ask)
        self.arm()

    def mark(self) -> None:
        text = f"mark {self.dice.random()}"
        request = next(self.bench.request_ids)
        self.steady(lambda: self.bench.ask(logger.MARK, logger.MarkRequest(id=request, text=text)))

    def seal(self) -> None:
        self.steady(self.bench.seal)

    def reset(self) -> None:
        with suppress(PowerLost):
            self.bench.ask(os.RESET, os.ResetRequest())

    def power(self) -> None:
        self.bench.power_cycle()

    async def operate(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.02, 5.0))
            self.act(self.dice.choice(("mark", "mark", "seal", "seal", "arm", "stop", "reset", "power", "erase")))

    # the hosts

    async def round(self) -> None:
        """All hosts until each has had a pull that came through; whatever fails ends all of it."""
        operator = asyncio.create_task(self.operate())
        hosts = [asyncio.create_task(self.until_one_comes_through(index)) for index in range(self.plan.hosts)]
        try:
            await asyncio.gather(*hosts)
        finally:
            for task in (operator, *hosts):
                task.cancel()
            await asyncio.gather(operator, *hosts, return_exceptions=True)

    async def until_one_comes_through(self, index: int) -> None:
        for _ in range(_TRIES):
            link = self.dice.choice(self.plan.links).seeded(self.dice.randrange(2**32))
            try:
                await self.read_out(index, link)
            except (LinkError, RequestTimeout, ProtocolError) as error:
                self.outcome.seen[f"pull failed: {type(error).__name__}"] += 1
                self.failed_pulls[index] += 1
                await asyncio.sleep(self.dice.uniform(0.0, 3.0))
            else:
                return
        raise AssertionError(f"none of {_TRIES} pulls came through")

    async def end(self, index: int) -> None:
        result = await self.read_out(index, LinkKind(baud=None))
        folder, info = self.folders[index], result.info
        self.outcome.readings += self.truth.check_archive(folder, info.next_seq, info.open_seqs)
        with fieldlog.archive.open(folder, writable=False) as archive:
            lost = {seq for part in archive.logs()[0].lost() for seq in part}
        self.outcome.lost += len(lost)
        assert self.told[index] <= lost, f"told as lost, and not so: {self.told[index] - lost}"
        if not self.failed_pulls[index]:
            assert self.told[index] == lost, f"lost, and never told: {lost - self.told[index]}"

    async def read_out(self, index: int, link: LinkKind) -> PullResult:
        """One pull. What was on flash when it began, and still is when it has come to its end, must be held then."""
        before, began_us, boot, begun = self.truth.on_flash(), self.now_us, self.bench.device.boot_id, self.session
        self.outcome.seen["pulls"] += 1
        result = await self.connect_and_pull(index, link)
        self.outcome.seen["pulls that came through"] += 1
        with fieldlog.archive.open(self.folders[index], writable=False) as archive:
            held = self.truth.check_held(archive.logs()[0])
        missed = before & self.truth.on_flash() - held
        assert not missed, f"blocks {missed} were there all the time, and are not held"
        if (boot, begun) == (self.bench.device.boot_id, self.session) and begun is not None:
            self.truth.check_reaches(begun, boot, began_us, self.recorded)
        told = {seq for part in result.lost for seq in part}
        assert not told & self.told[index], "told as lost twice"
        self.told[index] |= told
        return result

    @property
    def now_us(self) -> int:
        return self.bench.device.now_us()

    @property
    def session(self) -> int | None:
        """The session that runs."""
        device_logger = self.bench.device.logger
        assert device_logger is not None
        running = device_logger.sessions.running
        return None if running is None else running.id

    async def connect_and_pull(self, index: int, link: LinkKind) -> PullResult:
        client = VirtualTransport(self.bench, link, self.outcome.seen).client()
        if self.dice.random() < 0.5:
            self._plan_cut(20)
        self.pulling += 1
        try:
            await client.open()
            with fieldlog.archive.open(self.folders[index]) as archive:
                return await pull(Device(client), archive)
        finally:
            self.pulling -= 1
            await client.close()
