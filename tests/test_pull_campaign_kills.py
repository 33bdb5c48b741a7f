"""Hosts are killed with -9 at random moments of a pull while the logger records; then one comes to its end."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

import fieldlog.archive
from campaign_owner import Dice, Owner
from campaign_truth import Truth
from fieldlog_sim.faults import Faults
from fieldlog_sim.port import Buffers
from live_bench import LiveBench, Served, served
from mortal_hosts import Hosts, hosts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed as POSIX has it")

_FAST_US = (500, 1_000, 2_000)
_LINKS = (
    ("console", None, Faults()),
    ("console", 1_000_000, Faults()),
    ("raw", 1_000_000, Faults()),
    ("datagrams", None, Faults()),
    ("datagrams", None, Faults(loss=0.02, duplicate=0.02, delay=0.1, delay_s=0.01)),
)
_ACTS = ("mark", "mark", "mark", "seal", "seal", "seal", "arm", "arm", "erase", "reset", "reset", "power")
_REQUESTS = (*range(1, 20), 25, 40, 80, 150)


@dataclass
class Deaths:
    """A recording device, two archives, and hosts that are killed. `seen` counts what became of them."""

    device: Served
    owner: Owner
    hosts: Hosts
    folders: tuple[Path, Path]
    dice: Random
    seen: Counter[str]

    def go_through(self, attempts: int) -> None:
        for _ in range(attempts):
            self.attempt(self.dice.choice(self.folders))
            if self.dice.random() < 0.5:
                self.do(self.dice.choice(_ACTS))
        for folder in self.folders:
            reached = self.device.do(lambda: self.owner.bench.info().next or 0)
            assert self.pull(folder) == 0
            self.device.do(lambda folder=folder, reached=reached: self.check(folder, reached))

    def attempt(self, folder: Path) -> None:
        """A pull that is to die at one of its requests, or a little later."""
        host = self.hosts.begin(*self.words(folder))
        delay_s = self.dice.choice((0.0, self.dice.uniform(0.0, 0.01), self.dice.uniform(0.0, 0.1)))
        self.device.kill_at(host, self.dice.choice(_REQUESTS), delay_s)
        ended = self.hosts.end()
        self.device.spare()
        self.seen["killed" if ended == -signal.SIGKILL else f"ended with {ended}"] += 1

    def pull(self, folder: Path) -> int:
        self.hosts.begin(*self.words(folder))
        return self.hosts.end()

    def words(self, folder: Path) -> tuple[str, ...]:
        return ("pull", "--device", self.device.url, "--archive", str(folder), "--json")

    def do(self, action: str) -> None:
        self.device.do(lambda: self.owner.act(action))

    def check(self, folder: Path, reached: int) -> None:
        """The pull sealed what was open: all blocks before `reached`, the device's next when it began, must be told of."""
        with fieldlog.archive.open(folder, writable=False) as archive:
            (log,) = archive.logs()
            self.seen["interrupted pulls"] += sum(pull.outcome != "complete" for pull in log.pulls())
        self.seen["readings"] += self.owner.truth.check_archive(folder, reached, ())


def deaths(seed: int, attempts: int, folder: Path, forker: Hosts) -> Counter[str]:
    dice = Random(seed)
    sensors = [Dice(seed, id_, dice) for id_ in range(dice.randint(1, 3))]
    buffers = Buffers(dice.choice((384, 2048)), 4)
    bench = LiveBench(
        clock_ppm=dice.choice((0.0, 18.0)),
        buffers=buffers,
        log_sectors=dice.randint(20, 28),
        sensors=sensors,
        seed=seed,
    )
    truth = Truth(bench)
    owner = Owner(bench, sensors, truth, dice, _FAST_US)
    owner.arm()
    bench.wait(dice.uniform(0.2, 1.3) * truth.pages * owner.block_s)
    bench.go_live()
    seen: Counter[str] = Counter()
    with served(bench, *dice.choice(_LINKS)) as device:
        Deaths(device, owner, forker, (folder / "a", folder / "b"), dice, seen).go_through(attempts)
    truth.check_device()
    return seen + owner.seen + truth.seen


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts(tmp_path_factory.mktemp("hosts") / "complaints") as forker:
        yield forker


def many_deaths(seeds: range, attempts: int, folder: Path, forker: Hosts) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            seen += deaths(seed, attempts, folder / str(seed), forker)
        except BaseException as error:
            error.add_note(f"seed {seed}, so far {dict(seen)}")
            raise
    return seen


def test_hosts_killed_while_they_pull(folder: Path, forker: Hosts) -> None:
    seen = many_deaths(range(4, 6), 6, folder, forker)
    assert seen["killed"] > 6
    assert seen["interrupted pulls"] > 3


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_many_hosts_killed_while_they_pull(
    part: int, folder: Path, forker: Hosts, record_property: pytest.RecordProperty
) -> None:
    seen = many_deaths(range(100 + 8 * part, 108 + 8 * part), 14, folder, forker)
    assert seen["killed"] > 60
    assert seen["interrupted pulls"] > 55
    record_property(
        "counted",
        f"part {part}: {seen['killed']} hosts killed with -9, {seen['interrupted pulls']} of them in a pull, 0 readings lost",
    )
