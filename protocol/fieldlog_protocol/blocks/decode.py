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
from fieldlog_protocol.blocks.codecs import CODECS
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
    types = tuple(column.type for column in stream.columns)
    _require_stream(headers, stream)
    counts = trailers["n_frames"].astype(np.int64)
    lengths = trailers["payload_len"].astype(np.int64)
    _require_plausible(headers, trailers, types, counts, lengths)
    columns = _columns(blocks, types, headers["encoding"], counts, lengths)
    t0 = headers["t0"].astype(np.int64)
    if stream.timed:
        ticks = np.repeat(t0, counts) + columns.pop(0).astype(np.int64) * stream.time_resolution
    else:
        ticks = line_ticks(t0, trailers["span"].astype(np.int64), counts)
    return Frames(headers, np.concatenate(([0], np.cumsum(counts))), ticks, columns)


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
    known = (headers["magic"] == MAGIC) & (headers["format"] == VERSION << 4 | Kind.DATA)
    known &= (headers["stream"] == stream.id) & (headers["n_channels"] == len(stream.columns))
    _refuse(headers, ~known, f"is not a data block of stream {stream.id} with {len(stream.columns)} columns")
    _refuse(headers, ~np.isin(headers["encoding"], list(CODECS)), "has an encoding that is not known here")


def _require_plausible(headers: Records, trailers: Records, types: Types, counts: Indices, lengths: Indices) -> None:
    _refuse(headers, (headers["t0"] > _MAX_TICK) | (trailers["span"] > _MAX_TICK), "lies beyond the end of time")
    _refuse(headers, counts == 0, "holds no frame")
    for encoding in np.unique(headers["encoding"]).tolist():
        too_short = (lengths < CODECS[encoding].least_length(types, counts)) & (headers["encoding"] == encoding)
        _refuse(headers, too_short, "claims more frames than its payload can hold")


def _refuse(headers: Records, wrong: npt.NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        raise BlockError(f"block {headers['seq'][int(np.flatnonzero(wrong)[0])]} {what}")


def _columns(
    blocks: Sequence[bytes], types: Types, encodings: npt.NDArray[np.uint8], counts: Indices, lengths: Indices
) -> list[Column]:
    parts: list[list[Column]] = [
        CODECS[int(encodings[start])].decode(types, _batch(blocks[start:stop], counts[start:stop], lengths[start:stop]))
        for start, stop in _batches(encodings, counts, len(types))
    ]
    empty: list[Column] = [np.empty(0, type_.dtype) for type_ in types]
    return [np.concatenate(pieces) for pieces in zip(empty, *parts, strict=True)]


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
