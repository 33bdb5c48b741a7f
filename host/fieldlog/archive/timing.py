"""The clock model of a log, from the blocks and syncs that the archive holds of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fieldlog.archive.database import in_words
from fieldlog.archive.log import Log
from fieldlog.clock_model import Belief, BootSpan, ClockModel
from fieldlog.clock_oscillator import oscillator_of
from fieldlog.clock_sync import MAX_TICK, Sync
from fieldlog_protocol.blocks.block import Kind
from fieldlog_protocol.blocks.schema import parse_schema_part
from fieldlog_protocol.errors import BlockError

_US_PER_TICK = "30.517578125"  # 1e6 / 32768, exactly


def clock_model(database: sqlite3.Connection, path: Path, log: Log) -> ClockModel:
    """Times of every boot of `log`, as well as they are known now."""
    with in_words(path):
        return ClockModel(*_known(database, log), oscillator_of(clock_ppm(log)))


def clock_ppm(log: Log) -> int | None:
    """How far off the device's clock may be, as its newest readable SCHEMA block says; None: a crystal."""
    for block in log.each_block(Kind.SCHEMA, newest_first=True):
        try:
            return parse_schema_part(block.payload).clock_ppm
        except BlockError:
            continue
    return None


def _known(database: sqlite3.Connection, log: Log) -> tuple[list[BootSpan], list[Sync]]:
    syncs = log.syncs()
    synced = {sync.boot_id for sync in syncs}
    spans = database.execute(
        f"SELECT boot_id, max(t0 + span), cast(min(received_us - (t0 + span) * {_US_PER_TICK}) AS INTEGER) "
        "FROM blocks WHERE log = ? AND t0 + span < ? GROUP BY boot_id",
        (log.key, MAX_TICK),
    ).fetchall()
    beliefs = _beliefs(database, log.key) if any(boot not in synced for boot, *_ in spans) else {}
    boots = [
        BootSpan(boot, last_tick, () if boot in synced else tuple(beliefs.get(boot, ())), started_before_us)
        for boot, last_tick, started_before_us in spans
    ]
    return boots, syncs


def _beliefs(database: sqlite3.Connection, log: int) -> dict[int, list[Belief]]:
    """Per boot the first block of each distance between the device's clock and its tick, in whole seconds: the rest repeat
    it. All boots at once: a device that restarts again and again has thousands."""
    rows = database.execute(
        "SELECT boot_id, min(t0), utc FROM blocks WHERE log = ? AND utc > 0 AND t0 < ? "
        "GROUP BY boot_id, utc - t0 / 32768",
        (log, MAX_TICK),
    )
    found: dict[int, list[Belief]] = {}
    for boot_id, t0, utc in rows:
        found.setdefault(boot_id, []).append(Belief(t0, utc))
    return found
