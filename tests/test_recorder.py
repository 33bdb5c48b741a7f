"""Readings into blocks: gaps, ages, losses, sessions and a full log, one by one and in bulk."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import ENVIRONMENT, environment_series
from fieldlog_protocol.blocks.block import TICK_HZ, Block, Flag, Kind, parse_block
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.events import Battery, Mark, SessionStart, SessionStop, TimedEvent, decode_events
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Schema, Stream, merge_schema, schema_parts
from fieldlog_protocol.blocks.split import split_blocks
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.nor_flash import NorFlash, Partition, PowerCut
from fieldlog_sim.recorder import Recorder
from fieldlog_sim.store_errors import StoreFull

SLOW = Stream(2, "soil", 600_000_000, (Channel("moisture", "%", ChannelType.U16, exponent=-1, missing=65535),))
DOOR = Stream(3, "door", 0, (Channel("open", "1", ChannelType.BOOL),), timed=True)
SCHEMA = Schema(b"\x01" * 8, 77, "1.0.0", "logger", 5, (ENVIRONMENT, SLOW, DOOR))
SECOND = TICK_HZ
MINUTE = 60 * SECOND


@dataclass
class Facts:
    """A device whose clock was set at its start to 2013-01-01, or never."""

    boot_id: int = 3
    low_battery: bool = False
    utc: int = 1_356_998_400

    def utc_at(self, tick: int) -> int:
        return self.utc + tick // SECOND if self.utc else 0


def new_recorder(sectors: int = 256, *, max_age_s: int = 0, wrap: bool = True, facts: Facts | None = None) -> Recorder:
    partition = Partition(NorFlash(sectors * 4096), 0, sectors * 4096)
    return Recorder(LogStore(partition, wrap=wrap), SCHEMA, facts or Facts(), max_age_s=max_age_s)


def begun(**arguments: object) -> Recorder:
    recorder = new_recorder(**arguments)  # type: ignore[arg-type]
    recorder.begin(1, "test", 0)
    return recorder


def wires_of(recorder: Recorder) -> list[bytes]:
    data, _ = recorder.store.read_stream(0, 0, 1 << 30)
    return split_blocks(data, final=True).blocks


def data_blocks(recorder: Recorder, stream: int) -> list[Block]:
    blocks = map(parse_block, wires_of(recorder))
    return [block for block in blocks if block.header.kind == Kind.DATA and block.header.stream == stream]


def read_back(recorder: Recorder, stream: Stream) -> Frames:
    wires = [
        wire for wire in wires_of(recorder) if parse_block(wire).header.kind == Kind.DATA and wire[24] == stream.id
    ]
    return decode_frames(wires, stream)


def events_of(recorder: Recorder) -> list[TimedEvent]:
    blocks = map(parse_block, wires_of(recorder))
    return [event for b in blocks if b.header.kind == Kind.EVENT for event in decode_events(b.payload)]


def test_a_session_tells_its_whole_story() -> None:
    recorder = begun()
    columns = environment_series(0.05)
    ticks = 5 * SECOND + np.arange(len(columns[0])) * SECOND
    assert recorder.record_many(1, ticks, columns) == len(ticks)
    recorder.record(2, 7 * SECOND, [None])
    recorder.record(3, 9 * SECOND, [1])
    recorder.event(10 * SECOND, Battery(3600))
    recorder.end(20 * SECOND, "stopped")
    frames = read_back(recorder, ENVIRONMENT)
    assert frames.ticks.tolist() == ticks.tolist()
    assert [column.tolist() for column in frames.columns] == [column.tolist() for column in columns]
    assert read_back(recorder, SLOW).columns[0].tolist() == [65535]
    assert recorder.frames == {1: len(ticks), 2: 1, 3: 1}
    assert events_of(recorder) == [
        TimedEvent(0, SessionStart(1, "test")),
        TimedEvent(10 * SECOND, Battery(3600)),
        TimedEvent(20 * SECOND, SessionStop(1, "stopped")),
    ]
    blocks = list(map(parse_block, wires_of(recorder)))
    assert merge_schema(schema_parts(blocks)) == SCHEMA
    assert [block.header.kind for block in blocks[:4]] == [Kind.SCHEMA, Kind.EVENT, Kind.DATA, Kind.DATA]
    assert {(block.header.boot_id, block.header.session, block.header.schema_id) for block in blocks} == {(3, 1, 5)}
    assert sorted(block.header.seq for block in blocks) == list(range(len(blocks)))
    assert recorder.store.open_seqs == ()


def test_headers_say_what_the_device_believed() -> None:
    recorder = begun(facts=Facts(utc=0, low_battery=True))
    recorder.record(2, 0, [5])
    recorder.seal()
    (block,) = data_blocks(recorder, 2)
    assert (block.header.utc, Flag(block.header.flags)) == (0, Flag.SESSION_FIRST | Flag.LOW_BATTERY)
    recorder = begun()
    recorder.record(2, 100 * SECOND, [5])
    recorder.seal()
    (block,) = data_blocks(recorder, 2)
    assert (block.header.utc, Flag(block.header.flags)) == (1_356_998_500, Flag.SESSION_FIRST | Flag.CLOCK_SET)


def flags_of(recorder: Recorder, stream: int = 1) -> list[Flag]:
    return [Flag(block.header.flags) & ~Flag.CLOCK_SET for block in data_blocks(recorder, stream)]


def test_gaps_seal_and_are_flagged_and_nothing_else_is() -> None:
    recorder = begun()
    for tick in (0, 1, 2, 5, 6, 6.97, 7.97):
        recorder.record(1, int(tick * SECOND), [1, 2, 3])
    recorder.seal()
    recorder.record(1, int(8.97 * SECOND), [1, 2, 3])
    recorder.seal()
    assert flags_of(recorder) == [Flag.SESSION_FIRST, Flag.GAP, Flag.GAP, Flag(0)]
    assert [block.n_frames for block in data_blocks(recorder, 1)] == [3, 2, 2, 1]


def test_a_bend_in_time_seals_without_being_a_gap() -> None:
    recorder = begun()
    ticks = np.concatenate([np.arange(50) * SECOND, 50 * SECOND + np.arange(50) * (SECOND + 300)])
    recorder.record_many(1, ticks, [np.zeros(100, np.int32)] * 3)
    recorder.seal()
    flags = flags_of(recorder)
    assert len(flags) > 1
    assert flags[1:] == [Flag(0)] * (len(flags) - 1)


def test_lost_frames_are_counted_in_the_next_block() -> None:
    recorder = begun()
    recorder.record(1, 0, [1, 2, 3])
    recorder.lost(1, 2)
    recorder.lost(1, 3)
    recorder.record(1, 6 * SECOND, [1, 2, 3])
    recorder.lost(1)
    recorder.record(1, 9 * SECOND, [1, 2, 3])
    recorder.seal()
    recorder.record(1, 10 * SECOND, [1, 2, 3])
    recorder.seal()
    assert [block.header.dropped for block in data_blocks(recorder, 1)] == [0, 5, 0xFFFF, 0]
    assert flags_of(recorder)[1:] == [Flag.GAP | Flag.OVERRUN] * 2 + [Flag(0)]


def test_a_restart_goes_on_with_a_gap() -> None:
    recorder = begun()
    recorder.record(1, 0, [1, 2, 3])
    recorder.seal()
    again = Recorder(recorder.store, SCHEMA, Facts(boot_id=4), session=1)
    again.record(1, 0, [4, 5, 6])
    again.seal()
    assert flags_of(again) == [Flag.SESSION_FIRST, Flag.GAP]
    assert [block.header.boot_id for block in data_blocks(again, 1)] == [3, 4]


def test_a_block_is_sealed_at_its_age() -> None:
    recorder = begun(max_age_s=3600)
    for index in range(20):
        recorder.record(2, index * 10 * MINUTE, [index])
    assert [block.n_frames for block in data_blocks(recorder, 2)] == [6, 6, 6]
    recorder.expire(239 * MINUTE)
    assert recorder.is_open
    recorder.expire(240 * MINUTE)
    assert not recorder.is_open
    assert set(flags_of(recorder, 2)[1:]) == {Flag(0)}


def test_the_schema_comes_again_every_64_blocks() -> None:
    recorder = begun()
    for index in range(150):
        recorder.record(1, index * SECOND, [1, 2, 3])
        recorder.seal()
    kinds = [parse_block(wire).header.kind for wire in wires_of(recorder)]
    at = [index for index, kind in enumerate(kinds) if kind == Kind.SCHEMA]
    assert at == [0, 65, 130]


def test_a_slow_block_never_lags_further_than_mounting_allows() -> None:
    recorder = begun(sectors=16)
    recorder.record(2, 0, [1])
    for index in range(500):
        recorder.record(1, index * 60 * SECOND, [1, 2, 3])
        if index % 3 == 0:
            recorder.event(index * 60 * SECOND, Mark("x"))
        lags = [recorder.store.next_seq - 1 - seq for seq in recorder.store.open_seqs]
        assert max(lags) < recorder.store.pages.max_lag
        assert recorder.store.first_seq <= min(recorder.store.open_seqs)
    assert LogStore(recorder.store.pages._partition).next_seq == recorder.store.next_seq - 1


def record_forever(recorder: Recorder) -> None:
    for index in range(100_000):
        recorder.record(2, index * 10 * MINUTE, [index % 7])
        recorder.record(1, index * 10 * MINUTE, [index, 2, 3])
        recorder.record(3, index * 10 * MINUTE, [1])


def test_a_full_log_ends_with_everything_that_was_taken() -> None:
    recorder = begun(sectors=4, wrap=False)
    with pytest.raises(StoreFull):
        record_forever(recorder)
    with pytest.raises(StoreFull):
        recorder.event(MINUTE, Mark("no room"))
    recorder.end(MINUTE, "full")
    assert read_back(recorder, ENVIRONMENT).columns[0].tolist() == list(range(recorder.frames[1]))
    assert len(read_back(recorder, SLOW).ticks) == recorder.frames[2]
    assert events_of(recorder)[-1].event == SessionStop(1, "full")
    assert recorder.store.open_seqs == ()


def test_a_series_stops_where_the_log_is_full() -> None:
    recorder = begun(sectors=4, wrap=False)
    columns = environment_series(1)
    taken = recorder.record_many(1, np.arange(len(columns[0])) * SECOND, columns)
    assert 0 < taken < len(columns[0])
    assert recorder.record_many(1, taken * SECOND + np.arange(5) * SECOND, [c[:5] for c in columns]) == 0
    recorder.end(10**9, "full")
    assert read_back(recorder, ENVIRONMENT).columns[2].tolist() == columns[2][:taken].tolist()


def test_wrong_readings_change_nothing() -> None:
    recorder = begun()
    recorder.record(1, 10 * SECOND, [1, 2, 3])
    reached = recorder.store.next_seq
    for stream, tick, raw in ((9, 11, [1]), (1, 11, [1, 2]), (1, 11, [99_999, 2, 3]), (1, 9, [1, 2, 3]), (2, 0, [-1])):
        with pytest.raises(UsageError):
            recorder.record(stream, tick * SECOND, raw)
    with pytest.raises(UsageError):
        recorder.record_many(1, np.array([9 * SECOND]), [np.array([1])] * 3)
    assert recorder.store.next_seq == reached
    recorder.record(1, 11 * SECOND, [4, 5, 6])
    recorder.seal()
    assert [block.n_frames for block in data_blocks(recorder, 1)] == [2]


def test_a_new_description_begins_new_blocks() -> None:
    recorder = begun()
    recorder.record(1, 0, [1, 2, 3])
    recorder.describe(Schema(SCHEMA.uid, 77, "1.0.0", "logger", 6, SCHEMA.streams), SECOND)
    recorder.record(1, SECOND, [1, 2, 3])
    recorder.seal()
    assert [block.header.schema_id for block in data_blocks(recorder, 1)] == [5, 6]
    assert flags_of(recorder) == [Flag.SESSION_FIRST, Flag(0)]
    assert recorder.frames[1] == 2


def test_erasing_wants_the_session_stopped_and_keeps_the_seq() -> None:
    recorder = begun()
    recorder.record(1, 0, [1, 2, 3])
    with pytest.raises(UsageError, match="stop it first"):
        recorder.erase(SECOND)
    recorder.end(SECOND, "stopped")
    reached = recorder.store.next_seq
    recorder.erase(2 * SECOND)
    assert [parse_block(wire).header.seq for wire in wires_of(recorder)] == [reached]
    recorder.begin(2, "anew", 3 * SECOND)
    recorder.record(1, 3 * SECOND, [1, 2, 3])
    recorder.end(4 * SECOND, "stopped")
    assert merge_schema(schema_parts(map(parse_block, wires_of(recorder)))) == SCHEMA
    assert {block.header.session for block in data_blocks(recorder, 1)} == {2}


@given(
    seed=st.integers(0, 2**32),
    max_age_s=st.sampled_from([0, 1, 60, 100_000]),
    stream=st.sampled_from([ENVIRONMENT, SLOW, DOOR]),
    sectors=st.sampled_from([4, 64]),
)
@settings(deadline=None, max_examples=20)
def test_bulk_writes_the_flash_that_single_readings_write(
    seed: int, max_age_s: int, stream: Stream, sectors: int
) -> None:
    assert_same_flash(seed, max_age_s, stream, sectors)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, 200, 25))
def test_bulk_writes_the_flash_that_single_readings_write_in_full(first: int) -> None:
    for seed in range(first, first + 25):
        for max_age_s, stream in product([0, 1, 60, 100_000], [ENVIRONMENT, SLOW, DOOR]):
            assert_same_flash(seed, max_age_s, stream, 4 if seed % 2 else 64)


def assert_same_flash(seed: int, max_age_s: int, stream: Stream, sectors: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 1500))
    steps = np.full(count, round(stream.period_ticks) or 1000)
    gaps = rng.random(count) < rng.choice([0, 0.002, 0.2])
    steps[gaps] = rng.integers(0, 10 * SECOND, int(gaps.sum()))
    ticks = 1000 + np.cumsum(steps)
    columns = [rng.integers(0, int(rng.choice([2, 300])), count).cumsum() % 2 for _ in stream.channels]
    wrap = bool(rng.random() < 0.5)
    single, bulk = (begun(sectors=sectors, max_age_s=max_age_s, wrap=wrap) for _ in range(2))
    taken = count
    for index, (tick, row) in enumerate(zip(ticks.tolist(), np.transpose(columns).tolist(), strict=True)):
        try:
            single.record(stream.id, tick, row)
        except StoreFull:
            taken = index
            break
    cut = int(rng.integers(0, count + 1))
    done = bulk.record_many(stream.id, ticks[:cut], [column[:cut] for column in columns])
    if done == cut:
        done += bulk.record_many(stream.id, ticks[cut:], [column[cut:] for column in columns])
    assert done == taken
    for recorder in (single, bulk):
        recorder.end(int(ticks[-1]), "stopped")
    first, second = (recorder.store.pages._partition for recorder in (single, bulk))
    assert first.read(0, first.size) == second.read(0, second.size), f"seed {seed}, {max_age_s} s, {sectors} sectors"


def scripted(recorder: Recorder, rng: random.Random, kept: list[int]) -> None:
    """A session of three streams; `kept` are the environment's readings that were on flash for certain."""
    recorder.begin(1, "cut", 0)
    held: list[int] = []
    for second in range(2500):
        reading = rng.randrange(-3000, 3000)
        held.append(reading)
        recorder.record(1, second * SECOND, [reading, 2, rng.randrange(2**20)])
        if second % 600 == 0:
            recorder.record(2, second * SECOND, [second % 100])
        if rng.random() < 0.01:
            recorder.record(3, second * SECOND, [rng.randrange(2)])
        if second % 500 == 250:
            recorder.seal()
            kept += held
            held.clear()


def recorded_until(cut: int) -> tuple[Partition, list[int], bool]:
    partition = Partition(NorFlash(64 * 4096, seed=cut), 0, 64 * 4096)
    partition.flash.cut_after = cut
    kept: list[int] = []
    try:
        scripted(Recorder(LogStore(partition), SCHEMA, Facts()), random.Random(5), kept)
    except PowerCut:
        return partition, kept, True
    finally:
        partition.flash.power_on()
    return partition, kept, False


def power_cut_during_session(cut: int) -> None:
    partition, kept, was_cut = recorded_until(cut)
    assert was_cut
    recorder = Recorder(LogStore(partition), SCHEMA, Facts(boot_id=4), session=1)
    before = read_back(recorder, ENVIRONMENT).columns[0].tolist()
    everything = recorded_script_readings(random.Random(5))
    assert before[: len(kept)] == kept, f"cut at operation {cut}: sealed readings are gone"
    assert before == everything[: len(before)], f"cut at operation {cut}: readings that never were"
    recorder.record(1, 0, [7, 8, 9])
    recorder.end(SECOND, "stopped")
    after = read_back(Recorder(LogStore(partition), SCHEMA, Facts()), ENVIRONMENT).columns[0].tolist()
    assert after == [*before, 7]
    seqs = [parse_block(wire).header.seq for wire in wires_of(recorder)]
    assert len(seqs) == len(set(seqs))


def recorded_script_readings(rng: random.Random) -> list[int]:
    """The environment's readings of the script, in order."""
    readings: list[int] = []
    for _ in range(2500):
        readings.append(rng.randrange(-3000, 3000))
        rng.randrange(2**20)
        if rng.random() < 0.01:
            rng.randrange(2)
    return readings


def session_operations() -> int:
    partition, _, was_cut = recorded_until(10**9)
    assert not was_cut
    return partition.flash.operations


def test_power_cut_at_some_operations_of_a_session() -> None:
    for cut in sorted(random.Random(6).sample(range(1, session_operations() + 1), 12)):
        power_cut_during_session(cut)


@pytest.mark.faults
def test_power_cut_at_every_operation_of_a_session() -> None:
    for cut in range(1, session_operations() + 1):
        power_cut_during_session(cut)
