"""Which streams and channels are to be followed, by the names that people call them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fieldlog.recording import StreamInfo
from fieldlog_protocol.errors import UsageError


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names of streams (or their numbers) and of channels; None: all."""

    streams: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None

    def of(self, streams: Sequence[StreamInfo]) -> list[tuple[StreamInfo, list[int]]]:
        """The streams with the positions of their wanted channels; raises UsageError for a name that nothing has."""
        chosen = self._streams(streams)
        names = {channel.name for stream in chosen for channel in stream.channels}
        _require("channel", self.channels or (), names)
        found = [(stream, self._positions(stream)) for stream in chosen]
        return [(stream, positions) for stream, positions in found if positions]

    def _streams(self, streams: Sequence[StreamInfo]) -> list[StreamInfo]:
        if self.streams is None:
            return list(streams)
        known = {stream.name for stream in streams} | {str(stream.id) for stream in streams}
        _require("stream", self.streams, known, [stream.name for stream in streams])
        return [stream for stream in streams if stream.name in self.streams or str(stream.id) in self.streams]

    def _positions(self, stream: StreamInfo) -> list[int]:
        names = self.channels
        return [at for at, channel in enumerate(stream.channels) if names is None or channel.name in names]


def _require(kind: str, names: Iterable[str], known: Iterable[str], listed: Iterable[str] | None = None) -> None:
    unknown = [name for name in names if name not in set(known)]
    if unknown:
        there = ", ".join(sorted(known if listed is None else listed)) or "none"
        raise UsageError(f"the device has no {kind} {unknown[0]!r}. Its {kind}s: {there}")
