"""A line of devices: each that appears is recognised, gets its row, and is prepared; one that fails stops no other.

Rule: a row is given to one device and a device has one row. What becomes of each is kept as it happens.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field

from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.provision.fleet import SAYS, Fleet, Row
from fieldlog.provision.one_device import Options, Work, until_logger
from fieldlog.provision.progress import Progress, Record
from fieldlog.transports.ports import port_url, serial_ports
from fieldlog.url import DeviceUrl, parse
from fieldlog_protocol.errors import FieldlogError, LinkError, UsageError

POLL_S = 0.5
"""How often is looked for devices, and whether one has gone."""


@dataclass(slots=True)
class Turn:
    """When a device may be given a free row: `after` that of the one before it is `over`, which may have taken none."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    after: asyncio.Event | None = None

    async def comes(self) -> None:
        if self.after is not None:
            await self.after.wait()

    def end(self) -> None:
        self.over.set()


@dataclass(slots=True)
class Visit:
    """One device that came, at a link. `row` None: none was for it. `error`: what stopped it; `skipped`: done before."""

    link: str
    uid: str | None = None
    row: Row | None = None
    record: Record | None = None
    error: FieldlogError | OSError | None = None
    skipped: bool = False
    turn: Turn = field(default_factory=Turn)

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
        """Each of these devices once, side by side, waiting until it answers. Free rows are given in their order."""
        links = list(urls)
        turns = [Turn() for _ in links]
        for turn, former in zip(turns[1:], turns, strict=False):
            turn.after = former.over
        await asyncio.gather(*(self.attend_once(url, wait_s, turn) for url, turn in zip(links, turns, strict=True)))

    async def attend_once(self, url: DeviceUrl, wait_s: float, turn: Turn) -> None:
        """One device, as soon as it answers; a link that breaks is waited for again. After `wait_s` it counts as missing."""
        try:
            await self._attend_until(url, asyncio.get_running_loop().time() + wait_s, turn)
        finally:
            turn.end()

    async def _attend_until(self, url: DeviceUrl, deadline: float, turn: Turn) -> None:
        while True:
            visit = await self._visit(url, turn)
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
                for name in [name for name in there if name not in posts]:  # in their order
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

    async def _visit(self, url: DeviceUrl, turn: Turn | None = None) -> Visit:
        """What became of the device at a link: whatever goes wrong ends the visit, and it alone."""
        visit = Visit(url.text, turn=turn or Turn())
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
            row, record = visit.row, visit.record = await self._admit(info, visit)
            visit.turn.end()
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
            with suppress(FieldlogError):  # it may be what went wrong; the next that can be kept stores this one too
                self.progress.keep(visit.record)

    # which row

    async def _admit(self, info: LoggerInfo, visit: Visit) -> tuple[Row, Record]:
        """The row that names the device, or that it has been given, or the next free one if that is wanted."""
        row = self._own_row(info)
        if row is not None:
            self._require_same(row, info)
            return row, self._record(row, info, visit.link)
        await visit.turn.comes()
        async with self._choosing:
            row = await self._free_row(info, visit.link)
            return row, self._record(row, info, visit.link)

    def _own_row(self, info: LoggerInfo) -> Row | None:
        """The row that names the device, else the one that it was given."""
        uid, rows = info.uid.hex(), self.fleet.rows
        named = [row for row in rows if uid == row.uid or (row.serial and not row.uid and row.serial == info.serial)]
        if len(named) > 1:
            which = " and ".join(f"{row.number} ({row.title})" for row in named)
            raise UsageError(f"rows {which} both name this device, uid {uid}. Nothing was changed; leave one of them")
        return named[0] if named else self._given_row(self.progress.of_device(uid))

    def _given_row(self, record: Record | None) -> Row | None:
        """That of a device's record; a row that is known by its words alone is known by its place when they change."""
        if record is None:
            return None
        known = {row.key: row for row in self.fleet.rows}
        if record.row in known:
            return known[record.row]
        return self._same_place(record) if record.row.startswith(SAYS) and self._in_place(known) else None

    def _in_place(self, known: Mapping[str, Row]) -> bool:
        """Whether no row that was given has another place now."""
        return all(
            record.rows == len(self.fleet.rows)
            and (record.row not in known or known[record.row].number == record.number)
            for record in self.progress.all()
            if record.row.startswith(SAYS)
        )

    def _same_place(self, record: Record) -> Row | None:
        rows = (row for row in self.fleet.rows if row.number == record.number and row.nameless)
        return next((row for row in rows if self.progress.of(row) is None), None)

    @property
    def free_rows(self) -> list[Row]:
        """Rows for whichever device comes: neither named nor given."""
        given = {row.key for record in self.progress.all() if (row := self._given_row(record)) is not None}
        return [row for row in self.fleet.rows if row.free and row.key not in given]

    def _require_same(self, row: Row, info: LoggerInfo) -> None:
        record = self.progress.of(row)
        if record is not None and record.uid != info.uid.hex() and (record.done or record.steps):
            raise UsageError(
                f"row {row.number} ({row.title}) was given to another device, uid {record.uid}. Nothing was changed; if this one "
                f"takes its place, take that entry out of {self.progress.path}"
            )

    async def _free_row(self, info: LoggerInfo, link: str) -> Row:
        row = next(iter(self.free_rows), None)
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
            return self._placed(known, row)
        record = Record(
            row=row.key,
            uid=uid,
            digest=digest,
            number=row.number,
            rows=len(self.fleet.rows),
            title=row.title,
            serial=info.serial,
            link=link,
            begun=_now(),
        )
        self.progress.keep(record)
        return record

    def _placed(self, record: Record, row: Row) -> Record:
        """With the place that its row has now."""
        place = row.number, len(self.fleet.rows)
        if (record.number, record.rows) != place:
            record.number, record.rows = place
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
