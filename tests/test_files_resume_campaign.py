"""Files that are fetched by programs that are killed and over links that are cut, at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import fieldlog
from fieldlog import files
from fieldlog.partial import partials
from fieldlog_protocol.commands import fs
from fieldlog_protocol.errors import LinkError
from simulator import Simulator, simulator
from smp_peer import Answer, pty_peer
from test_files import names, noise
from test_files_resume import CLI, NAME, store_of


@pytest.fixture(scope="module")
def device() -> Iterator[Simulator]:
    """A simulated device whose file is put there without delay and fetched over a slow line."""
    with simulator("--pty", "--baud", "460800", "--udp", "0", links=2) as running:
        yield running


def _links(device: Simulator) -> tuple[str, str]:
    slow, fast = sorted(device.urls, key=lambda url: url.startswith("udp"))
    return slow, fast


def _put(url: str, content: bytes) -> None:
    async def work() -> None:
        async with fieldlog.connect(url) as device:
            await files.store(device, content, "/lfs/k")

    asyncio.run(work())


def _kept(target: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in partials(target))
    return 0


def _killed(url: str, folder: Path, dice: random.Random) -> bool:
    """Run the command and kill it a random time after it began to write; False when it was done before."""
    before = _kept(folder / "k")
    child = subprocess.Popen([*CLI, "/lfs/k", "-d", url], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while child.poll() is None and _kept(folder / "k") == before:
        os.sched_yield()
    try:
        child.wait(dice.uniform(0, 0.7))
    except subprocess.TimeoutExpired:
        child.kill()
    _, err = child.communicate(timeout=30)
    assert child.returncode in (0, -signal.SIGKILL), err
    return child.returncode != 0


def _kill_until_done(device: Simulator, folder: Path, seed: int) -> int:
    """How often it was killed before it had the whole file, which is what was put on the device."""
    slow, fast = _links(device)
    dice = random.Random(seed)
    content = dice.randbytes(dice.randrange(20_000, 60_000))
    _put(fast, content)
    folder.mkdir()
    kills = 0
    while _killed(slow, folder, dice):
        kills += 1
        if (folder / "k").exists():  # killed between its last step and its end
            break
    assert (folder / "k").read_bytes() == content, f"seed {seed}: the file differs after {kills} kills"
    assert names(folder) == ["k"], f"seed {seed}: something was left"
    return kills


def test_a_fetch_killed_at_any_moment_and_repeated_gives_the_same_file(device: Simulator, tmp_path: Path) -> None:
    assert _kill_until_done(device, tmp_path / "folder", 1) > 0


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_many_fetches_killed(device: Simulator, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    kills = sum(_kill_until_done(device, tmp_path / str(seed), seed) for seed in range(100, 130))
    assert kills > 40
    record_property("counted", f"fs get: {kills} processes killed, 0 files differ")


def relink(link: Path, path: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(path)


async def _cut_until_done(folder: Path, seed: int) -> int:
    """Fetch over a line that loses messages and is cut again and again, until the file is there; the number of cuts."""
    dice = random.Random(seed)
    store = store_of(noise(dice.randrange(1000, 40_000), seed), dice.random() < 0.5)
    port = folder / "port"  # the name that udev gives it: without a hash, another name is another device
    for cuts in range(1000):
        with pty_peer(store.handlers()) as peer:
            relink(port, peer.path)
            left = dice.randrange(5, 60)

            def read(body: dict[str, Any]) -> Answer:
                nonlocal left
                left -= 1
                if not left:
                    peer.unplug()
                    return None
                return store.read(body)

            peer.peer.on(fs.READ, read)
            peer.peer.lose = lambda: dice.random() < 0.02
            try:
                async with fieldlog.connect(f"{port}?timeout=0.35") as device:
                    await files.fetch(device, NAME, folder / "x")
            except LinkError:
                continue
        assert (folder / "x").read_bytes() == store.content, f"seed {seed}: the file differs after {cuts} cuts"
        assert sorted(names(folder)) == ["port", "x"], f"seed {seed}: something was left"
        return cuts
    raise AssertionError(f"seed {seed}: it never came to an end")


async def test_a_fetch_cut_anywhere_and_repeated_gives_the_same_file(tmp_path: Path) -> None:
    for seed in range(5):
        (tmp_path / str(seed)).mkdir()
        await _cut_until_done(tmp_path / str(seed), seed)


@pytest.mark.faults
@pytest.mark.timeout(1200)
async def test_many_fetches_cut(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    cuts = 0
    for seed in range(1000, 1060):
        (tmp_path / str(seed)).mkdir()
        cuts += await _cut_until_done(tmp_path / str(seed), seed)
    assert cuts > 60
    record_property("counted", f"fs get: {cuts} links cut, 0 files differ")
