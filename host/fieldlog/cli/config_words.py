"""How commands show plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fieldlog.cli.output import Output
from fieldlog.config.export import IDENTITY
from fieldlog.config.model import Plan
from fieldlog.config.outcome import Applied
from fieldlog.config.plan_words import PlanLine, plan_lines
from fieldlog.url import DeviceUrl, with_tuning

_TITLES = 4
"""So many devices are named above a plan that they share; the table names all."""


def show_plan(output: Output, plan: Plan) -> None:
    """A line for each change, below the names of their tables; nothing for nothing."""
    _show(output, [("", plan_lines(plan))], "")


def show_plans(output: Output, plans: Iterable[tuple[str, Plan]]) -> None:
    """Each plan once, below the titles of the devices that share it but for what each of them is called."""
    groups: dict[object, list[tuple[str, list[PlanLine]]]] = {}
    for title, plan in plans:
        lines = plan_lines(plan)
        shared = tuple(line.key if _is_own(line) else line for line in lines)
        groups.setdefault(shared, []).append((title, lines))
    for alike in groups.values():
        more = len(alike) - _TITLES
        titles = ", ".join(title for title, _ in alike[:_TITLES])
        output.line(f"{titles} and {more} more:" if more > 0 else f"{titles}:")
        _show(output, alike, "  ")


def _is_own(line: PlanLine) -> bool:
    return line.table == "settings" and line.key in IDENTITY


def _show(output: Output, alike: Sequence[tuple[str, list[PlanLine]]], indent: str) -> None:
    """The lines of plans that have the same tables and keys; those that differ are shown for each device."""
    table = ""
    for number, line in enumerate(alike[0][1]):
        if line.table != table:
            output.line(f"{indent}[{line.table}]")
            table = line.table
        each = [(title, lines[number]) for title, lines in alike]
        if all(other == line for _, other in each):
            output.line(f"{indent}{line.key}: {change_text(line)}")
            continue
        output.line(f"{indent}{line.key}:")
        for title, own in each:
            output.line(f"{indent}  {title}: {change_text(own)}")


def link_text(applied: Applied, url: DeviceUrl) -> str:
    """How the device is reached from now on."""
    text = f"from now on the device is reached by {applied.link}"
    if applied.tuning is None:
        return text
    return f"{text}: --device '{with_tuning(url, applied.tuning.baud, applied.tuning.port)}'"


def change_text(line: PlanLine) -> str:
    """60.0 Cel -> 35.5 Cel."""
    note = f"  ({line.note})" if line.note else ""
    return f"{line.former or 'none'} -> {line.new or 'none'}{note}"
