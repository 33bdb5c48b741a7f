"""Transports: bytes go both ways whole, and each thing that can be wrong with a link has its own sentence."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import subprocess
import sys
import tty
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fieldlog.transports.ports import SerialPort, usb_port
from fieldlog.transports.serial import LineMaker, PolledLine, SerialTransport, ThreadedLine
from fieldlog.transports.serial_errors import cannot_open
from fieldlog.transports.udp import ChannelMaker, PolledChannel, UdpTransport, endpoint, polled
from fieldlog_protocol.errors import DeviceNotFound, LinkError

BOTH_LINES = pytest.mark.parametrize("line", [PolledLine, ThreadedLine])


@dataclass
class Catcher:
    """A sink that keeps what it gets and can be waited on."""

    data: bytearray = field(default_factory=bytearray)
    errors: list[LinkError] = field(default_factory=list[LinkError])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def received(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def lost(self, error: LinkError) -> None:
        self.errors.append(error)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Pty:
    master: int
    slave: int
    path: str

    def unplug(self) -> None:
        os.close(self.master)
        os.close(self.slave)
        self.master = self.slave = -1


@pytest.fixture
def pty() -> Iterator[Pty]:
    master, slave = os.openpty()
    tty.setraw(slave)
    port = Pty(master, slave, os.ttyname(slave))
    yield port
    for fd in (port.master, port.slave):
        if fd >= 0:
            os.close(fd)


@asynccontextmanager
async def opened(transport: SerialTransport | UdpTransport) -> AsyncGenerator[Catcher]:
    catcher = Catcher()
    await transport.open(catcher)
    try:
        yield catcher
    finally:
        await transport.close()


@BOTH_LINES
async def test_serial_carries_every_byte_both_ways(pty: Pty, line: LineMaker) -> None:
    everything = bytes(range(256))
    async with opened(transport := SerialTransport(pty.path, line=line)) as catcher:
        os.write(pty.master, everything)
        await catcher.until(lambda: len(catcher.data) == 256)
        assert catcher.data == everything
        transport.send(everything)
        assert await asyncio.to_thread(_read_exactly, pty.master, 256) == everything


@BOTH_LINES
async def test_more_than_the_port_takes_at_once_waits_and_arrives_in_order(pty: Pty, line: LineMaker) -> None:
    pieces = [bytes([n]) * 50_000 for n in range(8)]
    async with opened(transport := SerialTransport(pty.path, line=line)):
        for piece in pieces:
            transport.send(piece)
        assert await asyncio.to_thread(_read_exactly, pty.master, 400_000) == b"".join(pieces)


@BOTH_LINES
async def test_unplugging_is_told_once_and_at_once(pty: Pty, line: LineMaker) -> None:
    async with opened(transport := SerialTransport(pty.path, line=line)) as catcher:
        pty.unplug()
        await catcher.until(lambda: bool(catcher.errors))
        transport.send(b"into the void")
    (error,) = catcher.errors
    assert pty.path in str(error)
    assert "unplugged" in str(error)


async def test_a_port_can_be_opened_again_after_it_was_closed(pty: Pty) -> None:
    transport = SerialTransport(pty.path)
    for text in (b"one", b"two"):
        async with opened(transport) as catcher:
            os.write(pty.master, text)
            await catcher.until(lambda: len(catcher.data) == 3)
            assert catcher.data == text


async def test_a_missing_port_names_those_there_are() -> None:
    with pytest.raises(DeviceNotFound, match="there is no serial port /dev/ttyNONE9"):
        await SerialTransport("/dev/ttyNONE9").open(Catcher())


async def test_a_busy_port_says_who_may_hold_it(pty: Pty) -> None:
    async with opened(SerialTransport(pty.path)):
        with pytest.raises(DeviceNotFound, match="in use by another program"):
            await SerialTransport(pty.path).open(Catcher())


@pytest.mark.parametrize("path", ["/dev/null", "/tmp", __file__])
async def test_what_is_no_port_is_called_so(path: str) -> None:
    with pytest.raises(DeviceNotFound, match="is not a serial port"):
        await SerialTransport(path).open(Catcher())


def test_no_permission_names_the_remedy(pty: Pty) -> None:
    """A process without rights, because root may open anything."""
    Path(pty.path).chmod(0)
    code = (
        "import asyncio, os, serial.tools.list_ports\n"
        "from fieldlog.transports.serial import SerialTransport\n"
        "from fieldlog_protocol.errors import DeviceNotFound\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"try: asyncio.run(SerialTransport({pty.path!r}).open(None))\n"
        "except DeviceNotFound as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert f"no permission to open {pty.path}" in said
    assert "dialout" in said or sys.platform != "linux"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOENT, "x"), "there is no serial port"),
        (OSError(errno.ENXIO, "x"), "there is no serial port"),
        (OSError(errno.EACCES, "x"), "no permission"),
        (OSError(errno.EPERM, "x"), "no permission"),
        (OSError(errno.EBUSY, "x"), "in use"),
        (OSError(errno.EIO, "input/output error"), "cannot be opened: [Errno 5]"),
        (ValueError("could not open port 'COM3': FileNotFoundError(2, 'x')"), "there is no serial port"),
        (ValueError("could not open port 'COM3': PermissionError(13, 'Access is denied.')"), "in use"),
    ],
)
def test_every_error_of_opening_has_its_sentence(error: Exception, says: str) -> None:
    sentence = str(cannot_open("COM3", error))
    assert says in sentence
    assert "COM3" in sentence


def test_usb_ids_find_the_port_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [
        SerialPort("/dev/ttyACM7", None, 0x2FE3, 0x100, "A1"),
        SerialPort("/dev/ttyACM2", None, 0x2FE3, 0x100, "A2"),
        SerialPort("/dev/ttyUSB0", None, 0x10C4, 0xEA60, None),
    ]
    monkeypatch.setattr("fieldlog.transports.ports.serial_ports", lambda: ports)
    assert usb_port(0x2FE3, 0x100, "A2") == "/dev/ttyACM2"
    assert usb_port(0x10C4, 0xEA60, None) == "/dev/ttyUSB0"
    with pytest.raises(DeviceNotFound, match=r"2 devices are usb:2fe3:0100.*2fe3:0100:A1"):
        usb_port(0x2FE3, 0x100, None)
    with pytest.raises(DeviceNotFound, match=r"no serial port of USB device 1234:5678.*usb:10c4:ea60"):
        usb_port(0x1234, 0x5678, None)


CHANNELS = pytest.mark.parametrize("channel", [polled, endpoint])


@CHANNELS
@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
async def test_udp_keeps_datagrams_whole(host: str, family: socket.AddressFamily, channel: ChannelMaker) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((host, 0))
        peer.settimeout(10)
        async with opened(transport := UdpTransport(host, peer.getsockname()[1], channel)) as catcher:
            header = 28 if family == socket.AF_INET else 48
            mtu = 1500 if sys.platform != "linux" else 65535 if family == socket.AF_INET else 65536
            assert transport.mtu == mtu - header, "this machine's own, which no link that leaves it has"
            transport.send(b"a" * 1400)
            data, sender = await asyncio.to_thread(peer.recvfrom, 2000)
            assert data == b"a" * 1400
            peer.sendto(b"answer", sender)
            await catcher.until(lambda: bytes(catcher.data) == b"answer")


async def test_udp_takes_what_has_arrived_at_once_and_in_order() -> None:
    sent = [bytes([number]) * (number + 1) for number in range(100)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(10)
        async with opened(transport := UdpTransport("127.0.0.1", peer.getsockname()[1])) as catcher:
            transport.send(b"here")
            _, sender = peer.recvfrom(10)
            for datagram in sent:
                peer.sendto(datagram, sender)
            await catcher.until(lambda: len(catcher.data) == sum(map(len, sent)))
            assert catcher.data == b"".join(sent)


@pytest.mark.skipif(sys.platform != "linux", reason="a pair of sockets that takes a few datagrams and no more")
async def test_datagrams_that_the_socket_does_not_take_wait_their_turn() -> None:
    sent = [b"%d" % number for number in range(1000)]
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        near.setblocking(False)
        far.setblocking(False)
        channel = PolledChannel(near, lambda _: None, lambda error: pytest.fail(str(error)))
        for datagram in sent:
            channel.send(datagram)
        arrived = [await asyncio.get_running_loop().sock_recv(far, 10) for _ in sent]
        channel.close()
    assert arrived == sent


@CHANNELS
async def test_udp_where_nobody_listens_is_told(channel: ChannelMaker) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    async with opened(transport := UdpTransport("127.0.0.1", port, channel)) as catcher:
        transport.send(b"hello")
        await catcher.until(lambda: bool(catcher.errors))
    assert f"nobody listens at udp:127.0.0.1:{port}" in str(catcher.errors[0])


async def test_udp_to_an_unknown_host_is_told() -> None:
    with pytest.raises(DeviceNotFound, match=r"no host nosuch\.invalid"):
        await UdpTransport("nosuch.invalid").open(Catcher())


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and select.select([fd], [], [], 10)[0]:
        data += os.read(fd, size - len(data))
    return data
