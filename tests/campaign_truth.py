"""What a simulated device has really committed and its sensors have really given, and an archive held against both.

Rule: nothing here asks the program under test what it wrote. Blocks are read off the flash cells after every
operation, with struct and zlib alone; values come from the sensors, at the instants that the device's clock sets.
"""

from __future__ import annotations

import struct
import zlib
from binascii import crc_hqx
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

import fieldlog.archive
from device_bench import Bench
from fieldlog.archive import Archive, Log
from fieldlog_protocol.blocks.block import Kind, build_block
from fieldlog_protocol.commands import logger
from fieldlog_protocol.wire import Packet
from fieldlog_sim.nor_flash import FlashMap, PowerCut
from fieldlog_sim.oscillator import Oscillator

_HEAD = struct.Struct("<HBBIQIHHBBBBHH")
_TAIL = struct.Struct("<HHQI")
_PAGE = 1024
_DATA, _SCHEMA = 0, 1
_TICK_HZ = 32_768

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Committed:
    """A block as it stood on flash."""

    wire: bytes
    kind: int
    seq: int
    t0: int
    boot: int
    session: int
    stream: int
    schema_id: int
    span: int
    n: int


def committed_in(page: bytes) -> Committed | None:
    """The block in a page of flash, None when it is not whole."""
    magic, kind, _, seq, t0, _, boot, session, stream, schema_id, *_, head_crc = _HEAD.unpack_from(page)
    n, length, span, crc = _TAIL.unpack_from(page, _PAGE - _TAIL.size)
    end = _HEAD.size + length
    if magic != 0x424C or head_crc != crc_hqx(page[: _HEAD.size - 2], 0) or end > _PAGE - _TAIL.size:
        return None
    if zlib.crc32(page[:end] + page[-_TAIL.size : -4]) != crc:
        return None
    wire = page[:end] + page[-_TAIL.size :]
    return Committed(wire, kind & 15, seq, t0, boot, session, stream, schema_id, span, n)


class Truth:
    """Watches a bench from its first day on. `seen` counts what happened to it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seen: Counter[str] = Counter()
        self.committed: dict[int, Committed] = {}
        self.doubled: list[int] = []
        self.clocks: dict[int, Oscillator] = {}
        self.boots_us: dict[int, int] = {}
        self.starts_us: dict[int, list[int]] = defaultdict(list)
        self.stops_us: dict[int, int] = {}
        self.periods_us: dict[tuple[int, int], int] = {}
        self.known: set[int] = set()
        self.passed: set[int] = set()
        self._present: dict[int, int] = {}
        self._log = FlashMap.of(bench.device.flash).log
        self._watch_flash()
        self._watch_boots()
        self._watch_replies()
        for page in range(0, self._log.size, _PAGE):
            self._look(page)

    # watching

    def _watch_flash(self) -> None:
        flash = self.bench.device.flash
        program, erase = flash.program, flash.erase

        def watched_program(offset: int, data: bytes) -> None:
            at = offset - self._log.offset
            where = "log" if 0 <= at < self._log.size else "elsewhere"
            try:
                program(offset, data)
            except PowerCut:
                self.seen[f"cut while writing {where}"] += 1
                raise
            finally:
                if where == "log" and data:
                    for page in range(at // _PAGE, (at + len(data) - 1) // _PAGE + 1):
                        self._look(page * _PAGE)

        def watched_erase(sector: int) -> None:
            at = sector * flash.sector_size - self._log.offset
            try:
                erase(sector)
            except PowerCut:
                self.seen["cut while erasing"] += 1
                raise
            finally:
                if at >= 0:
                    self.seen["sectors of the log erased"] += 1
                    for page in range(at, at + flash.sector_size, _PAGE):
                        self._look(page)

        flash.program, flash.erase = watched_program, watched_erase  # type: ignore[method-assign]

    def _watch_boots(self) -> None:
        device = self.bench.device
        power_on = device.power_on

        def watched(*arguments: Any, **options: Any) -> None:
            power_on(*arguments, **options)
            self._booted()

        device.power_on = watched  # type: ignore[method-assign]
        self._booted()

    def _booted(self) -> None:
        self.seen["boots"] += 1
        clock = self.bench.device.clock.oscillator
        self.clocks[self.bench.device.boot_id] = clock
        self.boots_us[self.bench.device.boot_id] = clock.utc_us(0)

    def _watch_replies(self) -> None:
        """Note what a reader leaves behind it: what is on flash still when it asks for what comes after."""
        device = self.bench.device
        handle = device.handle

        def watched(packet: Packet, arrived: float, now: float) -> bytes | None:
            answer = handle(packet, arrived, now)
            if answer is not None and packet.key[1:3] == (logger.BLOCKS.group, logger.BLOCKS.id):
                self._answered(cbor2.loads(answer))
            return answer

        device.handle = watched  # type: ignore[method-assign]

    def begin_reading(self, known: set[int]) -> None:
        """A reader comes who has these blocks; what it asks for of them is to see whether they are the same."""
        self.known, self.passed = known, set()

    def _answered(self, answer: dict[str, Any]) -> None:
        if answer.get("d") and answer["f"] <= answer["q"] and answer["q"] not in self.known:
            self.passed |= {seq for seq in self._present.values() if seq < answer["q"]}

    def _look(self, page: int) -> None:
        block = committed_in(self._cells(page, _PAGE))
        self._present.pop(page, None)
        if block is None:
            return
        self._present[page] = block.seq
        if self.committed.setdefault(block.seq, block).wire != block.wire:
            self.doubled.append(block.seq)

    def _cells(self, offset: int, length: int) -> bytes:
        """The cells themselves: they can be read without power."""
        return self.bench.device.flash._cells.read(self._log.offset + offset, length)

    @property
    def pages(self) -> int:
        """Blocks that the log has room for."""
        return self._log.size // _PAGE

    def on_flash(self) -> set[int]:
        return set(self._present.values())

    def armed(self) -> None:
        """A session may have begun at this moment."""
        self.starts_us[self.bench.device.boot_id].append(self.bench.device.now_us())

    def stopped(self, session: int) -> None:
        self.stops_us[session] = self.bench.device.now_us()

    # what must hold of the device itself

    def times_of(self, boot: int, ticks: Ints, period_us: int) -> Ints:
        """When samples were due by the device's clock: at whole multiples of their period."""
        own_us = self.boots_us[boot] + np.rint(ticks * (1e6 / _TICK_HZ)).astype(np.int64)
        return (own_us + period_us // 2) // period_us * period_us

    def block_times(self, block: Committed) -> Ints:
        ticks = np.full(block.n, block.t0, np.int64)
        if block.n > 1:
            ticks = block.t0 + np.arange(block.n, dtype=np.int64) * block.span // (block.n - 1)
        return self.times_of(block.boot, ticks, self.periods_us[block.session, block.stream])

    def check_device(self) -> None:
        """No seq came twice, and while power lasted no reading that was due is missing from what was committed."""
        assert not self.doubled, f"seqs committed twice with different contents: {self.doubled}"
        runs: dict[tuple[int, int, int], list[Committed]] = defaultdict(list)
        for block in sorted(self.committed.values(), key=lambda block: block.seq):
            if block.kind == _DATA:
                runs[block.session, block.boot, block.stream].append(block)
        for (session, boot, stream), blocks in runs.items():
            self._check_run(session, boot, stream, np.concatenate([self.block_times(block) for block in blocks]))

    def _check_run(self, session: int, boot: int, stream: int, times: Ints) -> None:
        what = f"session {session}, boot {boot}, stream {stream}"
        period_us = self.periods_us[session, stream]
        steps = np.diff(times)
        assert (steps == period_us).all(), f"{what}: readings out of step: {np.unique(steps)} for {period_us}"
        clock = self.clocks[boot]
        begins = [clock.own_us(begin) for begin in (self.boots_us[boot], *self.starts_us[boot])]
        first = [(begin // period_us + 1) * period_us for begin in begins]
        assert times[0] in first, f"{what}: begins at {times[0]}, not with the first reading due, {first}"
        stop_us = self.stops_us.get(session)
        if stop_us is not None and boot == max(b for b, at in self.boots_us.items() if at <= stop_us):
            assert times[-1] == clock.own_us(stop_us) // period_us * period_us, f"{what}: does not reach to its end"

    def check_reaches(self, session: int, boot: int, until_us: int, streams: Iterable[int]) -> None:
        """All that was due by `until_us` in a session that runs is committed, as after a seal."""
        for stream in streams:
            period_us = self.periods_us[session, stream]
            own_us = self.clocks[boot].own_us
            begin_us = own_us(max(self.boots_us[boot], *self.starts_us[boot], 0))
            due_us = own_us(until_us) // period_us * period_us
            if due_us <= begin_us:
                continue
            run = (_DATA, boot, stream, session)
            blocks = [b for b in self.committed.values() if (b.kind, b.boot, b.stream, b.session) == run]
            assert blocks, f"stream {stream}: nothing of this boot is committed"
            last = max(blocks, key=lambda block: block.seq)
            reached = self.block_times(last)[-1]
            assert reached >= due_us, f"stream {stream}: committed up to {reached}, {due_us - reached} us short"

    # what must hold of an archive

    def check_archive(self, folder: Path, next_seq: int, open_seqs: Iterable[int]) -> int:
        """After a pull that came to its end: every block committed is held as it was, or is gone from flash and noted;
        every reading is what a sensor gave. How many readings there are is answered.

        `next_seq` and `open_seqs`: as the device told the pull.
        """
        with fieldlog.archive.open(folder, writable=False) as archive:
            (log,) = archive.logs()
            held = self.check_held(log)
            self._check_gaps(log, held, set(range(next_seq)) - set(open_seqs))
            return self._check_readings(archive, held)

    def check_held(self, log: Log) -> set[int]:
        """What is held is what was committed, once; the seqs are answered."""
        assert log.conflicting() == []
        blocks = {block.header.seq: build_block(block) for kind in Kind for block in log.blocks(kind)}
        foreign = [seq for seq, wire in blocks.items() if seq not in self.committed or self.committed[seq].wire != wire]
        assert not foreign, f"blocks {foreign} were never committed so"
        assert log.spoiled == {}
        return set(blocks)

    def _check_gaps(self, log: Log, held: set[int], told: set[int]) -> None:
        lost = {seq for part in log.lost() for seq in part}
        assert not lost & held, "a gap where blocks are held"
        still_there = lost & self.on_flash()
        assert not still_there, f"blocks {still_there} are noted as lost and are still on flash"
        unsaid = told - held - lost
        assert not unsaid, (
            f"blocks {unsaid} are neither held nor noted; committed of them: {unsaid & set(self.committed)}"
        )

    def _check_readings(self, archive: Archive, held: set[int]) -> int:
        """A block whose description was erased before it could be read is held, and not decoded; that is said."""
        blocks = [self.committed[seq] for seq in sorted(held)]
        described = {block.schema_id for block in blocks if block.kind == _SCHEMA}
        data = [block for block in blocks if block.kind == _DATA]
        expected: dict[tuple[int, int], list[Ints]] = defaultdict(list)
        for block in data:
            if block.schema_id in described:
                expected[block.session, block.stream].append(self.block_times(block))
        readings = archive.readings()
        found = {(series.session, series.stream.id): self._check_series(series) for series in readings}
        undescribed = {block.schema_id for block in data} - described
        assert len(readings.problems) == len(undescribed), readings.problems
        self.seen["schemas erased unread"] += len(undescribed)
        assert found.keys() == expected.keys()
        for key, times in expected.items():
            np.testing.assert_array_equal(found[key], np.concatenate(times), f"session and stream {key}")
        return sum(map(len, found.values()))

    def _check_series(self, series: Any) -> Ints:
        """Every value is what the sensor gives at its time, in order, and every step that is not the period is marked."""
        (sensor,) = (sensor for sensor in self.bench.sensors if sensor.stream.id == series.stream.id)
        period_us = self.periods_us[series.session, series.stream.id]
        assert series.stream.period_us == period_us
        boots = series.boot_id.astype(np.int64)
        times, true = np.empty(len(series), np.int64), np.empty(len(series), np.int64)
        for boot in np.unique(boots).tolist():
            this = boots == boot
            times[this] = self.times_of(boot, series.tick[this], period_us)
            clock = self.clocks[boot]
            true[this] = clock.instants(times[this])
            given = sensor.frames_between(int(true[this][0]) - 1, int(true[this][-1]), period_us, pace=clock)
            at = np.searchsorted(given.utc_us, true[this])
            assert (given.utc_us[at] == true[this]).all()
            assert (given.raw[at] == np.column_stack(series.raw)[this]).all(), "readings that no sensor gave"
        assert (np.diff(true) > 0).all(), "readings out of order, or twice"
        broken = np.flatnonzero((np.diff(times) != period_us) | (np.diff(boots) != 0)) + 1
        assert set(broken.tolist()) == set(np.flatnonzero(series.starts).tolist()) - {0}, "a gap that is not marked"
        self._check_times(series, true)
        return times

    def _check_times(self, series: Any, true: Ints) -> None:
        known = series.error_us < 2**62
        wrong = np.abs(series.utc_us[known] - true[known]) > series.error_us[known]
        assert wrong.mean() <= 0.01 if known.any() else True, "times outside the error that is stated"
