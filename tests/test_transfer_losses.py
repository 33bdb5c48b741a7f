"""Uploads over links that lose each tenth message: they come to their end, and in seconds, not minutes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from device_bench import Bench
from fieldlog import files
from fieldlog.device import Device
from fieldlog.image_upload import send_image
from fieldlog_sim.faults import Faults
from fieldlog_sim.port import Buffers
from flash_bench import FlashBench, firmware
from virtual_link import LinkKind, VirtualTransport, run

_LOSSES = Faults(loss=0.05, corrupt=0.01)
_SMALL = Buffers(384, 4)
_SEEDS = range(4)


def _seconds(bench: Bench, kind: LinkKind, work: Callable[[Device], Awaitable[object]]) -> float:
    """How long it takes."""

    async def whole() -> float:
        client = VirtualTransport(bench, kind).client()
        await client.open()
        try:
            began = bench.now
            await work(Device(client))
            return bench.now - began
        finally:
            await client.close()

    return run(bench, whole())


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize(("framing", "most_s"), [("datagrams", 18), ("console", 18)])
def test_an_image_of_100_kb_takes_seconds(framing: str, most_s: float, seed: int) -> None:
    image = firmware("2.0.0", 100_000)
    kind = LinkKind(framing, baud=None, faults=_LOSSES).seeded(seed)
    took_s = _seconds(FlashBench(buffers=_SMALL), kind, lambda device: send_image(device, image, reconnect_s=30))
    assert took_s < most_s, f"seed {seed}"


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize("framing", ["datagrams", "console"])
def test_a_file_comes_to_its_end(framing: str, seed: int) -> None:
    data = random.Random(seed).randbytes(60_000)
    kind = LinkKind(framing, baud=None, faults=_LOSSES).seeded(seed)

    async def store(device: Device) -> None:
        assert (await files.store(device, data, "/lfs/x")).verified == "sha256"

    assert _seconds(Bench(profile="smp-server", buffers=_SMALL), kind, store) < 120, f"seed {seed}"


def test_neighbours_that_were_lost_are_not_waited_for() -> None:
    """Pieces of a file are sent once each: that one was lost is known by the answer to a later one, and so is each before
    it. On average over many losses; waiting for each takes 18 s."""

    def seconds(seed: int) -> float:
        data = random.Random(seed).randbytes(60_000)
        kind = LinkKind("console", baud=None, faults=_LOSSES).seeded(seed)
        bench = Bench(profile="smp-server", buffers=_SMALL)
        return _seconds(bench, kind, lambda device: files.store(device, data, "/lfs/x"))

    took_s = [seconds(seed) for seed in range(60)]
    assert sum(took_s) / len(took_s) < 13
