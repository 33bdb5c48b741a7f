"""`sim:`: a child process that starts, is talked to through a real link, and never outlives its host."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from typing import Any

import pytest

import fieldlog
from fieldlog import files, flash
from fieldlog.firmware_package import parse_package
from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.image import ImageVersion, build_image

HOST = """
import asyncio, sys, fieldlog
async def main():
    async with fieldlog.connect("sim:smp-server") as device:
        print(device.client._transport._child.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


class Watch:
    """Tells when a process has ended, also one that is not our child."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def ends_within(self, seconds: float) -> bool:
        ended = bool(select.select([self._fd], [], [], seconds)[0])
        os.close(self._fd)
        return ended


def _watch(device: Any) -> Watch:
    return Watch(device.client._transport._child.pid)


needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux can watch processes of others")


@needs_pidfd
async def test_a_simulated_device_answers_and_ends_with_its_link() -> None:
    async with fieldlog.connect("sim:") as device:
        child = _watch(device)
        assert await device.echo("hi") == "hi"
        assert await device.has_logger()
        assert device.name == "sim:"
    assert child.ends_within(0)


async def test_opening_again_reaches_the_same_device() -> None:
    async with fieldlog.connect("sim:smp-server") as device:
        await files.store(device, b"kept", "/lfs/x")
        await device.reopen()
        assert await files.size(device, "/lfs/x") == 4


@pytest.mark.parametrize("framing", ["console", "raw"])
async def test_an_update_of_a_simulated_device_ends_confirmed(framing: str) -> None:
    new = parse_package(build_image(random.Random(7).randbytes(40_000), ImageVersion(2, 0, 0)), "new.bin")
    async with fieldlog.connect(f"sim:smp-server?framing={framing}") as device:
        done = await flash.flash(device, new)
        assert (done.outcome, done.version) == (flash.Outcome.CONFIRMED, "2.0.0")
        assert (await flash.flash(device, new)).outcome is flash.Outcome.ALREADY


@pytest.mark.parametrize("url", ["sim:smp-server?framing=raw&buffers=2048x4", "sim:smp-server?udp=127.0.0.1:0"])
async def test_options_reach_the_simulator_and_its_link_is_used(url: str) -> None:
    async with fieldlog.connect(url) as device:
        assert await device.echo("x" * 100) == "x" * 100
        assert device.client.params is not None
        assert device.client.params.buf_size == (2048 if "2048" in url else 384)


async def test_a_child_that_does_not_start_says_why() -> None:
    with pytest.raises(UsageError, match=r"did not start: .*no-such-profile"):
        async with fieldlog.connect("sim:no-such-profile"):
            pass


@needs_pidfd
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_however_its_host_dies(number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    host = subprocess.Popen(
        [sys.executable, "-c", HOST], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert host.stdout is not None
    with host.stdout:
        child = Watch(int(host.stdout.readline()))
        host.send_signal(number)
        host.wait(30)
    assert child.ends_within(10)
