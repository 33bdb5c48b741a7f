"""Reading many DATA blocks of one stream at once, into numpy columns.

Rule of this module: no work per value or per frame in Python; per block there is a CRC and two slices. Every claim of
a header is checked against the payload that is really there before memory is taken for it: a packed payload can claim
at most 64 values per byte, a RAW one less than one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import HEADER, MAGIC, OVERHEAD, TRAILER, VERSION, Kind
from fieldlog_protocol.blocks.codec import GATHER_MARGIN, Batch, Column, Indices, Types
from fieldlog_protocol.blocks.codecs import CODECS, payload_columns, payload_resolution
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.blocks.timeline import Ticks, line_ticks
from fieldlog_protocol.errors import BlockError

Records = npt.NDArray[np.void]

_BATCH_BLOCKS = 256
_BATCH_VALUES = 1 << 22  # blocks of very different length share one table, as wide as the longest
_MAX_TICK = 2**62


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of some blocks, in the blocks' order.

    `headers` has one record per block with the fields of BlockHeader; block b has the frames `starts[b]` up to
    `starts[b + 1]`. `ticks` (since boot) and each of `columns` (raw values in the channel's dtype, the stream's
    channels in order) have one entry per frame.
    """

    headers: Records
    starts: Indices
    ticks: Ticks
    columns: list[Column]

    @property
    def block(self) -> Indices:
        """For each frame the index of its block."""
        return np.repeat(np.arange(len(self.headers)), np.diff(self.starts))

    def per_frame(self, field: str) -> npt.NDArray[Any]:
        """A field of the block headers, such as seq or boot_id, for each frame."""
        return np.repeat(self.headers[field], np.diff(self.starts))


def decode_frames(blocks: Sequence[bytes], stream: Stream) -> Frames:
    """The frames of `blocks`, pages or wire forms, which must all be whole DATA blocks of `stream`."""
    headers, trailers = _records(blocks)
    _require_whole(blocks, headers, trailers)
    _require_stream(headers, stream)
    counts = trailers["n_frames"].astype(np.int64)
    lengths = trailers["payload_len"].astype(np.int64)
    _require_plausible(headers, trailers, stream, counts, lengths)
    starts = np.concatenate(([0], np.cumsum(counts)))
    ticks = line_ticks(headers["t0"].astype(np.int64), trailers["span"].astype(np.int64), counts)
    columns: list[Column] = [np.empty(len(ticks), channel.type.dtype) for channel in stream.channels]
    for start, stop in _batches(headers["encoding"], counts, len(stream.columns) + 1):
        encoding = int(headers["encoding"][start])
        types = _types(stream, encoding)
        batch = _batch(blocks[start:stop], counts[start:stop], lengths[start:stop])
        parts = CODECS[encoding].decode(types, batch)
        frames = slice(int(starts[start]), int(starts[stop]))
        resolution = payload_resolution(stream, encoding)
        if resolution is not None:
            t0 = np.repeat(headers["t0"][start:stop].astype(np.int64), counts[start:stop])
            ticks[frames] = t0 + parts.pop(0).astype(np.int64) * resolution
        for column, part in zip(columns, parts, strict=True):
            column[frames] = part
    return Frames(headers, starts, ticks, columns)


def _types(stream: Stream, encoding: int) -> Types:
    return tuple(column.type for column in payload_columns(stream, encoding))


def _records(blocks: Sequence[bytes]) -> tuple[Records, Records]:
    if any(len(block) < OVERHEAD for block in blocks):
        raise BlockError("one of the blocks is shorter than any block can be")
    headers = np.frombuffer(b"".join([block[: HEADER.size] for block in blocks]), HEADER.dtype)
    trailers = np.frombuffer(b"".join([block[-TRAILER.size :] for block in blocks]), TRAILER.dtype)
    return headers, trailers


def _require_whole(blocks: Sequence[bytes], headers: Records, trailers: Records) -> None:
    lengths: list[int] = trailers["payload_len"].tolist()
    checks: list[int] = trailers["crc"].tolist()
    crc32 = zlib.crc32
    for index, (block, length, check) in enumerate(zip(blocks, lengths, checks, strict=True)):
        body = crc32(block[: HEADER.size + length])
        if length > len(block) - OVERHEAD or crc32(block[-TRAILER.size : -4], body) != check:
            raise BlockError(f"block {headers['seq'][index]} is damaged: its CRC-32 does not match")


def _require_stream(headers: Records, stream: Stream) -> None:
    wrong = (headers["magic"] != MAGIC) | (headers["format"] != VERSION << 4 | Kind.DATA)
    wrong |= headers["stream"] != stream.id
    for encoding in CODECS:
        columns = len(payload_columns(stream, encoding))
        wrong |= (headers["encoding"] == encoding) & (headers["n_channels"] != columns)
    _refuse(headers, wrong, f"is not a data block of stream {stream.id} with {len(stream.columns)} columns")
    _refuse(headers, ~np.isin(headers["encoding"], list(CODECS)), "has an encoding that is not known here")


def _require_plausible(headers: Records, trailers: Records, stream: Stream, counts: Indices, lengths: Indices) -> None:
    _refuse(headers, (headers["t0"] > _MAX_TICK) | (trailers["span"] > _MAX_TICK), "lies beyond the end of time")
    _refuse(headers, counts == 0, "holds no frame")
    for encoding in np.unique(headers["encoding"]).tolist():
        too_short = (lengths < CODECS[encoding].least_length(_types(stream, encoding), counts)) & (
            headers["encoding"] == encoding
        )
        _refuse(headers, too_short, "claims more frames than its payload can hold")


def _refuse(headers: Records, wrong: npt.NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        raise BlockError(f"block {headers['seq'][int(np.flatnonzero(wrong)[0])]} {what}")


def _batches(encodings: npt.NDArray[np.uint8], counts: Indices, columns: int) -> Iterator[tuple[int, int]]:
    """Runs of blocks with one encoding, short enough that their common table stays in the cache."""
    frames: list[int] = counts.tolist()
    codes: list[int] = encodings.tolist()
    start = 0
    longest = 0
    for index, (count, code) in enumerate(zip(frames, codes, strict=True)):
        longest = max(longest, count)
        blocks = index - start + 1
        if index > start and (
            code != codes[start] or blocks > _BATCH_BLOCKS or blocks * longest * columns > _BATCH_VALUES
        ):
            yield start, index
            start, longest = index, count
    if frames:
        yield start, len(frames)


def _batch(blocks: Sequence[bytes], counts: Indices, lengths: Indices) -> Batch:
    payloads = [block[HEADER.size : HEADER.size + n] for block, n in zip(blocks, lengths.tolist(), strict=True)]
    data = np.frombuffer(b"".join([*payloads, bytes(GATHER_MARGIN)]), np.uint8)
    return Batch(data, np.cumsum(lengths) - lengths, lengths, counts)
