"""Readings as CSV: UTC in ISO 8601 with its offset, units in the header, every value with exactly its decimals.

Rule of this module: it streams. The readings are gone through twice, in pieces: once to settle the columns and how many
decimals the times need, the same for all rows, and once to write. Numbers are formatted from what the device counted.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from fieldlog.clock_model import UNBOUNDED, Quality
from fieldlog_protocol.blocks.schema import Channel, ChannelType

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fieldlog.archive.series import Series

_FORMULA_STARTS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # the wide forms count in some spreadsheets
_EXACT_IN_FLOAT = 2**51
_TimeUnit = Literal["s", "ms", "us"]
_TIME_UNITS: tuple[tuple[int, _TimeUnit], ...] = ((1_000_000, "s"), (1_000, "ms"), (1, "us"))

_Key = tuple[str, str, int]
"""Name, unit, and which of the channels of that name and unit in one stream."""


class Batches(Protocol):
    """A selection that can be gone through in pieces, again and again: what `archive.readings` gives."""

    def batches(self) -> Iterator[Series]: ...


@dataclass(frozen=True, slots=True)
class _Layout:
    keys: tuple[_Key, ...]
    time_unit: _TimeUnit
    with_device: bool
    with_clock: bool

    def header(self) -> list[str]:
        device = ["device"] if self.with_device else []
        clock = ["time quality", "time error [s]"] if self.with_clock else []
        return ["time", *device, *(_heading(name, unit) for name, unit, _ in self.keys), *clock]


def write_csv(readings: Batches, file: TextIO, *, clock: bool = False) -> int:
    """Write `readings` into `file` (opened as UTF-8 with newline=""); answers the number of rows.

    One row per reading, stream after stream, with a column per channel, empty where there is no value; a `device`
    column when there are several. `clock` adds each time's quality and the bound of its error. A time that is unknown
    is an empty cell.
    """
    layout = _layout(readings, clock)
    # every cell goes through the writer: what needs quotes gets them
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(layout.header())
    rows = 0
    for series in readings.batches():
        writer.writerows(zip(*_cells(series, layout), strict=True))
        rows += len(series)
    return rows


def _layout(readings: Batches, with_clock: bool) -> _Layout:
    keys: dict[_Key, None] = {}
    devices: set[str] = set()
    finest = 0
    for series in readings.batches():
        keys.update(dict.fromkeys(_keys(series.channels)))
        devices.add(series.log.uid)
        while finest < 2 and (_known(series.utc_us) % _TIME_UNITS[finest][0]).any():
            finest += 1
    return _Layout(tuple(keys), _TIME_UNITS[finest][1], len(devices) > 1, with_clock)


def _keys(channels: Sequence[Channel]) -> list[_Key]:
    seen: Counter[tuple[str, str]] = Counter()
    keys: list[_Key] = []
    for channel in channels:
        keys.append((channel.name, channel.unit, seen[channel.name, channel.unit]))
        seen[channel.name, channel.unit] += 1
    return keys


def _known(utc_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    import numpy as np

    known: npt.NDArray[np.int64] = utc_us[~np.isnat(utc_us.view("datetime64[us]"))]
    return known


def _cells(series: Series, layout: _Layout) -> list[Iterable[str]]:
    """One list of cells per column."""
    blank = [""] * len(series)
    values = dict(zip(_keys(series.channels), map(_texts, series.channels, series.raw), strict=True))
    cells: list[Iterable[str]] = [_time_texts(series.utc_us, layout.time_unit)]
    if layout.with_device:
        cells.append([plain(series.label)] * len(series))
    cells += [values.get(key, blank) for key in layout.keys]
    if layout.with_clock:
        qualities: list[int] = series.quality.tolist()
        errors_us: list[int] = series.error_us.tolist()
        cells.append([Quality(quality).name.lower() for quality in qualities])
        cells.append(["" if us == UNBOUNDED else f"{us / 1e6:.6f}" for us in errors_us])
    return cells


def _time_texts(utc_us: npt.NDArray[np.int64], unit: _TimeUnit) -> list[str]:
    import numpy as np

    times: npt.NDArray[np.datetime64] = utc_us.view("datetime64[us]")
    texts: list[str] = np.datetime_as_string(times, unit=unit, casting="unsafe").tolist()
    return ["" if text == "NaT" else text + "+00:00" for text in texts]


def _texts(channel: Channel, raw: npt.NDArray[Any]) -> list[str]:
    """The values of one channel, exactly, with the decimals of its scale; empty where missing."""
    if channel.type.is_float:
        return _float_texts(channel, raw)
    if channel.choices:
        texts = [_choice(channel, value) for value in raw.tolist()]
    elif _largest(channel, raw) <= _EXACT_IN_FLOAT:
        texts = list(map(f"%.{channel.decimals}f".__mod__, channel.values(raw).tolist()))
    else:
        texts = [_exact(value * channel.multiplier + channel.offset, channel.exponent) for value in raw.tolist()]
    if channel.missing is not None:
        for index in (raw == channel.missing).nonzero()[0].tolist():
            texts[index] = ""
    return texts


def _largest(channel: Channel, raw: npt.NDArray[Any]) -> int:
    extremes = (int(raw.min()), int(raw.max())) if len(raw) else (0, 0)
    power: int = 10 ** max(channel.exponent, 0)
    return max(abs(value * channel.multiplier + channel.offset) for value in extremes) * power


def _exact(numerator: int, exponent: int) -> str:
    """numerator * 10 ** exponent in digits, without rounding."""
    if exponent >= 0:
        return str(numerator * 10**exponent)
    digits = str(abs(numerator)).rjust(1 - exponent, "0")
    return f"{'-' if numerator < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"


def _float_texts(channel: Channel, raw: npt.NDArray[Any]) -> list[str]:
    """The shortest text that reads back as the same number, in the precision in which it was measured."""
    scaled = (channel.multiplier, channel.offset, channel.exponent) != (1, 0, 0)
    texts = list(map(repr, channel.values(raw).tolist())) if scaled else list(map(str, raw))
    return ["" if text == "nan" else text for text in texts]


def _choice(channel: Channel, value: int) -> str:
    known = channel.type is ChannelType.ENUM and value < len(channel.choices)
    return plain(channel.choices[value]) if known else str(value)


def _heading(name: str, unit: str) -> str:
    return plain(f"{name} [{unit}]" if unit else name)


def plain(text: str) -> str:
    """Text from a device that is only text: no control characters, and nothing a spreadsheet takes for a formula."""
    shown = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    return "'" + shown if shown.lstrip()[:1] in _FORMULA_STARTS and shown.strip() else shown
