"""The settings of a device: what they may be, what they are now and what is stored.

Rule: the present value of a key lives in RAM and comes from the store at boot; a write acts at once and is stored by
`save`, as on a stock device. Within a transaction writes are staged instead, and what is on trial holds before the
settled values, which stay as they were until it is confirmed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

from fieldlog_protocol.commands.logger import SettingFlag, SettingInfo, SettingType
from fieldlog_sim.settings_store import Section
from fieldlog_sim.settings_transaction import Staged, Transactions

_FORMATS = {SettingType.I32: "<i", SettingType.U32: "<I", SettingType.I64: "<q", SettingType.F32: "<f"}
_F32_PRECISION = 2.0**-22
_BOOLS = (b"\0", b"\1")


class NoSuchKey(Exception):
    """The device has no setting of this name."""


class BadValue(Exception):
    """The bytes are not a value that this setting may take."""


class ReadOnly(Exception):
    """The setting cannot be changed."""


def check_value(info: SettingInfo, value: bytes) -> None:
    """Raise BadValue unless `value` is one that the setting may take."""
    kind = SettingType(info.t)
    if kind in (SettingType.TEXT, SettingType.BYTES):
        _check_length(info, value, is_text=kind is SettingType.TEXT)
    elif kind is SettingType.BOOL:
        if value not in _BOOLS:
            raise BadValue
    elif kind is SettingType.CHOICE:
        if len(value) != 1 or value[0] >= (info.nc or 0):
            raise BadValue
    else:
        _check_number(info, value, _FORMATS[kind])


def _check_length(info: SettingInfo, value: bytes, *, is_text: bool) -> None:
    if not (info.lo or 0) <= len(value) <= (info.hi or 0):
        raise BadValue
    if is_text:
        try:
            value.decode()
        except UnicodeDecodeError:
            raise BadValue from None


def _check_number(info: SettingInfo, value: bytes, layout: str) -> None:
    if len(value) != struct.calcsize(layout):
        raise BadValue
    number = struct.unpack(layout, value)[0]
    if (
        not math.isfinite(number)
        or (info.lo is not None and number < info.lo)
        or (info.hi is not None and number > info.hi)
    ):
        raise BadValue
    if info.step and info.lo is not None and not _on_step(number - info.lo, info.step, abs(number) + abs(info.lo)):
        raise BadValue


def _on_step(offset: float, step: float, size: float) -> bool:
    """Reckoned in 32 bits, as firmware does: of limits like 0.1 neither the number nor the step is exact."""
    if isinstance(offset, int) and isinstance(step, int):
        return offset % step == 0
    return abs(offset - round(offset / step) * step) <= (size + step) * _F32_PRECISION


class SettingsModel:
    """All settings of one device. `table` describes them; `fixed` are read-only values that the device itself knows."""

    def __init__(
        self, table: tuple[SettingInfo, ...], store: Section, transactions: Transactions, fixed: dict[str, bytes]
    ) -> None:
        self.table = table
        self._by_key = {info.k: info for info in table}
        self._store = store
        self._transactions = transactions
        self._fixed = fixed
        self._settled: dict[str, bytes] = {}
        self._changes = 0
        self.load()

    @property
    def revision(self) -> int:
        """As long as it stays the same, so does what `read` answers."""
        return self._changes + self._transactions.turns

    def read(self, key: str) -> bytes:
        """The present value."""
        info = self._info(key)
        trial = self._transactions.trial
        return self._new(info, trial.settings[key]) if trial and key in trial.settings else self._settled[key]

    def write(self, key: str, value: bytes) -> None:
        """A new value: at once, or staged."""
        check_value(self._writable(key), value)
        if (staging := self._transactions.staging) is not None:
            staging.settings[key] = value
        else:
            self._settle({key: value})

    def delete(self, key: str) -> None:
        """Forget the stored value; the default holds again, at once, or staged."""
        info = self._writable(key)
        if (staging := self._transactions.staging) is not None:
            staging.settings[key] = None
        else:
            self._store.put_many({key: None})
            self._settle({key: info.d or b""})

    def load(self) -> None:
        """Take the stored values, and defaults where there are none."""
        stored = {info.k: self._fixed.get(info.k, self._store.get(info.k)) for info in self.table}
        self._settle({info.k: _valid(info, stored[info.k]) for info in self.table})

    def save(self, subtree: str) -> None:
        """Store the settled values of a key or subtree, "" for all, in one record; what is on trial is none of them."""
        prefix = subtree.rstrip("/")
        keys = [key for key in self._by_key if not prefix or key == prefix or key.startswith(prefix + "/")]
        if not keys:
            raise NoSuchKey
        self._store.put_many(self._differing({key: self._settled[key] for key in keys}))

    def records(self, staged: Staged) -> dict[str, bytes | None]:
        """What is to be stored for these to hold for good."""
        return self._store.records(self._differing(staged.settings))

    def take(self, staged: Staged) -> None:
        """They are stored, and are the settled values now."""
        self._settle({key: self._new(self._info(key), value) for key, value in staged.settings.items()})

    def _settle(self, values: Mapping[str, bytes]) -> None:
        self._settled |= values
        self._changes += 1

    def _differing(self, values: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        writable = {key: value for key, value in values.items() if key not in self._fixed}
        return {key: value for key, value in writable.items() if self._store.get(key) != value}

    @staticmethod
    def _new(info: SettingInfo, value: bytes | None) -> bytes:
        return info.d or b"" if value is None else value

    def _writable(self, key: str) -> SettingInfo:
        info = self._info(key)
        if (info.f or 0) & SettingFlag.READ_ONLY:
            raise ReadOnly
        return info

    def _info(self, key: str) -> SettingInfo:
        info = self._by_key.get(key)
        if info is None:
            raise NoSuchKey
        return info


def _valid(info: SettingInfo, stored: bytes | None) -> bytes:
    """What was stored by another firmware may not be valid any more: then the default holds."""
    if stored is None:
        return info.d or b""
    try:
        check_value(info, stored)
    except BadValue:
        return info.d or b""
    return stored
