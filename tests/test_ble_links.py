"""The host over the virtual radio, whole: a radio that misplaces, shrinks and goes silent, and ten devices at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

import fieldlog
import fieldlog.archive
from ble_bench import Bench, bench
from fieldlog.pull_many import Stage, pull_many
from fieldlog.steady_link import OtherDevice
from fieldlog.steady_pull import pull_steadily
from fieldlog_protocol.errors import LinkError, RequestTimeout
from fieldlog_sim.faults import Faults
from simulator import simulator


@asynccontextmanager
async def connected(on: Bench, options: str = "") -> AsyncGenerator[fieldlog.Device]:
    async with fieldlog.connect(f"{on.link.address}{options}") as device:
        yield device


def words(number: int, length: int = 600) -> str:
    """No two stretches of it are alike: pieces that changed places show."""
    return Random(number).randbytes(length // 2).hex()


@pytest.mark.parametrize(
    "faults",
    [
        Faults(loss=0.03, seed=1),
        Faults(duplicate=0.05, seed=2),
        Faults(delay=0.05, seed=3),
        Faults(loss=0.01, duplicate=0.01, delay=0.01, seed=4),
    ],
    ids=["lost", "doubled", "misplaced", "all"],
)
async def test_notifications_and_writes_that_go_astray_are_got_over(faults: Faults) -> None:
    """Several messages at a time, all of one length: pieces of two of them change places, too."""
    async with bench(faults=faults) as on, connected(on) as device:
        texts = [words(number) for number in range(20)]
        async with asyncio.timeout(60):
            assert await asyncio.gather(*map(device.echo, texts)) == texts


async def test_an_mtu_that_shrinks_on_reconnect_is_taken_as_it_is() -> None:
    async with bench() as on, connected(on) as device:
        assert device.client.max_request == 1952
        on.link.limit_mtu(65)
        await on.link.lose_link()
        await device.reopen()
        assert device.client.max_request == 2046
        assert await device.echo("x" * 1500) == "x" * 1500


async def test_a_device_that_stops_answering_is_reported_in_time() -> None:
    async with bench() as on, connected(on, "&timeout=1") as device:
        await device.echo("hello")
        began = time.monotonic()
        on.radio.go_out_of_range()
        with pytest.raises(LinkError) as caught:
            await device.echo("anybody?")
        on.radio.come_back()
        assert isinstance(caught.value, RequestTimeout) or "was lost" in str(caught.value)
        assert time.monotonic() - began < 10


async def test_ten_devices_are_pulled_at_once(tmp_path: Path) -> None:
    with simulator("--ble", "0", "--count", "10", "--history", "6h", links=10) as loggers:
        with fieldlog.archive.open(tmp_path) as archive:
            readouts = await pull_many(loggers.urls, archive)
        assert [(readout.stage, readout.error) for readout in readouts] == [(Stage.DONE, None)] * 10
        assert all(readout.result and readout.result.readings > 100 for readout in readouts)
        assert len({readout.result.info.uid for readout in readouts if readout.result}) == 10


async def test_a_pull_does_not_go_on_with_another_logger(tmp_path: Path) -> None:
    """Two loggers, of which the second one comes up under the address of the first."""
    with simulator("--ble", "0", "--count", "2", "--history", "6h", links=2) as loggers:
        first, second = loggers.urls
        async with fieldlog.connect(first) as device, fieldlog.connect(second) as other:
            await other.client.close()
            seen: list[int] = []

            def swap(progress: object) -> None:
                if not seen:
                    seen.append(1)
                    device.client._transport._known = other.client._transport._known  # type: ignore[attr-defined]
                    device.client._transport._target = other.client._transport._target  # type: ignore[attr-defined]
                    device.client._transport._link.lost(LinkError("was lost. Repeat the command"))  # type: ignore[attr-defined]

            with fieldlog.archive.open(tmp_path) as archive, pytest.raises(OtherDevice, match="another logger is at"):
                await pull_steadily(device, archive, 20.0, progress=swap)


def test_the_host_needs_no_bumble(tmp_path: Path) -> None:
    code = (
        "import sys; import fieldlog.transports.ble, fieldlog.scanning; "
        "sys.exit('bumble' in sys.modules or 'fieldlog_sim' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
