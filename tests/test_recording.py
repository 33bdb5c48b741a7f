"""Streams and sessions read page by page, from devices whose pages do not go on as they should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import fieldlog
from fieldlog.recording import read_sessions, read_streams
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import ProtocolError
from smp_peer import Handler, udp_peer

INFO: dict[tuple[int, int, int], Handler] = {logger.INFO.key: lambda _: {"parts": 1}}


def session(number: int) -> dict[str, Any]:
    return {"id": number, "label": "", "boot": 1, "start": 0, "first": 0, "frames": 0, "why": 0}


def stream(**changed: Any) -> dict[str, Any]:
    channel = {"n": "a", "u": "V", "t": 1}
    return {"n": 1, "i": 0, "id": 1, "name": "s", "us": 1, "nc": 1, "c": 0, "ch": [channel]} | changed


async def test_sessions_are_read_to_the_last() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        first = body.get("i", 3)
        return {"n": 3, "s": [session(first)], "more": first < 9} if first < 9 else {"n": 3, "s": [session(65535)]}

    with udp_peer(INFO | {logger.SESSIONS.key: answer}) as peer:
        async with fieldlog.connect(peer.url) as device:
            assert [item.id for item in await read_sessions(device)] == [3, 4, 5, 6, 7, 8, 65535]


ENDLESS: dict[str, Callable[[int], list[int]]] = {
    "the same": lambda _: [7],
    "back": lambda first: [max(1, first - 5)],
    "back in a page": lambda first: [first + 1, first],
    "the last": lambda _: [65535],
    "none": lambda _: [],
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_list_of_sessions_that_never_ends_is_an_error(name: str) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return {"n": 9, "s": [session(number) for number in ENDLESS[name](body.get("i", 1))], "more": True}

    with udp_peer(INFO | {logger.SESSIONS.key: answer}) as peer:
        async with fieldlog.connect(peer.url) as device:
            with pytest.raises(ProtocolError, match="session"):
                await asyncio.wait_for(read_sessions(device), 10)


SPOILED: dict[str, Handler] = {
    "the same stream": lambda _: stream(n=2),
    "one id twice": lambda body: stream(n=2, i=body.get("i", 0)),
    "the same channels": lambda _: stream(nc=3),
    "more channels than announced": lambda _: stream(nc=0),
    "another stream": lambda body: stream(nc=3, c=body.get("c", 0), id=1 + body.get("c", 0)),
    "no channels": lambda body: stream(nc=2, c=body.get("c", 0), ch=[]),
    "no scale": lambda _: stream(ch=[{"n": "a", "u": "V", "t": 1, "mul": 0}]),
    "missing value": lambda _: stream(ch=[{"n": "a", "u": "V", "t": 3, "miss": -1}]),
    "bignum": lambda _: stream(ch=[{"n": "a", "u": "V", "t": 9, "miss": 1 << 70}]),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_streams_that_make_no_sense_are_the_devices_fault(name: str) -> None:
    with udp_peer(INFO | {logger.STREAMS.key: SPOILED[name]}) as peer:
        async with fieldlog.connect(peer.url) as device:
            with pytest.raises(ProtocolError):
                await asyncio.wait_for(read_streams(device), 10)
