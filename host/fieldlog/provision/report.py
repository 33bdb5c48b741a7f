"""What became of a fleet: a file for each device, and a table of all.

Rule: a device's words are data: they are no file names, and no formulas in a spreadsheet.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fieldlog.export.texts import plain
from fieldlog.provision.fleet import Fleet, Row
from fieldlog.provision.progress import Progress, Record
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import FieldlogError

COLUMNS = ("row", "name", "serial", "uid", "result", "firmware", "changed", "self test", "session", "ended", "why")


def report_folder(fleet: Path) -> Path:
    """Beside the fleet file."""
    return fleet.with_name(f"{fleet.stem}-report")


def device_json(record: Record) -> dict[str, Any]:
    """All that is known of one device."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    return {key: value for key, value in data.items() if key not in ("digest", "arm_id")} | {"result": result(record)}


def result(record: Record | None) -> str:
    """In a word or two."""
    if record is None:
        return "missing"
    if record.done:
        return "done"
    return "failed" if record.error else "half done"


def table(fleet: Fleet, progress: Progress) -> list[tuple[str, ...]]:
    """A line for each row, in their order; the columns are `COLUMNS`."""
    return [_line(row, progress.of(row)) for row in fleet.rows]


def _line(row: Row, record: Record | None) -> tuple[str, ...]:
    if record is None:
        return (str(row.number), row.name, row.serial, row.uid, result(None), *[""] * 6)
    steps = record.steps
    return (
        str(row.number),
        row.name,
        record.serial,
        record.uid,
        result(record),
        record.firmware,
        _changed(steps.get("configure")),
        _tested(steps.get("selftest")),
        _session(steps.get("arm")),
        record.ended,
        record.error or "",
    )


def _changed(step: Mapping[str, Any] | None) -> str:
    return "" if step is None else str(len(step["changes"]))


def _tested(step: Mapping[str, Any] | None) -> str:
    if step is None or step["results"] is None:
        return ""
    failed = [str(test["name"]) for test in step["results"] if not test["passed"]]
    return f"failed: {', '.join(failed)}" if failed else "passed"


def _session(step: Mapping[str, Any] | None) -> str:
    if step is None or step["session"] is None:
        return ""
    return f"{step['session']} {step['label']}".rstrip()


def write_device(folder: Path, record: Record) -> None:
    """One device's report, under its uid: no other name is safe from what a device may say."""
    with whole_file(_made(folder) / f"{record.uid}.json") as aside:
        aside.write_text(json.dumps(device_json(record), indent=1) + "\n", encoding="utf-8")


def write_table(folder: Path, rows: Sequence[Sequence[str]]) -> Path:
    """The table of all, as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([[plain(cell) for cell in row] for row in rows])
    path = _made(folder) / "fleet.csv"
    with whole_file(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")
    return path


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FieldlogError(
            f"{folder}, where reports go, cannot be made ({error.strerror}). What was done to devices stays done; name another "
            "with --report"
        ) from error
    return folder
