"""Refusals of the settings transaction, which writes of three kinds share."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from fieldlog_protocol.commands import Group
from fieldlog_protocol.commands.logger import LoggerError
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Refusal
from fieldlog_sim.plan import refuse
from fieldlog_sim.settings_transaction import NoTransaction, TransactionOpen


def admit(device: Device, transaction_id: int | None) -> None:
    """Let a write in that names its transaction, or none; or refuse it."""
    with transaction_refusals():
        device.transactions.admit(transaction_id, device.now_us())


@contextmanager
def transaction_refusals() -> Generator[None]:
    """What the transaction does not allow, in the words of the FL group."""
    try:
        yield
    except TransactionOpen as error:
        raise Refusal(LoggerError.TRANSACTION_OPEN, Group.LOGGER, left=error.left_s) from None
    except NoTransaction:
        raise refuse(LoggerError.NO_TRANSACTION) from None
