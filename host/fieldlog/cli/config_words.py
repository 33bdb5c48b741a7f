"""How commands show plans."""

from __future__ import annotations

from fieldlog.cli.output import Output
from fieldlog.config.model import Plan
from fieldlog.config.outcome import Applied
from fieldlog.config.plan_words import PlanLine, plan_lines
from fieldlog.url import DeviceUrl, with_tuning


def show_plan(output: Output, plan: Plan, indent: str = "") -> None:
    """A line for each change, below the names of their tables; nothing for nothing."""
    table = ""
    for line in plan_lines(plan):
        if line.table != table:
            output.line(f"{indent}[{line.table}]")
            table = line.table
        output.line(indent + change_text(line))


def link_text(applied: Applied, url: DeviceUrl) -> str:
    """How the device is reached from now on."""
    text = f"from now on the device is reached by {applied.link}"
    if applied.tuning is None:
        return text
    return f"{text}: --device '{with_tuning(url, applied.tuning.baud, applied.tuning.port)}'"


def change_text(line: PlanLine) -> str:
    """alarm/high: 60.0 Cel -> 35.5 Cel."""
    note = f"  ({line.note})" if line.note else ""
    return f"{line.key}: {line.former or 'none'} -> {line.new or 'none'}{note}"
