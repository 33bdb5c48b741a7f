"""Bluetooth adapters: this computer's own through bleak, or another one that a bleak backend brings.

A backend is an entry point of the group `fieldlog.ble_backends`. It is called with the options of the device URL and
answers an asynchronous context manager for the pair of bleak's client and scanner class.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any
from weakref import WeakKeyDictionary

from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakError

from fieldlog.transports.ble_errors import FAILURES, Step, explain, many_heard, not_heard
from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.gatt import SMP_SERVICE

GROUP = "fieldlog.ble_backends"
SCAN_S = 10.0
_NAMESAKES_S = 0.25
"""How long a second device of the same name is listened for: only a look, it may well advertise more seldom."""
START_S = 10.0
STOP_S = 5.0
"""How long a system may take to begin and to end a scan."""
_ADDRESS = re.compile(r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, asyncio.Lock]] = WeakKeyDictionary()

Classes = tuple[type[BaseBleakClient], type[BaseBleakScanner]]
Backend = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Classes]]


@dataclass(frozen=True, slots=True)
class Heard:
    """A device that advertised, and what it said last."""

    device: BLEDevice
    said: AdvertisementData

    @property
    def name(self) -> str:
        """As it calls itself, else as the system does."""
        return self.said.local_name or self.device.name or ""

    def is_called(self, target: str) -> bool:
        if is_address(target):
            return self.device.address.casefold() == target.casefold()
        return self.name.casefold() == target.casefold()


def is_address(target: str) -> bool:
    """Whether this is an address, or what macOS has instead of one; else it is a name."""
    return _ADDRESS.fullmatch(target) is not None


def load_backend(name: str) -> Backend:
    """The backend of this name; raises UsageError where none is installed."""
    for point in entry_points(group=GROUP, name=name):
        try:
            found: Backend = point.load()
        except ImportError as error:
            raise UsageError(
                f"the BLE backend {name!r} cannot be loaded: {error}. Install what it needs (for the simulated radio "
                "`pip install 'fieldlog[sim]'`)"
            ) from error
        return found
    known = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
    raise UsageError(
        f"there is no BLE backend {name!r}; installed: {known}. Without ?backend= this computer's own is used"
    )


@dataclass(slots=True)
class Radio:
    """One adapter, from the first use until `close`. `backend`: the entry point's name, None for this computer's own."""

    backend: str | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    load: Callable[[str], Backend] = load_backend
    _classes: Classes | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def open(self) -> None:
        """Raises UsageError for a backend that is not installed or not given what it takes, and what it raises itself."""
        if self.backend is not None and self._classes is None:
            try:
                self._classes = await self._stack.enter_async_context(self.load(self.backend)(self.options))
            except ValueError as error:
                raise UsageError(f"the BLE backend {self.backend!r} does not take these options: {error}") from error

    @property
    def turn(self) -> asyncio.Lock:
        """Held by whoever looks for a device and connects to it: systems refuse a second scan or connection meanwhile."""
        turns = _TURNS.setdefault(asyncio.get_running_loop(), {})
        return turns.setdefault((self.backend, *self.options.items()), asyncio.Lock())

    async def close(self) -> None:
        self._classes = None
        with suppress(*FAILURES):
            await self._stack.aclose()

    def client(self, device: BLEDevice, timeout_s: float, gone: Callable[[BleakClient], None]) -> BleakClient:
        own: dict[str, Any] = {} if self._classes is None else {"backend": self._classes[0]}
        return BleakClient(device, gone, [SMP_SERVICE], timeout=timeout_s, **own)

    @asynccontextmanager
    async def listening(self, take: Callable[[Heard], None]) -> AsyncGenerator[None]:
        """Hand over every advertisement that is heard during the block. Whether it began and ended well is raised, in time."""
        own: dict[str, Any] = {} if self._classes is None else {"backend": self._classes[1]}
        scanner = BleakScanner(lambda device, said: take(Heard(device, said)), **own)
        async with asyncio.timeout(START_S):
            await scanner.start()
        try:
            yield
        finally:
            async with asyncio.timeout(STOP_S):
                await scanner.stop()

    async def find(self, target: str, name: str, known: str | None = None, timeout_s: float = SCAN_S) -> BLEDevice:
        """The one device of this name or address; raises DeviceNotFound for none and for several.

        `known`: the address of the one that is meant, if it was found before: another of its name is the last resort.
        """
        search = _Search(target, known)
        try:
            async with self.listening(search.take):
                await search.wait(timeout_s)
        except FAILURES:
            if not search.found:  # who was heard is there, even if the scan did not end as it should
                raise
        if known in search.found:
            return search.found[known].device
        if len(search.found) > 1:
            raise many_heard(name, sorted(search.found))
        if search.found:
            return next(iter(search.found.values())).device
        connected = await self._connected(target)
        if connected is None:
            raise not_heard(name, timeout_s, sorted(search.others.values()), search.shortened)
        return connected

    async def _connected(self, target: str) -> BLEDevice | None:
        """A device that the system holds a connection to does not advertise; nothing where that cannot be asked."""
        if self._classes is not None:
            return None
        with suppress(BleakError, NotImplementedError, OSError):
            for device in await (await BleakAdapter.get()).get_connected_devices([SMP_SERVICE]):
                if target.casefold() in (device.address.casefold(), (device.name or "").casefold()):
                    return device
        return None


@dataclass(slots=True)
class _Search:
    """For one device; `others` are the names of other SMP devices. Both by address."""

    target: str
    known: str | None
    found: dict[str, Heard] = field(default_factory=dict[str, Heard])
    others: dict[str, str] = field(default_factory=dict[str, str])
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def shortened(self) -> list[str]:
        """Addresses of those whose name may be the beginning of the one that is looked for."""
        target = self.target.casefold()
        return sorted(at for at, name in self.others.items() if len(name) > 1 and target.startswith(name.casefold()))

    def take(self, heard: Heard) -> None:
        if heard.is_called(self.target) or heard.device.address == self.known:  # which may have got another name
            self.found[heard.device.address] = heard
            if self.known in (None, heard.device.address):
                self._first.set()
        elif SMP_SERVICE in heard.said.service_uuids:
            self.others[heard.device.address] = heard.name or heard.device.address

    async def wait(self, timeout_s: float) -> None:
        """Until it is found; a name may be that of several devices."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._first.wait()
                if self.known is None and not is_address(self.target):
                    await asyncio.sleep(_NAMESAKES_S)


async def scan(radio: Radio, seconds: float) -> list[Heard]:
    """All devices that advertise within this time, the strongest first; raises DeviceNotFound without an adapter."""
    found: dict[str, Heard] = {}

    def take(heard: Heard) -> None:
        found[heard.device.address] = heard

    try:
        await radio.open()
        async with radio.listening(take):
            await asyncio.sleep(seconds)
    except FAILURES as error:
        if not found:
            raise explain(error, "BLE devices", Step.SCAN) from error
    finally:
        await radio.close()
    return sorted(found.values(), key=lambda heard: (-heard.said.rssi, heard.device.address))
