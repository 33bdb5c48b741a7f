"""Uploads over raw serial lines that lose, damage, double and delay bytes, to devices that restart, lie and discard: what
is on the device in the end is what was sent, or an error says that it is not, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import product

import cbor2
import pytest

from fieldlog import files
from fieldlog.device import Device
from fieldlog.flash import FlashOptions, flash
from fieldlog.image_upload import send_image
from fieldlog.transports.base import Sink
from fieldlog_protocol.commands import Group, fs, image, logger
from fieldlog_protocol.errors import FieldlogError, LinkError
from fieldlog_protocol.wire import Packet, encode_body
from fieldlog_sim.port import Buffers
from flash_bench import FlashBench, firmware, package, runs
from virtual_link import LinkKind, VirtualTransport, run

IMAGE = firmware("2.0.0", 20_000)
NAME = "/lfs/calibration.bin"
LONGEST_S = 600.0
WRITES = (image.UPLOAD.key, fs.WRITE.key)


@dataclass(frozen=True)
class Damage:
    """Probabilities: of what is done to bytes for each write of the host, the first four also for each piece from the
    device where it is `both_ways`; and of a device that restarts at a piece, or names a wrong offset."""

    vanish: float = 0.0
    flip: float = 0.0
    junk: float = 0.0
    double: float = 0.0
    late: float = 0.0
    cut: float = 0.0
    both_ways: bool = False
    restart: float = 0.0
    lie: float = 0.0
    discards: bool = False
    """It says that it takes requests back to back, and takes those alone that come alone."""

    def done_to(self, data: bytes, dice: random.Random) -> bytes:
        left = bytearray(data)
        if dice.random() < self.vanish:
            at = dice.randrange(len(left))
            del left[at : at + dice.randint(1, 20)]
        if left and dice.random() < self.flip:
            left[dice.randrange(len(left))] ^= 1 << dice.randrange(8)
        if dice.random() < self.junk:
            at = dice.randint(0, len(left))
            left[at:at] = dice.randbytes(dice.randint(1, 20))
        return bytes(left) * (2 if dice.random() < self.double else 1)


DAMAGES = {
    "bytes vanish": Damage(vanish=0.03),
    "bits flip": Damage(flip=0.03),
    "bytes come from nowhere": Damage(junk=0.02),
    "writes come twice": Damage(double=0.03),
    "writes come late": Damage(late=0.05),
    "both directions": Damage(vanish=0.01, flip=0.01, junk=0.01, double=0.01, both_ways=True),
    "the cable is loose": Damage(cut=0.004),
    "the device restarts": Damage(restart=0.005),
    "the device lies": Damage(lie=0.03),
    "the device discards": Damage(discards=True),
    "all of it": Damage(0.005, 0.005, 0.005, 0.005, 0.01, 0.001, both_ways=True, restart=0.001),
}


@dataclass
class DamagedLine(VirtualTransport):
    """A line to which damage is done as soon as it is `spoiled`."""

    damage: Damage = Damage()
    dice: random.Random = field(default_factory=random.Random)
    spoiled: bool = False

    async def open(self, sink: Sink) -> None:
        self._kept: deque[bytes] = deque()
        self._left = None
        await super().open(_Spoiling(self, sink))

    def send(self, data: bytes) -> None:
        if self.spoiled:
            data = self.damage.done_to(data, self.dice)
            if self.dice.random() < self.damage.cut:
                self._left = 0
            if self._kept or self.dice.random() < self.damage.late:
                self._kept.append(data)
                asyncio.get_running_loop().call_later(self.dice.choice((0.01, 0.1, 0.3)), self._send_late, self._kept)
                return
        super().send(data)

    def _send_late(self, kept: deque[bytes]) -> None:
        data = kept.popleft()
        if kept is self._kept and data:
            super().send(data)


@dataclass
class _Spoiling:
    """The host's end of such a line."""

    line: DamagedLine
    sink: Sink

    def received(self, data: bytes) -> None:
        line = self.line
        if line.spoiled and line.damage.both_ways:
            data = line.damage.done_to(data, line.dice)
        if data:
            self.sink.received(data)

    def lost(self, error: LinkError) -> None:
        self.sink.lost(error)


def make_bench(damage: Damage, dice: random.Random) -> FlashBench:
    """A device that restarts and lies as it is told."""
    buffers = Buffers(dice.choice((192, 384, 1024, 2048)), dice.choice((2, 3, 4, 8)), back_to_back=not damage.discards)
    bench = FlashBench(buffers=buffers)
    handle = bench.device.handle
    said = FlashBench(buffers=replace(buffers, back_to_back=True)).ask_raw(
        *logger.INFO.key, encode_body(logger.InfoRequest())
    )

    def faulty(packet: Packet, arrived: float, now: float) -> bytes | None:
        if damage.discards and (packet.group, packet.payload) == (Group.LOGGER, b"\xa0"):
            return said
        if (packet.op, packet.group, packet.id) not in WRITES:
            return handle(packet, arrived, now)
        if dice.random() < damage.restart:
            bench.power_cycle()
            return None
        reply = handle(packet, arrived, now)
        return reply if reply is None or dice.random() >= damage.lie else lied(reply, dice)

    bench.device.handle = faulty  # type: ignore[method-assign]
    return bench


def lied(reply: bytes, dice: random.Random) -> bytes:
    """The reply with another offset."""
    said = cbor2.loads(reply)
    if "off" in said:
        offset = said["off"]
        near = (max(0, offset - dice.randint(1, 3000)), offset + dice.randint(1, 3000))
        said["off"] = dice.choice((0, *near, len(IMAGE), len(IMAGE) + 1, 1 << 31))
    return cbor2.dumps(said)


async def _image(device: Device) -> None:
    await send_image(device, IMAGE, reconnect_s=30)


async def _file(device: Device) -> None:
    await files.store(device, IMAGE, NAME)


async def _update(device: Device) -> None:
    await flash(device, package(IMAGE), FlashOptions(reconnect_s=30, return_s=30))


def slot_holds(bench: FlashBench) -> bool:
    return bench.device.boot_loader.areas[0].upload.written(len(IMAGE)) == IMAGE


def file_holds(bench: FlashBench) -> bool:
    return bench.device.files.read(NAME, 0, 2 * len(IMAGE)) == IMAGE


def update_runs(bench: FlashBench) -> bool:
    held = bench.device.boot_loader.areas[0].recovery.written(len(IMAGE))
    return runs(bench) == ("2.0.0", True) and held == IMAGE


WORKS = {"an image": (_image, slot_holds), "a file": (_file, file_holds), "an update": (_update, update_runs)}


def upload(what: str, damage: Damage, seed: int) -> str:
    """What came of it: "whole", or the kind of error."""
    work, holds = WORKS[what]
    dice = random.Random(f"{what}/{damage}/{seed}")
    bench = make_bench(damage, dice)
    kind = LinkKind("raw", dice.choice((None, 115_200, 1_000_000)), dice.choice((0.0001, 0.005, 0.05)))
    line = DamagedLine(bench, kind, damage=damage, dice=dice)

    async def whole() -> str:
        client = line.client()
        await client.open()
        line.spoiled = True
        before = client.window, client.max_request
        try:
            async with asyncio.timeout(LONGEST_S):
                await work(Device(client))
        except FieldlogError as error:
            return type(error).__name__
        finally:
            assert (client.window, client.max_request) == before, f"seed {seed}: something is left behind"
            line.spoiled = False
            await client.close()
        return "whole"

    came = run(bench, whole())
    assert came != "whole" or holds(bench), f"{what}, seed {seed}: it is called good and is not"
    return came


def uploads(what: str, name: str, seeds: Iterable[int]) -> Counter[str]:
    return Counter(upload(what, DAMAGES[name], seed) for seed in seeds)


FOUND_OUT_LATER = ("an image", "the device lies")
"""Who says that it has all of an image, and has not, is found out by what follows an upload."""
PAIRS = [pair for pair in product(WORKS, DAMAGES) if pair != FOUND_OUT_LATER]


@pytest.mark.parametrize(("what", "name"), PAIRS)
def test_it_comes_whole_or_ends_with_an_error(what: str, name: str) -> None:
    assert uploads(what, name, range(2)).total() == 2


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("what", "name"), PAIRS)
def test_many_uploads(what: str, name: str, record_property: Callable[[str, str], None]) -> None:
    came = uploads(what, name, range(1000, 1300))
    assert came["whole"] > 200, came
    record_property(
        "counted", f"{what} over raw serial, {name}: {came['whole']} of 300 whole, the others with an error"
    )
