"""What a logger records: its streams and sessions, read page by page."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog.device import Device
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import SessionInfo
from fieldlog_protocol.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as the device describes it; `period_us` 0 means that it has no fixed rate."""

    id: int
    name: str
    period_us: int
    channels: tuple[Channel, ...]


async def read_streams(device: Device) -> list[StreamInfo]:
    """All streams with all their channels; raises NoLogger."""
    await device.need_logger()
    streams: list[StreamInfo] = []
    count = 1
    while len(streams) < count:
        page = await device.request(logger.STREAMS, logger.StreamsRequest(i=len(streams)))
        channels = list(page.ch)
        while len(channels) < page.nc:
            request = logger.StreamsRequest(i=len(streams), c=len(channels))
            more = (await device.request(logger.STREAMS, request)).ch
            if not more:
                raise ProtocolError(f"{device.name} does not tell all channels of stream {page.id}")
            channels += more
        streams.append(StreamInfo(page.id, page.name, page.us, tuple(map(_channel, channels))))
        count = page.n
    return streams


def _channel(info: logger.ChannelInfo) -> Channel:
    if info.t not in ChannelType.__members__.values():
        raise ProtocolError(f"channel {info.n!r} has type {info.t}, which only a newer fieldlog knows")
    return Channel(
        name=info.n,
        unit=info.u,
        type=ChannelType(info.t),
        multiplier=1 if info.mul is None else info.mul,
        exponent=info.exp or 0,
        offset=info.off or 0,
        missing=info.miss,
        minimum=info.lo,
        maximum=info.hi,
    )


async def read_sessions(device: Device) -> list[SessionInfo]:
    """All sessions that the device remembers, in order of id."""
    sessions: list[SessionInfo] = []
    while True:
        first = sessions[-1].id + 1 if sessions else None
        page = await device.request(logger.SESSIONS, logger.SessionsRequest(i=first))
        sessions += page.s
        if not page.more or not page.s:
            return sessions
