"""What a line is drawn through instead of each reading: means, moving or over even steps of time.

Rule of this module: it is about what is drawn alone. Tables and thresholds stay those of the readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog.plot.lines import Line
from fieldlog.plot.reduce import Columns
from fieldlog.plot.trace import OFF_ON, Bools, ChannelLike, Floats, Micros, SeriesLike, nature_of


@dataclass(frozen=True, slots=True)
class Smooth(Line):
    """A line with the `course` of its means. Of even steps it has the extremes too and takes the place of the readings:
    each is a level from its place in `begins_us` to that in `ends_us`, where there are few."""

    course: Columns | None = None
    begins_us: Micros | None = None
    ends_us: Micros | None = None
    told: str = ""
    short: str = ""

    @property
    def in_place(self) -> bool:
        """Whether the readings themselves are not drawn."""
        return self.course is not None and self.course.reduced


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch of what a line is drawn through: a series."""

    label: str
    channels: Sequence[ChannelLike]
    utc_us: Micros
    starts: Bools
    columns: Sequence[Floats]


class Smoothing(Protocol):
    """A way to smooth. Each channel becomes `n_rows` of the same name."""

    n_rows: int

    @property
    def short(self) -> str:
        """What the means are of."""
        ...

    def smooth(self, batches: Iterable[SeriesLike]) -> Iterator[Piece]:
        """All batches of a selection, in order."""
        ...

    def drawn(self, line: Line, rows: Sequence[Columns]) -> Smooth:
        """The line with its course, which the rows of its channel make."""
        ...


def apart(lines: Iterable[Line]) -> list[Line]:
    """The same as lines without a course: readings and their means are lines of their own, or the means alone."""
    return [one for line in lines for one in (_apart(line) if isinstance(line, Smooth) else [line])]


def _apart(line: Smooth) -> list[Line]:
    plain = Line(**{part.name: getattr(line, part.name) for part in fields(Line)})
    means = replace(plain, name=f"{line.name}, {line.short}", columns=line.course or line.columns)
    if line.in_place:
        return [means]
    return [plain, replace(means, figures=replace(line.figures, limits=(), passed_us=()))]  # limits are for readings


def with_course(line: Line, **more: Any) -> Smooth:
    """A line that has more."""
    return Smooth(**{part.name: getattr(line, part.name) for part in fields(Line)}, **more)


Lane = tuple[str, tuple[tuple[str, str], ...]]


def lane_of(series: SeriesLike) -> Lane:
    return series.label, tuple((channel.name, channel.unit) for channel in series.channels)


def numbers_of(series: SeriesLike) -> tuple[list[ChannelLike], list[npt.NDArray[Any]]]:
    """The channels, and their columns with nothing in those that have no mean. They have their place all the same: a later
    description of a lane may tell of numbers what this one tells of words."""
    pairs = zip(series.channels, series.columns, strict=True)
    nothing = np.full(len(series.utc_us), np.nan)
    columns = [column if _has_mean(series, channel) else nothing for channel, column in pairs]
    return list(series.channels), columns


def _has_mean(series: SeriesLike, channel: ChannelLike) -> bool:
    return nature_of(series, channel).states in (None, OFF_ON)
