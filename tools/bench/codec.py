"""How small the log's blocks are, and how fast they are made and read, beside construct on raw frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from fieldlog_protocol.blocks.block import Encoding, Kind, parse_header
from fieldlog_protocol.blocks.decode import decode_frames
from tools.bench import data, peers
from tools.bench.data import DataSet
from tools.bench.table import markdown, number, times

T = TypeVar("T")

HEAD = (
    "data, encoding",
    "values",
    "encode Mvalues/s",
    "decode Mvalues/s",
    "against construct",
    "smaller on flash",
    "smaller on the line",
    "bits a value",
)
ENCODINGS = (Encoding.RAW, Encoding.PACKED)  # RAWC is for streams much slower than these
_CONSTRUCT_FRAMES = 50_000
_BATCH_BLOCKS = 1024
_TURNS = 3


def report(frames: int) -> str:
    """The table for both data sets, with `frames` frames each."""
    sets = [data.environment(frames), data.accelerometer(frames)]
    rows = [row for readings in sets for row in _rows(readings)]
    return f"## Blocks of {data.BLOCK_SIZE} bytes, SCHEMA blocks included\n\n{markdown(HEAD, rows)}\n"


def _rows(readings: DataSet) -> list[list[str]]:
    """A row per encoding, after that of construct; all decode in turns, and the best turn of each counts."""
    made = {encoding: _timed(partial(data.log_blocks, readings, encoding)) for encoding in ENCODINGS}
    decoders: dict[int, list[bytes]] = {encoding: _data_blocks(blocks) for encoding, (_, blocks) in made.items()}
    turns = [
        (_construct_s(readings), {encoding: _decode_s(readings, blocks) for encoding, blocks in decoders.items()})
        for _ in range(_TURNS)
    ]
    construct_rate = min(_CONSTRUCT_FRAMES, readings.frames) * len(readings.columns) / min(turn[0] for turn in turns)
    rows = [_construct_row(readings, construct_rate)]
    for encoding, (encode_s, blocks) in made.items():
        decode_rate = readings.values / min(turn[1][encoding] for turn in turns)
        rows.append(_row(readings, encoding, blocks, encode_s, (decode_rate, construct_rate)))
    return rows


def _row(
    readings: DataSet, encoding: Encoding, blocks: list[bytes], encode_s: float, rates: tuple[float, float]
) -> list[str]:
    raw, wire = readings.frames * readings.frame_bytes, sum(map(len, blocks))
    return [
        f"{readings.name}, {encoding.name.lower()}",
        str(readings.values),
        number(readings.values / encode_s / 1e6),
        number(rates[0] / 1e6),
        times(rates[0] / rates[1]),
        times(raw / data.flash_bytes(blocks)),
        times(raw / wire),
        number(8 * data.flash_bytes(blocks) / readings.values),
    ]


def _construct_row(readings: DataSet, rate: float) -> list[str]:
    bits = 8 * readings.frame_bytes / len(readings.columns)
    name = f"{readings.name}, raw frames by construct"
    return [name, str(readings.values), "", number(rate / 1e6), times(1), times(1), times(1), number(bits)]


def _construct_s(readings: DataSet) -> float:
    frames = min(_CONSTRUCT_FRAMES, readings.frames)
    raw = readings.raw_frames()[: frames * readings.frame_bytes]
    return peers.construct_seconds(raw, [channel.type.dtype for channel in readings.stream.channels], frames)


def _data_blocks(blocks: list[bytes]) -> list[bytes]:
    return [block for block in blocks if parse_header(block).kind == Kind.DATA]


def _decode_s(readings: DataSet, blocks: list[bytes]) -> float:
    """Check values and instants included. What was decoded must be what was encoded."""
    seconds, batches = _timed(
        lambda: [
            decode_frames(blocks[at : at + _BATCH_BLOCKS], readings.stream).columns
            for at in range(0, len(blocks), _BATCH_BLOCKS)
        ]
    )
    for column, pieces in zip(readings.columns, zip(*batches, strict=True), strict=True):
        if not np.array_equal(column, np.concatenate(pieces)):
            raise RuntimeError(f"{readings.name} was decoded to other values than were encoded")
    return seconds


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
