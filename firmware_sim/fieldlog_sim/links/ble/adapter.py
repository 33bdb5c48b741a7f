"""Where a simulated peripheral's radio is: on an air in this process, or real hardware or another HCI that bumble opens."""

from __future__ import annotations

from typing import Protocol

from bumble.transport import open_transport
from bumble.transport.common import AsyncPipeSink, Transport

from fieldlog_protocol.errors import LinkError
from fieldlog_sim.links.ble.air import Air
from fieldlog_sim.links.ble.host import BleHost
from fieldlog_sim.links.ble.radio import Radio


class Adapter(Protocol):
    """A Bluetooth controller for one device."""

    async def open(self) -> BleHost:
        """The host that speaks to it; LinkError when it cannot be had."""
        ...

    def go_out_of_range(self) -> None:
        """Nothing gets through any more, as where the device has lost power or was carried away."""
        ...

    def come_back(self) -> None: ...

    async def close(self) -> None: ...


class VirtualAdapter:
    """A radio on `air`. Its link can be lost and found at will."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self.radio: Radio | None = None

    async def open(self) -> BleHost:
        self.radio = Radio("peripheral", self._air)
        return BleHost(self.radio, AsyncPipeSink(self.radio))

    def go_out_of_range(self) -> None:
        if self.radio is not None:
            self.radio.go_out_of_range()

    def come_back(self) -> None:
        if self.radio is not None:
            self.radio.come_back()

    async def close(self) -> None:
        radio, self.radio = self.radio, None
        if radio is not None:
            radio.leave()


class HardwareAdapter:
    """What bumble opens by its name for it: `usb:0`, `hci-socket:0`, `tcp-client:HOST:PORT`, ... Real radio waves do not
    obey: going out of range is left to whoever carries it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: Transport | None = None

    async def open(self) -> BleHost:
        try:
            self._transport = await open_transport(self._name)
        except Exception as error:  # bumble and the drivers below it raise what they like
            raise LinkError(
                f"the Bluetooth controller {self._name} cannot be opened: {error}. Nothing was started; see whether it is "
                "there, whether you may use it, and whether the operating system uses it itself."
            ) from error
        return BleHost(self._transport.source, self._transport.sink)

    def go_out_of_range(self) -> None:
        """Nothing: see above."""

    def come_back(self) -> None:
        """Nothing: see above."""

    async def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()
