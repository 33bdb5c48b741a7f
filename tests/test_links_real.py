"""Links that a host can reach: a pty opened with pyserial, UDP sockets. The device behind them answers line by line."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import serial

from fieldlog_protocol.errors import FieldlogError, LinkError, UsageError
from fieldlog_sim.faults import Faults
from fieldlog_sim.links import Link, PtyLink, UdpLink
from fieldlog_sim.links.link_path import LinkPath

T = TypeVar("T")
pty_only = pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals here")


class LinePort:
    """Answers each line with itself between brackets; `flood N` with N bytes."""

    def __init__(self, *, datagrams: bool = False) -> None:
        self.datagrams = datagrams
        self.ups = 0
        self.downs = 0
        self.changed = asyncio.Event()
        self.received = 0
        self._partial = b""
        self._waiting: list[bytes] = []

    def receive(self, data: bytes, now: float) -> None:
        self.received += len(data)
        if self.datagrams:
            self._waiting.append(data)
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._waiting.extend(lines)

    def serve(self, now: float) -> bytes | None:
        if not self._waiting:
            return None
        line = self._waiting.pop(0)
        if line == b"break":
            raise RuntimeError("the firmware is broken")
        if line.startswith(b"flood "):
            return b"#" * int(line[6:])
        return b"<" + line + b">\n"

    def sent(self, now: float) -> None:
        pass

    def wake_at(self) -> float | None:
        return None

    def link_up(self) -> None:
        self.ups += 1
        self.changed.set()

    def link_down(self) -> None:
        self.downs += 1
        self._partial = b""
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def running(link: Link) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        link.close()
        await task


def blocking(function: Callable[[], T]) -> Awaitable[T]:
    return asyncio.get_running_loop().run_in_executor(None, function)


def ask(port: serial.Serial, request: bytes) -> bytes:
    port.write(request + b"\n")
    return port.read_until(b"\n")


@pty_only
async def test_a_host_talks_over_a_pty_and_comes_back() -> None:
    link = PtyLink(LinePort())
    link.open()
    everything = bytes(value for value in range(256) if value != 0x0A)

    def talk() -> bytes:
        with serial.Serial(link.device_path, 115200, timeout=5) as port:
            return ask(port, everything)

    async with running(link):
        for _ in range(3):
            assert await blocking(talk) == b"<" + everything + b">\n"


@pty_only
async def test_what_nobody_read_is_gone_for_the_next_host() -> None:
    device = LinePort()
    link = PtyLink(device)
    link.open()

    def leave_unread() -> None:
        fd = os.open(link.device_path, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"unread\nhalf a li")
        os.close(fd)

    def raw_ask() -> bytes:
        """Without the flush that pyserial does when it opens a port."""
        fd = os.open(link.device_path, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(fd, b"mine\n")
            return os.read(fd, 100)
        finally:
            os.close(fd)

    async with running(link):
        await blocking(leave_unread)
        await device.until(lambda: device.downs == 1)
        assert await blocking(raw_ask) == b"<mine>\n"
        await device.until(lambda: (device.ups, device.downs) == (2, 2))


@pty_only
async def test_a_host_that_does_not_read_loses_bytes_and_blocks_nobody() -> None:
    link = PtyLink(LinePort())
    link.open()

    queued = 200_000

    def flood() -> bytes:
        with serial.Serial(link.device_path, 115200, timeout=5) as port:
            port.write(b"flood 1000000\n")
            port.write(b"after\n")
            while link.lost == 0:
                threading.Event().wait(0.001)
            return port.read(queued)

    async with running(link):
        assert await blocking(flood) == b"#" * queued
    assert 500_000 < link.lost < 1_000_000


@pty_only
async def test_a_writer_is_held_up_by_a_paced_line() -> None:
    device = LinePort()
    link = PtyLink(device, baud=1_000_000)
    link.open()
    amount = 50_000

    def write() -> bytes:
        with serial.Serial(link.device_path, 115200, timeout=5) as port:
            port.write(b"x" * amount + b"\n")
            return port.read_until(b"\n")

    async with running(link):
        task = asyncio.ensure_future(blocking(write))
        greatest = 0
        while not task.done():
            greatest = max(greatest, link._schedule.backlog)
            await asyncio.sleep(0.001)
        assert len(await task) == amount + 3
    assert greatest <= 4096 + 16 * 1024


@pty_only
async def test_the_symlink_is_made_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "ttyLogger"
    link = PtyLink(LinePort(), path=LinkPath(path))
    link.open()
    assert path.is_symlink()
    assert link.address == f"serial:{path}"

    def talk() -> bytes:
        with serial.Serial(str(path), 115200, timeout=5) as port:
            return ask(port, b"hi")

    async with running(link):
        assert await blocking(talk) == b"<hi>\n"
    assert not path.is_symlink()


@pty_only
def test_only_links_to_terminals_are_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "file"
    precious.write_text("mine")
    link_to_file = tmp_path / "link"
    link_to_file.symlink_to(precious)
    for path in (precious, link_to_file, tmp_path):
        with pytest.raises(UsageError, match="Nothing was changed"):
            PtyLink(LinePort(), path=LinkPath(path)).open()
    assert precious.read_text() == "mine"
    assert link_to_file.is_symlink()
    stale = tmp_path / "stale"
    stale.symlink_to("/dev/pts/does-not-exist")
    link = PtyLink(LinePort(), path=LinkPath(stale))
    link.open()
    assert stale.exists()
    link.close()


@pty_only
def test_a_symlink_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "tty"
    link = PtyLink(LinePort(), path=LinkPath(path))
    link.open()
    path.unlink()
    path.symlink_to("/dev/null")
    link.close()
    assert path.readlink() == Path("/dev/null")


@pty_only
def test_a_link_has_one_owner_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "tty"
    first, second = (PtyLink(LinePort(), path=LinkPath(path)) for _ in range(2))
    first.open()
    target = path.readlink()
    with pytest.raises(FieldlogError, match="simulator that is running") as refused:
        second.open()
    assert not isinstance(refused.value, UsageError)
    second.close()
    assert path.readlink() == target, "nothing was changed"
    first.close()
    third = PtyLink(LinePort(), path=LinkPath(path))
    third.open()
    third.close()
    assert list(tmp_path.iterdir()) == []


@pty_only
def test_a_claim_removes_a_stale_link_at_once(tmp_path: Path) -> None:
    """Long before there is a pty: what it points to may be somebody else's terminal by now."""
    path = LinkPath(tmp_path / "tty")
    path.path.symlink_to("/dev/tty")
    (tmp_path / ".tty.lock").touch()
    path.claim()
    path.claim()
    assert not path.path.is_symlink()
    path.release()
    path.release()
    assert list(tmp_path.iterdir()) == []


@pty_only
def test_a_lock_that_was_removed_meanwhile_is_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner ends between the opening of its lock file and the lock."""
    owner, follower, late = (LinkPath(tmp_path / "tty") for _ in range(3))
    owner.claim()
    real_open = os.open

    def open_then_lose(*arguments: Any, **options: Any) -> int:
        descriptor = real_open(*arguments, **options)
        owner.release()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    follower.claim()
    monkeypatch.undo()
    with pytest.raises(FieldlogError, match="simulator that is running"):
        late.claim()
    follower.release()


@pty_only
async def test_a_disconnected_port_vanishes_and_comes_back(tmp_path: Path) -> None:
    device = LinePort()
    path = tmp_path / "tty"
    link = PtyLink(device, path=LinkPath(path), faults=Faults(seed=0, disconnect=1.0, away_s=0.05))
    link.open()

    def talk_until_lost() -> None:
        with serial.Serial(str(path), 115200, timeout=5) as port:
            port.write(b"bye\n")
            with pytest.raises((serial.SerialException, OSError)):
                port.read(100)

    async with running(link):
        await blocking(talk_until_lost)
        await device.until(lambda: device.ups == 2)
        await blocking(talk_until_lost)
        await device.until(lambda: device.ups == 4)


@pty_only
async def test_what_the_port_raises_comes_out_of_run() -> None:
    link = PtyLink(LinePort())
    link.open()
    task = asyncio.create_task(link.run())
    await asyncio.sleep(0)
    fd = os.open(link.device_path, os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"break\n")
    with pytest.raises(RuntimeError, match="firmware"):
        await task
    os.close(fd)


async def test_udp_answers_each_sender() -> None:
    device = LinePort(datagrams=True)
    link = UdpLink(device, latency_s=0.002)
    await link.open()

    def talk(name: bytes) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(5)
            requests = [b"%s %d" % (name, number) for number in range(50)]
            replies: list[bytes] = []
            for at in range(0, len(requests), 5):
                for request in requests[at : at + 5]:
                    peer.sendto(request, link.bound)
                replies += [peer.recv(2000) for _ in range(5)]
            assert replies == [b"<" + request + b">\n" for request in requests]
            return replies

    async with running(link):
        await asyncio.gather(blocking(lambda: talk(b"left")), blocking(lambda: talk(b"right")))
    assert device.ups == 1


async def test_datagrams_that_came_while_the_device_was_busy_are_all_answered_in_order() -> None:
    link = UdpLink(LinePort(datagrams=True))
    await link.open()
    requests = [b"%d" % number for number in range(100)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        for request in requests:  # nobody serves yet
            peer.sendto(request, link.bound)
        async with running(link):
            replies = await blocking(lambda: [peer.recv(2000) for _ in requests])
    assert replies == [b"<" + request + b">\n" for request in requests]


async def test_a_udp_sender_that_is_gone_does_no_harm() -> None:
    link = UdpLink(LinePort(datagrams=True))
    await link.open()

    def talk() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.sendto(b"never read", link.bound)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(5)
            peer.sendto(b"hi", link.bound)
            return peer.recv(2000)

    async with running(link):
        assert await blocking(talk) == b"<hi>\n"


async def test_a_taken_udp_address_is_a_link_error() -> None:
    first, second = UdpLink(LinePort()), UdpLink(LinePort())
    await first.open()
    host, port = first.bound
    assert first.address == f"udp:{host}:{port}"
    with pytest.raises(LinkError, match="cannot be opened"):
        await second.open(host, port)
    first.close()
