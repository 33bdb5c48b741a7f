"""DATA blocks filled and read back: every type, every way of filling, every claim a hostile block can make."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import (
    ACCELERATION,
    ENVIRONMENT,
    acceleration_series,
    encode_series,
    environment_series,
    opening,
    random_series,
    regular_ticks,
    slow_unpack,
    stream_of,
    wires,
)
from fieldlog_protocol.blocks.block import BLOCK_SIZES, Block, Encoding, build_block, pad
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.blocks.timeline import tolerance_ticks
from fieldlog_protocol.errors import UsageError

I16, I32, U32 = ChannelType.I16, ChannelType.I32, ChannelType.U32
PACKABLE = [type_ for type_ in ChannelType if type_.packable]
GOLDEN_PACKED = [
    # one frame alone is the head, as RAW codes it
    ([I16], [[-2]], "feff"),
    # deltas 1, 0: zigzag 2, 0 with k = 0 are 001, 1 in the unary plane
    ([I16], [[100, 101, 101]], "6400 40 0c"),
    # a column at rest costs a byte a group, one that is 0 needs no predictor
    ([I32, U32], [[7, 7], [2**32 - 1, 0]], "07000000 ffffffff 5f 1f"),
    # values, zigzag 2, 3, 0, 2, 1, 0, 4, 1, 18, 0 with k = 2: quotients 0 but one 1 and one 4, backwards from bf
    ([I16], [[0, 1, -2, 0, 1, -1, 0, 2, -1, 9, 0]], "0000 02 8e4102 61bf"),
    # unsigned values are no zigzag: 8 bits suffice for noise of 8 bits
    ([ChannelType.U8], [[255, 0, 254, 3, 250, 128]], "ff 27 00fe03fa80"),
    # about a level: M = 400, 404, 399, 404 foretells 100, 101, 99, 101; zigzag 8, 9, 10, 9 in four bits each
    ([I16], [[100, 104, 96, 104, 96]], "6400 a3 989a"),
    # a ramp is its slope and nothing, then, a group later, nothing
    ([I32], [list(range(0, 70_000, 1000))], "00000000 df e8030000 df"),
    # a ramp that trembles: T / 2 = 1000000, 1000000, 1000000.5, 1000000, 1000000.5: 1, 001, 01, 001, 01
    ([I32], [[0, 1_000_000, 2_000_001, 3_000_000, 4_000_001, 5_000_000]], "00000000 c0 40420f00 0529"),
]
GOLDEN_RAW = [
    ([I16, ChannelType.U8], [[1, -2], [3, 255]], "0100 03 feff ff"),
    (
        [ChannelType.F32, ChannelType.I64],
        [[1.5, -0.0], [-1, 2**40]],
        "0000c03f ffffffffffffffff 00000080 0000000000010000",
    ),
]


def typed(types: list[ChannelType], columns: list[list[float]]) -> list[np.ndarray]:
    return [np.array(values, type_.dtype) for type_, values in zip(types, columns, strict=True)]


@pytest.mark.parametrize(
    ("encoding", "types", "columns", "text"),
    [*((Encoding.PACKED, *row) for row in GOLDEN_PACKED), *((Encoding.RAW, *row) for row in GOLDEN_RAW)],
)
def test_golden_payloads_both_ways(
    encoding: Encoding, types: list[ChannelType], columns: list[list[float]], text: str
) -> None:
    stream = stream_of(types)
    ticks = regular_ticks(stream, len(columns[0]))
    (block,) = encode_series(stream, ticks, typed(types, columns), 1024, BlockEncoder(stream, 1024, encoding))
    assert block.payload == bytes.fromhex(text)
    assert (block.n_frames, block.span) == (len(ticks), ticks[-1] - ticks[0])
    frames = decode_frames([build_block(block)], stream)
    assert [column.tolist() for column in frames.columns] == columns
    assert frames.ticks.tolist() == ticks.tolist()


def test_a_ramp_costs_next_to_nothing() -> None:
    stream = stream_of([I32])
    ramp = np.arange(0, 10_000 * 1000, 1000)
    (block,) = encode_series(stream, regular_ticks(stream, len(ramp)), [ramp], 256)
    assert decode_frames(wires([block]), stream).columns[0].tolist() == ramp.tolist()


@pytest.mark.parametrize("type_", PACKABLE)
def test_noise_is_hardly_larger_than_raw(type_: ChannelType) -> None:
    stream = stream_of([type_] * 3)
    rng = np.random.default_rng(4)
    columns = [rng.integers(type_.minimum, type_.maximum, 10_000, type_.dtype, endpoint=True) for _ in range(3)]
    packed, raw = (
        encode_series(stream, regular_ticks(stream, 10_000), columns, 1024, BlockEncoder(stream, 1024, encoding))
        for encoding in (Encoding.PACKED, Encoding.RAW)
    )
    assert len(packed) <= 1.03 * len(raw) + 1


def same_series(frames: Frames, ticks: np.ndarray, columns: list[np.ndarray], tolerance: float) -> None:
    assert len(frames.ticks) == len(ticks)
    assert np.abs(frames.ticks - ticks).max(initial=0) <= tolerance + 0.5
    for decoded, column in zip(frames.columns, columns, strict=True):
        assert decoded.dtype == column.dtype
        assert decoded.tobytes() == column.tobytes()


@given(
    types=st.lists(st.sampled_from(PACKABLE), min_size=1, max_size=9),
    count=st.integers(1, 700),
    size=st.sampled_from(BLOCK_SIZES),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_packed_round_trip_agrees_with_a_slow_decoder(
    types: list[ChannelType], count: int, size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stream = stream_of(types)
    columns = [random_series(rng, type_, count) for type_ in types]
    ticks = regular_ticks(stream, count)
    blocks = encode_series(stream, ticks, columns, size, BlockEncoder(stream, size, Encoding.PACKED))
    same_series(decode_frames(wires(blocks), stream), ticks, columns, 0)
    slow = [slow_unpack(block.payload, types, block.n_frames) for block in blocks]
    for index, column in enumerate(columns):
        assert [word for block in slow for word in block[index]] == (column.astype(np.int64) % 2**32).tolist()


@given(
    types=st.lists(st.sampled_from(list(ChannelType)), min_size=1, max_size=9),
    count=st.integers(1, 300),
    timed=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_raw_round_trip(types: list[ChannelType], count: int, timed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = stream_of(types, timed=timed)
    columns = [random_series(rng, type_, count) for type_ in types]
    ticks = regular_ticks(stream, count)
    blocks = encode_series(stream, ticks, columns, 256, BlockEncoder(stream, 256, Encoding.RAW))
    same_series(decode_frames(wires(blocks), stream), ticks, columns, 0)


def filled_by_turns(
    stream: Stream, ticks: np.ndarray, columns: list[np.ndarray], rng: random.Random, size: int = 256
) -> list[Block]:
    """Some frames pushed, some in bulk, as a device does that wakes from generated history."""
    encoder = BlockEncoder(stream, size)
    blocks: list[Block] = []
    position = 0
    while position < len(ticks):
        wanted = rng.choice((1, 5, 40, 300))
        if rng.random() < 0.5:
            taken = encoder.push_many(
                ticks[position : position + wanted], [c[position : position + wanted] for c in columns]
            )
            full = taken < min(wanted, len(ticks) - position)
        else:
            taken = int(encoder.push(int(ticks[position]), [column[position].item() for column in columns]))
            full = not taken
        position += taken
        if full:
            blocks.append(encoder.seal(opening(len(blocks))))
    return [*blocks, encoder.seal(opening(len(blocks)))]


def run_two_ways(types: list[ChannelType], timed: bool, jitter: int, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    stream = stream_of(types, timed=timed)
    columns = [random_series(rng, type_, count) for type_ in types]
    ticks = regular_ticks(stream, count) + rng.integers(0, jitter + 1, count)
    bulk = encode_series(stream, ticks, columns, 256)
    assert filled_by_turns(stream, ticks, columns, random.Random(seed)) == bulk
    same_series(decode_frames(wires(bulk), stream), ticks, columns, 0 if timed else tolerance_ticks(stream))


two_ways = given(
    types=st.lists(st.sampled_from(list(ChannelType)), min_size=1, max_size=6),
    timed=st.booleans(),
    jitter=st.sampled_from([0, 1, 4, 3000]),
    seed=st.integers(0, 2**32),
)


@two_ways
@settings(deadline=None, max_examples=60)
def test_frame_by_frame_and_bulk_give_the_same_bytes(
    types: list[ChannelType], timed: bool, jitter: int, seed: int
) -> None:
    run_two_ways(types, timed, jitter, seed, 300)


@pytest.mark.parametrize("seed", range(4))
def test_levels_and_trends_fill_blocks_alike_in_both_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = stream_of([I16, I32])
    trend = np.cumsum(1000 + np.cumsum(rng.integers(-9, 10, 2000)) + rng.integers(-30, 31, 2000))
    columns = [rng.normal(3000, 20, 2000).astype("<i2"), trend.astype("<i4")]
    ticks = regular_ticks(stream, 2000)
    bulk = encode_series(stream, ticks, columns, 512)
    assert filled_by_turns(stream, ticks, columns, random.Random(seed), 512) == bulk, f"seed {seed}"
    same_series(decode_frames(wires(bulk), stream), ticks, columns, 0)


@pytest.mark.faults
@pytest.mark.timeout(900)
@two_ways
@settings(deadline=None, max_examples=500)
def test_frame_by_frame_and_bulk_give_the_same_bytes_in_the_full_campaign(
    types: list[ChannelType], timed: bool, jitter: int, seed: int
) -> None:
    run_two_ways(types, timed, jitter, seed, 900)


def test_a_refused_frame_changes_nothing() -> None:
    encoder = BlockEncoder(ENVIRONMENT, 256)
    rows = np.stack(environment_series(0.02)).T.tolist()
    position = 0
    while encoder.push(position * 32_768, rows[position]):
        position += 1
    assert not encoder.push(position * 32_768, rows[position])
    block = encoder.seal(opening())
    assert block.n_frames == position
    assert len(build_block(block)) <= 256
    assert decode_frames([build_block(block)], ENVIRONMENT).columns[2].tolist() == [row[2] for row in rows[:position]]


def test_blocks_are_filled_to_the_last_frame() -> None:
    columns = environment_series(0.1)
    for block in encode_series(ENVIRONMENT, regular_ticks(ENVIRONMENT, len(columns[0])), columns)[:-1]:
        assert len(build_block(block)) > 1024 - 64


def test_a_block_has_no_more_frames_than_its_count_can_say() -> None:
    stream = stream_of([I16])
    still = np.zeros(70_000, np.int16)
    blocks = encode_series(stream, regular_ticks(stream, len(still)), [still], 4096, BlockEncoder(stream, 4096))
    assert [block.n_frames for block in blocks] == [65_535, 4_465]
    assert decode_frames(wires(blocks), stream).columns[0].tolist() == still.tolist()
    encoder = BlockEncoder(stream, 4096)
    pushed = next(n for n in range(70_000) if not encoder.push(n * 32_768, [0]))
    assert pushed == 65_535


def test_many_channels() -> None:
    rng = np.random.default_rng(3)
    for channels, size, encoding in ((25, 1024, Encoding.PACKED), (255, 1024, Encoding.RAW), (255, 4096, Encoding.RAW)):
        stream = stream_of([I16] * channels)
        columns = [random_series(rng, I16, 200) for _ in range(channels)]
        blocks = encode_series(stream, regular_ticks(stream, 200), columns, size)
        assert {block.header.encoding for block in blocks} == {encoding}
        same_series(decode_frames(wires(blocks), stream), regular_ticks(stream, 200), columns, 0)


def test_what_a_stream_cannot_hold_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="does not fit a block"):
        BlockEncoder(stream_of([I32] * 255), 1024)
    with pytest.raises(UsageError, match="packed encoding cannot hold"):
        BlockEncoder(stream_of([ChannelType.F32]), 1024, Encoding.PACKED)
    encoder = BlockEncoder(stream_of([I16, ChannelType.BOOL]), 1024)
    for wrong in ([32_768, 0], [0, 2], [0], [None, 0], [1.5, 0]):
        with pytest.raises(UsageError):
            encoder.push(0, wrong)
    with pytest.raises(UsageError):
        encoder.push_many(np.arange(2), [np.array([0, 40_000]), np.array([0, 0])])
    with pytest.raises(UsageError, match="no frame"):
        encoder.seal(opening())
    assert encoder.push(10, [0, 0])
    with pytest.raises(UsageError, match="never go"):
        encoder.push(9, [0, 0])
    with pytest.raises(UsageError, match="never go"):
        encoder.push_many(np.array([9, 11]), [np.array([0, 0]), np.array([0, 0])])
    assert encoder.n_frames == 1


def test_missing_readings_come_back_as_missing() -> None:
    stream = Stream(
        1, "s", 1_000_000, (Channel("t", "Cel", I16, exponent=-2, missing=-1), Channel("f", "1", ChannelType.F32))
    )
    encoder = BlockEncoder(stream, 256)
    for second, frame in enumerate([(2150, 1.5), (None, None), (2151, 2.5)]):
        assert encoder.push(second * 32_768, frame)
    frames = decode_frames([build_block(encoder.seal(opening()))], stream)
    values = [channel.values(column).tolist() for channel, column in zip(stream.channels, frames.columns, strict=True)]
    assert str(values) == "[[21.5, nan, 21.51], [1.5, nan, 2.5]]"


def test_pages_and_wire_forms_decode_alike_in_any_mixture() -> None:
    columns = environment_series(0.05)
    blocks = encode_series(ENVIRONMENT, regular_ticks(ENVIRONMENT, len(columns[0])), columns)
    raw = encode_series(
        ENVIRONMENT,
        regular_ticks(ENVIRONMENT, 100),
        [c[:100] for c in columns],
        1024,
        BlockEncoder(ENVIRONMENT, 1024, Encoding.RAW),
    )
    mixed = [*wires(blocks), *wires(raw), *(pad(wire, 1024) for wire in wires(blocks))]
    frames = decode_frames(mixed, ENVIRONMENT)
    for column, series in zip(frames.columns, columns, strict=True):
        assert column.tolist() == [*series.tolist(), *series[:100].tolist(), *series.tolist()]
    assert frames.block.tolist() == np.repeat(np.arange(len(mixed)), np.diff(frames.starts)).tolist()
    assert frames.per_frame("seq")[-1] == len(blocks) - 1
    assert frames.headers["boot_id"].tolist() == [1] * len(mixed)


def test_no_blocks_are_no_frames() -> None:
    frames = decode_frames([], ENVIRONMENT)
    assert len(frames.ticks) == 0
    assert [column.dtype.str for column in frames.columns] == ["<i2", "<i2", "<i4"]


@given(count=st.integers(2, 400), start=st.integers(0, 2**61), span=st.integers(0, 2**61))
@settings(deadline=None)
def test_instants_are_exact_whole_numbers(count: int, start: int, span: int) -> None:
    stream = stream_of([ChannelType.U8])
    (block,) = encode_series(stream, regular_ticks(stream, count), [np.zeros(count, np.uint8)])
    moved = replace(block, header=replace(block.header, t0=start), span=span)
    ticks = decode_frames([build_block(moved)], stream).ticks
    exact = [start + (2 * i * span + count - 1) // (2 * (count - 1)) for i in range(count)]
    assert ticks.tolist() == exact


def test_hourly_readings_fill_a_block() -> None:
    stream = stream_of([I16], period_us=3_600_000_000)
    # The sampling follows a crystal that the day's temperature moves by some ppm.
    hours = np.arange(2000)
    ticks = np.round(hours * 3600 * 32_768 * (1 + 20e-6) + 800 * np.sin(hours * 2 * np.pi / 24)).astype(np.int64)
    blocks = encode_series(stream, ticks, [np.zeros(2000, np.int16)])
    assert len(blocks) == 1
    assert np.abs(decode_frames(wires(blocks), stream).ticks - ticks).max() <= tolerance_ticks(stream) + 0.5


def test_a_series_that_bends_is_cut_before_its_times_go_wrong() -> None:
    ticks = np.concatenate([np.arange(200) * 328, 200 * 328 + np.arange(200) * 330])
    blocks = encode_series(ACCELERATION, ticks, [np.zeros(400, np.int16)] * 3)
    assert len(blocks) > 1
    assert np.abs(decode_frames(wires(blocks), ACCELERATION).ticks - ticks).max() <= tolerance_ticks(ACCELERATION) + 0.5


def test_a_timed_stream_keeps_irregular_instants() -> None:
    rng = np.random.default_rng(4)
    ticks = np.cumsum(rng.integers(0, 2**33, 500))
    for resolution in (1, 32, 32_768):
        stream = Stream(1, "events", 0, (Channel("n", "1", ChannelType.U16),), timed=True, time_resolution=resolution)
        blocks = encode_series(stream, ticks, [np.arange(500, dtype=np.uint16)])
        frames = decode_frames(wires(blocks), stream)
        assert frames.columns[0].tolist() == list(range(500))
        assert (frames.ticks <= ticks).all()
        assert (ticks - frames.ticks).max() < resolution
        assert filled_by_turns(stream, ticks, [np.arange(500, dtype=np.uint16)], random.Random(1), 1024) == blocks


def test_blocks_are_as_small_as_promised() -> None:
    """Of the log format's figures, on a part of their data: all overhead counted but the SCHEMA blocks."""
    environment = environment_series(2)
    blocks = encode_series(ENVIRONMENT, regular_ticks(ENVIRONMENT, len(environment[0])), environment)
    assert len(environment[0]) * 8 / (1024 * len(blocks)) > 4.4
    acceleration = acceleration_series(1)
    blocks = encode_series(ACCELERATION, regular_ticks(ACCELERATION, len(acceleration[0])), acceleration)
    assert len(acceleration[0]) * 6 / (1024 * len(blocks)) > 2.9


def test_noise_about_a_level_costs_little_more_than_its_entropy() -> None:
    """Of Gaussian noise of three steps, 3.63 bits; deltas alone have 4.13."""
    noise = np.round(np.random.default_rng(5).normal(20_000, 3, 40_000)).astype(np.int16)
    stream = stream_of([I16])
    blocks = encode_series(stream, regular_ticks(stream, len(noise)), [noise])
    assert sum(8 * len(block.payload) for block in blocks) / len(noise) < 3.63 + 0.42
