"""Plans applied to a device on a bench, in virtual time, over a link that can be cut at any message.

What the device holds is read from itself, not through the link.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from device_bench import Bench
from fieldlog.client import Client, LinkOptions
from fieldlog.config.apply import Applied, apply, settle
from fieldlog.config.check import check
from fieldlog.config.model import Located, Plan, Resolved
from fieldlog.config.plan import make_plan
from fieldlog.config.target import read_target
from fieldlog.config.transaction import nobody
from fieldlog.device import Device
from fieldlog.transports.base import Sink
from fieldlog_protocol.blocks.metadata import decode_metadata
from fieldlog_protocol.commands import Empty, logger, settings
from fieldlog_protocol.commands.logger import Capability, LoggerError, TransactionStep
from fieldlog_protocol.errors import FieldlogError, LinkError
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.wire import Packet, iter_packets
from fieldlog_sim.plan import refuse
from virtual_link import LinkKind, VirtualTransport, run

T = TypeVar("T")

FAST = LinkKind(baud=None)
_FRAME_START = re.compile(rb"(?=\x06\x09)")

SETTINGS = {
    "device/name": ("former", "new"),
    "alarm/high": (10.0, 35.5),
    "sensor/trim": (-20, 4990),
    "log/max_age": (7, 604_800),
    "log/led": (True, False),
    "sensor/oversampling": ("2x", "16x"),
}
CALIBRATION: dict[str, tuple[list[float], list[float]]] = {
    "temperature": ([], [0.12, 1.0004]),
    "humidity": ([1.0, 2.0], [-1.5, 0.99, 1e-5]),
}
METADATA = ({"site": "Ridge", "operator": "Ada"}, {"site": "Valley", "zone": "Europe/Berlin", "note": "n" * 300})


def file_of(side: int) -> Resolved:
    """What a file says that asks for the former values (0) or the new ones (1)."""

    def located(values: object) -> Located[object]:
        return Located(values)

    return Resolved(
        settings={key: located(values[side]) for key, values in SETTINGS.items()},
        calibration={channel: located(values[side]) for channel, values in CALIBRATION.items()},
        metadata={key: located(text) for key, text in METADATA[side].items()},
        log={},
    )


@dataclass(frozen=True)
class Held:
    """What a device holds of all that the plans change."""

    settings: tuple[bytes, ...]
    calibration: tuple[tuple[float, ...], ...]
    metadata: tuple[tuple[str, str], ...]


def held(bench: Bench) -> Held:
    """Read at once, in no virtual time."""
    values = [bench.ask(settings.READ, settings.SettingReadRequest(name=key)).val for key in SETTINGS]
    channels = bench.ask(logger.STREAMS, logger.StreamsRequest()).ch
    blob = bench.ask(logger.METADATA_READ, logger.MetadataRequest()).d
    return Held(
        tuple(values),
        tuple(channel.cal or () for channel in channels if channel.n in CALIBRATION),
        tuple(sorted(decode_metadata(blob).items())),
    )


def expected(side: int) -> Held:
    """Former (0) or new (1)."""
    names = ["off", "2x", "4x", "8x", "16x"]
    name, high, trim, age, led, choice = (values[side] for values in SETTINGS.values())
    assert isinstance(name, str)
    assert isinstance(choice, str)
    packed = (
        name.encode(),
        struct.pack("<f", high),
        struct.pack("<i", trim),
        struct.pack("<I", age),
        bytes([bool(led)]),
        bytes([names.index(choice)]),
    )
    calibration = tuple(tuple(map(float, values[side])) for values in CALIBRATION.values())
    return Held(packed, calibration, tuple(sorted(METADATA[side].items())))


FORMER, NEW = expected(0), expected(1)


@dataclass
class Cut:
    """When the link goes, and for how long: at the request of this number (from 0), before it arrives, or at the
    answer of this number. `away_s` None: this host never sees the device again.

    `restart`: power fails for a moment when the request of this number is on its way, which then finds the device again,
    or is lost with the power (`and_lost`).
    """

    request: int | None = None
    reply: int | None = None
    away_s: float | None = None
    restart: int | None = None
    and_lost: bool = False


def _packets(frame: bytes) -> Iterator[Packet]:
    for message in ConsoleFraming().feed(frame, 0.0):
        yield from iter_packets(message)


def kinds_of(frame: bytes) -> list[tuple[int, int]]:
    """Group and id of all that is sent together."""
    return [(packet.group, packet.id) for packet in _packets(frame)]


@dataclass
class CutTransport(VirtualTransport):
    """Counts requests and answers; is cut once."""

    cut: Cut = field(default_factory=Cut)
    requests: int = 0
    replies: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Group and id of each request."""
    _back_at: float | None = 0.0

    async def open(self, sink: Sink) -> None:
        if self._back_at is None or asyncio.get_running_loop().time() < self._back_at:
            raise LinkError("there is no device at the bench")
        await super().open(sink)

    def send(self, data: bytes) -> None:
        for frame in filter(None, _FRAME_START.split(data)):
            if self.requests == self.cut.request:
                self._go_away()
            self.asked += kinds_of(frame)
            lost = False
            if self.requests == self.cut.restart:
                self.bench.power_cycle()
                lost = self.cut.and_lost
            self.requests += 1
            if not lost:
                super().send(frame)

    def _go_away(self) -> None:
        self.cut = replace(self.cut, request=None, reply=None)
        now = asyncio.get_running_loop().time()
        self._back_at = None if self.cut.away_s is None else now + self.cut.away_s
        self._link = None
        if self._sink is not None:
            asyncio.get_running_loop().call_soon(self._sink.lost, LinkError("the cable was pulled"))

    def _go_on(self) -> None:
        link, sink = self._link, self._sink
        if link is None or sink is None:
            return
        link.advance(asyncio.get_running_loop().time())
        for data in link.take_datagrams():
            if self.replies == self.cut.reply:
                self._go_away()
            self.replies += 1
            if self._link is None:
                return
            sink.received(data)
        if self._link is not None:
            self._plan()


def bench_with_former(**options: Any) -> Bench:
    """A device that holds all the former values, saved."""
    bench = Bench(**options)
    run(bench, applied(bench, file_of(0)))
    assert held(bench) == FORMER
    return bench


async def connected(bench: Bench, work: Callable[[Device], Awaitable[T]], transport: CutTransport | None = None) -> T:
    """What `work` makes of the device, from opening the link to its end."""
    client = Client(transport or CutTransport(bench, FAST), ConsoleFraming, LinkOptions())
    await client.open()
    try:
        return await work(Device(client))
    finally:
        await client.close()


async def planned(device: Device, wanted: Resolved) -> Plan:
    target = await read_target(device)
    return await make_plan(device, check(wanted, target), target)


async def applied(
    bench: Bench,
    wanted: Resolved,
    transport: CutTransport | None = None,
    timeout_s: int = 60,
    tell: Callable[[str], None] = nobody,
) -> tuple[Plan, Applied]:
    """A file applied as a command does it."""

    async def work(device: Device) -> tuple[Plan, Applied]:
        await settle(device)
        plan = await planned(device, wanted)
        return plan, await apply(device, plan, timeout_s=timeout_s, tell=tell)

    return await connected(bench, work, transport)


def outcome(
    bench: Bench, transport: CutTransport, timeout_s: int = 60, tell: Callable[[str], None] = nobody
) -> FieldlogError | None:
    """What became of applying the new values: None when it succeeded."""
    try:
        run(bench, applied(bench, file_of(1), transport, timeout_s, tell))
    except FieldlogError as error:
        return error
    return None


def without_transactions(bench: Bench) -> None:
    """A logger of older firmware: it has the settings, and writes act at once."""
    describe = bench.device.logger
    assert describe is not None

    class Older(type(describe)):
        @property
        def capabilities(self) -> Capability:
            return super().capabilities & ~Capability.TRANSACTION

    describe.__class__ = Older


def refuse_step(bench: Bench, *steps: TransactionStep, code: LoggerError = LoggerError.FLASH) -> None:
    """A device that refuses such steps of what is on trial."""
    transactions = bench.device.transactions

    def transact(request: logger.TransactionRequest) -> Empty:
        if request.step in steps and transactions.trial is not None:
            raise refuse(code)
        if request.step == TransactionStep.ABORT:
            transactions.abort(request.id)
        else:
            transactions.begin(request.id, 60_000_000, bench.device.now_us())
        return Empty()

    bench.device.dispatcher.on(logger.TRANSACTION, transact)
