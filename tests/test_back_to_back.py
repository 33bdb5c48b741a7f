"""Long things that are sent over raw serial: several requests under way where the device takes them, else one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from device_bench import ROOMY
from fieldlog import files
from fieldlog.client import Client
from fieldlog.device import Device
from fieldlog.flash import FlashOptions, Outcome
from fieldlog.image_upload import send_image
from fieldlog.steady_link import recognisable
from fieldlog_protocol.commands import Group, image, logger
from fieldlog_protocol.wire import Packet, decode_map, encode_body
from fieldlog_sim.faults import Faults
from fieldlog_sim.port import Buffers
from flash_bench import FlashBench, firmware, install, runs
from virtual_link import LinkKind, VirtualTransport, run

LINE = LinkKind("raw", baud=1_000_000, latency_s=0.05)
IMAGE = firmware("2.0.0", 40_000)
ALONE = replace(ROOMY, back_to_back=False)

Work = Callable[[Device], Awaitable[object]]


async def _image(device: Device) -> object:
    return await send_image(device, IMAGE)


async def _file(device: Device) -> object:
    return await files.store(device, IMAGE, "/lfs/calibration.bin")


WORKS: dict[str, Work] = {"an image": _image, "a file": _file}


@dataclass
class Sent:
    """How it went: seconds of the link's time, repetitions, and what was allowed before it and after it."""

    took_s: float
    repeated: int
    windows: tuple[int, int]


def send(
    work: Work, buffers: Buffers, kind: LinkKind = LINE, watch: Callable[[FlashBench], None] | None = None
) -> Sent:
    bench = FlashBench(buffers=buffers)
    if watch is not None:
        watch(bench)

    async def sending() -> Sent:
        client: Client = VirtualTransport(bench, kind).client()
        await client.open()
        try:
            device, before, began = Device(client), client.window, bench.now
            await work(device)
            return Sent(bench.now - began, client.counters.repeated, (before, client.window))
        finally:
            await client.close()

    return run(bench, sending())


@pytest.mark.parametrize("what", WORKS)
def test_a_device_that_takes_requests_back_to_back_is_not_kept_waiting(what: str) -> None:
    close, alone = send(WORKS[what], ROOMY), send(WORKS[what], ALONE)
    assert close.repeated == alone.repeated == 0
    assert close.windows == alone.windows == (1, 1), "what is read comes in rows, with one request under way"
    assert close.took_s < 0.55 * alone.took_s


@pytest.mark.parametrize("what", WORKS)
def test_a_device_that_does_not_say_so_is_asked_one_by_one(what: str) -> None:
    """It discards what is not alone, so that any second request under way would cost a repetition."""
    assert send(WORKS[what], ALONE, replace(LINE, latency_s=0.0)).repeated == 0


def test_nor_is_a_device_that_knows_nothing_of_logs() -> None:
    asked: list[tuple[int, int]] = []

    def without_logger(bench: FlashBench) -> None:
        handle = bench.device.handle

        def stock(packet: Packet, arrived: float, now: float) -> bytes | None:
            asked.append((packet.group, packet.id))
            return b"\xbf\x62rc\x08\xff" if packet.group >= 64 else handle(packet, arrived, now)

        bench.device.handle = stock  # type: ignore[method-assign]

    sent = send(_image, ALONE, watch=without_logger)
    assert sent.repeated == 0
    assert sum(group >= 64 for group, _ in asked) == 1, "it is asked once what it is"


@pytest.mark.parametrize(("framing", "what"), [("raw", "an image"), ("raw", "a file"), ("console", "an image")])
def test_on_a_slow_line_pieces_wait_for_those_before_them_and_are_not_sent_twice(framing: str, what: str) -> None:
    """Each takes two seconds on the line, and the last of those under way ten."""
    slow = LinkKind(framing, baud=9600, latency_s=0.05)
    sent = send(WORKS[what], replace(ROOMY, count=8), slow)
    assert sent.repeated == 0
    assert sent.took_s < 1.9 * len(IMAGE) * 10 / 9600


@pytest.mark.parametrize("seed", range(4))
def test_where_messages_are_lost_the_image_comes_whole(seed: int) -> None:
    bench, lossy = FlashBench(buffers=ROOMY), replace(LINE, faults=Faults(seed=seed, loss=0.05))
    assert install(bench, IMAGE, FlashOptions(reconnect_s=60, return_s=60), kind=lossy).outcome is Outcome.CONFIRMED
    assert runs(bench) == ("2.0.0", True)


@pytest.mark.parametrize("seed", [*range(6), 28])
def test_where_messages_are_damaged_no_damage_reaches_the_slot(seed: int) -> None:
    """One at a time and without check values, three of these uploads end with another image than was sent."""
    sent = send(_image, ROOMY, replace(LINE, faults=Faults(seed=seed, loss=0.02, corrupt=0.04)))
    assert sent.repeated


@pytest.mark.parametrize("seed", range(4))
def test_where_messages_are_damaged_a_file_comes_whole(seed: int) -> None:
    """No write is repeated by the session, so what a damaged reply said must be asked for again."""
    send(_file, ROOMY, replace(LINE, faults=Faults(seed=seed, loss=0.02, corrupt=0.04)))


def test_a_logger_whose_buffers_are_too_small_to_say_so_takes_files_all_the_same() -> None:
    assert send(_file, replace(ROOMY, size=104)).repeated == 0


@pytest.mark.parametrize("size", [101, 102, 110, 111])
def test_an_image_is_good_whether_or_not_there_is_room_for_its_hash(size: int) -> None:
    """The check value in the first piece may take the room."""

    def saying_so(bench: FlashBench) -> None:
        said = FlashBench().ask_raw(*logger.INFO.key, encode_body(logger.InfoRequest()))
        answering(bench, lambda packet: said if packet.group == Group.LOGGER else None)

    send(_image, replace(ROOMY, size=size), watch=saying_so)


def test_firmware_that_no_longer_takes_them_is_asked_one_by_one() -> None:
    """A device may start its former firmware while an image is sent to it, and the link outlasts that."""
    pieces: list[tuple[int | None, bool]] = []

    def restarting(bench: FlashBench) -> None:
        def note(packet: Packet) -> None:
            if (packet.op, packet.group, packet.id) == image.UPLOAD.key:
                asked = decode_map(packet.payload)
                pieces.append((asked.get("off"), "crc" in asked))
                if len(pieces) == 6:
                    bench.device.config = replace(bench.device.config, buffers=ALONE)
                    bench.power_cycle()

        answering(bench, note)

    async def known(device: Device) -> object:
        return await send_image(device, IMAGE, known=await recognisable(device))

    send(known, ROOMY, watch=restarting)
    again = [number for number, (offset, _) in enumerate(pieces) if offset == 0][-1]
    assert again > 5
    assert all(sealed for _, sealed in pieces[:again])
    assert not any(sealed for _, sealed in pieces[again:])


def answering(bench: FlashBench, answer: Callable[[Packet], bytes | None]) -> None:
    """Answer in the place of the device, where `answer` has one."""
    handle = bench.device.handle

    def instead(packet: Packet, arrived: float, now: float) -> bytes | None:
        return answer(packet) or handle(packet, arrived, now)

    bench.device.handle = instead  # type: ignore[method-assign]


def test_nothing_is_left_on_a_slow_line_for_whoever_comes_next() -> None:
    """The last piece waits behind others for so long that a probe is sent; its answer comes behind the last one."""
    bench, slow = FlashBench(buffers=ROOMY), replace(LINE, baud=115_200, latency_s=0.001)
    transport = VirtualTransport(bench, slow)

    async def sending() -> int:
        client = transport.client()
        await client.open()
        try:
            await send_image(Device(client), IMAGE)
            return client.counters.sent - client.counters.answered
        finally:
            await client.close()

    assert run(bench, sending()) == 0
