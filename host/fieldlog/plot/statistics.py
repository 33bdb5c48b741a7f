"""The table beneath a plot: what the readings of each line come to.

Rule: the lowest and the highest are readings, and shown as recorded; what is reckoned from all has no fewer digits.
"""

from __future__ import annotations

from collections.abc import Sequence

from fieldlog.plot.lines import Line
from fieldlog.plot.style import clean, unit_sign
from fieldlog.plot.ticks import state_text
from fieldlog.plot.trace import OFF_ON

_HEAD = ("", "readings", "missing", "lowest", "mean", "highest", "st. dev.", "time beyond")
_WIDTHS = (30, 11, 9, 11, 11, 11, 11, 26)
_NAME_LENGTH = 44
_NONE = "\N{EN DASH}"
_MOST_DECIMALS = 7
_LARGE = 1e15
_US_PER_S = 1_000_000


def table_rows(lines: Sequence[Line], most: int) -> list[tuple[str, ...]]:
    """The head, then a row for each line and each of its limits; the last says how many more lines there are than `most`.
    Where no line has a limit there is no column of the time beyond."""
    rows = [_HEAD, *(row for line in lines[:most] for row in (_row(line), *_beyond(line)))]
    hidden = len(lines) - min(len(lines), most)
    if hidden:
        rows.append((f"and {hidden} more", *[""] * (len(_HEAD) - 1)))
    return rows if any(line.figures.limits for line in lines) else [row[:-1] for row in rows]


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """In characters: at least the usual ones, and more where a number is so long that it would reach into the next."""
    columns = list(zip(*rows, strict=True))
    longest = [max(map(len, column)) + 2 for column in columns]
    return [_WIDTHS[0], *map(max, _WIDTHS[1 : len(columns)], longest[1:])]


def _row(line: Line) -> tuple[str, ...]:
    found = line.figures
    sign = unit_sign(line.unit)
    return (
        clean(f"{line.full_name} [{sign}]" if sign else line.full_name, _NAME_LENGTH),
        f"{found.count:,}".replace(",", "\N{THIN SPACE}"),
        f"{found.n_missing:,}".replace(",", "\N{THIN SPACE}") if found.n_missing else "0",
        *_course(line),
        "",
    )


def _course(line: Line) -> tuple[str, ...]:
    """The lowest, the mean, the highest and the standard deviation. Between states there is no mean, but of 0 and 1 the
    share of readings, where they come evenly."""
    found = line.figures
    if line.states is not None and (line.eventful or line.states != OFF_ON):
        return state_text(found.lowest, line.states), _NONE, state_text(found.highest, line.states), _NONE
    recorded = _recorded_decimals(found.lowest, found.highest)
    apart = _decimals_apart(found.highest - found.lowest)
    ends = apart if recorded is None else recorded
    reckoned = max((n for n in (recorded, apart) if n is not None), default=None)
    return (
        _number(found.lowest, ends),
        _number(found.mean, reckoned),
        _number(found.highest, ends),
        "" if found.deviation is None else _number(found.deviation, reckoned),
    )


def _recorded_decimals(*values: float) -> int | None:
    """The fewest that show all of these as they are; None for numbers that are no short decimals."""
    if not all(abs(value) < _LARGE for value in values):
        return None
    return next((n for n in range(_MOST_DECIMALS + 1) if all(round(value, n) == value for value in values)), None)


def _decimals_apart(spread: float) -> int | None:
    """As many as tell readings of this spread apart."""
    return next((n for n in range(10) if spread >= 10.0 ** (2 - n)), 10) if 1e-6 < spread < _LARGE else None


def _number(value: float, decimals: int | None) -> str:
    text = f"{value:.6g}" if decimals is None else f"{value:.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _beyond(line: Line) -> list[tuple[str, ...]]:
    found = line.figures
    sign = unit_sign(line.unit)
    return [
        (
            clean(f"    {'below' if limit.below else 'above'} {limit.value:g} {sign}", _NAME_LENGTH),
            *[""] * (len(_HEAD) - 2),
            f"{duration_text(us)} ({share_text(us, found.covered_us)})",
        )
        for limit, us in zip(found.limits, found.passed_us, strict=True)
    ]


def share_text(part: int, whole: int) -> str:
    """A percentage that is 0 or 100 only where it is."""
    percent = 100 * part / whole if whole else 0.0
    text = f"{percent:.1f}"
    if (text == "0.0" and part) or (text == "100.0" and part < whole):
        return "<0.1 %" if text == "0.0" else ">99.9 %"
    return f"{text} %"


def duration_text(us: int) -> str:
    """Such as 3 d 04:05:06."""
    seconds = round(us / _US_PER_S)
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock
