"""The link dropped at any moment of a pull or an update over BLE: the command goes on by itself, or says how, and all is whole.

A drop is told by the packet of the air that it comes with, from the advertisement that is answered to the last reply.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import fieldlog
import fieldlog.archive
from ble_bench import options
from fieldlog.flash import FlashOptions, flash
from fieldlog.steady_pull import pull_steadily
from fieldlog.url import parse
from fieldlog_protocol.blocks.block import parse_header
from fieldlog_protocol.errors import LinkError
from fieldlog_sim.links.ble.link import BleLink
from fieldlog_sim.links.ble.site import Site
from fieldlog_sim.port import Buffers, SmpPort, raw_framing
from flash_bench import FlashBench, firmware, package, runs

BUFFERS = Buffers(384, 4)
LIMIT_S = 60.0
"""The command, with all its reconnects: each scan may take 10 s, each wait for the device 30 s."""
PULL_PACKETS = 900
FLASH_PACKETS = 500
"""About so many go over the air when nothing breaks; what is asked to break later breaks nothing."""


class LiveBench(FlashBench):
    """A logger whose time goes on by itself once it is served."""

    _stopped_at = 0.0
    _since: float | None = None

    @property
    def now(self) -> float:
        return self._stopped_at if self._since is None else self._stopped_at + time.monotonic() - self._since

    @now.setter
    def now(self, value: float) -> None:
        self._stopped_at = value

    def run_on(self) -> None:
        self._since = time.monotonic()

    def stand_still(self) -> None:
        self._stopped_at, self._since = self.now, None


def recorded() -> LiveBench:
    bench = LiveBench(buffers=BUFFERS, log_sectors=96)
    bench.arm(label="drops", wrap=True)
    bench.wait(3600, 4)
    bench.stop()
    return bench


@dataclass
class Drops:
    """Loses the link at these packets, for so long each time."""

    link: BleLink
    at: list[int]
    away_s: float
    packets: int = 0
    done: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def watch(self, site: Site) -> None:
        carry: Callable[..., None] = site.air.send_acl_data

        def counted(*packet: Any) -> None:
            carry(*packet)
            self.packets += 1
            if self.packets in self.at:
                self.done += 1
                self._tasks.append(asyncio.create_task(self.link.lose_link(self.away_s)))

        vars(site.air)["send_acl_data"] = counted

    async def over(self) -> None:
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def served(
    bench: LiveBench, at: list[int], away_s: float, bonds: Path | None
) -> AsyncGenerator[tuple[str, Drops]]:
    """The device on a radio of its own, as a URL; `bonds` asks for encryption, and is where the host keeps its keys."""
    site = Site(options(level=0 if bonds is None else 1))
    await site.open()
    bench.run_on()
    port = SmpPort(bench.device, BUFFERS, raw_framing(BUFFERS), time.monotonic())
    link = await site.add(bench.device, port)
    running = asyncio.create_task(link.run())
    drops = Drops(link, at, away_s)
    drops.watch(site)
    try:
        yield link.address + (f"&bonds={bonds}" if bonds else ""), drops
        await drops.over()
    finally:
        link.close()
        await running
        site.close()
        bench.stand_still()


async def finished(work: Callable[[], Awaitable[object]]) -> int:
    """How often it took a person to repeat the command, who is told each time what to do."""
    for repeated in range(3):
        began = time.monotonic()
        try:
            async with asyncio.timeout(LIMIT_S):
                await work()
        except TimeoutError as error:
            if isinstance(error, LinkError):
                _assert_helpful(error)
                continue
            raise AssertionError(f"it hung for {time.monotonic() - began:.0f} s") from error
        except LinkError as error:
            _assert_helpful(error)
        else:
            return repeated
    raise AssertionError("three times in vain")


def _assert_helpful(error: LinkError) -> None:
    said = str(error)
    assert "epeat the command" in said or "again" in said, said


async def pull_with_drops(seed: int, folder: Path, bench: LiveBench) -> tuple[int, int]:
    draw = random.Random(seed)
    at = sorted(draw.sample(range(1, PULL_PACKETS), draw.choice([1, 1, 2, 3])))
    bonds = folder / "bonds.json" if draw.random() < 0.5 else None
    archive = folder / "archive"
    counted: list[int] = []

    async with served(bench, at, draw.choice([0.0, 0.0, 1.0]), bonds) as (url, drops):

        async def command() -> None:
            async with fieldlog.connect(url) as device:
                with fieldlog.archive.open(archive) as store:
                    result = await pull_steadily(device, store, parse(url).reconnect_s)
                    counted.append(result.blocks)

        repeated = await finished(command)
    assert repeated or counted == [len(bench.wires())]
    with fieldlog.archive.open(archive, writable=False) as store:
        (log,) = store.logs()
        for wire in bench.wires():
            assert log.copies(parse_header(wire).seq) == [wire]
        assert log.lost() == []
    return repeated, drops.done


async def flash_with_drops(seed: int, folder: Path) -> tuple[int, int]:
    draw = random.Random(seed)
    at = sorted(draw.sample(range(1, FLASH_PACKETS), draw.choice([1, 1, 2, 3])))
    bonds = folder / "bonds.json" if draw.random() < 0.5 else None
    bench = LiveBench(buffers=BUFFERS)
    version = f"2.0.{seed}"

    async with served(bench, at, draw.choice([0.0, 0.0, 1.0]), bonds) as (url, drops):

        async def command() -> None:
            async with fieldlog.connect(url) as device:
                await flash(device, package(firmware(version, 30_000)), FlashOptions())

        repeated = await finished(command)
    assert runs(bench) == (version, True)
    return repeated, drops.done


async def campaign(seeds: range, folder: Path, report: Callable[[str], None]) -> None:
    bench = recorded()
    total: dict[str, list[int]] = {"pull": [0, 0, 0], "flash": [0, 0, 0]}
    for seed in seeds:
        kind = "flash" if seed % 2 else "pull"
        own = folder / str(seed)
        own.mkdir()
        try:
            repeated, done = await (flash_with_drops(seed, own) if seed % 2 else pull_with_drops(seed, own, bench))
        except BaseException as error:
            error.add_note(f"{kind}, seed {seed}")
            raise
        total[kind] = [sum(pair) for pair in zip(total[kind], (1, done, repeated), strict=True)]
    for kind, (runs_, done, repeated) in total.items():
        report(f"BLE link drops: {kind} {runs_} times with {done} drops, repeated by hand {repeated} times")


@pytest.mark.parametrize("seed", range(4))
async def test_a_dropped_link_is_got_over(seed: int, tmp_path: Path) -> None:
    await campaign(range(seed, seed + 1), tmp_path, lambda _: None)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", range(10))
async def test_many_dropped_links_are_got_over(block: int, tmp_path: Path, record_property: Any) -> None:
    start = 1000 + block * 24
    await campaign(
        range(start, start + 24), tmp_path, lambda text: record_property("counted", f"block {block}: {text}")
    )
