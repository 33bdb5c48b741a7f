"""What a logger records: its streams and sessions, read page by page.

Rule: a page goes on exactly where the one before ended. What repeats itself, goes back or leaves something out is a
ProtocolError, so that no device can keep a reader busy for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog.client import Reply
from fieldlog.device import Device
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import SessionInfo
from fieldlog_protocol.errors import ProtocolError, UsageError


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as the device describes it; `period_us` 0 means that it has no fixed rate.

    Between `least_us` and `most_us` its period can be chosen; None: not told.
    """

    id: int
    name: str
    period_us: int
    channels: tuple[Channel, ...]
    least_us: int | None = None
    most_us: int | None = None


async def read_streams(device: Device) -> list[StreamInfo]:
    """All streams with all their channels; raises NoLogger."""
    await device.need_logger()
    streams: list[StreamInfo] = []
    count = 1
    while len(streams) < count:
        stream, count = await _stream(device, len(streams))
        if any(stream.id == known.id for known in streams):
            raise ProtocolError(f"{device.name} describes stream {stream.id} twice")
        streams.append(stream)
    return streams


async def _stream(device: Device, position: int) -> tuple[StreamInfo, int]:
    """The stream at a position, and how many streams there are."""
    page = await _stream_page(device, position, 0)
    channels = list(page.ch)
    while len(channels) < page.nc:
        more = await _stream_page(device, position, len(channels))
        if not more.ch or (more.id, more.nc) != (page.id, page.nc):
            raise ProtocolError(f"{device.name} does not tell all channels of stream {page.id}")
        channels += more.ch
    if len(channels) > page.nc:
        raise ProtocolError(f"{device.name} tells more channels of stream {page.id} than it announces")
    return StreamInfo(page.id, page.name, page.us, tuple(map(_channel, channels)), page.min, page.max), page.n


async def _stream_page(device: Device, position: int, channel: int) -> logger.StreamsResponse:
    page = await device.request(logger.STREAMS, logger.StreamsRequest(i=position, c=channel or None))
    if (page.i, page.c) != (position, channel):
        raise ProtocolError(
            f"{device.name} was asked for channel {channel} of the stream at position {position} and answered with "
            f"channel {page.c} at position {page.i}"
        )
    return page


def _channel(info: logger.ChannelInfo) -> Channel:
    if info.t not in ChannelType.__members__.values():
        raise ProtocolError(f"channel {info.n!r} has type {info.t}, which only a newer fieldlog knows")
    try:
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
            calibration=info.cal or (),
        )
    except UsageError as error:  # its user is the device
        raise ProtocolError(f"the device's description makes no sense: {error}") from error


def ask_sessions(device: Device, first: int | None = None) -> Reply[logger.SessionsResponse]:
    """The first page for `read_sessions`, or that from session `first` on; it is on its way when this returns."""
    return device.client.start(logger.SESSIONS, logger.SessionsRequest(i=first))


async def read_sessions(device: Device, first_page: Reply[logger.SessionsResponse] | None = None) -> list[SessionInfo]:
    """All sessions that the device remembers, in order of id; `first_page` when that was asked for before."""
    sessions: list[SessionInfo] = []
    asked = first_page or ask_sessions(device)
    while True:
        page = await asked
        for session in page.s:
            if sessions and session.id <= sessions[-1].id:
                raise ProtocolError(
                    f"{device.name} lists session {session.id} behind session {sessions[-1].id}, so its list may never end"
                )
            sessions.append(session)
        if not page.more:
            return sessions
        if not page.s or sessions[-1].id == _LAST_SESSION:
            raise ProtocolError(f"{device.name} announces more sessions than the {len(sessions)} that it lists")
        asked = ask_sessions(device, sessions[-1].id + 1)


_LAST_SESSION = 0xFFFF
