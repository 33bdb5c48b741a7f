"""Blocks of unlike length decoded together: nothing differs from each alone, and none is made as wide as the longest."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import encode_series, random_series, regular_ticks, stream_of, wires
from fieldlog_protocol.blocks.block import Block, Encoding, build_block
from fieldlog_protocol.blocks.decode import decode_frames
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.schema import ChannelType, Stream
from fieldlog_protocol.errors import BlockError

PACKABLE = [type_ for type_ in ChannelType if type_.packable]
LENGTHS = st.one_of(st.sampled_from([1, 2, 64, 65, 66, 129]), st.integers(1, 200), st.integers(1, 2500))
SHORT = 70


def one_block(stream: Stream, columns: list[np.ndarray], encoding: Encoding = Encoding.PACKED) -> Block:
    """The first of these frames, as many as fit."""
    ticks = regular_ticks(stream, len(columns[0]))
    blocks: list[Block] = encode_series(stream, ticks, columns, 4096, BlockEncoder(stream, 4096, encoding))
    return blocks[0]


@given(
    types=st.lists(st.sampled_from(PACKABLE), min_size=1, max_size=4),
    lengths=st.lists(LENGTHS, min_size=1, max_size=40),
    timed=st.booleans(),
    raw=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_any_lengths_together_are_as_each_alone(
    types: list[ChannelType], lengths: list[int], timed: bool, raw: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stream = stream_of(types, timed=timed)
    data: list[bytes] = []
    for number, length in enumerate(lengths):
        still = rng.random() < 0.3
        columns = [
            np.repeat(random_series(rng, t, 1), length) if still else random_series(rng, t, length) for t in types
        ]
        encoding = Encoding.RAW if raw and number % 3 == 0 else Encoding.PACKED
        data.append(build_block(one_block(stream, columns, encoding)))
    together = decode_frames(data, stream)
    alone = [decode_frames([wire], stream) for wire in data]
    assert np.diff(together.starts).tolist() == [len(frames.ticks) for frames in alone]
    assert together.ticks.tolist() == [tick for frames in alone for tick in frames.ticks.tolist()]
    for index, column in enumerate(together.columns):
        assert column.dtype == stream.channels[index].type.dtype
        assert column.tobytes() == b"".join(frames.columns[index].tobytes() for frames in alone)


def many_short(places: Callable[[int], bool]) -> tuple[Stream, list[bytes], list[int]]:
    """Blocks of SHORT frames, and where `places` says so one as long as can be; the values tell their block."""
    stream = stream_of([ChannelType.I16])
    data: list[bytes] = []
    values: list[int] = []
    for number in range(300):
        count = 65_535 if places(number) else SHORT
        values += [number] * count
        data += wires([one_block(stream, [np.full(count, number, np.int16)])])
    return stream, data, values


@pytest.mark.parametrize("place", [0, 150, 299])
def test_memory_is_in_proportion_to_the_frames_wherever_the_long_block_stands(place: int) -> None:
    stream, data, values = many_short(lambda number: number == place)
    tracemalloc.start()
    try:
        frames = decode_frames(data, stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frames.columns[0].tolist() == values
    assert peak < 80 * len(values)


def test_batches_of_one_call_keep_the_blocks_in_order() -> None:
    stream, data, values = many_short(lambda number: number in (3, 4))
    frames = decode_frames(data * 3, stream)
    assert frames.columns[0].tolist() == values * 3
    assert frames.block.tolist() == np.repeat(np.arange(900), np.diff(frames.starts)).tolist()


@pytest.mark.parametrize("broken", [0, 7, 149, 299])
def test_a_broken_payload_is_found_among_blocks_of_unlike_length(broken: int) -> None:
    stream, data, _ = many_short(lambda number: number == 7)
    block = one_block(stream, [np.arange(500, dtype=np.int16) % 90])
    data[broken] = build_block(Block(block.header, block.n_frames, block.span, block.payload[:-2] + b"\0\0"))
    with pytest.raises(BlockError, match="unary plane"):
        decode_frames(data, stream)
