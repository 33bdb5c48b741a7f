"""Reading the log where one request at a time may be under way: the device goes on by itself, and any of it may be lost."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

import fieldlog
from fieldlog.block_reader import read_blocks
from fieldlog.bursts import Bursts
from fieldlog_protocol.blocks.block import Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import FieldlogError, RefusedError
from smp_peer import PARAMS, Answer, Peer, PtyPeer, Refuse, pty_peer


def block(seq: int, size: int = 200) -> bytes:
    header = BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=0, boot_id=1)
    return build_block(Block(header, 0, 0, bytes([seq % 256]) * size))


LOG = [block(seq) for seq in range(120)]
Spoil = Callable[[list[Answer], dict[str, Any]], list[Answer]]


def one(body: dict[str, Any], log: list[bytes], offset: int) -> dict[str, Any]:
    stream = b"".join(log[body["q"] :])
    return {"q": body["q"], "o": offset, "f": 0, "d": stream[offset : offset + body["n"]]}


def row(body: dict[str, Any], log: list[bytes]) -> list[Answer]:
    """What a device answers that can go on: up to m replies more, and how many follow in each but the last."""
    answers: list[Answer] = []
    for left in range(body.get("m", 0), -1, -1):
        answer = one(body, log, body["o"] + len(answers) * body["n"])
        ends = not left or len(answer["d"]) < body["n"]
        answers.append(answer if ends else {**answer, "m": left})
        if ends:
            break
    return answers


def serve(peer: Peer, spoil: Spoil = lambda answers, _: answers, log: list[bytes] = LOG) -> None:
    peer.on(logger.BLOCKS, lambda body: spoil(row(body, log), body))


async def read(port: PtyPeer, start: int = 0, stop: int = len(LOG)) -> list[bytes]:
    """What is read, in order; and what is asked then is answered."""
    async with fieldlog.connect(f"serial:{port.path}?framing=raw&timeout=3") as device:
        blocks = [block async for batch in read_blocks(device.client, start, stop) for block in batch.blocks]
        assert await device.echo("next") == "next"
        assert device.client.counters.stale == 0
    return blocks


def asked(port: PtyPeer) -> list[dict[str, Any]]:
    return port.peer.asked(logger.BLOCKS)


async def test_one_request_brings_many_replies_and_nothing_is_asked_for_twice() -> None:
    with pty_peer(raw=True) as port:
        serve(port.peer)
        assert await read(port) == LOG
        pieces = [(body["o"] + i * body["n"], body["q"]) for body in asked(port) for i in range(body.get("m", 0) + 1)]
        assert len(set(pieces)) == len(pieces)
        assert len(asked(port)) < len(pieces) / 4, "though the first rows are short"


def behind_the_end(port: PtyPeer, log: list[bytes]) -> list[dict[str, Any]]:
    """The requests that begin where nothing is any more."""
    return [body for body in asked(port) if body["o"] >= len(b"".join(log[body["q"] :]))]


@pytest.mark.parametrize(("start", "stop"), [(0, 120), (0, 600), (300, 600), (60, 120)])
async def test_nothing_is_asked_for_behind_the_end_of_a_log(start: int, stop: int) -> None:
    log = [block(seq) for seq in range(stop)]
    with pty_peer(raw=True) as port:
        serve(port.peer, log=log)
        assert await read(port, start, stop) == log[start:]
        assert behind_the_end(port, log) == []
        assert sum("m" not in body for body in asked(port)) <= 1


@pytest.mark.parametrize("seed", range(6))
async def test_the_end_of_a_log_of_unlike_blocks_takes_few_requests(seed: int) -> None:
    sizes = Random(seed)
    log = [block(seq, sizes.randrange(40, 1900 if seed % 2 else 200)) for seq in range(120)]
    counted: list[tuple[int, int]] = []
    for _ in range(
        3
    ):  # how long a row is depends on the time that the ones before took: a busy machine may shorten some
        with pty_peer(raw=True) as port:
            serve(port.peer, log=log)
            assert await read(port, stop=len(log)) == log, f"seed {seed}"
            counted.append((len(behind_the_end(port, log)), sum("m" not in body for body in asked(port))))
    assert min(behind for behind, _ in counted) <= 1, f"seed {seed}: {counted}"
    assert min(alone for _, alone in counted) <= 3, f"seed {seed}: {counted}"


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 2), (3, 20), (100, 120), (119, 120)])
async def test_a_part_of_the_log_costs_little_more_than_itself(start: int, stop: int) -> None:
    with pty_peer(raw=True) as port:
        serve(port.peer)
        blocks = await read(port, start, stop)
        assert blocks[: stop - start] == LOG[start:stop]
        wanted = sum(body["n"] * (body.get("m", 0) + 1) for body in asked(port))
        assert wanted < sum(map(len, LOG[start:stop])) + 16 * 384


async def test_a_device_that_answers_once_is_asked_one_by_one() -> None:
    def only_one(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
        first = answers[0]
        assert isinstance(first, dict)
        first.pop("m", None)
        return [first]

    with pty_peer(raw=True) as port:
        serve(port.peer, only_one)
        assert await read(port) == LOG
        assert sum("m" in body for body in asked(port)) <= 4, "some were on their way when the first was answered"


async def test_a_device_that_refuses_what_it_does_not_know_is_asked_one_by_one() -> None:
    with pty_peer(raw=True) as port:
        serve(port.peer, lambda answers, body: [Refuse(3)] if "m" in body else answers)
        assert await read(port) == LOG
        assert sum("m" in body for body in asked(port)) <= 4


async def test_a_refusal_is_told_when_what_came_before_it_was_taken() -> None:
    came: list[bytes] = []

    def refuse(answers: list[Answer], body: dict[str, Any]) -> list[Answer]:
        return [answer if isinstance(answer, dict) and answer["o"] < 9000 else Refuse(1) for answer in answers]

    async def take(device: fieldlog.Device) -> None:
        async for batch in read_blocks(device.client, 0, len(LOG)):
            came.extend(batch.blocks)

    with pty_peer(raw=True) as port:
        serve(port.peer, refuse)
        async with fieldlog.connect(f"serial:{port.path}?framing=raw") as device:
            with pytest.raises(RefusedError):
                await take(device)
    assert came == LOG[: len(came)]
    assert len(b"".join(came)) > 9000 - 2 * len(LOG[0])


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_lost_of_a_row_is_asked_for_alone(seed: int) -> None:
    chance, lost = Random(seed), 0

    def lose() -> bool:
        nonlocal lost
        lost += (away := chance.random() < 0.03)
        return away

    with pty_peer(raw=True) as port:
        serve(port.peer)
        async with fieldlog.connect(f"serial:{port.path}?framing=raw") as device:
            port.peer.lose = lose
            blocks = [block async for batch in read_blocks(device.client, 0, len(LOG)) for block in batch.blocks]
        assert blocks == LOG, f"seed {seed}"
        replies = sum(body.get("m", 0) + 1 for body in asked(port))
        needed = len(b"".join(LOG)) / asked(port)[0]["n"]
        # a request that is lost costs a whole row, whose pieces are asked for one by one
        assert replies <= needed + 64 * (lost + 1), f"seed {seed}: {lost} lost"


@pytest.mark.parametrize("came", [0, 5])
async def test_many_lost_at_once_are_asked_for_with_few_requests(came: int) -> None:
    log = [block(seq) for seq in range(600)]
    lost: list[int] = []

    def cut_off(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
        if lost or len(answers) < 40:
            return answers
        lost.append(len(answers) - came)
        return [*answers[:came], *[None] * lost[0]]

    with pty_peer(raw=True) as port:
        serve(port.peer, cut_off, log)
        async with fieldlog.connect(f"serial:{port.path}?framing=raw") as device:
            blocks = [block async for batch in read_blocks(device.client, 0, len(log)) for block in batch.blocks]
        assert blocks == log
        alone = sum("m" not in body for body in asked(port))
        assert lost
        assert alone < 10, f"of {lost[0]} lost"


async def test_a_device_that_once_did_not_go_on_is_still_asked_to() -> None:
    ends: list[int] = []

    def end_once(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
        if ends or len(answers) < 8 or not isinstance(third := answers[2], dict):
            return answers
        ends.append(third.pop("m"))
        return answers[:3]

    with pty_peer(raw=True) as port:
        serve(port.peer, end_once)
        assert await read(port) == LOG
        assert ends
        assert len(asked(port)) < 30


async def test_large_buffers_do_not_make_the_first_row_longer_than_a_second_on_a_slow_line() -> None:
    with pty_peer({PARAMS: lambda _: {"buf_size": 4096, "buf_count": 4}}, raw=True) as port:
        serve(port.peer)
        assert await read(port) == LOG
        first = next(body for body in asked(port) if "m" in body)
        assert first["n"] * (first["m"] + 1) <= 9600 / 10 * 1.1


@pytest.mark.parametrize(("pace_s", "size"), [(1 / 960, 384), (1 / 960, 2048), (1 / 11520, 384), (1e-6, 384)])
def test_no_row_takes_much_longer_than_a_second(pace_s: float, size: int) -> None:
    bursts = Bursts(possible=True)
    rows: list[int] = []
    for _ in range(40):
        piece = bursts.size(size)
        count = bursts.count(piece, 10**7)
        rows.append(count)
        assert count == 1 or count * piece * pace_s < 1.1
        for index in range(count):
            bursts.came(piece, piece * pace_s + (0 if index else 0.1), by_itself=index > 0)
    assert rows[-1] == max(1, min(int(1 / (pace_s * size)), (1 << 16) // size, 255))


def shuffled(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
    return answers[:-1][::-1] + answers[-1:]


def doubled(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
    return [*answers[:1], *answers]


def elsewhere(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
    if len(answers) > 2 and isinstance(second := answers[1], dict):
        second["o"] += 7
    return answers


def promising(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
    """The last one says that more will follow."""
    if isinstance(last := answers[-1], dict):
        last["m"] = 200
    return answers


def nonsense(answers: list[Answer], _: dict[str, Any]) -> list[Answer]:
    return [b"\xff" if index == 1 else answer for index, answer in enumerate(answers)]


@pytest.mark.parametrize("spoil", [shuffled, doubled, elsewhere, promising, nonsense])
async def test_a_device_that_goes_on_wrongly_costs_time_and_no_block(spoil: Spoil) -> None:
    with pty_peer(raw=True) as port:
        serve(port.peer, spoil)
        async with fieldlog.connect(f"serial:{port.path}?framing=raw&timeout=3") as device:
            blocks = [block async for batch in read_blocks(device.client, 0, len(LOG)) for block in batch.blocks]
            assert blocks == LOG
            assert await device.echo("next") == "next"


async def test_a_reader_that_is_given_up_leaves_the_line_in_order() -> None:
    with pty_peer(raw=True) as port:
        serve(port.peer)
        async with fieldlog.connect(f"serial:{port.path}?framing=raw") as device:
            reading = read_blocks(device.client, 0, len(LOG))
            await anext(reading)
            await reading.aclose()
            assert await device.echo("next") == "next"
            assert device.client.counters.repeated == 0
        assert len(asked(port)) <= 5, "those that waited are never sent"


async def test_a_link_that_is_cut_in_a_row_ends_the_reading() -> None:
    with pty_peer(raw=True) as port:

        def cut(answers: list[Answer], body: dict[str, Any]) -> list[Answer]:
            if body["o"] > 3000:
                port.unplug()
            return answers

        serve(port.peer, cut)
        with pytest.raises(FieldlogError, match="lost"):
            await read(port)


async def test_a_reader_of_a_link_before_takes_nothing_back_from_the_one_after() -> None:
    with pty_peer(raw=True) as port:
        serve(port.peer)
        async with fieldlog.connect(f"serial:{port.path}?framing=raw") as device:
            old = read_blocks(device.client, 0, len(LOG))
            await anext(old)
            await device.reopen()
            new = read_blocks(device.client, 0, len(LOG))
            first = await anext(new)
            await old.aclose()
            assert [*first.blocks, *[block async for batch in new for block in batch.blocks]] == LOG
