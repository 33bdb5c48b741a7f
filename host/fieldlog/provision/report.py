"""What became of a fleet: a file for each device, and a table of all.

Rule: a device's words are data: they are no file names, and no formulas in a spreadsheet. A report takes the place of an
earlier one, and of nothing else.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fieldlog.export.texts import plain
from fieldlog.provision.fleet import Fleet, Row
from fieldlog.provision.progress import ArmStep, ConfigureStep, Progress, Record, Steps, TestStep
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import FieldlogError

COLUMNS = ("row", "name", "serial", "uid", "result", "firmware", "changed", "self test", "session", "ended", "why")
_NOT_WRITTEN = "What was done to devices stays done; make room for reports, or name another folder with --report"


def device_json(record: Record) -> dict[str, Any]:
    """All that is known of one device."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    return {key: value for key, value in data.items() if key not in ("digest", "arm_id")} | {"result": result(record)}


RESULTS = ("done", "half done", "begun", "failed", "missing")


def result(record: Record | None) -> str:
    """In a word or two: one of RESULTS. "begun": no step was completed."""
    if record is None:
        return "missing"
    if record.done:
        return "done"
    if record.error:
        return "failed"
    return "half done" if record.steps else "begun"


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


def _changed(step: ConfigureStep | None) -> str:
    return "" if step is None else str(len(step["changes"]))


def _tested(step: TestStep | None) -> str:
    if step is None or step["results"] is None:
        return ""
    failed = [test["name"] for test in step["results"] if not test["passed"]]
    return f"failed: {', '.join(failed)}" if failed else "passed"


def _session(step: ArmStep | None) -> str:
    if step is None or step["session"] is None:
        return ""
    return f"{step['session']} {step.get('label', '')}".rstrip()


# where they are written


def report_folder(fleet: Path) -> Path:
    """Beside the fleet file."""
    return fleet.with_name(f"{fleet.stem}-report")


def table_path(folder: Path, fleet: Path) -> Path:
    """Of a name that no fleet has by accident."""
    return folder / f"{fleet.stem}-report.csv"


def prepare_folder(folder: Path, fleet: Path) -> None:
    """Make the folder, and refuse one in which the table would take the place of somebody's file: nothing was done yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FieldlogError(
            f"{folder}, where reports go, cannot be made ({error.strerror}). Nothing was changed; name another with --report"
        ) from error
    _require_own(table_path(folder, fleet), _is_table)


def write_device(folder: Path, record: Record) -> None:
    """One device's report, under its uid: no other name is safe from what a device may say."""
    path = folder / f"{record.uid}.json"
    _require_own(path, _is_device)
    with whole_file(path, _NOT_WRITTEN) as aside:
        aside.write_text(json.dumps(device_json(record), indent=1) + "\n", encoding="utf-8")


def write_table(folder: Path, fleet: Path, rows: Sequence[Sequence[str]]) -> Path:
    """The table of all, as CSV."""
    path = table_path(folder, fleet)
    _require_own(path, _is_table)
    with whole_file(path, _NOT_WRITTEN) as aside:
        aside.write_text(_csv([COLUMNS, *[[plain(cell) for cell in row] for row in rows]]), encoding="utf-8")
    return path


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _require_own(path: Path, is_own: Callable[[bytes], bool]) -> None:
    """Refuse to replace what no report is."""
    try:
        own = not path.exists() or (path.is_file() and is_own(path.read_bytes()))
    except OSError as error:
        raise FieldlogError(f"{path}, an earlier report, cannot be read ({error.strerror}). {_NOT_WRITTEN}") from error
    if not own:
        raise FieldlogError(
            f"{path} is no report of fieldlog's, and is left as it is: move it away, or name another folder with --report. "
            "What was done to devices stays done"
        )


def _is_table(data: bytes) -> bool:
    return data.startswith(_csv([COLUMNS]).encode())


def _is_device(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=_DeviceReport)
    except msgspec.MsgspecError:
        return False
    return True


class _DeviceReport(msgspec.Struct):
    """What every report of a device has."""

    row: str
    uid: str
    steps: Steps
    result: str
