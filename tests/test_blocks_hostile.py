"""Blocks whose CRC is right and whose header, trailer or payload is not: read or refused, in bounded memory."""

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
    encode_series,
    environment_series,
    opening,
    regular_ticks,
    stream_of,
    wires,
)
from fieldlog_protocol.blocks.block import Block, Encoding, build_block, parse_block
from fieldlog_protocol.blocks.decode import decode_frames
from fieldlog_protocol.blocks.schema import ChannelType, Stream
from fieldlog_protocol.errors import BlockError

I16 = ChannelType.I16


@pytest.mark.parametrize(
    "change",
    [
        {"payload": bytes.fromhex("6400 40 000c")},  # a byte between the planes that belongs to none
        {"payload": bytes.fromhex("6400 40")},  # no unary plane
        {"payload": bytes.fromhex("6400 40 08")},  # a one too few
        {"payload": bytes.fromhex("6400 40 1c")},  # a one too many
        {"payload": bytes.fromhex("6400 5f 0c")},  # a unary plane to a group of width 0
        {"payload": bytes.fromhex("6400 7f 0c")},  # a plane longer than the payload
        {"payload": bytes.fromhex("6400 df 0c")},  # half a slope
        {"payload": bytes.fromhex("64")},  # half a first frame
        {"n_frames": 66},  # a group more than there is
        {"n_frames": 4},
        {"n_frames": 2},
        {"n_frames": 1},
        {"n_frames": 0},
        {"span": 2**63},
        {"t0": 2**63},
        {"encoding": 3},
    ],
)
def test_each_lie_behind_a_valid_crc_is_refused(change: dict[str, object]) -> None:
    stream = stream_of([I16])
    (block,) = encode_series(stream, regular_ticks(stream, 3), [np.array([100, 101, 101], np.int16)])
    assert block.payload == bytes.fromhex("6400 40 0c")
    in_header = {name: value for name, value in change.items() if name in {"t0", "encoding"}}
    in_block = {name: value for name, value in change.items() if name not in in_header}
    lie = replace(block, header=replace(block.header, **in_header), **in_block)
    with pytest.raises(BlockError):
        decode_frames([build_block(block), build_block(lie)], stream)


def read_or_refuse(wire: bytes, stream: Stream) -> bool:
    """Whether the block was read; it may only be refused with BlockError, and never be more than its bytes allow."""
    try:
        frames = decode_frames([wire], stream)
    except BlockError:
        return False
    assert len(frames.ticks) == parse_block(wire).n_frames
    assert sum(map(len, frames.columns)) <= 64 * len(wire)
    return True


def run_lies(count: int, seed: int) -> None:
    """Blocks whose CRC is right and whose header, trailer or payload is not."""
    rng = random.Random(seed)
    source = encode_series(ENVIRONMENT, regular_ticks(ENVIRONMENT, 3000), environment_series(3000 / 86_400))
    read = 0
    for number in range(count):
        block = rng.choice(source)
        payload = bytearray(block.payload)
        for _ in range(rng.randrange(4)):
            payload[rng.randrange(len(payload))] = rng.choice((0, 1, 33, 255, rng.randrange(256)))
        if rng.random() < 0.3:
            payload = payload[: rng.randrange(len(payload))] + rng.randbytes(rng.choice((0, 0, 20, 3000)))
        lie = replace(
            block,
            header=replace(block.header, encoding=rng.choice((0, 1, 1, 1, 2, 77))),
            n_frames=rng.choice((block.n_frames,) * 3 + (0, 1, 65535, rng.randrange(65536))),
            span=rng.choice((block.span, 0, 2**64 - 1)),
            payload=bytes(payload),
        )
        try:
            read += read_or_refuse(build_block(lie), ENVIRONMENT)
        except Exception as error:
            raise AssertionError(f"seed {seed}, block {number}: {error!r}") from error
    assert 0 < read < count


def test_lies_behind_a_valid_crc_are_refused() -> None:
    run_lies(1000, seed=21)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_lies_behind_a_valid_crc_are_refused_in_the_full_campaign() -> None:
    run_lies(50_000, seed=22)


@given(payload=st.binary(max_size=600), count=st.integers(0, 65535), encoding=st.sampled_from([0, 1, 2]))
@settings(deadline=None)
def test_random_payloads_are_read_or_refused(payload: bytes, count: int, encoding: int) -> None:
    for stream in (ENVIRONMENT, stream_of([ChannelType.U8] * 20)):
        header = replace(opening(), encoding=encoding, stream=stream.id, n_channels=len(stream.columns))
        read_or_refuse(build_block(Block(header, count, 5, payload)), stream)


@pytest.mark.parametrize(
    ("payload", "encoding", "said"),
    [
        ("6400 7f 0c", Encoding.PACKED, "its packed groups are longer than its payload"),
        ("6400 40 08", Encoding.PACKED, "its packed unary plane has more or fewer ones than its groups have residuals"),
        ("6400 0000 0000 00", Encoding.RAW, "its RAW payload is longer or shorter than its frames"),
        ("0700 00000000 6400 00" * 3, Encoding.RAWC, "its RAWC payload is longer or shorter than its frames"),
    ],
)
def test_a_lie_is_told_with_the_block_that_tells_it(payload: str, encoding: Encoding, said: str) -> None:
    stream = stream_of([I16])
    (block,) = encode_series(stream, regular_ticks(stream, 3), [np.array([100, 101, 101], np.int16)])
    columns = 2 if encoding is Encoding.RAWC else 1
    header = replace(block.header, seq=17, encoding=encoding, n_channels=columns)
    lie = build_block(replace(block, header=header, payload=bytes.fromhex(payload)))
    with pytest.raises(BlockError, match=f"^block 17 cannot be decoded: {said}$"):
        decode_frames([lie], stream)
    also = build_block(replace(block, header=replace(header, seq=18), payload=bytes.fromhex(payload)))
    with pytest.raises(BlockError, match=f"^one of blocks 17 to 18 cannot be decoded: {said}$"):
        decode_frames([lie, also], stream)
    wider = build_block(replace(block, header=replace(header, n_channels=9)))
    with pytest.raises(
        BlockError, match=f"^block 17 has 9 columns, and stream {stream.id} as it is described has {columns}$"
    ):
        decode_frames([wider], stream)


def test_blocks_of_something_else_are_refused() -> None:
    (wire,) = wires(
        encode_series(ENVIRONMENT, regular_ticks(ENVIRONMENT, 10), [c[:10] for c in environment_series(0.01)])
    )
    two = Stream(ENVIRONMENT.id, "two", 1000, ENVIRONMENT.channels[:2])
    for stream, said in ((ACCELERATION, "not a data block of stream"), (two, "has [0-9]+ columns, and stream")):
        with pytest.raises(BlockError, match=said):
            decode_frames([wire], stream)
    with pytest.raises(BlockError, match="CRC-32"):
        decode_frames([wire, wire[:40] + bytes([wire[40] ^ 1]) + wire[41:]], ENVIRONMENT)
    with pytest.raises(BlockError):
        decode_frames([wire[:20]], ENVIRONMENT)
