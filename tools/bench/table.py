"""Tables in Markdown, aligned so that they read well on a terminal too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_row(line, widths) for line in (lines[0], rule, *lines[1:]))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    aligned = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    return f"| {' | '.join(aligned)} |"


def number(value: float | None) -> str:
    """Three significant digits, never an exponent; nothing for None."""
    if value is None:
        return ""
    magnitude = abs(value)
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{number(ratio)}x"


def span(bounds: tuple[float, float] | None) -> str:
    """Two rates in bytes per second as kB/s."""
    return "" if bounds is None else f"{number(bounds[0] / 1000)} to {number(bounds[1] / 1000)}"
