"""Reading many DATA blocks of one stream at once, into numpy columns.

Rule of this module: no work per value or per frame in Python; per block there is a CRC and a slice or two. Every claim of
a header is checked against the payload that is really there before memory is taken for it: a packed payload can claim
at most 64 values per byte, a RAW one less than one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import CHECKED, HEADER, MAGIC, OVERHEAD, TRAILER, VERSION, Kind
from fieldlog_protocol.blocks.codec import GATHER_MARGIN, Batch, Bytes, Column, Indices, Types
from fieldlog_protocol.blocks.codecs import CODECS, payload_columns, payload_resolution
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.blocks.timeline import Ticks, line_ticks
from fieldlog_protocol.errors import BlockError
from fieldlog_protocol.layout import Layout

Records = npt.NDArray[np.void]

_BATCH_BLOCKS = 512
_BATCH_VALUES = 1 << 22
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
    joined = _joined(blocks)
    headers, trailers = joined.headers, joined.trailers
    _require_whole(blocks, joined)
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
        try:
            parts = CODECS[encoding].decode(types, joined.batch(start, stop, counts, lengths))
        except BlockError as error:
            raise BlockError(f"{_one_of(headers['seq'][start:stop].tolist())} cannot be decoded: {error}") from None
        frames = slice(int(starts[start]), int(starts[stop]))
        resolution = payload_resolution(stream, encoding)
        if resolution is not None:
            t0 = np.repeat(headers["t0"][start:stop].astype(np.int64), counts[start:stop])
            ticks[frames] = t0 + parts.pop(0).astype(np.int64) * resolution
        for column, part in zip(columns, parts, strict=True):
            column[frames] = part
    return Frames(headers, starts, ticks, columns)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Blocks one behind the other, with GATHER_MARGIN bytes behind the last; block b lies from `edges[b]` on."""

    data: Bytes
    edges: Indices
    headers: Records
    trailers: Records

    def batch(self, start: int, stop: int, counts: Indices, lengths: Indices) -> Batch:
        """The payloads of some of them."""
        first, some = int(self.edges[start]), slice(start, stop)
        data = self.data[first : int(self.edges[stop]) + GATHER_MARGIN]
        return Batch(data, self.edges[some] - first + HEADER.size, lengths[some], counts[some])


def _joined(blocks: Sequence[bytes]) -> _Joined:
    edges = np.cumsum([0, *map(len, blocks)])
    if (np.diff(edges) < OVERHEAD).any():
        raise BlockError("one of the blocks is shorter than any block can be")
    data = np.frombuffer(b"".join([*blocks, bytes(GATHER_MARGIN)]), np.uint8)
    return _Joined(data, edges, _records(data, edges[:-1], HEADER), _records(data, edges[1:] - TRAILER.size, TRAILER))


def _records(data: Bytes, offsets: Indices, layout: Layout[Any]) -> Records:
    anywhere: Records = np.ndarray((len(data) - layout.size + 1,), f"V{layout.size}", data, strides=(1,))
    return anywhere[offsets].view(layout.dtype)


def _types(stream: Stream, encoding: int) -> Types:
    return tuple(column.type for column in payload_columns(stream, encoding))


def _require_whole(blocks: Sequence[bytes], joined: _Joined) -> None:
    lengths = joined.trailers["payload_len"].astype(np.int64)
    room = np.diff(joined.edges) - OVERHEAD
    whole = np.fromiter(map(zlib.crc32, blocks), np.uint32, len(blocks)) == CHECKED
    for index in np.flatnonzero(~whole | (lengths != room)).tolist():
        body = zlib.crc32(blocks[index][: HEADER.size + int(lengths[index])])
        check = zlib.crc32(blocks[index][-TRAILER.size : -4], body)
        if lengths[index] > room[index] or check != joined.trailers["crc"][index]:
            raise BlockError(f"block {joined.headers['seq'][index]} is damaged: its CRC-32 does not match")


def _one_of(seqs: list[int]) -> str:
    """Which it is would take a look at each: whoever wants to know decodes them one by one."""
    return f"block {seqs[0]}" if len(seqs) == 1 else f"one of blocks {min(seqs)} to {max(seqs)}"


def _require_stream(headers: Records, stream: Stream) -> None:
    wrong = (headers["magic"] != MAGIC) | (headers["format"] != VERSION << 4 | Kind.DATA)
    wrong |= headers["stream"] != stream.id
    _refuse(headers, wrong, f"is not a data block of stream {stream.id}")
    wrong = np.zeros_like(wrong)
    for encoding in CODECS:
        columns = len(payload_columns(stream, encoding))
        wrong |= (headers["encoding"] == encoding) & (headers["n_channels"] != columns)
    _refuse(headers, wrong, lambda header: _columns_told(header, stream))
    _refuse(
        headers,
        ~np.isin(headers["encoding"], list(CODECS)),
        lambda header: f"has encoding {header['encoding']}, which is not known here",
    )


def _columns_told(header: np.void, stream: Stream) -> str:
    columns = len(payload_columns(stream, int(header["encoding"])))
    return f"has {header['n_channels']} columns, and stream {stream.id} as it is described has {columns}"


def _require_plausible(headers: Records, trailers: Records, stream: Stream, counts: Indices, lengths: Indices) -> None:
    _refuse(headers, (headers["t0"] > _MAX_TICK) | (trailers["span"] > _MAX_TICK), "lies beyond the end of time")
    _refuse(headers, counts == 0, "holds no frame")
    for encoding in np.unique(headers["encoding"]).tolist():
        too_short = (lengths < CODECS[encoding].least_length(_types(stream, encoding), counts)) & (
            headers["encoding"] == encoding
        )
        _refuse(headers, too_short, "claims more frames than its payload can hold")


def _refuse(headers: Records, wrong: npt.NDArray[np.bool_], what: str | Callable[[np.void], str]) -> None:
    if wrong.any():
        header = headers[int(np.flatnonzero(wrong)[0])]
        raise BlockError(f"block {header['seq']} {what if isinstance(what, str) else what(header)}")


def _batches(encodings: npt.NDArray[np.uint8], counts: Indices, columns: int) -> Iterator[tuple[int, int]]:
    """Runs of blocks with one encoding, short enough that all that is made of them stays in the cache."""
    changes = (np.flatnonzero(encodings[1:] != encodings[:-1]) + 1).tolist()
    ends = np.cumsum(counts) * columns
    for first, end in pairwise([0, *changes, len(counts)]):
        start = first
        while start < end:
            most = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + _BATCH_VALUES, "right"))
            stop = max(start + 1, min(start + _BATCH_BLOCKS, most, end))
            yield start, stop
            start = stop
