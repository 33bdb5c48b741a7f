"""Reading a stretch of the log: what the reader leaves behind on the line when it has what it wanted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fieldlog
from fieldlog.block_reader import chunk_size, read_blocks
from fieldlog_protocol.blocks.block import Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import FieldlogError, ProtocolError, RefusedError
from fieldlog_protocol.wire import HEADER_SIZE, encode_body
from smp_peer import Peer, PtyPeer, UdpPeer, pty_peer, udp_peer


def block(seq: int) -> bytes:
    header = BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=0, boot_id=1)
    return build_block(Block(header, 0, 0, bytes([seq % 256]) * 200))


LOG = [block(seq) for seq in range(40)]


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
            first = await anext(reading)
            await reading.aclose()
            assert await device.echo("next") == "next"
            beyond = sum(body["n"] for body in port.peer.asked(logger.BLOCKS)) - first.size
            assert beyond <= 2 * device.client.window * device.client.max_reply, "those that waited are never sent"


numbers = st.integers(0, 2**32 - 1)


@given(room=st.integers(60, 70_000), q=numbers, o=numbers, f=numbers)
def test_a_reply_fills_the_buffer_and_is_never_too_long(room: int, q: int, o: int, f: int) -> None:
    data = bytes(chunk_size(room, q, o, f))
    length = HEADER_SIZE + len(encode_body(logger.BlocksResponse(q=q, o=o, f=f, d=data))) + 1
    assert length <= room, "even if the map does not tell its length"
    assert length >= min(room - 2, 0xFFFF) or len(data) == 0xFFFF


@pytest.mark.parametrize("link", ["console", "raw", "udp"])
@pytest.mark.parametrize("seed", range(3))
async def test_of_what_is_lost_only_that_is_asked_for_again(link: str, seed: int) -> None:
    """One request or reply in twenty is lost, and no more requests than that are repeated."""
    chance, lost = Random(seed), 0

    def lose() -> bool:
        nonlocal lost
        lost += (away := chance.random() < 0.05)
        return away

    with udp_peer() if link == "udp" else pty_peer(raw=link == "raw") as port:
        serve(port.peer)
        url = port.url if isinstance(port, UdpPeer) else url_of(port, raw=link == "raw")
        async with fieldlog.connect(url) as device:
            port.peer.lose = lose
            for _ in range(1 if link == "raw" else 8):  # there each loss costs a timeout
                blocks = [block async for batch in read_blocks(device.client, 0, 40) for block in batch.blocks]
                assert blocks == LOG, f"seed {seed}"
            await device.echo("what came too late or was not wanted any more is answered by now")
            counters = device.client.counters
            assert counters.repeated <= lost + 1, f"seed {seed}"
            if link != "raw":
                assert counters.repeated > 10, f"seed {seed}: hardly anything was lost"


Lie = Callable[[int, dict[str, Any], int], None]
"""Spoils an answer, given how many there were and how many bytes were asked for."""


class Liar:
    """Answers for the log honestly, but for what `lie` makes of an answer; counts what it was asked."""

    def __init__(self, peer: Peer, lie: Lie) -> None:
        self.asked = 0
        self._lie = lie
        peer.on(logger.BLOCKS, self._answer)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        stream = b"".join(LOG[body["q"] :])
        answer = {"q": body["q"], "o": body["o"], "f": 0, "d": stream[body["o"] : body["o"] + body["n"]]}
        self.asked += 1
        self._lie(self.asked, answer, body["n"])
        return answer


def garbage(_: int, answer: dict[str, Any], n: int) -> None:
    answer["d"] = b"\x5a" * n


def elsewhere(_: int, answer: dict[str, Any], n: int) -> None:
    answer["o"] += 7


def the_same(_: int, answer: dict[str, Any], n: int) -> None:
    answer["d"] = (LOG[3] * 5)[:n]


def backwards(_: int, answer: dict[str, Any], n: int) -> None:
    answer["d"] = b"".join(LOG[::-1])[answer["o"] :][:n]


@pytest.mark.parametrize("lie", [garbage, elsewhere, the_same, backwards])
async def test_a_device_that_never_makes_sense_is_given_up(lie: Lie) -> None:
    with pty_peer() as port:
        liar = Liar(port.peer, lie)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            with pytest.raises(ProtocolError, match="What had arrived is in the archive"):
                async for _ in read_blocks(device.client, 0, 2**32 - 1):
                    pass
        assert liar.asked < 500


async def test_a_ring_that_is_faster_than_the_link_is_told_with_what_it_cost() -> None:
    """As a logger at a high rate behind a slow line: the block asked for is always gone when it is asked for."""

    def outrun(asked: int, answer: dict[str, Any], n: int) -> None:
        if asked > 2:
            answer["f"] = answer["q"] + 1

    came: list[int] = []

    async def read(device: fieldlog.Device) -> None:
        async for batch in read_blocks(device.client, 0, 2**32 - 1):
            came.extend(batch.seqs)

    with pty_peer() as port:
        liar = Liar(port.peer, outrun)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            with pytest.raises(FieldlogError, match="faster than the link") as told:
                await read(device)
    assert came, "what had come is not held back"
    text = str(told.value)
    assert f"blocks {came[-1] + 1} to " in text
    assert "What had arrived is in the archive. Stop the logging, or use a faster link" in text
    assert liar.asked < 500


async def test_what_comes_before_a_refusal_counts() -> None:
    def refuse(asked: int, answer: dict[str, Any], n: int) -> None:
        if asked > 4:
            answer.clear()
            answer["rc"] = 1

    came: list[bytes] = []

    async def read(device: fieldlog.Device) -> None:
        async for batch in read_blocks(device.client, 0, 40):
            came.extend(batch.blocks)

    with pty_peer() as port:
        Liar(port.peer, refuse)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            with pytest.raises(RefusedError):
                await read(device)
            given = sum(body["n"] for body in port.peer.asked(logger.BLOCKS)[:4])
    assert came == LOG[: given // len(LOG[0])]


def spoiled_once(asked: int, answer: dict[str, Any], n: int) -> None:
    if asked == 5:
        answer["d"] = bytes(len(answer["d"]))


def elsewhere_twice(asked: int, answer: dict[str, Any], n: int) -> None:
    if asked in (2, 6):
        answer["q"] += 1


def short_once(asked: int, answer: dict[str, Any], n: int) -> None:
    if asked == 5:
        answer["d"] = answer["d"][:100]


def empty_once(asked: int, answer: dict[str, Any], n: int) -> None:
    if asked == 3:
        answer["d"] = b""


def always_short(asked: int, answer: dict[str, Any], n: int) -> None:
    answer["d"] = answer["d"][:150]


@pytest.mark.parametrize("lie", [spoiled_once, elsewhere_twice, short_once, empty_once, always_short])
async def test_a_passing_fault_of_the_line_costs_nothing(lie: Lie) -> None:
    with pty_peer() as port:
        Liar(port.peer, lie)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            blocks = [block async for batch in read_blocks(device.client, 0, 40) for block in batch.blocks]
    assert list(dict.fromkeys(blocks)) == LOG


async def test_what_is_spoiled_on_the_device_is_read_past() -> None:
    def rotten(_: int, answer: dict[str, Any], n: int) -> None:
        start = sum(map(len, LOG[answer["q"] : 10])) - answer["o"]
        if answer["q"] <= 10 and start < len(answer["d"]) and start + 60 > 0:
            begin = max(0, start)
            answer["d"] = answer["d"][:begin] + bytes(min(60, len(answer["d"]) - begin)) + answer["d"][begin + 60 :]

    with pty_peer() as port:
        Liar(port.peer, rotten)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            blocks = [block async for batch in read_blocks(device.client, 0, 40) for block in batch.blocks]
    assert list(dict.fromkeys(blocks)) == LOG[:10] + LOG[11:]


async def read_all(log: dict[int, bytes], start: int = 0, stop: int = 40) -> tuple[list[bytes], int]:
    """What is read of a log whose pages hold this, and how often it was asked what stands right behind its end."""
    places: list[int] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        places.append(sum(len(log[page]) for page in log if page < body["q"]) + body["o"])
        stream = b"".join(log[page] for page in sorted(log) if page >= body["q"])
        return {"q": body["q"], "o": body["o"], "f": 0, "d": stream[body["o"] : body["o"] + body["n"]]}

    with pty_peer() as port:
        port.peer.on(logger.BLOCKS, answer)
        async with fieldlog.connect(url_of(port, raw=False)) as device:
            blocks = [block async for batch in read_blocks(device.client, start, stop) for block in batch.blocks]
        return list(dict.fromkeys(blocks)), places.count(sum(map(len, log.values())))


PAGES = dict(enumerate(LOG))


@pytest.mark.parametrize("page", [0, 1, 6, 7, 8, 38, 39])
@pytest.mark.parametrize("there", [0, 4, 5, 6, 30, 39, 40, 4_000_000_000])
async def test_a_block_that_is_not_where_it_belongs_hides_no_other(page: int, there: int) -> None:
    """A page repeats another one or bears a number of its own: whatever comes of it, all others are read."""
    blocks, _ = await read_all(PAGES | {page: block(there)})
    assert set(blocks) - {block(there)} == set(LOG) - {LOG[page], block(there)}
    assert block(4_000_000_000) not in blocks


async def test_two_blocks_that_changed_places_cost_one_of_them() -> None:
    blocks, _ = await read_all(PAGES | {7: LOG[8], 8: LOG[7]})
    assert len(set(LOG) - set(blocks)) == 1


async def test_the_end_of_the_log_is_looked_at_twice_only_where_blocks_are_missing() -> None:
    whole, looks_behind = await read_all(PAGES)
    assert whole == LOG
    assert looks_behind == 0
    shorter, looks_behind = await read_all(PAGES, stop=50)
    assert shorter == LOG
    assert looks_behind == 1
