"""What a plot draws: named arrays over time, and where their line must not be drawn through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.errors import UsageError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Micros = npt.NDArray[np.int64]

NO_TIME = np.iinfo(np.int64).min
"""In a time array: unknown, the bits of numpy's NaT."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One line: `utc_us` microseconds since 1970 (UTC), `values` with NaN where missing, one entry per reading.

    `starts[i]` is true where reading i must not be joined to the one before it.
    """

    name: str
    unit: str
    utc_us: Micros
    values: Floats
    starts: Bools | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.utc_us), len(self.values), len(self.utc_us if self.starts is None else self.starts)}
        if len(lengths) != 1:
            raise UsageError(f"Trace {self.name!r}: times, values and starts differ in length.")


class ChannelLike(Protocol):
    """A column's name and unit."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...


class SeriesLike(Protocol):
    """Readings of one stream: what the archive gives, or anything of the same shape."""

    @property
    def label(self) -> str: ...
    @property
    def utc_us(self) -> Micros: ...
    @property
    def starts(self) -> Bools: ...
    @property
    def channels(self) -> Sequence[ChannelLike]: ...
    @property
    def columns(self) -> Sequence[npt.NDArray[Any]]: ...


def traces(readings: Iterable[SeriesLike], *, with_label: bool = False) -> list[Trace]:
    """One trace per channel; sessions of the same channel become one trace with a break between them.

    With `with_label` the series' label stands before the name, to tell devices apart.
    """
    parts: dict[tuple[str, str, str], list[tuple[Micros, Floats, Bools]]] = {}
    for series in readings:
        label = series.label if with_label else ""
        starts = series.starts.copy()
        starts[:1] = True
        for channel, column in zip(series.channels, series.columns, strict=True):
            parts.setdefault((label, channel.name, channel.unit), []).append((series.utc_us, column, starts))
    return [
        Trace(
            f"{label}: {name}" if label else name,
            unit,
            *(np.concatenate(arrays) for arrays in zip(*found, strict=True)),
        )
        for (label, name, unit), found in parts.items()
    ]
