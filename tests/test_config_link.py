"""Settings of the link itself, on a real pseudo-terminal and real sockets: followed where that is possible, and given up
by the device within the stated time where it is not."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

import fieldlog
from fieldlog.config.apply import Applied, apply
from fieldlog.config.check import check
from fieldlog.config.model import Located, Resolved
from fieldlog.config.plan import make_plan
from fieldlog.config.target import read_target
from fieldlog.device import Device
from fieldlog_protocol.errors import LinkError
from simulator import simulator

T = TypeVar("T")


def with_device(url: str, work: Callable[[Device], Awaitable[T]]) -> T:
    async def connected() -> T:
        async with fieldlog.connect(url) as device:
            return await work(device)

    return asyncio.run(connected())


def change(url: str, timeout_s: int = 60, **values: object) -> Applied:
    """Settings by key, with _ for /."""
    settings = {key.replace("_", "/"): Located(value) for key, value in values.items()}

    async def work(device: Device) -> Applied:
        target = await read_target(device)
        wanted = check(Resolved(settings=settings, calibration={}, metadata=None, log={}), target)
        return await apply(device, await make_plan(device, wanted, target), timeout_s=timeout_s)

    return with_device(url, work)


def read(url: str, key: str) -> bytes:
    return with_device(url, lambda device: device.read_setting(key))


@pytest.mark.parametrize("baud", [9600, 250_000, 1_000_000])
def test_a_new_baud_rate_is_followed_and_the_old_one_is_noise(baud: int) -> None:
    with simulator("--pty") as device:
        done = change(device.url, serial_baud=baud, log_led=False)
        assert done.link == f"{baud} baud"
        with pytest.raises(LinkError):
            read(f"{device.url}?timeout=0.5", "log/led")
        assert read(f"{device.url}?baud={baud}", "log/led") == b"\0"
        change(f"{device.url}?baud={baud}", serial_baud=115_200)
        assert read(device.url, "serial/baud") == struct.pack("<I", 115_200)


def test_a_serial_line_that_cannot_be_followed_comes_back_within_the_stated_time() -> None:
    with simulator("--pty") as device:
        began = time.monotonic()
        with pytest.raises(LinkError, match=r"by itself: .* time limit of 2 s.*were read back"):
            change(f"{device.url}?timeout=0.5", timeout_s=2, serial_parity="even", log_led=False)
        assert time.monotonic() - began < 10
        assert (read(device.url, "log/led"), read(device.url, "serial/parity")) == (b"\1", b"\0")


def test_a_new_udp_port_is_followed_and_one_that_cannot_be_had_is_given_up() -> None:
    with simulator("--udp", "127.0.0.1:0") as device, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(LinkError, match=r"by itself: .* time limit of 2 s.*were read back"):
            change(f"{device.url}?timeout=0.5", timeout_s=2, udp_port=taken.getsockname()[1], log_led=False)
        assert read(device.url, "log/led") == b"\1"
        free = _free_port()
        assert change(device.url, udp_port=free, log_led=False).link == f"UDP port {free}"
        assert read(f"udp:127.0.0.1:{free}", "log/led") == b"\0"
        with pytest.raises(LinkError):
            read(f"{device.url}?timeout=0.5", "log/led")


def test_the_baud_rate_does_not_matter_on_udp_and_the_port_not_on_serial() -> None:
    with simulator("--pty", "--udp", "127.0.0.1:0", links=2) as device:
        serial, udp = device.urls
        assert change(udp, serial_baud=9600).link is None
        assert change(f"{serial}?baud=9600", udp_port=_free_port()).link is None


def test_a_device_that_restarts_on_trial_has_its_former_link() -> None:
    with simulator("--pty", "--udp", "127.0.0.1:0", links=2) as device:
        serial, udp = device.urls

        async def trial(device: Device) -> None:
            from fieldlog.config.transaction import Transaction, nobody

            transaction = Transaction(device, 60)
            await transaction.begin(nobody)
            await device.write_setting("serial/baud", struct.pack("<I", 9600))
            await transaction.commit()
            await device.reset()

        with_device(udp, trial)
        assert read(serial, "serial/baud") == struct.pack("<I", 115_200)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
