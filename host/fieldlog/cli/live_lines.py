"""Frames as lines: JSON objects, or CSV with a column for each channel. They are flushed at once: whoever reads is live too.

Rule: everything a device names is escaped, in JSON by its own rules, in CSV so that no spreadsheet takes it for a formula.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from fieldlog.cli.live_view import doing, state_name
from fieldlog.cli.output import Output, json_line
from fieldlog.datetimes import utc_text
from fieldlog.export.layout import labelled
from fieldlog.export.texts import plain
from fieldlog.live.events import Event, Found, LinkLost, Restarted
from fieldlog.live.frames import Floats, Frames, Layout
from fieldlog.logger_info import LoggerInfo
from fieldlog.text import count
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.errors import VerificationError

_DIGITS, _DIGITS_OF_F32 = 12, 8


class JsonLines:
    """An object for each event: docs/json.md has their keys."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._told: tuple[object, ...] = ()

    def show(self, event: Event) -> None:
        if isinstance(event, Frames):
            _write(map(json_line, _frames_json(event)))
            return
        if isinstance(event, Found):
            told = (event.info.state, event.info.boot_id, [_stream_json(layout) for layout in event.layouts])
            if told != self._told:
                self._told = told
                _write([json_line(_found_json(event, self._device))])
            return
        _write([json_line(_link_json(event))])


def _link_json(event: Event) -> Mapping[str, object]:
    if isinstance(event, Restarted):
        return {"event": "restart", "boot_id": event.boot_id}
    if isinstance(event, LinkLost):
        return {"event": "link lost", "message": event.text}
    return {"event": "link back"}


def _found_json(found: Found, device: str) -> Mapping[str, object]:
    info = found.info
    return {
        "event": "device",
        "device": device,
        "uid": info.uid,
        "serial": info.serial,
        "name": info.name,
        "state": state_name(info),
        "boot_id": info.boot_id,
        "clock_error_us": found.error_us,
        "streams": [_stream_json(layout) for layout in found.layouts],
    }


def _stream_json(layout: Layout) -> Mapping[str, object]:
    stream = layout.stream
    channels = [{"name": channel.name, "unit": channel.unit} for channel in layout.channels]
    return {"id": stream.id, "name": stream.name, "period_us": stream.period_us, "channels": channels}


def _frames_json(frames: Frames) -> Iterable[Mapping[str, object]]:
    """`lost` stands at the first frame behind what was lost; where none came behind it, in an object of its own."""
    names = _unique([channel.name for channel in frames.channels])
    stream, lost = frames.stream.name, frames.lost
    if lost and not len(frames):
        yield {"event": "lost", "stream": stream, "frames": lost}
    values = zip(*(column.tolist() for column in frames.columns), strict=True)
    for utc_us, tick, row in zip(frames.utc_us.tolist(), frames.ticks.tolist(), values, strict=True):
        yield {
            "event": "frame",
            "time": utc_text(utc_us, "microseconds"),
            "stream": stream,
            "boot_id": frames.boot_id,
            "tick": tick,
            "lost": lost,
            "values": dict(zip(names, map(_known, row), strict=True)),
        }
        lost = 0


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - NaN: missing


class CsvLines:
    """A row for each frame: its time, its stream, then a cell for each channel of the device that is followed."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._header: list[str] = []
        self._first: dict[int, int] = {}
        self._state: object = None
        self._rows = csv.writer(sys.stdout, lineterminator="\n")

    def show(self, event: Event) -> None:
        if isinstance(event, Frames):
            self._frames(event)
        elif isinstance(event, Found):
            self._found(event)
        elif isinstance(event, LinkLost):
            self._output.warn(event.text)
        elif isinstance(event, Restarted):
            self._output.warn("the device has restarted: how many frames were missed by that is not known")
        else:
            self._output.note("the link works again")

    def _found(self, event: Found) -> None:
        header = ["time", "stream", *_headings(event.layouts)]
        if self._header and header != self._header:
            raise VerificationError("the device records other channels now, and the columns are settled. Begin anew")
        if not self._header:
            self._header = header
            self._rows.writerow(header)
            sys.stdout.flush()
        place = 0
        for layout in event.layouts:
            self._first[layout.stream.id] = place
            place += len(layout.positions)
        self._say(event.info)

    def _say(self, info: LoggerInfo) -> None:
        if info.state != self._state and not info.recording:
            self._output.note(doing(info))
        self._state = info.state

    def _frames(self, frames: Frames) -> None:
        if frames.lost:
            self._output.warn(f"{count(frames.lost, 'frame')} of {frames.stream.name} lost")
        place, width = self._first[frames.stream.id], len(self._header) - 2
        before, behind = [""] * place, [""] * (width - place - len(frames.channels))
        name = plain(frames.stream.name)
        cells = [_cells(channel, column) for channel, column in zip(frames.channels, frames.columns, strict=True)]
        for utc_us, row in zip(frames.utc_us.tolist(), zip(*cells, strict=True), strict=True):
            self._rows.writerow([utc_text(utc_us, "microseconds"), name, *before, *row, *behind])
        sys.stdout.flush()


def _headings(layouts: Sequence[Layout]) -> list[str]:
    """A name that several streams have is told apart by theirs."""
    named = [(layout.stream, labelled(channel.name, channel.unit)) for layout in layouts for channel in layout.channels]
    streams = Counter(name for _, name in {(stream.id, name) for stream, name in named})
    return _unique([plain(f"{stream.name} {name}" if streams[name] > 1 else name) for stream, name in named])


def _cells(channel: Channel, column: Floats) -> list[str]:
    """Exactly the decimals of the channel's scale; as many digits as mean something where it is reckoned."""
    if channel.type.is_float:
        form = f"%.{_DIGITS_OF_F32}g"
    else:
        form = f"%.{_DIGITS}g" if channel.calibration else f"%.{channel.decimals}f"
    return ["" if value != value else form % value for value in column.tolist()]  # noqa: PLR0124 - NaN: missing


def _unique(names: Iterable[str]) -> list[str]:
    """The second of a name, and so on, with its number behind."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in found:
            number += 1
            candidate = f"{name} {number}"
        found.append(candidate)
    return found


def _write(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines))
    sys.stdout.flush()
