"""Letting a logger test its sensors, battery and flash."""

from __future__ import annotations

import asyncio

from fieldlog.device import Device
from fieldlog_protocol.commands import Empty, logger
from fieldlog_protocol.errors import RequestTimeout

_PATIENCE_S = 60.0
_POLL_S = 0.2


async def self_test(device: Device) -> list[logger.TestResult]:
    """Start the test, wait for its end, and read what it found."""
    await device.need_logger()
    await device.request(logger.SELF_TEST_START, Empty())
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while (page := await device.request(logger.SELF_TEST_RESULT, logger.SelfTestRequest())).run:
        if asyncio.get_running_loop().time() > deadline:
            raise RequestTimeout(
                f"the self test of {device.name} still runs after {_PATIENCE_S:.0f} s. Ask again later"
            )
        await asyncio.sleep(_POLL_S)
    results = list(page.r)
    while len(results) < page.n:
        more = await device.request(logger.SELF_TEST_RESULT, logger.SelfTestRequest(i=len(results)))
        if not more.r:
            break
        results += more.r
    return results
