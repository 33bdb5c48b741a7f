"""BLE, through bleak: a message is written in pieces to one characteristic, and answers come as its notifications.

What a write may hold is read anew for every message: a system may tell less after a reconnect than at first, or more once
the link has settled. Pieces of two messages never interleave, because one task writes them all.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice

from fieldlog.text import printable
from fieldlog.transports.base import Sink
from fieldlog.transports.ble_errors import FAILURES, Step, explain, lost, needs_pairing, no_adapter, no_passkey, no_smp
from fieldlog.transports.passkeys import ASK_PASSKEY
from fieldlog.transports.radio import Radio
from fieldlog_protocol.errors import DeviceNotFound, LinkError, NotPaired
from fieldlog_protocol.gatt import SMP_CHARACTERISTIC, SMP_SERVICE

TRIES = 3
CONNECT_S = 10.0
SUBSCRIBE_S = 10.0
PAIR_S = 90.0
"""A person may have to read a passkey from the device and type it."""
WRITE_S = 5.0
DISCONNECT_S = 3.0
_PAUSE_S = 0.5
_LEAST_WRITE = 20
_LONGEST_VALUE = 512
_WRITES = {"write", "write-without-response"}


class BleTransport:
    """One device by name or address. `passkey`: what it wants to hear when it is paired, if it wants any."""

    mtu: int | None = None
    pieces = True

    def __init__(self, target: str, radio: Radio | None = None, passkey: int | None = None) -> None:
        self.name = f"ble:{printable(target)}"  # a name that was heard may hold anything
        self._target = target
        self._known: str | None = None
        self._radio = radio or Radio()
        self._passkey = passkey
        self._link: _Link | None = None

    @property
    def piece_size(self) -> int:
        return 0 if self._link is None else self._link.piece_size

    async def open(self, sink: Sink) -> None:
        """Connections over the air fail now and then: some tries are made, and the last failure counts."""
        await self.close()
        async with self._radio.turn:
            await self._open(sink)

    async def _open(self, sink: Sink) -> None:
        try:
            await self._radio.open()
            device = await self._radio.find(self._target, self.name, self._known)
        except FAILURES as error:
            if no_adapter(error) is not None:
                await self._radio.close()  # what comes in its place is opened anew
            raise explain(error, self.name, Step.SCAN) from error
        for left in reversed(range(TRIES)):
            try:
                await self._connect(device, sink)
            except (NotPaired, DeviceNotFound):
                raise
            except LinkError:
                if not left:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                break
        self._known = device.address

    def send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def release(self) -> None:
        """Give the adapter back, with what it knows of pairings."""
        await self.close()
        await self._radio.close()

    async def _connect(self, device: BLEDevice, sink: Sink) -> None:
        client = self._radio.client(device, CONNECT_S, self._gone)
        link = self._link = _Link(client, self.name, sink)
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect()
            asks_here = self._radio.backend is None and sys.platform == "linux"
            await _Opening(link, self._passkey, asks_here=asks_here).run()
        except FAILURES as error:
            await self.close()
            raise explain(error, self.name, Step.CONNECT) from error
        except BaseException:
            await self.close()
            raise

    def _gone(self, client: BleakClient) -> None:
        if self._link is not None and self._link.client is client:
            self._link.lost(lost(self.name))


def _can_carry(characteristic: BleakGATTCharacteristic) -> bool:
    offered = set(characteristic.properties)
    return characteristic.uuid == SMP_CHARACTERISTIC and "notify" in offered and bool(_WRITES & offered)


def _smp_characteristic(client: BleakClient) -> BleakGATTCharacteristic | None:
    """The first one that can be written to and notifies: a device may have remains of others, or say it twice."""
    for service in client.services:
        for found in service.characteristics:
            if service.uuid == SMP_SERVICE and _can_carry(found):
                return found
    return None


class _Link:
    """One connection, until it is closed or lost."""

    def __init__(self, client: BleakClient, name: str, sink: Sink) -> None:
        self.client = client
        self.name = name
        self._sink = sink
        self._open = False
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self._broken: LinkError | None = None
        self._characteristic: BleakGATTCharacteristic | None = None

    @property
    def piece_size(self) -> int:
        """As the system says at this moment; within what any link carries, and any attribute."""
        if self._characteristic is None:
            return 0
        return min(max(self._characteristic.max_write_without_response_size, _LEAST_WRITE), _LONGEST_VALUE)

    def start(self, characteristic: BleakGATTCharacteristic) -> None:
        if self._broken is not None:
            raise self._broken
        self._characteristic = characteristic
        self._open = True
        self._writer = asyncio.create_task(self._write(characteristic))

    def received(self, _: BleakGATTCharacteristic, data: bytearray) -> None:
        if self._open:
            self._sink.received(bytes(data))

    def send(self, data: bytes) -> None:
        self._unsent.put_nowait(data)

    def lost(self, error: LinkError) -> None:
        self._broken = self._broken or error
        if self._open:
            self._open = False
            self._sink.lost(error)

    async def close(self) -> None:
        self._open = False
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
        with suppress(*FAILURES):
            async with asyncio.timeout(DISCONNECT_S):
                await self.client.disconnect()

    async def _write(self, characteristic: BleakGATTCharacteristic) -> None:
        wait = "write-without-response" not in characteristic.properties
        try:
            while True:
                message = await self._unsent.get()
                size = self.piece_size
                for at in range(0, len(message), size):
                    async with asyncio.timeout(WRITE_S):
                        await self.client.write_gatt_char(characteristic, message[at : at + size], response=wait)
        except FAILURES as error:
            self.lost(explain(error, self.name, Step.SEND))


class _Opening:
    """From a connection to one that carries messages: subscribe, and pair if the device wants that first."""

    def __init__(self, link: _Link, passkey: int | None, *, asks_here: bool = False) -> None:
        """`asks_here`: whether the system asks whoever answers on this computer, as BlueZ does, and not who calls `pair`."""
        self._link = link
        self._passkey = passkey
        self._answers = asks_here and (passkey is not None or ASK_PASSKEY.get() is not None)
        self._unanswered = False

    async def run(self) -> None:
        if not self._answers:
            await self._run()
            return
        from fieldlog.transports.bluez_agent import answering

        async with answering(self._answer):
            await self._run()

    async def _run(self) -> None:
        characteristic = _smp_characteristic(self._link.client)
        if characteristic is None:
            raise no_smp(self._link.name)
        try:
            await self._subscribe(characteristic)
        except FAILURES as error:
            if not needs_pairing(error):
                raise explain(error, self._link.name, Step.SUBSCRIBE) from error
            await self._pair()
            await self._subscribe_paired(characteristic)
        self._link.start(characteristic)

    async def _subscribe(self, characteristic: BleakGATTCharacteristic) -> None:
        async with asyncio.timeout(PAIR_S if self._answers else SUBSCRIBE_S):
            await self._link.client.start_notify(characteristic, self._link.received)

    async def _subscribe_paired(self, characteristic: BleakGATTCharacteristic) -> None:
        try:
            await self._subscribe(characteristic)
        except FAILURES as error:
            raise explain(error, self._link.name, Step.SUBSCRIBE) from error

    async def _pair(self) -> None:
        try:
            async with asyncio.timeout(PAIR_S):
                await self._link.client.pair(passkey=self._answer)
        except NotImplementedError:
            return  # macOS pairs by itself
        except FAILURES as error:
            if self._unanswered:
                raise no_passkey(self._link.name) from error
            raise explain(error, self._link.name, Step.PAIR) from error

    async def _answer(self) -> int | None:
        """The passkey that the device shows or that stands on it."""
        ask = ASK_PASSKEY.get()
        found = self._passkey
        if found is None and ask is not None:
            found = await ask(self._link.name)
        self._unanswered = found is None
        return found
