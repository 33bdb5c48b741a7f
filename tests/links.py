"""Every link to a simulated device behind one way of asking, for suites that run over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import fieldlog
from fieldlog_protocol.commands import Command
from fieldlog_protocol.commands.base import Req, Rsp
from fieldlog_protocol.errors import LinkError, RequestTimeout
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming
from fieldlog_protocol.session import Session
from fieldlog_protocol.session_events import Answered, Ask
from fieldlog_protocol.wire import decode_reply, encode_body
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.handlers import register_all
from fieldlog_sim.links import MemoryLink
from fieldlog_sim.port import Buffers, SmpPort, console_framing, datagram_framing
from fieldlog_sim.profiles import PROFILES
from fieldlog_sim.sensors import default_sensors
from fieldlog_sim.sim_time import SimTime
from simulator import simulator

START_US = 1_767_225_600_000_000


class Asker(Protocol):
    """Whoever asks a device; errors are those of the client."""

    async def request(self, command: Command[Req, Rsp], message: Req) -> Rsp: ...


@dataclass(frozen=True)
class LinkKind:
    """A way to a device, and the buffers behind it."""

    name: str
    buffers: Buffers

    def __str__(self) -> str:
        return f"{self.name}-{self.buffers.size}x{self.buffers.count}"


class MemoryAsker:
    """A host's session on a link in memory, on virtual time."""

    def __init__(self, buffers: Buffers, *, datagrams: bool, profile: str = "logger") -> None:
        self._link: MemoryLink | None = None
        time = SimTime(START_US, monotonic=lambda: self._link.now if self._link else 0.0)
        config = DeviceConfig(PROFILES[profile], buffers)
        self.device = Device(config, time, default_sensors(0), register_all)
        framing = datagram_framing(buffers) if datagrams else console_framing(buffers)
        self._link = MemoryLink(SmpPort(self.device, buffers, framing, 0.0), datagrams=datagrams, latency_s=0.001)
        self._session = Session(DatagramFraming() if datagrams else ConsoleFraming())

    async def request(self, command: Command[Req, Rsp], message: Req) -> Rsp:
        link = self._link
        assert link is not None
        self._session.ask(Ask(command.op, command.group, command.id, encode_body(message)), link.now)
        for frame in self._session.outgoing():
            link.send(frame)
        limit = link.now + 5.0
        while (at := link.next_at) is not None and at <= limit:
            link.advance(at)
            for data in link.take_datagrams():
                self._session.receive(data, link.now)
            for event in self._session.events():
                assert isinstance(event, Answered)
                return decode_reply(event.packet.payload, command)
        raise AssertionError(f"no answer to {command.name}")


@dataclass(frozen=True)
class _Again:
    """Over the air the link goes with the device that restarts, and is to be opened again."""

    device: fieldlog.Device

    async def request(self, command: Command[Req, Rsp], message: Req) -> Rsp:
        try:
            return await self.device.request(command, message)
        except RequestTimeout:
            raise
        except LinkError:
            await self.device.reopen()
            return await self.device.request(command, message)


LINKS = [
    LinkKind(name, Buffers(size, 4))
    for name in ("console", "raw", "udp", "ble", "memory console", "memory datagrams")
    for size in (384, 2048)
]


@contextmanager
def way_to(kind: LinkKind, profile: str = "logger") -> Iterator[str | MemoryAsker]:
    """A device that lives for the block: its URL, or who asks it in memory."""
    if kind.name.startswith("memory"):
        yield MemoryAsker(kind.buffers, datagrams=kind.name.endswith("datagrams"), profile=profile)
        return
    link = {"udp": ("--udp", "127.0.0.1:0"), "ble": ("--ble", "0")}.get(kind.name, ("--pty", "--framing", kind.name))
    with simulator(*link, "--buffers", f"{kind.buffers.size}x{kind.buffers.count}", "--profile", profile) as device:
        yield device.url


@asynccontextmanager
async def asker(way: str | MemoryAsker) -> AsyncIterator[Asker]:
    if isinstance(way, MemoryAsker):
        yield way
        return
    async with fieldlog.connect(way) as device:
        yield _Again(device) if way.startswith("ble:") else device
