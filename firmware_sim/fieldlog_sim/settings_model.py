"""The settings of a device: what they may be, what they are now, what is staged and what is stored.

Rule: the present value of a key lives in RAM and comes from the settings store at boot; a write acts at once and is
stored by `save`, as on a stock device. Within a transaction writes are staged, commit puts them into effect on trial,
confirm stores them all in one record, and abort, time limit or restart bring the former ones back (DESIGN.md, FL 16).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from enum import Enum, auto

from fieldlog_protocol.commands.logger import SettingFlag, SettingInfo, SettingType
from fieldlog_sim.settings_store import SettingsStore

_FORMATS = {SettingType.I32: "<i", SettingType.U32: "<I", SettingType.I64: "<q", SettingType.F32: "<f"}
_BOOLS = (b"\0", b"\1")


class NoSuchKey(Exception):
    """The device has no setting of this name."""


class BadValue(Exception):
    """The bytes are not a value that this setting may take."""


class ReadOnly(Exception):
    """The setting cannot be changed."""


class TransactionOpen(Exception):
    """Another transaction is open."""


class NoTransaction(Exception):
    """No transaction of this id is open."""


class _Phase(Enum):
    STAGING = auto()
    TRIAL = auto()


@dataclass(slots=True)
class _Transaction:
    id: int
    limit_us: int
    phase: _Phase = _Phase.STAGING
    staged: dict[str, bytes] = field(default_factory=dict[str, bytes])
    former: dict[str, bytes] = field(default_factory=dict[str, bytes])
    ends_us: int = 0


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
    if info.step and info.lo is not None and (number - info.lo) % info.step:
        raise BadValue


class SettingsModel:
    """All settings of one device. `table` describes them; `fixed` are read-only values that the device itself knows."""

    def __init__(self, table: tuple[SettingInfo, ...], store: SettingsStore, fixed: dict[str, bytes]) -> None:
        self.table = table
        self._by_key = {info.k: info for info in table}
        self._store = store
        self._fixed = fixed
        self._values: dict[str, bytes] = {}
        self._transaction: _Transaction | None = None
        self._last_confirmed: int | None = None
        self.load()

    def read(self, key: str) -> bytes:
        """The present value."""
        self._info(key)
        return self._values[key]

    def write(self, key: str, value: bytes) -> None:
        """A new value: at once, or staged while a transaction is open."""
        info = self._info(key)
        if (info.f or 0) & SettingFlag.READ_ONLY:
            raise ReadOnly
        check_value(info, value)
        if self._transaction is not None and self._transaction.phase is _Phase.STAGING:
            self._transaction.staged[key] = value
        else:
            self._values[key] = value

    def delete(self, key: str) -> None:
        """Forget the stored value; the default holds again."""
        info = self._info(key)
        if (info.f or 0) & SettingFlag.READ_ONLY:
            raise ReadOnly
        self._store.put_many({key: None})
        self._values[key] = info.d or b""

    def load(self) -> None:
        """Take the stored values, and defaults where there are none."""
        for info in self.table:
            stored = self._fixed.get(info.k, self._store.get(info.k))
            self._values[info.k] = _valid(info, stored)

    def save(self, subtree: str) -> None:
        """Store the present values of a key or subtree, "" for all, in one record; what is on trial is not stored yet."""
        prefix = subtree.rstrip("/")
        keys = [key for key in self._by_key if not prefix or key == prefix or key.startswith(prefix + "/")]
        if not keys:
            raise NoSuchKey
        settled = self._values | (self._transaction.former if self._transaction else {})
        self._put({key: settled[key] for key in keys})

    def commit(self, now_us: int) -> None:
        """Put staged values into effect on trial; its time begins now. Without a transaction there is nothing to do:
        writes act at once."""
        transaction = self._transaction
        if transaction is None or transaction.phase is _Phase.TRIAL:
            return
        transaction.phase = _Phase.TRIAL
        transaction.ends_us = now_us + transaction.limit_us
        transaction.former = {key: self._values[key] for key in transaction.staged}
        self._values |= transaction.staged

    def begin(self, transaction_id: int, limit_us: int, now_us: int) -> None:
        """Open a transaction; opening the one that is open again answers the same."""
        if self._transaction is not None and self._transaction.id != transaction_id:
            raise TransactionOpen
        if self._transaction is None:
            self._transaction = _Transaction(transaction_id, limit_us)
            self._transaction.ends_us = now_us + limit_us

    def confirm(self, transaction_id: int) -> None:
        """Store what is on trial; confirming the last one again answers the same."""
        transaction = self._transaction
        if transaction is None or transaction.id != transaction_id or transaction.phase is not _Phase.TRIAL:
            if transaction is None and self._last_confirmed == transaction_id:
                return
            raise NoTransaction
        self._put(transaction.staged)
        self._transaction = None
        self._last_confirmed = transaction_id

    def abort(self, transaction_id: int) -> None:
        """Bring the former values back; with no transaction open they are back already."""
        if self._transaction is None:
            return
        if self._transaction.id != transaction_id:
            raise NoTransaction
        self._restore()

    def expire(self, now_us: int) -> None:
        """End a transaction whose time is over."""
        if self._transaction is not None and now_us >= self._transaction.ends_us:
            self._restore()

    def _restore(self) -> None:
        assert self._transaction is not None
        self._values |= self._transaction.former
        self._transaction = None

    def _put(self, values: dict[str, bytes]) -> None:
        writable = {key: value for key, value in values.items() if key not in self._fixed}
        self._store.put_many({key: value for key, value in writable.items() if self._store.get(key) != value})

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
