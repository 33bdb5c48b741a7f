"""The settings transaction: what is staged, what is on trial, and when it is over (docs/fl-group.md#16-settings-transaction).

Rule: state and time limit only. Nothing here is stored, and whoever keeps settings, calibrations or metadata asks where
a new value goes (`staging`) and which one holds now (`trial`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class TransactionOpen(Exception):
    """Another transaction is open, or its values are on trial. `left_s`: until it ends by itself."""

    def __init__(self, left_s: int) -> None:
        super().__init__(left_s)
        self.left_s = left_s


class NoTransaction(Exception):
    """No transaction of this id is open."""


@dataclass(slots=True)
class Staged:
    """New values. A setting that is None goes back to its default; calibrations are by stream and channel."""

    settings: dict[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    calibrations: dict[tuple[int, int], tuple[float, ...]] = field(
        default_factory=dict[tuple[int, int], tuple[float, ...]]
    )
    metadata: bytes | None = None


class _Phase(Enum):
    STAGING = auto()
    TRIAL = auto()


@dataclass(slots=True)
class _Open:
    id: int
    limit_us: int
    ends_us: int
    phase: _Phase = _Phase.STAGING
    staged: Staged = field(default_factory=Staged)


class Transactions:
    """At most one is open. `confirmed` is the id of the last one that was, which is known across restarts."""

    def __init__(self, confirmed: int | None) -> None:
        self.confirmed = confirmed
        self.turns = 0  # how often something was put on trial, or taken off it
        self._given_up: int | None = None
        self._open: _Open | None = None

    @property
    def staging(self) -> Staged | None:
        """Where a new value goes; None: it acts at once."""
        return self._staged(_Phase.STAGING)

    @property
    def trial(self) -> Staged | None:
        """What holds for now, before all else."""
        return self._staged(_Phase.TRIAL)

    def _staged(self, phase: _Phase) -> Staged | None:
        return self._open.staged if self._open is not None and self._open.phase is phase else None

    def admit(self, wanted: int | None, now_us: int) -> None:
        """Let a write in, or raise: one that names its transaction belongs to that alone, be it late or from before a
        restart, and nothing is written beside a trial. The limit of staging runs anew from each write."""
        opened = self._open
        if wanted is not None and (opened is None or opened.id != wanted or opened.phase is not _Phase.STAGING):
            raise NoTransaction
        if opened is not None and opened.phase is _Phase.TRIAL:
            raise TransactionOpen(self._left_s(opened, now_us))
        if opened is not None:
            opened.ends_us = now_us + opened.limit_us

    def begin(self, transaction_id: int, limit_us: int, now_us: int) -> None:
        """Open one. For the one that is open, and the last confirmed, that was done; what was given up stays so."""
        if self._open is not None and self._open.id != transaction_id:
            raise TransactionOpen(self._left_s(self._open, now_us))
        if self._open is not None or transaction_id == self.confirmed:
            return
        if transaction_id == self._given_up:
            raise NoTransaction
        self._open = _Open(transaction_id, limit_us, now_us + limit_us)

    def commit(self, now_us: int) -> None:
        """Put on trial what is staged; its time begins now. Without a transaction there is nothing to do."""
        if self._open is not None and self._open.phase is _Phase.STAGING:
            self._open.phase = _Phase.TRIAL
            self.turns += 1
            self._open.ends_us = now_us + self._open.limit_us

    def on_trial(self, transaction_id: int) -> Staged | None:
        """What is to be stored when this one is confirmed; None: it has been."""
        trial = self.trial
        if trial is not None and self._open is not None and self._open.id == transaction_id:
            return trial
        if self._open is None and transaction_id == self.confirmed:
            return None
        raise NoTransaction

    def stored(self, transaction_id: int) -> None:
        """What was on trial is stored: the transaction is over."""
        self._open = None
        self.turns += 1
        self.confirmed = transaction_id

    def abort(self, transaction_id: int) -> None:
        """Give it up. One that is not open was given up before, unless it is the one that was confirmed."""
        if self._open is None and transaction_id != self.confirmed:
            self._given_up = transaction_id
            return
        if self._open is None or self._open.id != transaction_id:
            raise NoTransaction
        self._give_up(self._open)

    def expire(self, now_us: int) -> None:
        """End one whose time is over."""
        if self._open is not None and now_us >= self._open.ends_us:
            self._give_up(self._open)

    @property
    def ends_us(self) -> int | None:
        """When the one that is open ends by itself."""
        return None if self._open is None else self._open.ends_us

    def _give_up(self, opened: _Open) -> None:
        self._given_up = opened.id
        self._open = None
        self.turns += 1

    @staticmethod
    def _left_s(opened: _Open, now_us: int) -> int:
        return max(0, opened.ends_us - now_us + 999_999) // 1_000_000
