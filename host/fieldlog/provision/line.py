"""A line of devices: each that appears is recognised, gets its row, and is prepared; one that fails stops no other.

Rule: a row is given to one device and a device has one row. What becomes of each is kept as it happens.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.provision.fleet import Fleet, Row
from fieldlog.provision.one_device import Options, Work, until_logger
from fieldlog.provision.progress import Progress, Record
from fieldlog.transports.ports import port_url, serial_ports
from fieldlog.url import DeviceUrl, parse
from fieldlog_protocol.errors import FieldlogError, LinkError, UsageError

POLL_S = 0.5
"""How often is looked for devices, and whether one has gone."""


@dataclass(slots=True)
class Visit:
    """One device that came, at a link. `row` None: none was for it. `error`: what stopped it; `skipped`: done before."""

    link: str
    uid: str | None = None
    row: Row | None = None
    record: Record | None = None
    error: FieldlogError | OSError | None = None
    skipped: bool = False

    @property
    def name(self) -> str:
        return self.link if self.row is None else self.row.title


Connect = Callable[[DeviceUrl], AbstractAsyncContextManager[Device]]
Ask = Callable[[LoggerInfo, Row, str], Awaitable[bool]]
"""Whether a device that no row names shall have this free one."""
Tell = Callable[[Visit, str], None]


@dataclass(slots=True)
class Line:
    """Prepares what comes. `ended` is called at the end of each visit, `tell` with every step."""

    fleet: Fleet
    progress: Progress
    options: Options
    connect: Connect
    ask: Ask
    tell: Tell
    ended: Callable[[Visit], None]
    digest: str = ""
    """Of what all rows share, beside what the fleet file says: the image."""
    _busy: set[str] = field(default_factory=set[str], init=False)
    _choosing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def is_done(self, row: Row) -> bool:
        record = self.progress.of(row)
        return record is not None and record.done and record.digest == self._digest(row)

    @property
    def left(self) -> list[Row]:
        return [row for row in self.fleet.rows if not self.is_done(row)]

    # those that are named, once each

    async def attend_all(self, urls: Iterable[DeviceUrl], wait_s: float) -> None:
        """Each of these devices once, side by side, waiting until it answers."""
        await asyncio.gather(*(self.attend_once(url, wait_s) for url in urls))

    async def attend_once(self, url: DeviceUrl, wait_s: float) -> None:
        """One device, as soon as it answers; a link that breaks is waited for again. After `wait_s` it counts as missing."""
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            visit = await self._visit(url)
            if not isinstance(visit.error, LinkError) or asyncio.get_running_loop().time() >= deadline:
                self.ended(visit)
                return
            if visit.uid is not None:
                self.tell(visit, f"{visit.error}. Waiting for it to come back")
            await asyncio.sleep(POLL_S)

    # those that come, one after another

    async def attend_line(self, urls: Callable[[], list[DeviceUrl]], wait_s: float | None, *, listed: bool) -> None:
        """Whatever comes to these links, until every row is done, or nothing has come for `wait_s`.

        `listed`: a link is in `urls` only as long as a device is there; else it is asked whether it still is.
        """
        loop = asyncio.get_running_loop()
        posts: dict[str, asyncio.Task[bool]] = {}
        last = loop.time()
        try:
            while self.left and (wait_s is None or loop.time() <= last + wait_s):
                there = {url.text: url for url in urls()}
                for name in [name for name, post in posts.items() if post.done()]:
                    if not posts[name].result() or name not in there:
                        posts.pop(name)
                for name in there.keys() - posts.keys():
                    posts[name] = asyncio.create_task(self._attend_post(there[name], once=listed))
                await asyncio.sleep(POLL_S)
                last = loop.time() if self._busy else last
        finally:
            for post in posts.values():
                post.cancel()
            await asyncio.gather(*posts.values(), return_exceptions=True)

    async def _attend_post(self, url: DeviceUrl, *, once: bool) -> bool:
        """One device at a link, and until it has gone, unless `once`; nobody there is no news.

        Whether it is dealt with: else it shall be looked at again.
        """
        visit = await self._visit(url)
        if visit.uid is not None or not isinstance(visit.error, LinkError):
            self.ended(visit)
        if once or visit.uid is None:
            return not isinstance(visit.error, LinkError)
        there = True
        while there:
            await asyncio.sleep(POLL_S)
            there = await self._is_there(url, visit.uid)
        return False

    async def _is_there(self, url: DeviceUrl, uid: str | None) -> bool:
        """Whether the same device still answers."""
        try:
            async with self.connect(url) as device:
                return (await device.logger_info()).uid.hex() == uid
        except (FieldlogError, OSError):
            return False

    # one visit

    async def _visit(self, url: DeviceUrl) -> Visit:
        """What became of the device at a link: whatever goes wrong ends the visit, and it alone."""
        visit = Visit(url.text)
        try:
            async with self.connect(url) as device:
                info = await until_logger(device, self.options, lambda step: self.tell(visit, step))
                visit.uid = info.uid.hex()
                await self._prepare(visit, device, info)
        except (FieldlogError, OSError) as error:
            self._failed(visit, error)
        return visit

    async def _prepare(self, visit: Visit, device: Device, info: LoggerInfo) -> None:
        uid = info.uid.hex()
        if uid in self._busy:
            raise UsageError(f"the device {info.serial or uid} is being prepared over another link already")
        self._busy.add(uid)
        try:
            row, record = visit.row, visit.record = await self._admit(info, visit.link)
            if self.is_done(row):
                visit.skipped = True
                return
            await Work(
                device, self.fleet, row, record, self.progress, self.options, lambda step: self.tell(visit, step)
            ).run()
            record.ended = _now()
            self.progress.keep(record)
        finally:
            self._busy.discard(uid)

    def _failed(self, visit: Visit, error: FieldlogError | OSError) -> None:
        visit.error = error
        if visit.record is not None and not visit.skipped:
            visit.record.error, visit.record.ended = str(error), _now()
            self.progress.keep(visit.record)

    # which row

    async def _admit(self, info: LoggerInfo, link: str) -> tuple[Row, Record]:
        """The row that names the device, or that it has been given, or the next free one if that is wanted."""
        row = self._own_row(info)
        if row is not None:
            self._require_same(row, info)
            return row, self._record(row, info, link)
        async with self._choosing:
            row = await self._free_row(info, link)
            return row, self._record(row, info, link)

    def _own_row(self, info: LoggerInfo) -> Row | None:
        uid, rows = info.uid.hex(), self.fleet.rows
        given = self.progress.row_of(uid)
        found = [
            *(row for row in rows if row.uid == uid),
            *(row for row in rows if row.serial and not row.uid and row.serial == info.serial),
            *(row for row in rows if row.key == given),
        ]
        return found[0] if found else None

    def _require_same(self, row: Row, info: LoggerInfo) -> None:
        record = self.progress.of(row)
        if record is not None and record.uid != info.uid.hex() and (record.done or record.steps):
            raise UsageError(
                f"row {row.number} ({row.title}) was given to another device, uid {record.uid}. Nothing was changed; if this one "
                f"takes its place, take that entry out of {self.progress.path}"
            )

    async def _free_row(self, info: LoggerInfo, link: str) -> Row:
        row = next((row for row in self.fleet.rows if row.free and self.progress.of(row) is None), None)
        who = f"{info.serial or 'without serial number'}, uid {info.uid.hex()}"
        if row is None:
            raise UsageError(f"no row is for this device ({who}). Nothing was changed")
        if not await self.ask(info, row, link):
            raise UsageError(f"this device ({who}) was left as it is")
        return row

    def _record(self, row: Row, info: LoggerInfo, link: str) -> Record:
        """What is known of the row; what was done for other words, or to another device, is to be done anew."""
        known, digest, uid = self.progress.of(row), self._digest(row), info.uid.hex()
        if known is not None and known.digest == digest and known.uid == uid:
            return known
        record = Record(
            row=row.key, uid=uid, digest=digest, title=row.title, serial=info.serial, link=link, begun=_now()
        )
        self.progress.keep(record)
        return record

    def _digest(self, row: Row) -> str:
        return f"{row.digest}{self.digest}"


def present_devices() -> list[DeviceUrl]:
    """Every USB serial port that is present now; by its serial number where it has one, as its path may change."""
    there = serial_ports()
    return [parse(port_url(port, there) if port.serial else port.path) for port in there if port.usb]


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
