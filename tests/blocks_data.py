"""Streams, series and an independent packed decoder for the tests of the log's blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import Block, BlockHeader, build_block
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

TEMPERATURE = Channel("temperature", "Cel", ChannelType.I16, exponent=-2, missing=-32768)
HUMIDITY = Channel("humidity", "%", ChannelType.I16, exponent=-2)
PRESSURE = Channel("pressure", "Pa", ChannelType.I32)
ENVIRONMENT = Stream(1, "environment", 1_000_000, (TEMPERATURE, HUMIDITY, PRESSURE))
ACCELERATION = Stream(
    2,
    "acceleration",
    10_000,
    tuple(Channel(axis, "[g]", ChannelType.I16, multiplier=244140625, exponent=-12) for axis in "xyz"),
)


def opening(seq: int = 0, boot_id: int = 1) -> BlockHeader:
    return BlockHeader(seq=seq, t0=0, boot_id=boot_id)


def stream_of(types: Sequence[ChannelType], *, timed: bool = False, period_us: int = 1_000_000) -> Stream:
    channels = tuple(Channel(f"c{index}", "1", type_) for index, type_ in enumerate(types))
    return Stream(7, "test", period_us, channels, timed=timed)


def regular_ticks(stream: Stream, count: int, start: int = 1000) -> npt.NDArray[np.int64]:
    return start + np.round(np.arange(count) * stream.period_ticks).astype(np.int64)


def encode_series(
    stream: Stream,
    ticks: npt.NDArray[np.int64],
    columns: Sequence[npt.NDArray[np.generic]],
    block_size: int = 1024,
    encoder: BlockEncoder | None = None,
) -> list[Block]:
    """The whole series in bulk, the last block sealed however full it is."""
    encoder = encoder or BlockEncoder(stream, block_size)
    blocks: list[Block] = []
    position = 0
    while position < len(ticks):
        position += encoder.push_many(ticks[position:], [column[position:] for column in columns])
        blocks.append(encoder.seal(opening(len(blocks))))
    return blocks


def wires(blocks: Sequence[Block]) -> list[bytes]:
    return [build_block(block) for block in blocks]


def random_series(rng: np.random.Generator, type_: ChannelType, count: int) -> npt.NDArray[np.generic]:
    """A series that walks, jumps, rests or wraps, as the generator decides."""
    if type_.is_float:
        return rng.normal(0, 1e3, count).astype("<f4")
    low, high = type_.minimum, type_.maximum
    style = rng.integers(4)
    if style == 0:
        values = rng.integers(low, high, count, dtype=np.int64, endpoint=True)
    elif style == 1:
        values = rng.choice(np.array([low, high, 0, max(low, -1), 1]), count)
    elif style == 2:
        values = np.clip(np.cumsum(rng.integers(-3, 4, count)), low, high)
    else:
        values = np.clip(np.arange(count) * int(rng.integers(0, 9)) + int(rng.integers(0, 50)), low, high)
    return values.astype(type_.dtype)


def signed(number: int) -> int:
    """The 32-bit number with a sign that is the same modulo 2**32."""
    return (number + 2**31) % 2**32 - 2**31


def slow_unpack(payload: bytes, types: Sequence[ChannelType], count: int) -> list[list[int]]:
    """The packed payload bit by bit, written from its specification: 32-bit patterns per column."""
    result: list[list[int]] = []
    position = 0
    for type_ in types:
        width = np.dtype(type_.dtype).itemsize
        result.append([int.from_bytes(payload[position : position + width], "little", signed=type_.minimum < 0)])
        position += width
    unary = iter(bit for byte in reversed(payload) for bit in f"{byte:08b}"[::-1])
    used = 0
    while len(result[0]) < count:
        codes = payload[position : position + len(types)]
        position += len(types)
        length = min(64, count - len(result[0]))
        for c, code in enumerate(codes):
            predictor, packing = divmod(code, 64)
            before = [*[result[c][0]] * 3, *result[c]]
            smooth, trend = sum(before[-4:]), before[-1] - before[-3]
            if predictor == 3 and len(result[c]) == 1:
                trend = 2 * int.from_bytes(payload[position : position + 4], "little")
                position += 4
            width = packing if packing < 31 else packing - 31
            size = -(-length * width // 8)
            plane = int.from_bytes(payload[position : position + size], "little")
            position += size
            for index in range(length):
                number = plane >> (index * width) & ((1 << width) - 1)
                zeros = 0
                while packing < 31 and next(unary) == "0":
                    zeros += 1
                used += zeros + (packing < 31)
                number += zeros << width
                residual = number // 2 if number % 2 == 0 else -(number + 1) // 2
                guess = (0, result[c][-1], signed(smooth) // 4, result[c][-1] + signed(trend) // 2)[predictor]
                smooth += residual
                trend += residual
                result[c].append(number if predictor == 0 and types[c].minimum == 0 else guess + residual)
    assert position + -(-used // 8) == len(payload)
    return [[value % 2**32 for value in values[:count]] for values in result]


def environment_series(days: float, seed: int = 1) -> list[npt.NDArray[np.int32]]:
    """Temperature, humidity and pressure at 1 Hz as the log format's figures define them."""
    rng = np.random.default_rng(seed)
    count = int(days * 86_400)
    day = 2 * np.pi * np.arange(count) / 86_400
    temperature = 21 + 3 * np.sin(day) + _wander(rng, 1.0, 7200, count) + rng.normal(0, 0.02, count)
    humidity = 45 - 8 * np.sin(day) + _wander(rng, 3.0, 7200, count) + rng.normal(0, 0.05, count)
    pressure = 101_325 + _wander(rng, 600, 172_800, count) + rng.normal(0, 1.5, count)
    return [np.round(values).astype(np.int32) for values in (temperature * 100, humidity * 100, pressure)]


def _wander(rng: np.random.Generator, sigma: float, tau: float, count: int) -> npt.NDArray[np.float64]:
    """A first-order autoregressive walk that forgets itself within `tau` steps."""
    keep = float(np.exp(-1 / tau))
    level = 0.0
    levels: list[float] = []
    for push in (sigma * np.sqrt(1 - keep**2) * rng.standard_normal(count)).tolist():
        level = keep * level + push
        levels.append(level)
    return np.array(levels)


def acceleration_series(hours: float, seed: int = 2) -> list[npt.NDArray[np.int16]]:
    """Three axes at 100 Hz, rest and walking by turns, as the log format's figures define them."""
    rng = np.random.default_rng(seed)
    count = int(hours * 360_000)
    axes = np.empty((3, count))
    start = 0
    while start < count:
        stop = min(count, start + int(rng.uniform(6_000, 60_000)))
        axes[:, start:stop] = _segment(rng, np.arange(start, stop) / 100)
        start = stop
    axes += rng.normal(0, 0.0007, axes.shape)
    return list(np.clip(np.round(axes * 4096), -32768, 32767).astype(np.int16))


def _segment(rng: np.random.Generator, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    gravity = rng.standard_normal(3)
    rest = np.repeat(gravity[:, None] / np.linalg.norm(gravity), len(seconds), axis=1)
    if rng.random() >= 0.2:
        return rest + 0.002 * np.sin(2 * np.pi * 0.25 * seconds)
    pace = rng.uniform(1.6, 2.1)
    for harmonic, strength in ((1, 0.35), (2, 0.2), (3, 0.1), (4, 0.06)):
        phases = rng.uniform(0, 2 * np.pi, (3, 1))
        rest += strength * rng.uniform(0.5, 1, (3, 1)) * np.sin(2 * np.pi * pace * harmonic * seconds + phases)
    return rest + rng.normal(0, 0.03, rest.shape)
