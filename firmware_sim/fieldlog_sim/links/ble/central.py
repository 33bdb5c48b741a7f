"""The computer's side of the virtual radio: one Bluetooth adapter with its bonds, for bleak's backend.

Rule of this module: what bumble raises leaves it as what bleak's users know. bumble cancels what waits when a connection
ends; a cancellation that nobody asked for is therefore a lost connection.
"""

# pyright: reportUnknownVariableType=false
# (bumble's commands are made by decorators that hide their types)

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakError,
    BleakGATTProtocolError,
)
from bumble import att, core
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.hci import Address, HCI_LE_Create_Connection_Cancel_Command
from bumble.keys import JsonKeyStore, KeyStore, MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import Transport

from fieldlog_sim.links.ble.host import BleHost

Passkey: TypeAlias = Callable[[], Awaitable[int | None]]
"""Asks for what the device shows; None refuses to pair."""

_KEYS_TO_DISTRIBUTE = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
_START_S = 5.0
_PAIRING_S = 30.0
_OPTIONS = frozenset({"at", "bonds", "pairing"})


class Central:
    """`bonds` is a file that keeps them and the adapter's address, None for memory; `pairs_itself`: as operating systems
    do it, where a device asks for it and no passkey is needed."""

    def __init__(self, transport: Transport, bonds: Path | None, *, pairs_itself: bool) -> None:
        self.pairs_itself = pairs_itself
        self.connecting = asyncio.Lock()
        self._passkey: Passkey | None = None
        address = _address(bonds)
        self._bonds: KeyStore = MemoryKeyStore() if bonds is None else JsonKeyStore(str(address), str(bonds))
        config = DeviceConfiguration(name="central", address=address, classic_enabled=False)
        self.device = Device(config=config, host=BleHost(transport.source, transport.sink))
        self.device.keystore = self._bonds
        self.device.pairing_config_factory = self._pairing
        source: Any = transport.source
        self.gone: asyncio.Future[None] = source.terminated

    @property
    def is_there(self) -> bool:
        """Whether the adapter still works."""
        return not self.gone.done()

    def require(self) -> None:
        """BleakBluetoothNotAvailableError if the adapter went away."""
        if not self.is_there:
            raise not_available("the virtual radio has gone: its simulator has ended")

    async def connect(self, address: Address) -> Connection:
        """One at a time, as HCI has it. A connection that is given up is withdrawn."""
        async with self.connecting:
            try:
                return await self.device.connect(address, timeout=None)
            except asyncio.CancelledError:
                if self.is_there:
                    withdrawal: Any = HCI_LE_Create_Connection_Cancel_Command()
                    with suppress(core.BaseBumbleError):
                        await self.device.send_sync_command_raw(withdrawal)
                raise

    async def secure(self, connection: Connection, passkey: Passkey | None) -> None:
        """Encrypt with the bond, or pair: also where the bond was made without the passkey that there is now."""
        bond = await self._bonds.get(str(connection.peer_address))
        if bond is not None and bond.ltk is not None and (passkey is None or bond.ltk.authenticated):
            await connection.encrypt()
            return
        self._passkey = passkey
        try:
            async with asyncio.timeout(_PAIRING_S):
                await connection.pair()
        finally:
            self._passkey = None

    async def has_bond(self, connection: Connection) -> bool:
        return await self._bonds.get(str(connection.peer_address)) is not None

    async def forget(self, address: str) -> None:
        """The bond with a device, if there is one."""
        for name, _ in await self._bonds.get_all():
            if name.split("/")[0].lower() == address.lower():
                await self._bonds.delete(name)

    def _pairing(self, _connection: Connection) -> PairingConfig:
        return PairingConfig(sc=True, mitm=self._passkey is not None, bonding=True, delegate=_Delegate(self._passkey))


class _Delegate(PairingDelegate):
    """The person at the computer: has a keyboard if there is somebody to ask."""

    def __init__(self, passkey: Passkey | None) -> None:
        super().__init__(
            io_capability=self.NO_OUTPUT_NO_INPUT if passkey is None else self.KEYBOARD_INPUT_ONLY,
            local_initiator_key_distribution=_KEYS_TO_DISTRIBUTE,
            local_responder_key_distribution=_KEYS_TO_DISTRIBUTE,
        )
        self._passkey = passkey

    async def get_number(self) -> int | None:
        return None if self._passkey is None else await self._passkey()


@asynccontextmanager
async def open_central(options: Mapping[str, str]) -> AsyncGenerator[Central]:
    """The adapter at `at=HOST:PORT`. BleakBluetoothNotAvailableError where there is none, ValueError for other options."""
    unknown = sorted(set(options) - _OPTIONS)
    if unknown or "at" not in options:
        wrong = f"not {', '.join(unknown)}" if unknown else "and at= is missing"
        raise ValueError(f"`virtual` takes at=HOST:PORT, bonds=FILE and pairing=auto, {wrong}")
    transport = await _transport(options["at"])
    bonds = options.get("bonds")
    central = Central(transport, None if bonds is None else Path(bonds), pairs_itself=options.get("pairing") == "auto")
    try:
        with errors("start the adapter"):
            async with asyncio.timeout(_START_S):
                await central.device.power_on()
        yield central
    finally:
        with suppress(core.BaseBumbleError):
            await central.device.power_off()
        await transport.close()


async def _transport(at: str) -> Transport:
    try:
        async with asyncio.timeout(_START_S):
            return await open_transport(f"tcp-client:{at}")
    except (OSError, ValueError) as error:
        raise not_available(f"no virtual radio answers at {at}: {error}") from error


def _address(bonds: Path | None) -> Address:
    """That under which the bonds were made; another one is a stranger to the devices."""
    with suppress(OSError, ValueError, StopIteration):
        if bonds is not None:
            return Address(next(iter(json.loads(bonds.read_text()))))
    return Address.generate_static_address()


def not_available(sentence: str) -> BleakBluetoothNotAvailableError:
    return BleakBluetoothNotAvailableError(sentence, BleakBluetoothNotAvailableReason.UNKNOWN)


@contextmanager
def errors(what: str) -> Generator[None]:
    """`what` is what fails, as in "connect"."""
    try:
        yield
    except att.ATT_Error as error:
        raise BleakGATTProtocolError(int(error.error_code)) from error
    except (core.TimeoutError, TimeoutError) as error:
        raise TimeoutError(f"{what}: no answer") from error
    except core.BaseBumbleError as error:
        raise BleakError(f"{what}: {error}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BleakError(f"{what}: disconnected") from error
