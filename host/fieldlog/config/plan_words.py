"""A plan as people and programs read it: what changes, from what to what.

Rule: no I/O. Values are written as a file would have them, with their units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fieldlog.config import toml_text
from fieldlog.config.model import CalibrationChange, Change, Coefficients, MetadataChange, Plan
from fieldlog.config.present import meaning
from fieldlog.config.units import unit_name
from fieldlog.config.values import HEX, Setting, Value
from fieldlog_protocol.commands.logger import SettingFlag


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One change. `table` is that of the file; `former` and `new` are None for a text that is not there."""

    table: str
    key: str
    former: str | None
    new: str | None
    note: str = ""


def plan_lines(plan: Plan) -> list[PlanLine]:
    """All changes, in the order of a file."""
    return [
        *map(_setting_line, plan.settings),
        *map(_calibration_line, plan.calibration),
        *(_metadata_lines(plan.metadata) if plan.metadata is not None else ()),
    ]


def plan_json(plan: Plan) -> list[dict[str, object]]:
    """The same for programs, in the types that JSON has: bytes as hexadecimal digits."""
    settings: list[dict[str, object]] = [
        {
            "table": "settings",
            "key": change.setting.key,
            "former": _plain(meaning(change.setting, change.former)),
            "new": _plain(meaning(change.setting, change.new)),
            "unit": change.setting.unit,
        }
        for change in plan.settings
    ]
    calibrations: list[dict[str, object]] = [
        {"table": "calibration", "key": str(change.channel), "former": list(change.former), "new": list(change.new)}
        for change in plan.calibration
    ]
    texts: list[dict[str, object]] = [
        {"table": "metadata", "key": key, "former": former, "new": new}
        for key, former, new in (_texts(plan.metadata) if plan.metadata is not None else ())
    ]
    return [*settings, *calibrations, *texts]


def value_text(setting: Setting, data: bytes) -> str:
    """A value with its unit."""
    value = meaning(setting, data)
    text = toml_text.value(HEX + value.hex() if isinstance(value, bytes) else value)
    return text if isinstance(value, (bool, str, bytes)) else f"{text} {unit_name(setting.unit)}".rstrip()


def _setting_line(change: Change) -> PlanLine:
    former, new = (value_text(change.setting, data) for data in (change.former, change.new))
    return PlanLine("settings", change.setting.key, former, new, ", ".join(flag_notes(change.setting)))


def flag_notes(setting: Setting) -> list[str]:
    """What else a change of it does."""
    return [words for flag, words in _NOTES if setting.flags & flag]


def _calibration_line(change: CalibrationChange) -> PlanLine:
    return PlanLine("calibration", str(change.channel), _numbers(change.former), _numbers(change.new))


def _numbers(numbers: Coefficients) -> str:
    return f"[{', '.join(map(toml_text.value, numbers))}]"


def _metadata_lines(change: MetadataChange) -> Iterator[PlanLine]:
    for key, former, new in _texts(change):
        yield PlanLine("metadata", key, _quoted(former), _quoted(new))


def _quoted(text: str | None) -> str | None:
    return None if text is None else toml_text.value(text)


def _texts(change: MetadataChange) -> Iterator[tuple[str, str | None, str | None]]:
    for key in dict.fromkeys([*change.new, *change.former]):
        former, new = change.former.get(key), change.new.get(key)
        if former != new:
            yield key, former, new


def _plain(value: Value) -> bool | int | float | str:
    return value.hex() if isinstance(value, bytes) else value


_NOTES = ((SettingFlag.NEEDS_RESTART, "after a restart"), (SettingFlag.AFFECTS_LINK, "affects the link"))
