"""Questions that are asked at once: none waits for another's answer, and none goes on after a failure."""

from __future__ import annotations

import asyncio

import pytest

from device_bench import Bench
from fieldlog.config.together import together
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import LinkError


async def test_none_waits_for_another() -> None:
    asked = asyncio.Barrier(3)

    async def answer(what: str) -> str:
        await asked.wait()
        return what

    assert await together(answer("a"), answer("b"), answer("c")) == ("a", "b", "c")


async def test_where_one_fails_the_others_are_given_up() -> None:
    ended: list[str] = []
    begun = asyncio.Barrier(3)

    async def silent(what: str) -> None:
        try:
            await begun.wait()
            await asyncio.Event().wait()
        finally:
            ended.append(what)

    async def fails() -> None:
        await begun.wait()
        raise LinkError("the cable was pulled")

    with pytest.raises(LinkError, match="pulled"):
        await together(silent("a"), fails(), silent("c"))
    assert ended == ["a", "c"]


def test_devices_of_a_kind_share_a_description_however_they_are_calibrated_and_armed() -> None:
    bench = Bench()
    before = bench.info().schema
    bench.ask(logger.CALIBRATE, logger.CalibrateRequest(id=1, s=0, c=0, cal=(0.12, 1.0004)))
    bench.arm(streams=(logger.StreamPeriod(s=0, us=5_000_000),))
    assert bench.info().schema == before
