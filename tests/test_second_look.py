"""Answers in several pieces: asked for until they agree, as seen by whoever asks over a link that misplaces pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from ble_fake import FakeAir, FakeDevice
from fieldlog.client import Client
from fieldlog.device import Device
from fieldlog.second_look import MOST_ASKED
from fieldlog.transports.ble import BleTransport
from fieldlog_protocol.commands import fs
from fieldlog_protocol.errors import ProtocolError
from fieldlog_protocol.framing import PieceFraming
from smp_peer import ECHO, PARAMS, Answer, Handler, Peer

TEXT = "".join(f"{number:04}" for number in range(300))
"""1200 characters of which no two stretches are alike: six pieces."""
SHELL = (2, 9, 0)


class Misplaced:
    """Of these answers in several pieces, counted from 0, two pieces of one length in the midst change places."""

    def __init__(self, *hit: int) -> None:
        self._hit = hit
        self.seen = 0

    def __call__(self, pieces: list[bytes]) -> list[bytes]:
        if len(pieces) < 4:
            return pieces
        self.seen += 1
        if self.seen - 1 in self._hit:
            pieces[1], pieces[2] = pieces[2], pieces[1]
        return pieces


@asynccontextmanager
async def talking(
    distort: Misplaced, answers: Mapping[tuple[int, int, int], Handler] | None = None
) -> AsyncGenerator[Device]:
    handlers: dict[tuple[int, int, int], Handler] = {PARAMS: lambda _: {"buf_size": 2048, "buf_count": 4}}
    handlers |= answers or {}
    air = FakeAir([FakeDevice(distort=distort, peer=Peer(handlers, PieceFraming()))])
    client = Client(BleTransport("hut", air.radio()), PieceFraming)
    try:
        await client.open()
        yield Device(client)
    finally:
        await client.release()


@pytest.mark.parametrize(("hit", "asked"), [((), 2), ((0,), 3), ((1,), 3), ((0, 3), 3)])
async def test_two_answers_that_agree_are_believed(hit: tuple[int, ...], asked: int) -> None:
    misplaced = Misplaced(*hit)
    async with talking(misplaced) as device:
        assert await device.echo(TEXT) == TEXT
    assert misplaced.seen == asked


async def test_what_came_in_one_piece_is_believed_at_once() -> None:
    async with talking(Misplaced()) as device:
        before = device.client.counters.sent
        assert await device.echo("short") == "short"
        assert device.client.counters.sent == before + 1


async def test_where_pieces_were_seen_to_go_astray_it_takes_three() -> None:
    """The same two pieces change places twice: on such a link two answers that agree are not enough."""
    misplaced = Misplaced(1, 3)
    async with talking(misplaced) as device:
        device.client._session._framing.dropped = 1  # type: ignore[attr-defined]
        assert await device.echo(TEXT) == TEXT
    assert misplaced.seen == 5


async def test_answers_that_differ_each_time_are_reported() -> None:
    number = count()

    def another(_body: dict[str, Any]) -> Answer:
        return {"r": f"{next(number):03}{TEXT}"}

    misplaced = Misplaced()
    async with talking(misplaced, {ECHO: another}) as device:
        with pytest.raises(ProtocolError, match="too few are the same"):
            await device.echo(TEXT)
    assert misplaced.seen >= MOST_ASKED


@pytest.mark.parametrize("hit", [(), (0,), (1,)])
async def test_what_counts_on_meanwhile_may_differ_in_its_numbers(hit: tuple[int, ...]) -> None:
    ticks = count(0x10000)
    names = [f"task {number}" for number in range(30)]

    def tasks(_body: dict[str, Any]) -> Answer:
        return {"tasks": {name: {"prio": 1, "tid": 2, "state": 1, "runtime": next(ticks)} for name in names}}

    misplaced = Misplaced(*hit)
    async with talking(misplaced, {(0, 0, 2): tasks}) as device:
        assert list(await device.tasks()) == names
    assert misplaced.seen <= 2 + 2 * len(hit)


async def test_what_something_else_vouches_for_is_asked_for_once() -> None:
    misplaced = Misplaced()
    data = TEXT.encode()
    async with talking(misplaced, {(0, 8, 0): lambda _: {"off": 0, "len": len(data), "data": data}}) as device:
        assert (await device.request(fs.READ, fs.FileReadRequest(name="/f", off=0))).data == data
    assert misplaced.seen == 1


async def test_what_is_written_is_written_once() -> None:
    slots = [{"slot": slot, "version": "1.0.0", "hash": bytes([slot]) * 64, "image": 0} for slot in range(8)]
    misplaced = Misplaced()
    async with talking(misplaced, {(2, 1, 0): lambda _: {"images": slots}}) as device:
        assert len(await device.set_image(b"\1" * 64, confirm=False)) == 8
    assert misplaced.seen == 1


async def test_what_must_not_be_repeated_is_not() -> None:
    misplaced = Misplaced()
    async with talking(misplaced, {SHELL: lambda _: {"o": TEXT, "ret": 0}}) as device:
        assert (await device.shell(["log"])).o == TEXT
    assert misplaced.seen == 1
