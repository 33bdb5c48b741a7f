"""Pulls of many devices at once into one archive.

Rule: each device stands for itself. One that fails or is silent is named and stops no other; one that was reached in
two ways is read once. What became of each is in its `Readout`, which whoever watches is handed at every step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum

from fieldlog.archive.store import Archive
from fieldlog.connection import connect
from fieldlog.device import Device
from fieldlog.pull import PullProgress, PullResult
from fieldlog.recognise import differs
from fieldlog.steady_link import say_nothing
from fieldlog.steady_pull import pull_steadily
from fieldlog.text import printable
from fieldlog.url import DeviceUrl, distinct
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import FieldlogError

AT_ONCE = 16
"""Devices read at the same time. A serial line takes a few percent of a core, and 16 lines fit on a terminal."""

OVER_BLE = 5
"""Of these so many over this computer's own Bluetooth: adapters hold few links, and all share its air."""


class Stage(StrEnum):
    """How far the pull of one device has come; the last three are final."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    READING = "reading"
    DONE = "done"
    SAME = "same device"
    FAILED = "failed"


@dataclass(slots=True)
class Readout:
    """One device's pull. `result` is set when it is done, `error` when it failed, `same_as` where another URL led there.

    `progress` is the last account of what arrived: after a failure too, and then that is in the archive. `called` is the
    device's own name, serial number or uid as soon as it told, where several are read.
    """

    url: DeviceUrl
    name: str
    stage: Stage = Stage.WAITING
    progress: PullProgress | None = None
    result: PullResult | None = None
    error: FieldlogError | OSError | None = None
    same_as: str | None = None
    called: str = ""

    @property
    def over(self) -> bool:
        return self.stage in (Stage.DONE, Stage.SAME, Stage.FAILED)


Told = Callable[[Readout], None]
Connect = Callable[[DeviceUrl], AbstractAsyncContextManager[Device]]


def ignore_readout(readout: Readout) -> None:
    """For callers who do not watch."""


async def pull_many(
    urls: Iterable[str | DeviceUrl],
    archive: Archive,
    *,
    seal: bool = True,
    told: Told = ignore_readout,
    connect: Connect = connect,
    tell: Callable[[str], None] = say_nothing,
) -> list[Readout]:
    """Bring the archive up to date with devices, at most AT_ONCE at a time, OVER_BLE over BLE; one Readout for each, in their order.

    Raises nothing for a device that fails: see `Readout.error`. A port that is named twice is read once. A link over the air
    that breaks is opened again; `tell` is called with that, in words.
    """
    readouts = [Readout(url, _short(url)) for url in distinct(urls)]
    many = _Many(archive, seal, told, connect, tell, alone=len(readouts) == 1)
    for readout in readouts:
        told(readout)
    # a bug in one pull waits for the others too: what they read shall not be lost to it
    ended = await asyncio.gather(*map(many.read, readouts), return_exceptions=True)
    for bug in ended:
        if bug is not None:
            raise bug
    return readouts


def _short(url: DeviceUrl) -> str:
    """What a device is called before it is reached: over the air as it will be then, without the options of the radio."""
    return f"ble:{printable(url.target)}" if url.scheme == "ble" else url.text


@dataclass(slots=True)
class _Owner:
    """Who reads a log: a second way to it waits, and is used only if the first one fails."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    read_by: str | None = None


class _Many:
    def __init__(
        self,
        archive: Archive,
        seal: bool,
        told: Told,
        connect: Connect,
        tell: Callable[[str], None],
        *,
        alone: bool,
    ) -> None:
        self._archive = archive
        self._seal = seal
        self._told = told
        self._connect = connect
        self._tell = tell
        self._alone = alone
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._over_ble = asyncio.Semaphore(OVER_BLE)
        self._owners: dict[tuple[bytes, int], _Owner] = {}

    def _slot(self, url: DeviceUrl) -> asyncio.Semaphore:
        return self._over_ble if url.scheme == "ble" and url.backend is None else self._slots

    async def read(self, readout: Readout) -> None:
        async with self._slot(readout.url):
            self._step(readout, Stage.CONNECTING)
            try:
                stage = await self._read(readout)
            except (FieldlogError, OSError) as error:
                readout.error = error
                stage = Stage.FAILED
            self._step(readout, stage)

    async def _read(self, readout: Readout) -> Stage:
        async with self._connect(readout.url) as device:
            readout.name = device.name
            owner = _Owner() if self._alone else await self._owner(device, readout)
            async with owner.lock:
                if owner.read_by is not None and not await self._is_another(device):
                    readout.same_as = owner.read_by
                    return Stage.SAME
                self._step(readout, Stage.READING)
                readout.result = await self._pull(device, readout)
                owner.read_by = device.name
        return Stage.DONE

    async def _owner(self, device: Device, readout: Readout) -> _Owner:
        await device.need_logger()
        identity = await device.request(logger.INFO, logger.InfoRequest())
        readout.called = identity.name or identity.serial or (identity.uid or b"").hex()
        return self._owners.setdefault((identity.uid or b"", identity.log or 0), _Owner())

    async def _is_another(self, device: Device) -> bool:
        """Whether a device that names itself like one just read holds other blocks: a copy is read too, and told."""
        info = await device.logger_info()
        return await differs(device, self._archive.log(info.uid, info.log_id), info)

    async def _pull(self, device: Device, readout: Readout) -> PullResult:
        def progressed(progress: PullProgress) -> None:
            readout.progress = progress
            self._told(readout)

        wait_s = readout.url.reconnect_s
        return await pull_steadily(device, self._archive, wait_s, seal=self._seal, progress=progressed, tell=self._tell)

    def _step(self, readout: Readout, stage: Stage) -> None:
        readout.stage = stage
        self._told(readout)
