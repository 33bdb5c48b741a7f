"""Following a logger: the newest frames of its streams as they come, over links that break and devices that restart.

Rule: this reads and changes nothing, and no frame is told twice. What could not be had is told: `lost` of the frames
behind it, or a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from fieldlog.clock import probe_clock
from fieldlog.clock_sync import US_PER_TICK, Sync
from fieldlog.device import Device
from fieldlog.live.choice import Wanted
from fieldlog.live.cursor import Cursor, CursorWentBack
from fieldlog.live.events import Event, Found, LinkBack, LinkLost, Restarted
from fieldlog.live.frames import Frames, Micros, Ticks, layout_of
from fieldlog.logger_info import LoggerInfo
from fieldlog.recording import read_streams
from fieldlog.steady_link import OtherDevice, SteadyLink
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import Capability, LatestResponse
from fieldlog_protocol.errors import LinkError, NotPaired, UsageError

RECONNECT_S = 30.0
_MOST_BREAKS = 6
"""So often in a row may the link break without a frame or an answer in between."""
_QUIET_S, _BEGUN_S = 3.0, 1.0
"""After so long without frames the device is asked what it is doing, and when frames come though it was not recording."""
_CLOCK_KEPT_S = 600.0
"""A crystal is off by some 10 ms after this time."""


async def follow(
    device: Device, wanted: Wanted | None = None, *, reconnect_s: float = RECONNECT_S
) -> AsyncGenerator[Event]:
    """All that happens from now on, without end: first `Found`, then the newest frame of each stream and all after it.

    A link that breaks is opened again, each time for at most `reconnect_s`, 0 for not at all; it goes on where it was.
    Raises NoLogger, UsageError where the device keeps no newest frames or lacks what is `wanted`, OtherDevice when another
    one answers after a break, and what `Client.start` raises.
    """
    await device.need_logger()
    watch = _Watch(device, wanted or Wanted())
    link = SteadyLink(device, reconnect_s)
    breaks = 0
    while True:
        events: list[Event] = []
        error = await watch.round(events)
        for event in events:
            yield event
        if error is None:
            breaks = 0
            continue
        breaks = 1 if any(isinstance(event, Frames) for event in events) else breaks + 1
        if not watch.begun or not reconnect_s or breaks > _MOST_BREAKS:
            raise error
        yield LinkLost(f"the link to {device.name} is lost: opening it again, for up to {reconnect_s:.0f} s")
        await link.reconnect(error)
        watch.look_again()
        yield LinkBack()


class _Watch:
    """What is known of the device, and how far each stream has been read."""

    def __init__(self, device: Device, wanted: Wanted) -> None:
        self._device = device
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._info: LoggerInfo | None = None
        self._cursors: dict[int, Cursor] = {}
        self._sync: Sync | None = None
        self._synced_s = 0.0
        self._looked_s = self._look_s = 0.0

    @property
    def begun(self) -> bool:
        return self._info is not None

    def look_again(self) -> None:
        """Ask the device what it is before anything else."""
        self._look_s = 0.0

    async def round(self, events: list[Event]) -> LinkError | None:
        """Wait until something is due, and do it. What came is in `events`, also where the link broke then: that is the
        answer, unless it can never be mended."""
        try:
            if self._loop.time() >= self._look_s:
                await self._look(events)
            await self._read(events)
        except NotPaired:
            raise
        except LinkError as error:
            return error
        return None

    # what the device is

    async def _look(self, events: list[Event]) -> None:
        info = await self._device.logger_info()
        former = self._info
        if former is None and Capability.LATEST not in info.capabilities:
            raise UsageError(f"{self._device.name} keeps no newest readings to look at. `fieldlog pull` reads its log")
        if former is not None and info.uid != former.uid:
            raise OtherDevice(
                f"another logger is at {self._device.name} now: {info.uid.hex()} instead of {former.uid.hex()}. Nothing of "
                "it was read; repeat the command to follow this one"
            )
        restarted = former is not None and info.boot_id != former.boot_id
        if former is None or restarted or _described_anew(info, former):
            await self._describe(keep=not restarted)
        sync = await self._clock(info)
        if restarted:
            events.append(Restarted(info.boot_id))
        layouts = tuple(cursor.layout for cursor in self._cursors.values())
        events.append(Found(info, layouts, sync.error_us))
        self._info, self._looked_s = info, self._loop.time()
        self._look_s = self._looked_s + _QUIET_S

    async def _describe(self, *, keep: bool) -> None:
        """Follow the streams that there are now: those that stayed as they were where they are."""
        former = self._cursors if keep else {}
        self._cursors = {}
        for stream, positions in self._wanted.of(await read_streams(self._device)):
            layout = layout_of(stream, positions)
            cursor = Cursor(layout, due_s=0.0)
            known = former.get(stream.id)
            if known is not None and known.layout.dtype == layout.dtype:
                cursor.position, cursor.last_tick = known.position, known.last_tick
            self._cursors[stream.id] = cursor

    async def _clock(self, info: LoggerInfo) -> Sync:
        """Nothing else is under way meanwhile: a probe that waits would be late."""
        now_s = self._loop.time()
        if self._sync is None or self._sync.boot_id != info.boot_id or now_s > self._synced_s + _CLOCK_KEPT_S:
            self._sync, self._synced_s = await probe_clock(self._device), now_s
        return self._sync

    # frames

    async def _read(self, events: list[Event]) -> None:
        due_s = min([self._look_s, *(cursor.due_s for cursor in self._cursors.values())])
        await asyncio.sleep(max(0.0, due_s - self._loop.time()))
        due = [cursor for cursor in self._cursors.values() if cursor.due_s <= self._loop.time()]
        asked = [(cursor, self._device.client.start(logger.LATEST, cursor.request)) for cursor in due]
        try:
            for cursor, reply in asked:
                self._take(cursor, await reply, events)
        finally:
            for _, reply in asked:
                reply.cancel()

    def _take(self, cursor: Cursor, reply: LatestResponse, events: list[Event]) -> None:
        try:
            ticks, columns = cursor.take(reply, self._device.client.max_reply, self._loop.time())
        except CursorWentBack:
            self.look_again()
            return
        lost = reply.lost or 0
        if not len(ticks) and not lost:
            return
        layout = cursor.layout
        events.append(Frames(layout.stream, self._boot_id, layout.channels, ticks, self._utc_us(ticks), columns, lost))
        self._heard()

    def _heard(self) -> None:
        """Frames came, so the device need not be asked what it does: unless it was not recording when it last was."""
        recording = self._info is not None and self._info.recording
        quiet_s = self._loop.time() + _QUIET_S
        self._look_s = min(quiet_s, self._synced_s + _CLOCK_KEPT_S) if recording else self._looked_s + _BEGUN_S

    @property
    def _boot_id(self) -> int:
        return 0 if self._info is None else self._info.boot_id

    def _utc_us(self, ticks: Ticks) -> Micros:
        sync = self._sync
        assert sync is not None
        utc_us: Micros = sync.utc_us + ((ticks - sync.tick) * US_PER_TICK).round().astype("int64")
        return utc_us


def _described_anew(info: LoggerInfo, former: LoggerInfo) -> bool:
    """Whether its streams may be others, or have other periods or calibrations."""
    return not info.schema_hash or (info.schema_hash, info.session, info.state) != (
        former.schema_hash,
        former.session,
        former.state,
    )
