"""The live view as lines of text, fitted to a screen. A pure function of the picture, the size and the time.

Rule: no line is ever wider than the screen and there are never more than it has; what is left out is counted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from fieldlog.cli.live_words import PLAIN_SPARKS, SPARKS, age_text, spark, unit_text, value_text
from fieldlog.live.picture import Picture
from fieldlog.live.trail import Trail
from fieldlog.logger_info import LoggerInfo
from fieldlog.text import count, printable
from fieldlog_protocol.commands.logger import State

_INDENT = "  "
_GAP = "  "
_NAME_SHARE = 3
"""A name takes at most one in so many columns."""
_LEAST_SPARK = 8
_END = 3
"""Of a name that is too long, so many of its last characters stay."""
_STALE_S = 2.0
_DOING: Mapping[int, str] = {
    State.IDLE: "nothing is being recorded: `fieldlog log arm` begins, `fieldlog selftest` reads the sensors once",
    State.ARMED: "it is armed and has not begun to record: `fieldlog log status` says what it waits for",
    State.FULL: "its log is full and it records no more: `fieldlog pull`, then `fieldlog log release` makes room",
    State.FAULT: "it has a fault and cannot record: `fieldlog selftest` says more",
}


class Part(NamedTuple):
    """Text and how it is shown: "", "bold", "dim" or "alarm"."""

    text: str
    style: str = ""


Line = list[Part]


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class View:
    """What does not change from one drawing to the next. `unicode`: whether the screen shows more than ASCII."""

    device: str
    window_s: float
    unicode: bool = True

    def lines(self, picture: Picture, size: Size, now_s: float) -> list[Line]:
        """At most `size.height` lines; `now_s` is UTC."""
        head = list(self._head(picture, size.width))
        room = size.height - len(head) - 1
        body = self._body(picture, size, now_s)
        if len(body) > room:
            hidden = sum(1 for line in body[max(0, room) :] if line and line[0].text.startswith(_INDENT))
            note = f"{count(hidden, 'more channel')}: choose some with --channels, or make the window taller"
            body = [*body[: max(0, room)], [Part(note, "dim")]]
        else:
            body.append([Part("Ctrl-C ends", "dim")])
        return [_fitted(line, size.width) for line in [*head, *body][: size.height]]

    # the head

    def _head(self, picture: Picture, width: int) -> Iterator[Line]:
        info = picture.info
        if info is None:
            yield [Part(printable(self.device), "bold")]
            return
        name = info.name or info.serial or info.uid.hex()
        line = [Part(printable(name), "bold"), Part(f"{_GAP}{printable(self.device)}{_GAP}{state_name(info)}")]
        if picture.restarts:
            line.append(Part(f"{_GAP}restarted {_times(picture.restarts)}", "alarm"))
        if picture.breaks:
            line.append(Part(f"{_GAP}link lost {_times(picture.breaks)}", "alarm"))
        yield line
        if picture.trouble:
            yield from _folded(picture.trouble, width, "alarm")
        elif not info.recording:
            yield from _folded(doing(info), width)

    # streams and channels

    def _body(self, picture: Picture, size: Size, now_s: float) -> list[Line]:
        columns = _Columns.of(list(picture.trails.values()), size.width)
        lines: list[Line] = []
        for trail in sorted(picture.trails.values(), key=lambda trail: not trail.total):
            if not trail.total and _left_out(trail, picture.info):
                lines.append([Part(printable(trail.layout.stream.name), "bold"), Part(f"{_GAP}not recorded", "dim")])
                continue
            lines.append(self._stream(trail, now_s))
            bins = trail.bins(max(columns.spark, 1), self.window_s, now_s)
            lines.extend(self._channel(trail, at, columns, row) for at, row in enumerate(bins.tolist()))
        return lines

    def _stream(self, trail: Trail, now_s: float) -> Line:
        line = [Part(printable(trail.layout.stream.name), "bold")]
        if not trail.total:
            return [*line, Part(f"{_GAP}no frame yet", "dim")]
        rate_hz, age_s = trail.rate_hz, now_s - float(trail.seconds[-1]) if len(trail.seconds) else 0.0
        line.append(Part(f"{_GAP}{rate_hz:.4g} Hz" if rate_hz else ""))
        line.append(Part(f"{_GAP}{count(trail.total, 'frame')}{_GAP}"))
        line.append(Part(f"{trail.lost} lost", "alarm") if trail.lost else Part("none lost"))
        if age_s > max(_STALE_S, 2 / rate_hz if rate_hz else 0.0):
            line.append(Part(f"{_GAP}newest {age_text(age_s)} ago", "dim"))
        return line

    def _channel(self, trail: Trail, at: int, columns: _Columns, bins: list[float]) -> Line:
        channel = trail.layout.channels[at]
        newest = value_text(channel, float(trail.newest[at]))
        line = [
            Part(_INDENT + _shortened(printable(channel.name), columns.name) + _GAP),
            Part(newest.rjust(columns.value), "bold"),
            Part(" " + _cut(unit_text(channel), columns.unit)),
        ]
        if columns.spark:
            line.append(Part(_GAP + spark(bins, SPARKS if self.unicode else PLAIN_SPARKS)))
        if columns.range and trail.total:
            low, high = (value_text(channel, float(ends[at])) for ends in (trail.lowest, trail.highest))
            line.append(Part(f"{_GAP}{low.rjust(columns.value)} to {high.rjust(columns.value)}", "dim"))
        return line


def _left_out(trail: Trail, info: LoggerInfo | None) -> bool:
    """Whether the session that is armed or recorded is one without this stream, as far as the device tells."""
    if info is None or not info.active or info.plan is None or info.plan.streams is None:
        return False
    return trail.layout.stream.id not in {item.s for item in info.plan.streams}


class _Columns(NamedTuple):
    """Widths. `spark` 0: there is no room for it, and where `range` is false none for lowest and highest."""

    name: int
    value: int
    unit: int
    spark: int
    range: bool

    @classmethod
    def of(cls, trails: list[Trail], width: int) -> _Columns:
        channels = [(trail, at, channel) for trail in trails for at, channel in enumerate(trail.layout.channels)]
        if not channels:
            return cls(0, 0, 0, 0, False)
        name = min(max(cell_len(printable(channel.name)) for _, _, channel in channels), max(4, width // _NAME_SHARE))
        value = max(_value_width(trail, at) for trail, at, _ in channels)
        unit = min(max(cell_len(unit_text(channel)) for _, _, channel in channels), 8)
        left = width - len(_INDENT) - name - len(_GAP) - value - 1 - unit - len(_GAP)
        with_range = left - len(_GAP) - 2 * value - len(" to ")
        if with_range >= _LEAST_SPARK:
            return cls(name, value, unit, with_range, True)
        return cls(name, value, unit, left if left >= _LEAST_SPARK else 0, False)


def _value_width(trail: Trail, at: int) -> int:
    """Of the widest that was there so far, so that columns do not jump."""
    channel = trail.layout.channels[at]
    return max(len(value_text(channel, float(ends[at]))) for ends in (trail.lowest, trail.highest))


def state_name(info: LoggerInfo) -> str:
    return info.state.name.lower() if isinstance(info.state, State) else f"state {info.state}"


def doing(info: LoggerInfo) -> str:
    """Why nothing may come from a logger that does not record, and what to do."""
    return _DOING.get(info.state, f"it does something that only a newer fieldlog knows (state {info.state})")


def _folded(text: str, width: int, style: str = "") -> Iterator[Line]:
    for line in textwrap.wrap(printable(text), max(width, 1), break_on_hyphens=False):
        yield [Part(line, style)]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _cut(text: str, width: int) -> str:
    """Of exactly this width; what was cut ends in a mark."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1).rstrip() + "~" if width else ""


def _shortened(text: str, width: int) -> str:
    """Of exactly this width, cut before its end: names such as `acceleration x` differ there."""
    if cell_len(text) <= width or width < 4 * _END:
        return _cut(text, width)
    end = text[-_END:]
    return _cut(text, width - cell_len(end)) + end


def _fitted(line: Line, width: int) -> Line:
    fitted: Line = []
    for part in line:
        text = part.text if cell_len(part.text) <= width else _cut(part.text, width)
        fitted.append(Part(text, part.style))
        width -= cell_len(text)
    return fitted
