"""Who gets in: pairing, bonds, and what a connection must have before an attribute answers.

Rule of this module: it judges connections and knows no services. bumble calls every encrypted connection authenticated;
here that is only one whose key was agreed on with a passkey.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from bumble import att, hci
from bumble.device import Connection, Device
from bumble.keys import JsonKeyStore, KeyStore, MemoryKeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate

_KEYS_TO_DISTRIBUTE = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
PASSKEYS = 1_000_000

_log = logging.getLogger(__name__)


class Level(IntEnum):
    """What a central needs: nothing, a pairing of any kind, or one with the passkey."""

    NONE = 0
    ENCRYPTED = 1
    AUTHENTICATED = 2


@dataclass(frozen=True, slots=True)
class Security:
    """`passkey` is what a display or label shows; `bonds`: how many centrals are remembered, further ones are refused.
    `store`: the file that keeps bonds over restarts, None for memory."""

    level: Level = Level.NONE
    passkey: int = 0
    bonds: int = 255
    store: Path | None = None


class Guard:
    """Of one device. It must be made before the device is powered on."""

    def __init__(self, device: Device, security: Security) -> None:
        self._device = device
        self._security = security
        self._authenticated: set[int] = set()
        self._bonds: KeyStore = (
            MemoryKeyStore() if security.store is None else JsonKeyStore("bonds", str(security.store))
        )
        device.keystore = self._bonds
        device.pairing_config_factory = self._pairing
        device.host.long_term_key_provider = self._long_term_key
        device.on(Device.EVENT_CONNECTION, self._on_connection)

    def require(self, connection: Connection) -> None:
        """ATT_Error where the connection may not have what it asks for (Core, Vol 3, Part F, 3.4.1.1)."""
        if self.admits(connection):
            return
        bonded = connection.handle in self._authenticated
        insufficient = att.ErrorCode.INSUFFICIENT_ENCRYPTION if bonded else att.ErrorCode.INSUFFICIENT_AUTHENTICATION
        raise att.ATT_Error(insufficient)

    def admits(self, connection: Connection) -> bool:
        """Whether the connection is as good as it must be."""
        if self._security.level is Level.NONE:
            return True
        authenticated = self._security.level is not Level.AUTHENTICATED or connection.handle in self._authenticated
        return connection.is_encrypted and authenticated

    async def forget(self) -> None:
        """Lose all bonds, as by a factory reset."""
        await self._bonds.delete_all()

    def _on_connection(self, connection: Connection) -> None:
        self._authenticated.discard(connection.handle)

        def paired(keys: PairingKeys) -> None:
            self._judge(connection.handle, keys)

        connection.on(connection.EVENT_PAIRING, paired)

    def _judge(self, handle: int, keys: PairingKeys | None) -> None:
        if keys is not None and keys.ltk is not None and keys.ltk.authenticated:
            self._authenticated.add(handle)
        else:
            self._authenticated.discard(handle)

    async def _long_term_key(self, handle: int, rand: bytes, ediv: int) -> bytes | None:
        """The key of a bond, or of the pairing that is under way; what a bond is worth holds for the connection."""
        key = await self._device.get_long_term_key(handle, rand, ediv)
        connection = self._device.lookup_connection(handle)
        bond = None if connection is None else await self._bonds.get(str(connection.peer_address))
        ours = bond is not None and bond.ltk is not None and bond.ltk.value == key
        self._judge(handle, bond if ours else None)
        return key

    def _pairing(self, connection: Connection) -> PairingConfig:
        authenticated = self._security.level is Level.AUTHENTICATED
        return PairingConfig(
            sc=True, mitm=authenticated, bonding=True, delegate=self._delegate(connection.peer_address)
        )

    def _delegate(self, peer: hci.Address) -> PairingDelegate:
        return _Delegate(self._security, self._bonds, str(peer))


class _Delegate(PairingDelegate):
    """The device's side of a pairing: it shows a passkey, or nothing."""

    def __init__(self, security: Security, bonds: KeyStore, peer: str) -> None:
        shows = security.level is Level.AUTHENTICATED
        super().__init__(
            io_capability=self.DISPLAY_OUTPUT_ONLY if shows else self.NO_OUTPUT_NO_INPUT,
            local_initiator_key_distribution=_KEYS_TO_DISTRIBUTE,
            local_responder_key_distribution=_KEYS_TO_DISTRIBUTE,
        )
        self._security = security
        self._bonds = bonds
        self._peer = peer

    async def accept(self) -> bool:
        known = [name for name, _ in await self._bonds.get_all()]
        accepted = self._peer in known or len(known) < self._security.bonds
        if not accepted:
            _log.info("pairing of %s refused: %d bonds are all there may be", self._peer, self._security.bonds)
        return accepted

    async def generate_passkey(self) -> int:
        return self._security.passkey
