"""The two data sets of the figures: a room's climate at 1 Hz, and a worn accelerometer at 100 Hz.

Rule of this module: the same seed gives the same readings, and raw numbers are what a sensor would have counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import exp, pi, sqrt
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import Block, BlockHeader, Encoding, Kind, block_format, build_block
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Schema, Stream, schema_blocks

Floats: TypeAlias = npt.NDArray[np.float64]
Column: TypeAlias = npt.NDArray[Any]

UID = bytes.fromhex("beef0000000000000000000000000001")
LOG_ID = 1
BLOCK_SIZE = 1024
SCHEMA_EVERY = 64
START_US = 1_735_689_600_000_000  # 2025-01-01
_DAY_S = 86_400

_AXES = tuple(Channel(axis, "[g]", ChannelType.I16, multiplier=244_140_625, exponent=-12) for axis in "xyz")
ENVIRONMENT = Stream(
    0,
    "environment",
    1_000_000,
    (
        Channel("temperature", "Cel", ChannelType.I16, exponent=-2),
        Channel("humidity", "%", ChannelType.I16, exponent=-2),
        Channel("pressure", "Pa", ChannelType.I32),
    ),
)
ACCELEROMETER = Stream(0, "acceleration", 10_000, _AXES)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Readings of one stream: a column of raw numbers per channel."""

    name: str
    stream: Stream
    columns: list[Column]

    @property
    def frames(self) -> int:
        return len(self.columns[0])

    @property
    def values(self) -> int:
        return self.frames * len(self.columns)

    @property
    def frame_bytes(self) -> int:
        """One frame as a C struct without padding."""
        return sum(column.itemsize for column in self.columns)

    @property
    def ticks(self) -> npt.NDArray[np.int64]:
        return np.round(np.arange(self.frames) * self.stream.period_ticks).astype(np.int64)

    def raw_frames(self) -> bytes:
        """The frames one behind the other, as a logger without blocks would keep them."""
        frames = np.empty(self.frames, [(str(index), column.dtype) for index, column in enumerate(self.columns)])
        for index, column in enumerate(self.columns):
            frames[str(index)] = column
        return frames.tobytes()


def environment(frames: int, seed: int = 1) -> DataSet:
    """Temperature in 0.01 degC, humidity in 0.01 %, pressure in Pa: a daily wave, weather, and the sensor's noise."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * pi * np.arange(frames) / _DAY_S)
    temperature = 21 + 3 * wave + _weather(rng, frames, 1.0, 7200) + rng.normal(0, 0.02, frames)
    humidity = 45 - 8 * wave + _weather(rng, frames, 3.0, 7200) + rng.normal(0, 0.05, frames)
    pressure = 101_325 + _weather(rng, frames, 600, 2 * _DAY_S) + rng.normal(0, 1.5, frames)
    raw = [np.rint(temperature * 100), np.rint(humidity * 100), np.rint(pressure)]
    return _data_set("environment", ENVIRONMENT, raw)


def accelerometer(frames: int, seed: int = 2) -> DataSet:
    """Three axes in 1/4096 g: segments of one to ten minutes, one in five of them walking, the others at rest."""
    rng = np.random.default_rng(seed)
    segments: list[Floats] = []
    missing = frames
    while missing > 0:
        length = min(missing, int(rng.integers(60, 601)) * 100)
        segments.append(_segment(rng, np.arange(length) / 100))
        missing -= length
    noisy = np.concatenate(segments, axis=1) + rng.normal(0, 0.0007, (3, frames))
    return _data_set("accelerometer", ACCELEROMETER, list(np.clip(np.rint(noisy * 4096), -32768, 32767)))


def _data_set(name: str, stream: Stream, raw: list[Floats]) -> DataSet:
    typed = [column.astype(channel.type.dtype) for column, channel in zip(raw, stream.channels, strict=True)]
    return DataSet(name, stream, typed)


def _weather(rng: np.random.Generator, frames: int, sigma: float, tau_s: float) -> Floats:
    """A first-order autoregressive process: standard deviation `sigma`, forgotten after `tau_s`."""
    keep = exp(-1 / tau_s)
    pushes = rng.normal(0, sigma * sqrt(1 - keep * keep), frames).tolist()
    return np.fromiter(accumulate(pushes, lambda level, push: keep * level + push), np.float64, frames)


def _segment(rng: np.random.Generator, time_s: Floats) -> Floats:
    down = rng.normal(0, 1, 3)
    axes: Floats = np.outer(down / np.linalg.norm(down), np.ones(len(time_s)))
    if rng.random() < 0.2:
        return axes + _steps(rng, time_s)
    breath: Floats = 0.002 * np.sin(2 * pi * 0.25 * time_s)
    return axes + breath


def _steps(rng: np.random.Generator, time_s: Floats) -> Floats:
    pace_hz = rng.uniform(1.6, 2.1)
    motion: Floats = rng.normal(0, 0.03, (3, len(time_s)))
    for harmonic, strength_g in enumerate((0.35, 0.2, 0.1, 0.06), start=1):
        phase = rng.uniform(0, 2 * pi, (3, 1))
        share = rng.uniform(0.5, 1.0, (3, 1))
        motion += strength_g * share * np.sin(2 * pi * harmonic * pace_hz * time_s + phase)
    return motion


def log_blocks(data: DataSet, encoding: Encoding | None = None) -> list[bytes]:
    """The blocks that a device commits, in wire form: a SCHEMA at the start and every 64 blocks."""
    encoder = BlockEncoder(data.stream, BLOCK_SIZE, encoding)
    ticks, done = data.ticks, 0
    blocks: list[bytes] = []
    while done < data.frames:
        if len(blocks) % SCHEMA_EVERY == 0:
            blocks += _described(data.stream, len(blocks))
        done += encoder.push_many(ticks[done:], [column[done:] for column in data.columns])
        blocks.append(build_block(encoder.seal(_header(Kind.DATA, len(blocks)))))
    return blocks


def _described(stream: Stream, seq: int) -> list[bytes]:
    schema = Schema(UID, LOG_ID, "1.0.0", "bench", 0, (stream,))
    parts = enumerate(schema_blocks(schema, BLOCK_SIZE), start=seq)
    return [build_block(Block(_header(Kind.SCHEMA, at, stream=number), 0, 0, part)) for at, (number, part) in parts]


def _header(kind: Kind, seq: int, *, stream: int = 0) -> BlockHeader:
    return BlockHeader(
        format=block_format(kind), seq=seq, t0=0, utc=START_US // 1_000_000, boot_id=1, session=1, stream=stream
    )


def flash_bytes(blocks: list[bytes]) -> int:
    """What the blocks occupy on flash, a page each."""
    return len(blocks) * BLOCK_SIZE


def write_replay(data: DataSet, path: Path) -> None:
    """The readings as a CSV file that the simulator can replay: a time, and each value with its decimals."""
    first_s, period_s = START_US / 1e6, data.stream.period_us / 1e6
    names = [f"{channel.name} [{channel.unit}]" for channel in data.stream.channels]
    decimals = [max(0, channel.decimals) for channel in data.stream.channels]
    columns = [channel.values(raw) for channel, raw in zip(data.stream.channels, data.columns, strict=True)]
    times = first_s + period_s * np.arange(data.frames)
    formats = ["%.3f" if period_s % 1 else "%d", *(f"%.{places}f" for places in decimals)]
    np.savetxt(path, np.column_stack([times, *columns]), formats, ",", header=",".join(["time", *names]), comments="")
