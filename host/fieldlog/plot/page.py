"""One HTML file to zoom and pan in, with everything in it: no other file, no network, nothing from elsewhere.

Rule of this module: text from devices goes into JSON alone, in which no character can end a script, and the page's own
program (`page.js`) never makes markup of it. A policy in the page forbids whatever is not the page's own, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlog.plot.course import apart
from fieldlog.plot.events import Event, events_of, stretched
from fieldlog.plot.lines import Line
from fieldlog.plot.reduce import Limit, uncovered
from fieldlog.plot.smooth import lines_from, smoothing
from fieldlog.plot.statistics import table_rows
from fieldlog.plot.style import DASHES, THEMES, Theme, clean, unit_sign
from fieldlog.plot.ticks import state_text
from fieldlog.plot.trace import Floats, Micros, Trace
from fieldlog.plot.zone import zone, zone_name
from fieldlog.whole_file import whole_file

_BLOCK = 256
"""So many values of a line, side by side, have a base and a scale of their own, so that zooming in finds no stairs."""
_BUDGET = 3_300_000
"""Bytes of numbers; base64 makes a third more of them."""
_TIME_BYTES, _REDUCED_BYTES = 4, 6
_MOST_COLUMNS = 150_000
_MOST_SPANS = 5000
_MOST_ROWS = 200
_TEXT = 200
_MOST = 1e38


def page_columns(n_lines: int) -> int:
    """How many columns lines may have so that a page of so many of them stays below 5 MB."""
    return max(1000, min(_MOST_COLUMNS, _BUDGET // (max(n_lines, 1) * (_TIME_BYTES + _REDUCED_BYTES))))


def save_page(
    traces: Iterable[Trace | Line],
    path: str | Path,
    *,
    title: str = "",
    tz: str | tzinfo = "UTC",
    events: Iterable[Event] = (),
    limits: Sequence[Limit] = (),
    compare: bool = True,
    theme: str = "light",
    stats: bool = False,
    rolling: str | None = None,
    resample: str | None = None,
    force: bool = True,
) -> Path:
    """Write lines (reduced to `page_columns`) or traces as one HTML file, with `force` in place of one that is there; returns
    the path.

    `stats`, `rolling` and `resample` are those of `timeseries`. UsageError when there is nothing to draw, FieldlogError when the file cannot be written.
    """
    target = Path(path)
    given, way = list(traces), smoothing(rolling, resample, zone(tz))
    lines = lines_from(given, page_columns(len(given) * (1 if way is None else 2)), limits, way, spread=stats)
    table = table_rows(lines, _MOST_ROWS) if stats else []
    text = _page(apart(lines), clean(title), zone(tz), tuple(events), table, compare=compare, theme=THEMES[theme])
    with whole_file(target, force=force) as aside:
        aside.write_text(text, encoding="utf-8")
    return target


class _Arrays:
    """The numbers of a page; what several lines share stands there once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._known: dict[bytes, int] = {}

    def add(self, numbers: npt.NDArray[Any]) -> int:
        data = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
        key = hashlib.blake2b(data).digest() + str(numbers.dtype).encode()
        if key not in self._known:
            self._known[key] = len(self.texts)
            self.texts.append(base64.b64encode(data).decode())
        return self._known[key]


def _page(
    lines: Sequence[Line],
    title: str,
    tz: tzinfo,
    events: Sequence[Event],
    table: Sequence[Sequence[str]],
    *,
    compare: bool,
    theme: Theme,
) -> str:
    groups: dict[tuple[str, str, tuple[str, ...] | None], list[Line]] = {}
    for line in lines:
        groups.setdefault(("" if compare else line.label, line.unit, line.states), []).append(line)
    begin_us = min(min(int(line.runs[0].min()), int(line.columns.utc_us.min())) for line in lines)
    end_us = max(max(int(line.runs[1].max()), int(line.columns.utc_us.max())) for line in lines)
    begin_us, end_us = stretched(events, begin_us, end_us)
    unit_us = max(1, -(-(end_us - begin_us) // (2**32 - 1)))
    arrays = _Arrays()
    drawn = _Drawn(
        arrays, theme, begin_us, unit_us, small=_is_much(lines), labelled=len({line.label for line in lines}) > 1
    )
    inside = [event for event in events if begin_us <= event.utc_us <= end_us]
    devices = [tuple(dict.fromkeys(line.label for line in group)) for group in groups.values()]
    alike = {labels: [_event(event) for event in events_of(labels, inside)] for labels in devices}
    told = {
        "title": title,
        "zone": zone_name(tz),
        "begin": begin_us / 1000,
        "end": end_us / 1000,
        "tick": unit_us / 1000,
        "theme": {name: getattr(theme, name) for name in ("background", "text", "edge", "grid", "gap")},
        "panels": [
            _panel(group, drawn) | {"events": list(alike).index(labels)}
            for group, labels in zip(groups.values(), devices, strict=True)
        ],
        "events": list(alike.values()),
        "table": table,
        "key": "grey: nothing logged · light: lowest to highest",
    }
    return _filled(title, told | {"arrays": arrays.texts})


def _event(event: Event) -> list[Any]:
    words = clean(f"{event.label}: {event.words}" if event.label else event.words, _TEXT)
    return [event.utc_us / 1000, event.kind, words]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What all lines of a page have in common: `small` ones have values of two bytes, `labelled` ones tell their device."""

    arrays: _Arrays
    theme: Theme
    begin_us: int
    unit_us: int
    small: bool
    labelled: bool


def _is_much(lines: Sequence[Line]) -> bool:
    """Whether values of four bytes would take too much of the page."""
    return sum(len(line.columns.utc_us) * (12 if line.columns.reduced else 4) for line in lines) > _BUDGET * 2 // 3


def _panel(group: Sequence[Line], drawn: _Drawn) -> dict[str, Any]:
    lines = [_line(line, index, drawn) for index, line in enumerate(group)]
    states = group[0].states if all(line.columns.last is not None for line in group) else None
    words = None if states is None else [state_text(number, states) for number in range(len(states))]
    return {"unit": unit_sign(group[0].unit), "states": words, "gaps": _gaps(group), "lines": lines}


def _line(line: Line, index: int, drawn: _Drawn) -> dict[str, Any]:
    colours = drawn.theme.colours
    columns = line.columns
    rows, lowest, highest = _finite((columns.low, columns.level, columns.high) if columns.reduced else (columns.level,))
    values, base, step = _packed(rows, small=drawn.small)
    add = drawn.arrays.add
    return {
        "name": clean(line.full_name if drawn.labelled else line.name, _TEXT),
        "colour": colours[index % len(colours)],
        "dash": DASHES[index // len(colours) % len(DASHES)],
        "limits": [[limit.value, limit.below] for limit in line.figures.limits],
        "times": add(((columns.utc_us - drawn.begin_us) // drawn.unit_us).astype(np.uint32)),
        "starts": add(np.flatnonzero(columns.starts).astype(np.uint32)),
        "values": [add(row) for row in values],
        "small": drawn.small,
        "scale": [add(base), add(step)],
        "range": [lowest, highest],
        "held": columns.last is not None,
    }


def _finite(rows: Sequence[Floats]) -> tuple[list[Floats], float, float]:
    """Rows within what a page can show, and their lowest and highest: an infinite value is at the end of the others."""
    there = np.concatenate(rows)
    there = np.clip(there[np.isfinite(there)], -_MOST, _MOST)
    lowest, highest = (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)
    return [np.clip(np.nan_to_num(row, nan=lowest), lowest, highest) for row in rows], lowest, highest


def _packed(rows: Sequence[Floats], *, small: bool) -> tuple[list[npt.NDArray[Any]], Floats, Floats]:
    """(rows, bases, steps): a value is the base of its block, and so many of its steps."""
    first = np.arange(0, len(rows[0]), _BLOCK)
    base = np.minimum.reduce([np.minimum.reduceat(row, first) for row in rows])
    top = np.maximum.reduce([np.maximum.reduceat(row, first) for row in rows])
    step = np.where(top > base, (top - base) / 65535, 1.0) if small else np.ones(len(first))
    block = np.arange(len(rows[0])) // _BLOCK
    steps = [(row - base[block]) / step[block] for row in rows]
    return [np.rint(row).astype(np.uint16) if small else row.astype(np.float32) for row in steps], base, step


def _gaps(group: Sequence[Line]) -> list[list[float]]:
    begins, ends = uncovered([line.logged for line in group])
    longest: Micros = np.sort(np.argsort(begins - ends, kind="stable")[:_MOST_SPANS])
    return [
        [begin / 1000, end / 1000] for begin, end in zip(begins[longest].tolist(), ends[longest].tolist(), strict=True)
    ]


def _filled(title: str, told: dict[str, Any]) -> str:
    here = files("fieldlog.plot")
    program = here.joinpath("page.js").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    data = json.dumps(told, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    page = here.joinpath("page.html").read_text(encoding="utf-8")
    parts = {"TITLE": html.escape(title or "fieldlog"), "HASH": hashed, "DATA": data, "PROGRAM": program}
    head, *rest = page.split("@@")  # @@NAME@@: every second piece is a name
    return head + "".join(parts[name] + text for name, text in zip(rest[::2], rest[1::2], strict=True))
