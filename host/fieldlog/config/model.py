"""What passes between the steps of a configuration: file, resolved for one device, checked, compared, applied.

Rule: data only; no I/O and no TOML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fieldlog.config.values import Setting
from fieldlog.text import printable
from fieldlog_protocol.commands.logger import SettingFlag
from fieldlog_protocol.errors import UsageError

T_co = TypeVar("T_co", covariant=True)

Coefficients = tuple[float, ...]
"""A calibration polynomial, constant first; empty: none."""


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """A channel by name, as files say it: "stream/channel"."""

    stream: str
    channel: str

    def __str__(self) -> str:
        return f"{self.stream}/{self.channel}"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file: line and column, both from 1, columns in characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Located(Generic[T_co]):
    """A value and where it stands; no place: it comes from a command line."""

    value: T_co
    place: Place | None = None
    key_place: Place | None = None
    """Where its key stands: unknown keys are told there."""
    item_places: tuple[Place, ...] = ()
    """Of a list, where each of its items stands."""

    def place_of(self, item: int | None) -> Place | None:
        """Where an item of a list stands; else the value itself."""
        return self.item_places[item] if item is not None and item < len(self.item_places) else self.place


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    place: Place | None
    sentence: str

    def text(self, name: str | None) -> str:
        """The problem in one line; `name` is that of the file, None on a command line."""
        where = [str(part) for part in (name, self.place) if part is not None]
        return printable(": ".join([":".join(where), self.sentence] if where else [self.sentence]))


class Problems(UsageError):
    """All that is wrong with a file, in the file's order: its text is a line for each. Nothing has been written."""

    def __init__(self, problems: tuple[Problem, ...], name: str | None = None) -> None:
        ordered = sorted(problems, key=lambda problem: (problem.place is not None, problem.place or Place(0, 0)))
        self.problems = tuple(dict.fromkeys(ordered))
        self.name = name
        super().__init__("\n".join(problem.text(name) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a file says for one device, values still as TOML gave them, variables replaced.

    `metadata` None: the file has no such table, and the device keeps what it has; else exactly these texts.
    `log` is what `log arm` takes.
    """

    settings: Mapping[str, Located[object]]
    calibration: Mapping[str, Located[object]]
    metadata: Mapping[str, Located[object]] | None
    log: Mapping[str, Located[object]]
    name: str | None = None
    """The file's name, for problems."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a device shall have, checked: settings as their bytes."""

    settings: Mapping[str, bytes]
    calibration: Mapping[ChannelKey, Coefficients]
    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that will get another value."""

    setting: Setting
    former: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class CalibrationChange:
    """A channel that will be calibrated otherwise. `stream_id` and `position` are how the device names it."""

    channel: ChannelKey
    stream_id: int
    position: int
    former: Coefficients
    new: Coefficients


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """All texts of the deployment, before and after."""

    former: Mapping[str, str]
    new: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Same:
    """What is wanted and was there already: former and new are alike. It must still hold when the plan is carried out."""

    settings: tuple[Change, ...] = ()
    calibration: tuple[CalibrationChange, ...] = ()
    metadata: MetadataChange | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will change on a device, and nothing else. `uid` is that of the logger that was looked at, if it is one."""

    settings: tuple[Change, ...] = ()
    calibration: tuple[CalibrationChange, ...] = ()
    metadata: MetadataChange | None = None
    same: Same = field(default_factory=Same)
    uid: bytes | None = None

    @property
    def empty(self) -> bool:
        return not self.settings and not self.calibration and self.metadata is None

    @property
    def affects_link(self) -> bool:
        return self._any(SettingFlag.AFFECTS_LINK)

    @property
    def needs_restart(self) -> bool:
        return self._any(SettingFlag.NEEDS_RESTART)

    def _any(self, flag: SettingFlag) -> bool:
        return any(change.setting.flags & flag for change in self.settings)
