"""All BLE links of one process: the air that they share and the door to it for other processes, or real hardware."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fieldlog_sim.ble_options import BleOptions
from fieldlog_sim.device import Device
from fieldlog_sim.faults import Faults
from fieldlog_sim.links.ble.adapter import Adapter, HardwareAdapter, VirtualAdapter
from fieldlog_sim.links.ble.air import Air
from fieldlog_sim.links.ble.hci_server import HciServer
from fieldlog_sim.links.ble.link import BleConfig, BleLink
from fieldlog_sim.links.ble.presence import presence_of
from fieldlog_sim.links.ble.security import PASSKEYS, Level, Security
from fieldlog_sim.links.port import Port

_LONGEST_NAME = 13
"""Bytes that a scan response has left for it."""


class Site:
    """Open before devices are added; each is a link of its own, to be run and closed as others are."""

    def __init__(self, options: BleOptions, faults: Faults | None = None) -> None:
        self._options = options
        self._faults = faults
        self._owners: dict[str, str] = {}
        self.air = Air(options.pace)
        self._server = HciServer(self.air)

    async def open(self) -> None:
        """LinkError when the port cannot be had."""
        if not self._options.hardware:
            await self._server.open(self._options.host, self._options.port)

    async def add(self, device: Device, port: Port, index: int = 0, bonds: Path | None = None) -> BleLink:
        """The link to one more device, opened. `bonds` is the file that keeps them."""
        link = BleLink(
            port,
            self._adapter(),
            lambda: presence_of(device),
            own_address=device.identity.uid[:6],
            config=BleConfig(self._options.mtu, self._security(device, bonds)),
            faults=self._faults,
            name=f"ble{index}",
            url=self._url,
        )
        await link.open()
        return link

    def close(self) -> None:
        self._server.close()

    @property
    def at(self) -> str:
        """HOST:PORT of the virtual radio."""
        host, port = self._server.bound
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _adapter(self) -> Adapter:
        return HardwareAdapter(self._options.hardware) if self._options.hardware else VirtualAdapter(self.air)

    def _security(self, device: Device, bonds: Path | None) -> Security:
        passkey = self._options.passkey
        if passkey is None:
            passkey = int.from_bytes(device.identity.uid[-4:], "little") % PASSKEYS
        return Security(Level(self._options.level), passkey, self._options.bonds, bonds)

    def _url(self, name: str, address: str) -> str:
        """By the name where that tells devices apart, else by the address."""
        short = len(name.encode()) <= _LONGEST_NAME
        its_own = self._owners.setdefault(name, address) == address
        target = quote(name) if name and short and its_own else address
        return f"ble:{target}" + ("" if self._options.hardware else f"?backend=virtual&at={self.at}")
