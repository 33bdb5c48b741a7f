"""A link over BLE: the device is a GATT peripheral, and one central at a time talks to it.

Rule of this module: everything happens in `run`; callbacks of the radio only leave word and wake it. Fragments of two
replies never interleave: a reply leaves whole, as fast as the controller takes it, before the next is asked for.
"""

# pyright: reportUnknownVariableType=false
# (bumble's commands are made by decorators that hide their types)

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bumble.core import BaseBumbleError
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.hci import Address, HCI_LE_Set_Scan_Response_Data_Command

from fieldlog_protocol.advertising import advertising_data
from fieldlog_protocol.errors import LinkError
from fieldlog_sim.faults import Faults
from fieldlog_sim.links.ble.adapter import Adapter
from fieldlog_sim.links.ble.fragments import Misplacer
from fieldlog_sim.links.ble.gatt import Facts, Peripheral
from fieldlog_sim.links.ble.outbox import room_to_send, sent_all
from fieldlog_sim.links.ble.presence import Presence
from fieldlog_sim.links.ble.security import Guard, Level, Security
from fieldlog_sim.links.port import Port
from fieldlog_sim.links.waker import Waker

DEFAULT_MTU = 247
_ADVERTISING_MS = 20.0
_REFRESH_S = 1.0
_BOOT_S = 0.2
_LAST_WORDS_S = 1.0
_IMPATIENCE_S = 0.01
_POWER_OFF = 0x15
_NOBODY = Facts("", "", "", "", 0)


@dataclass(frozen=True, slots=True)
class BleConfig:
    """`mtu`: the largest ATT_MTU that the device takes part in."""

    mtu: int = DEFAULT_MTU
    security: Security = field(default_factory=Security)


class BleLink:
    """`presence` tells how the device shows itself at any moment. `at` is where a central finds the air, as a part of the
    URL; empty for real hardware. `address`: the device's own, six bytes."""

    def __init__(
        self,
        port: Port,
        adapter: Adapter,
        presence: Callable[[], Presence | None],
        *,
        own_address: bytes,
        config: BleConfig | None = None,
        faults: Faults | None = None,
        name: str = "ble",
        url: Callable[[str, str], str] = lambda name, _address: f"ble:{name}",
    ) -> None:
        faults = faults or Faults()
        self._port = port
        self._adapter = adapter
        self._presence = presence
        self._own_address = static_address(own_address)
        self._config = config or BleConfig()
        self._url = url
        self._from_host = Misplacer(faults.direction(f"{name}/to device", datagrams=True))
        self._to_host = Misplacer(faults.direction(f"{name}/to host", datagrams=True))
        self._waker = Waker()
        self._device: Device | None = None
        self._guard: Guard | None = None
        self._peripheral: Peripheral | None = None
        self._connection: Connection | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._inbox: list[tuple[Connection, bytes]] = []
        self._present: Presence | None = None
        self._advertised: bytes | None = None
        self._refresh_at = 0.0
        self._closed = False

    # opening

    async def open(self) -> None:
        """Power the radio on and advertise; LinkError when it cannot be had."""
        self._present = self._presence()
        config = DeviceConfiguration(
            name=self.advertised_name, address=self._own_address, gap_service_enabled=True, classic_enabled=False
        )
        device = Device(config=config, host=await self._adapter.open())
        self._guard = Guard(device, self._config.security)
        self._peripheral = Peripheral(device, self._guard, self._on_write, self._facts)
        device.gatt_server.max_mtu = self._config.mtu
        device.on(Device.EVENT_CONNECTION, self._on_connection)
        try:
            await device.power_on()
        except BaseBumbleError as error:
            raise LinkError(f"the Bluetooth controller does not work: {error}. Nothing was started.") from error
        self._device = device
        await self._advertise()

    @property
    def address(self) -> str:
        return self._url(self.advertised_name, self.bluetooth_address)

    @property
    def advertised_name(self) -> str:
        return "" if self._present is None else self._present.name

    @property
    def bluetooth_address(self) -> str:
        """Its own, which stays as it is."""
        return self._own_address.to_string(False)

    @property
    def passkey(self) -> int | None:
        """What its display shows when somebody pairs; None if it needs none."""
        security = self._config.security
        return security.passkey if security.level is Level.AUTHENTICATED else None

    # what a link does

    async def run(self) -> None:
        if self._device is None:
            await self.open()
        try:
            while not self._closed:
                self._take_in()
                await self._serve()
                await self._follow_presence()
                await self._waker.wait(self._next_at())
        finally:
            await self._adapter.close()

    def poke(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        self._closed = True
        self._waker.wake()

    # what tests do to it

    async def lose_link(self, away_s: float = 0.0) -> None:
        """Be out of range until the connection is lost on both sides, and `away_s` longer."""
        self._adapter.go_out_of_range()
        await self._drop()
        await asyncio.sleep(away_s)
        self._adapter.come_back()

    async def forget_bonds(self) -> None:
        """As by a factory reset."""
        assert self._guard is not None
        await self._guard.forget()

    async def ask_for_interval(self, interval_s: float) -> None:
        """Request other parameters of the present connection."""
        assert self._connection is not None
        ms = interval_s * 1000
        await self._connection.update_parameters(ms, ms, 0, 720.0)

    def limit_mtu(self, mtu: int) -> None:
        """Of connections to come."""
        assert self._device is not None
        self._device.gatt_server.max_mtu = mtu

    # word from the radio

    def _on_connection(self, connection: Connection) -> None:
        self._connection, self._lost, self._advertised = connection, asyncio.Event(), None
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)
        self._port.link_up()
        self._waker.wake()

    def _on_disconnection(self, _reason: int) -> None:
        self._connection = None
        self._lost.set()
        self._inbox.clear()
        self._port.link_down()
        self._waker.wake()

    def _on_write(self, connection: Connection, data: bytes) -> None:
        self._inbox.append((connection, bytes(data)))
        self._waker.wake()

    def _facts(self) -> Facts:
        present = self._presence()
        return _NOBODY if present is None else present.facts

    # work

    def _take_in(self) -> None:
        """Hand on what was written. The guard has let it in."""
        inbox, self._inbox = self._inbox, []
        now = asyncio.get_running_loop().time()
        for connection, data in inbox:
            if connection is self._connection:
                for piece in self._from_host.after(data):
                    self._port.receive(piece, now)

    async def _serve(self) -> None:
        """Answer until nothing waits."""
        now = asyncio.get_running_loop().time
        while not self._closed and (reply := self._port.serve(now())) is not None:
            await self._send(reply)
            self._port.sent(now())
            self._take_in()

    async def _send(self, reply: bytes) -> None:
        connection, peripheral = self._connection, self._peripheral
        if connection is None or peripheral is None or not peripheral.subscribed(connection):
            return
        size = connection.att_mtu - 3
        for at in range(0, len(reply), size):
            for piece in self._to_host.after(reply[at : at + size]):
                await room_to_send(connection, self._lost)
                if self._connection is not connection:
                    return
                await peripheral.notify(connection, piece)
        if self._to_host.disconnects():
            await self._lose_by_fault(connection)

    async def _lose_by_fault(self, connection: Connection) -> None:
        await sent_all(connection, self._lost, _LAST_WORDS_S)
        await self.lose_link(self._to_host.away_s)

    async def _follow_presence(self) -> None:
        """Restart when the device has, and keep the advertisement current."""
        before, self._present = self._present, self._presence()
        if before is not None and (self._present is None or self._present.boot is not before.boot):
            await self._restart()
        await self._advertise()

    async def _restart(self) -> None:
        """The last reply still leaves; then the radio is gone until the device has booted."""
        if self._connection is not None:
            await sent_all(self._connection, self._lost, _LAST_WORDS_S)
        self._adapter.go_out_of_range()
        await self._stop_advertising()
        await self._drop()
        await asyncio.sleep(_BOOT_S)
        self._adapter.come_back()

    async def _drop(self) -> None:
        """End the connection on this side; the other end is told if it hears it."""
        connection = self._connection
        if connection is not None:
            with suppress(BaseBumbleError):
                await connection.disconnect(_POWER_OFF)

    async def _advertise(self) -> None:
        """Advertise what is so now, if nobody is connected."""
        device, present = self._device, self._present
        if device is None or self._connection is not None:
            return
        if present is None:
            await self._stop_advertising()
        elif self._advertised is None:
            await device.start_advertising(
                advertising_data=advertising_data(),
                scan_response_data=present.scan_response,
                advertising_interval_min=_ADVERTISING_MS,
                advertising_interval_max=_ADVERTISING_MS,
            )
            self._advertised = present.scan_response
        elif self._advertised != present.scan_response:
            fresh: Any = HCI_LE_Set_Scan_Response_Data_Command(scan_response_data=present.scan_response)
            await device.send_sync_command(fresh)
            self._advertised = present.scan_response

    async def _stop_advertising(self) -> None:
        if self._device is not None and self._advertised is not None:
            self._advertised = None
            await self._device.stop_advertising()

    def _next_at(self) -> float | None:
        """When there is something to do though nobody says so."""
        now = asyncio.get_running_loop().time()
        wanted = self._port.wake_at()
        refresh = now + _REFRESH_S
        return refresh if wanted is None else min(refresh, max(wanted, now + _IMPATIENCE_S))


def static_address(seed: bytes) -> Address:
    """A random static address (Core, Vol 6, Part B, 1.3.2.1) from six bytes."""
    return Address(bytes([*seed[:5], seed[5] | 0xC0]), Address.RANDOM_DEVICE_ADDRESS)
