"""Lives of a logger, drawn from a seed: it records while it is pulled, over bad links, through power cuts.

A life goes in rounds: some time passes, then hosts pull until one comes through, while an operator marks, seals, stops,
arms and erases, and power is cut at random flash operations. In the end all is steady, each host pulls once more, and
its archive is held against the truth.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import fieldlog.archive
from campaign_owner import Dice, Owner
from campaign_truth import Truth
from device_bench import Bench
from fieldlog.archive.merge import merge
from fieldlog.archive.ranges import difference
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.pull import PullResult, pull
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import LinkError, ProtocolError, RequestTimeout
from fieldlog_sim.port import Buffers
from virtual_link import NO_FAULTS, LinkKind, VirtualTransport, run

_TRIES = 40
_FAST_US = (5_000, 10_000, 20_000)


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
    `streams`: at most. `pause_s`: between two things the operator does while hosts pull, which are of `acts`. `sealing`:
    the share of pulls that seal. `laps`: how much of the ring is recorded between pulls.
    """

    links: tuple[LinkKind, ...]
    cuts: int = 0
    hosts: int = 1
    rounds: int = 3
    sectors: tuple[int, int] = (20, 28)
    streams: int = 4
    pause_s: tuple[float, float] = (0.02, 5.0)
    acts: tuple[str, ...] = ("mark", "mark", "seal", "seal", "arm", "stop", "reset", "power", "erase")
    sealing: float = 0.7
    laps: tuple[float, ...] = (0.0, 0.1, 0.3, 0.8, 1.5)


class Life:
    """One device's life. `folder`: for the archives of its hosts."""

    def __init__(self, plan: Plan, seed: int, folder: Path) -> None:
        self.dice = Random(seed)
        self.plan = plan
        self.seed = seed
        self.outcome = Outcome()
        self.cuts_left = plan.cuts
        sensors = [Dice(seed, id_, self.dice) for id_ in range(self.dice.randint(1, plan.streams))]
        buffers = Buffers(self.dice.choice((384, 512, 1024, 2048)), self.dice.randint(2, 8))
        self.bench = Bench(
            buffers=buffers,
            log_sectors=self.dice.randint(*plan.sectors),
            sensors=sensors,
            seed=seed,
            clock_ppm=self.dice.choice((0.0, 18.0, -60.0)),
        )
        self.truth = Truth(self.bench)
        self.owner = Owner(self.bench, sensors, self.truth, self.dice, _FAST_US)
        self.folders = [folder / f"host{index}" for index in range(plan.hosts)]
        self.told: list[set[int]] = [set() for _ in self.folders]
        self.pulling = 0
        self.complaints: list[str] = []
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
        self.outcome.seen += self.truth.seen + self.owner.seen
        return self.outcome

    def _live(self) -> None:
        self.owner.set_age()
        self.owner.arm()
        self._plan_cut(250)
        for _ in range(self.plan.rounds):
            self.some_time()
            run(self.bench, self.round())
            self.between()
        self.cuts_left = 0
        self.bench.device.flash.cut_after = None
        self.some_time()
        if self.dice.random() < 0.5:
            self.owner.stop()
        for index in range(self.plan.hosts):
            last = run(self.bench, self.end(index))
        self.truth.check_device()
        if self.plan.hosts > 1:
            self.merge(last.info)

    def some_time(self) -> None:
        """From nothing to more than a lap of a ring."""
        laps = self.dice.choice(self.plan.laps)
        self.bench.wait(laps * self.truth.pages * self.owner.block_s + self.dice.random(), self.dice.randint(1, 4))

    def between(self) -> None:
        """What an owner does after a pull: what is held by all may be overwritten, at times everything is erased."""
        if self.dice.random() < 0.7:
            kept = min(self.held_up_to(folder) for folder in self.folders)
            self.owner.steady(lambda: self.bench.ask(logger.RELEASE, logger.ReleaseRequest(q=kept)))
        self.owner.act(self.dice.choice(("nothing", "nothing", "arm", "erase", "reset", "power")))

    def held_up_to(self, folder: Path) -> int:
        """The seq up to which nothing is wanted any more."""
        with fieldlog.archive.open(folder, writable=False) as archive:
            (log,) = archive.logs()
            held = log.held()
            absent = difference(log.absent(0, held.stop), log.lost())
            return absent[0].start if absent else held.stop

    async def operate(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(*self.plan.pause_s))
            self.owner.act(self.dice.choice(self.plan.acts))

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
                await self.read_out(index, link, seal=self.dice.random() < self.plan.sealing)
            except (LinkError, RequestTimeout, ProtocolError) as error:
                self.outcome.seen[f"pull failed: {type(error).__name__}"] += 1
                self.complaints.append(str(error))
                self.failed_pulls[index] += 1
                await asyncio.sleep(self.dice.uniform(0.0, 3.0))
            else:
                return
        raise AssertionError(f"none of {_TRIES} pulls came through")

    async def end(self, index: int) -> PullResult:
        result = await self.read_out(index, LinkKind(baud=None))
        folder, info = self.folders[index], result.info
        self.outcome.readings += self.truth.check_archive(folder, info.next_seq, info.open_seqs)
        with fieldlog.archive.open(folder, writable=False) as archive:
            lost = {seq for part in archive.logs()[0].lost() for seq in part}
        self.outcome.lost += len(lost)
        assert self.told[index] <= lost, f"told as lost, and not so: {self.told[index] - lost}"
        if not self.failed_pulls[index]:
            assert self.told[index] == lost, f"lost, and never told: {lost - self.told[index]}"
        return result

    def merge(self, info: LoggerInfo) -> None:
        """All archives in one: what any of them holds, and no gap but what all of them lack."""
        folder = self.folders[0].with_name("merged")
        with fieldlog.archive.open(folder) as whole:
            for one in self.folders:
                with fieldlog.archive.open(one, writable=False) as other:
                    merge(whole, other)
        self.truth.check_archive(folder, info.next_seq, info.open_seqs)
        assert self.held_in(folder) == set().union(*map(self.held_in, self.folders))

    async def read_out(self, index: int, link: LinkKind, *, seal: bool = True) -> PullResult:
        """One pull. What was on flash when it began, and still is when it has come to its end, must be held then."""
        before, began_us, boot, begun = self.truth.on_flash(), self.now_us, self.bench.device.boot_id, self.session
        self.truth.begin_reading(self.held_in(self.folders[index]))
        self.outcome.seen["pulls"] += 1
        result = await self.connect_and_pull(index, link, seal=seal)
        self.outcome.seen["pulls that came through"] += 1
        held = self.held_in(self.folders[index])
        missed = before & self.truth.on_flash() - held
        assert not missed, f"blocks {missed} were there all the time, and are not held"
        skipped = before & self.truth.passed - held
        assert not (skipped and self.alone), f"blocks {skipped} could have been read before those that were"
        if seal and begun is not None and (boot, begun) == (self.bench.device.boot_id, self.session):
            self.truth.check_reaches(begun, boot, began_us, self.owner.recorded)
        self.outcome.seen["blocks left open"] += len(result.open_seqs)
        told = {seq for part in result.lost for seq in part}
        assert not told & self.told[index], "told as lost twice"
        self.told[index] |= told
        return result

    def held_in(self, folder: Path) -> set[int]:
        """What an archive holds: nothing but what was committed."""
        if not fieldlog.archive.exists(folder):
            return set()
        with fieldlog.archive.open(folder, writable=False) as archive:
            return {seq for log in archive.logs() for seq in self.truth.check_held(log)}

    @property
    def alone(self) -> bool:
        """One host, and nothing that goes wrong: each reply that the device gives arrives, and is this host's."""
        clean = all(link.faults == NO_FAULTS and link.deliveries is None for link in self.plan.links)
        return clean and self.plan.hosts == 1 and not self.plan.cuts

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

    async def connect_and_pull(self, index: int, link: LinkKind, *, seal: bool) -> PullResult:
        client = VirtualTransport(self.bench, link, self.outcome.seen).client()
        if self.dice.random() < 0.5:
            self._plan_cut(20)
        self.pulling += 1
        try:
            await client.open()
            with fieldlog.archive.open(self.folders[index]) as archive:
                return await pull(Device(client), archive, seal=seal)
        finally:
            self.pulling -= 1
            await client.close()
