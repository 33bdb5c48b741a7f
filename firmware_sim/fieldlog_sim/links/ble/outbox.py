"""Waiting for a controller to take data: bumble's own sending never waits, its queue has no bound.

Rule of this module: it waits for two things only, the queue and the loss of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from bumble.device import Connection
from bumble.host import DataPacketQueue

_Condition: TypeAlias = Callable[[DataPacketQueue], bool]


async def room_to_send(connection: Connection, lost: asyncio.Event) -> None:
    """Return when the controller takes another packet, or the connection is lost."""
    await _until(connection, lost, lambda queue: queue.pending < queue.max_in_flight)


async def sent_all(connection: Connection, lost: asyncio.Event, within_s: float) -> None:
    """Return when everything is on the air, or the connection is lost, or after `within_s`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await _until(connection, lost, lambda queue: not queue.pending)


async def _until(connection: Connection, lost: asyncio.Event, enough: _Condition) -> None:
    queue = connection.device.host.get_data_packet_queue(connection.handle)
    while queue is not None and not lost.is_set() and not enough(queue):
        await _flow(queue, lost)


async def _flow(queue: DataPacketQueue, lost: asyncio.Event) -> None:
    """Return when packets have left, or the connection is lost."""
    flow = asyncio.get_running_loop().create_future()

    def flowed() -> None:
        if not flow.done():
            flow.set_result(None)

    queue.on("flow", flowed)
    loss = asyncio.create_task(lost.wait())
    try:
        await asyncio.wait((flow, loss), return_when=asyncio.FIRST_COMPLETED)
    finally:
        queue.remove_listener("flow", flowed)  # pyright: ignore[reportUnknownMemberType] - untyped there
        loss.cancel()
