"""Lines with a course through means of their readings, from traces or from batches of any size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from fieldlog.plot.course import Smoothing
from fieldlog.plot.in_steps import InSteps
from fieldlog.plot.lines import Line, Overview, Single, lines_of, nothing_to_plot
from fieldlog.plot.reduce import Columns, Grid, Limit, present
from fieldlog.plot.rolling import Rolling
from fieldlog.plot.trace import SeriesLike, Trace
from fieldlog.resample import Steps
from fieldlog_protocol.durations import parse_duration_us
from fieldlog_protocol.errors import UsageError


def smoothing(rolling: str | None, resample: str | None, tz: tzinfo) -> Smoothing | None:
    """By durations such as 1h, of which one at most is given; None without. UsageError for what is none."""
    if rolling is not None and resample is not None:
        raise UsageError("rolling and resample both say what the line is. Nothing was plotted; give one of them")
    if rolling is not None:
        return Rolling(_above_zero_us(rolling, "rolling"))
    return None if resample is None else InSteps(Steps(_above_zero_us(resample, "resample"), tz))


def _above_zero_us(text: str, option: str) -> int:
    found = parse_duration_us(text)
    if not found:
        raise UsageError(f"{option} takes a time above zero, not {text}. Nothing was plotted")
    return found


def smoothed(lines: Sequence[Line], batches: Iterable[SeriesLike], way: Smoothing, n_columns: int) -> list[Line]:
    """`lines` with a course; `batches` are the same readings once more. Channels whose values are words stay as they are."""
    if not lines:
        return []
    first_us = min(int(line.runs[0].min()) for line in lines)
    last_us = max(int(line.runs[1].max()) for line in lines)
    overview = Overview(Grid(first_us, last_us, n_columns), with_label=any(line.label for line in lines))
    for piece in way.smooth(batches):
        overview.add(overview.reduce(piece))
    rows: dict[tuple[str, str, str], list[Columns]] = {}
    for line in overview.lines():
        rows.setdefault((line.label, line.name, line.unit), []).append(line.columns)
    return [_drawn(line, rows.get((line.label, line.name, line.unit), []), way) for line in lines]


def lines_from(
    given: Iterable[Trace | Line], n_columns: int, limits: Sequence[Limit], way: Smoothing | None, *, spread: bool
) -> list[Line]:
    """Lines that were made before, and those of traces; UsageError when there is none. Of traces each is smoothed by
    itself, since some may have the same name."""
    made: list[Line] = []
    raw: list[Trace] = []
    for one in given:
        if isinstance(one, Line):
            made.append(one)
        elif way is None:
            raw.append(one)
        elif len(present(one)[0]):
            lines = lines_of([one], n_columns, limits, spread=spread)
            made += smoothed(lines, [Single(one)], way, n_columns)
    if raw:
        made += lines_of(raw, n_columns, limits, spread=spread)
    if not made:
        raise nothing_to_plot()
    return made


def _drawn(line: Line, rows: list[Columns], way: Smoothing) -> Line:
    """Takes the rows of this line away: those of the next one of its name follow."""
    if not rows:
        return line
    found = way.drawn(line, rows[: way.n_rows])
    del rows[: way.n_rows]
    return found
