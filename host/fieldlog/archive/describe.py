"""Which description holds for which block: the SCHEMA blocks of one log, in the order in which they were written.

A schema_id is a byte and comes round again, so it alone does not tell: the nearest description before the block counts,
and else, when the older ones were overwritten, the first behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.block import Block
from fieldlog_protocol.blocks.schema import Schema, SchemaPart, Stream, merge_schema, parse_schema_part
from fieldlog_protocol.errors import BlockError

Ints = npt.NDArray[np.int64]


class Schemas:
    """Looks up streams by schema_id, stream id and seq."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._versions: dict[int, list[tuple[int, Schema]]] = {}
        self._known: dict[bytes, SchemaPart | None] = {}
        current: dict[int, dict[tuple[int, int], SchemaPart]] = {}
        for block in blocks:
            part = self._part(block.payload)
            if part is not None:
                self._learn(block.header.seq, part, current.setdefault(part.schema_id, {}))

    def stream(self, schema_id: int, stream_id: int, seq: int) -> Stream | None:
        """The stream as described nearest before `seq`, else first after it; None when no description is held."""
        found: Stream | None = None
        for since, schema in self._versions.get(schema_id, []):
            if since > seq and found is not None:
                break
            found = schema.stream(stream_id) or found
        return found

    def runs(self, stream_id: int, schema_ids: Ints, seqs: Ints) -> Iterator[tuple[Stream | None, slice]]:
        """`stream` for many blocks of one stream in order of seq: runs of blocks with the same description."""
        cuts = [0, *(np.flatnonzero(np.diff(schema_ids)) + 1).tolist(), len(seqs)]
        begun, current = 0, None
        for start, stop in pairwise(cuts):
            versions = self._versions.get(int(schema_ids[start]), [])
            changes = np.searchsorted(seqs[start:stop], [since for since, _ in versions]) + start
            for at in sorted({start, *(int(change) for change in changes if change < stop)}):
                found = self.stream(int(schema_ids[at]), stream_id, int(seqs[at]))
                if at and found != current:
                    yield current, slice(begun, at)
                    begun = at
                current = found
        yield current, slice(begun, len(seqs))

    def streams(self, ids: Collection[int]) -> list[Stream]:
        """Every description of the streams of these ids, in order of first appearance."""
        schemas = (schema for versions in self._versions.values() for _, schema in versions)
        return list(dict.fromkeys(stream for schema in schemas for stream in schema.streams if stream.id in ids))

    def channel_names(self) -> list[str]:
        """Every channel described, in order of first appearance."""
        schemas = (schema for versions in self._versions.values() for _, schema in versions)
        return list(dict.fromkeys(c.name for schema in schemas for stream in schema.streams for c in stream.channels))

    def _part(self, payload: bytes) -> SchemaPart | None:
        """The part in a payload; the same one is written every 64 blocks, so it is read once."""
        if payload not in self._known:
            try:
                self._known[payload] = parse_schema_part(payload)
            except BlockError:
                self._known[payload] = None
        return self._known[payload]

    def _learn(self, seq: int, part: SchemaPart, parts: dict[tuple[int, int], SchemaPart]) -> None:
        """A part replaces what was known of the same channels, and with that a new version begins."""
        key = (part.stream.id, part.first)
        if parts.get(key) == part:
            return
        parts[key] = part
        try:
            schema = merge_schema(parts.values())
        except BlockError:
            return
        self._versions.setdefault(part.schema_id, []).append((seq, schema))
