"""Reading a stretch of the log: what the reader leaves behind on the line when it has what it wanted."""

from __future__ import annotations

from typing import Any

import pytest

import fieldlog
from fieldlog.block_reader import read_blocks
from fieldlog_protocol.blocks.block import Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.commands import logger
from smp_peer import Peer, PtyPeer, pty_peer

LOG = [
    build_block(Block(BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=0, boot_id=1), 0, 0, bytes([seq]) * 200))
    for seq in range(40)
]


def serve(peer: Peer) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        stream = b"".join(LOG[body["q"] :])
        return {"q": body["q"], "o": body["o"], "f": 0, "d": stream[body["o"] : body["o"] + body["n"]]}

    peer.on(logger.BLOCKS, answer)


def url_of(port: PtyPeer, *, raw: bool) -> str:
    return f"serial:{port.path}" + ("?framing=raw" if raw else "")


@pytest.mark.parametrize("raw", [False, True], ids=["console", "raw"])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (3, 20), (30, 40)])
async def test_what_the_device_was_asked_too_much_is_answered_before_anything_else_is_sent(
    raw: bool, start: int, stop: int
) -> None:
    with pty_peer(raw=raw) as port:
        serve(port.peer)
        async with fieldlog.connect(url_of(port, raw=raw)) as device:
            blocks = [block async for batch in read_blocks(device.client, start, stop) for block in batch.blocks]
            assert await device.echo("next") == "next"
            counters = device.client.counters
            assert blocks[: stop - start] == LOG[start:stop]
            assert (counters.stale, counters.repeated) == (0, 0)


async def test_a_reader_that_is_given_up_takes_its_requests_back() -> None:
    with pty_peer() as port:
        serve(port.peer)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            reading = read_blocks(device.client, 0, 40)
            await anext(reading)
            await reading.aclose()
            assert await device.echo("next") == "next"
            assert len(port.peer.asked(logger.BLOCKS)) <= 2 * device.client.window, "those that waited are never sent"
