"""Readings as NetCDF with the CF conventions, by way of xarray: the same table as CSV, a variable for each column.

Rule of this module: numbers are float64 in the channel's unit, times whole microseconds. What the conventions have no place
for (a reading whose time is not known) is left out and counted. Memory holds the whole table, unlike in other formats.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldlog.clock_model import UNBOUNDED, UNKNOWN_TIME, Quality
from fieldlog.export.about import DeviceTold, Seen, seen_in
from fieldlog.export.layout import Batches, ColumnKey, Layout, surveyed
from fieldlog.export.merge import Rows, rows
from fieldlog.export.texts import printable
from fieldlog_protocol import __version__
from fieldlog_protocol.blocks.schema import Channel
from fieldlog_protocol.errors import UsageError

_ENGINES = {"netCDF4": "netcdf4", "h5netcdf": "h5netcdf"}
_UDUNITS = {
    "Cel": "degree_Celsius",
    "[degF]": "degree_Fahrenheit",
    "[g]": "standard_free_fall",
    "[in_i'Hg]": "inHg",
    "m[Hg]": "m_Hg",
    "[in_i]": "inch",
    "[ft_i]": "foot",
    "[mi_i]/h": "mile/hour",
    "[kn_i]": "knot",
    "deg": "degree",
    "Ohm": "ohm",
    "[pH]": "1",
    "": "1",
}
"""UCUM's names to those of UDUNITS, where they differ."""
NO_TIMES = (
    "there is nothing to export: the time of none of these readings is known, and NetCDF wants one. Nothing was written; "
    "take CSV or Parquet"
)
_RESERVED = ("time", "device", "device_index", "session", "time_quality", "time_error", "obs")
_TIME = {
    "standard_name": "time",
    "long_name": "time",
    "units": "microseconds since 1970-01-01T00:00:00+00:00",
    "calendar": "standard",
    "units_metadata": "leap_seconds: none",
    "axis": "T",
    "ancillary_variables": "time_quality time_error",
}
_QUALITIES = sorted(Quality)
_QUALITY = {
    "long_name": "how the time is known",
    "flag_values": np.array(_QUALITIES, np.int8),
    "flag_meanings": " ".join(quality.name.lower() for quality in _QUALITIES),
}
_ERROR = {"long_name": "bound of the error of the time", "units": "s"}
_SESSION = {"long_name": "number of the session"}
_DEVICE = {"cf_role": "timeseries_id", "long_name": "unique id of the device"}


def write_netcdf(readings: Batches, path: Path, about: Sequence[DeviceTold] = ()) -> tuple[int, int]:
    """Write `readings` into a file; answers the number of rows, and how many were left out as their time is not known.

    UsageError, and no file, when there is no reading, or xarray or what it writes NetCDF with is not installed.
    """
    xarray, engine = _installed()
    seen = seen_in(readings)
    table = _Table(surveyed(readings, with_clock=True))
    for some in rows(readings, table.layout):
        table.add(some)
    if not table.count:
        raise UsageError(NO_TIMES)
    variables = table.variables()
    dataset = xarray.Dataset(variables, attrs=_attributes(seen, about)).set_coords(["time", "device"])
    packed = {"zlib": True, "complevel": 1}
    encoding = {name: packed for name, (dims, values, *_) in variables.items() if dims and values.dtype.kind != "O"}
    dataset.to_netcdf(path, engine=engine, format="NETCDF4", encoding=encoding)
    return table.count, table.undated


def _installed() -> tuple[Any, str]:
    engines = [engine for module, engine in _ENGINES.items() if importlib.util.find_spec(module) is not None]
    if importlib.util.find_spec("xarray") is None or not engines:
        raise UsageError(
            "NetCDF is written by xarray with netCDF4 or h5netcdf, which are not installed. Nothing was written; install "
            "fieldlog[netcdf], or take CSV or Parquet"
        )
    return importlib.import_module("xarray"), engines[0]


class _Table:
    """The columns, piece by piece."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.undated = 0
        self._pieces: list[dict[str, npt.NDArray[Any]]] = []
        self._names = _names([key.title for key in layout.columns])
        self._channels: dict[ColumnKey, dict[Channel, None]] = {}
        self._uids = list(dict.fromkeys(session.uid for session in layout.sessions))

    @property
    def count(self) -> int:
        return sum(len(piece["time"]) for piece in self._pieces)

    def add(self, some: Rows) -> None:
        """Those of the rows whose time is known."""
        known = some.utc_us != UNKNOWN_TIME
        self.undated += int(np.count_nonzero(~known))
        first = some.parts[0][0]
        piece: dict[str, npt.NDArray[Any]] = {
            "time": some.utc_us,
            "time_quality": some.quality.astype(np.int8),
            "time_error": np.where(some.error_us == UNBOUNDED, np.nan, some.error_us / 1e6),
            "session": np.full(len(some), first.session, np.int32),
            "device_index": np.full(len(some), self._uids.index(first.log.uid), np.int32),
        }
        values = self._values(some)
        blank = np.full(len(some), np.nan)
        for key, name in zip(self.layout.columns, self._names, strict=True):
            piece[name] = values.get(key, blank)
        self._pieces.append({name: column[known] for name, column in piece.items()})

    def _values(self, some: Rows) -> dict[ColumnKey, npt.NDArray[Any]]:
        found: dict[ColumnKey, npt.NDArray[Any]] = {}
        for series, place in some.parts:
            for key, channel, raw in zip(self.layout.keys(series), series.channels, series.raw, strict=True):
                self._channels.setdefault(key, {})[channel] = None
                found[key] = np.full(len(some), np.nan)
                found[key][slice(None) if place is None else place] = channel.values(raw)
        return found

    def variables(self) -> dict[str, Any]:
        """As xarray takes them: dimensions, values, attributes. Of several devices each reading names its own."""
        several = len(self._uids) > 1
        dim = "obs" if several else "time"
        columns = {name: np.concatenate([piece[name] for piece in self._pieces]) for name in self._pieces[0]}
        index = columns.pop("device_index")
        about = {"time": _TIME, "time_quality": _QUALITY, "time_error": _ERROR, "session": _SESSION}
        for key, name in zip(self.layout.columns, self._names, strict=True):
            about[name] = _about_channel(key, list(self._channels[key]))
        found: dict[str, Any] = {name: (dim, values, about[name]) for name, values in columns.items()}
        uids = np.array(self._uids, object)
        found["device"] = ("device", uids, _DEVICE) if several else ((), uids[0], _DEVICE)
        if several:
            found["device_index"] = ("obs", index, {"instance_dimension": "device"})
        return found


def _about_channel(key: ColumnKey, channels: list[Channel]) -> dict[str, Any]:
    about: dict[str, Any] = {
        "long_name": printable(key.title),
        "units": _UDUNITS.get(key.unit, printable(key.unit)),
        "ucum": printable(key.unit),
    }
    calibrations = [channel.calibration for channel in channels if channel.calibration]
    if len(calibrations) == len(channels) == 1:
        about["calibration"] = np.array(calibrations[0])
    if len(channels) == 1 and channels[0].choices:
        words = [re.sub(r"\s+", "_", printable(word).strip()) or "_" for word in channels[0].choices]
        about |= {"flag_values": np.arange(len(words), dtype=np.float64), "flag_meanings": " ".join(words)}
        del about["units"]
    return about


def _names(titles: Sequence[str]) -> list[str]:
    """Letters, digits and underscores, no name twice."""
    taken: set[str] = set(_RESERVED)
    names: list[str] = []
    for title in titles:
        plain = re.sub("[^A-Za-z0-9]+", "_", title).strip("_") or "channel"
        plain = plain if plain[0].isalpha() else f"channel_{plain}"
        name = next(name for name in (plain, *(f"{plain}_{n}" for n in range(2, 999))) if name.lower() not in taken)
        taken.add(name.lower())
        names.append(name)
    return names


def _attributes(seen: Seen, about: Sequence[DeviceTold]) -> dict[str, str]:
    """What the file says of itself."""
    devices = seen.told(about)
    sources = dict.fromkeys(" ".join(filter(None, (one["product"], one["firmware"]))) for one in devices)
    return {
        "Conventions": "CF-1.11",
        "featureType": "timeSeries",
        "title": printable(", ".join(dict.fromkeys(info.name for info in seen.logs))),
        "source": printable(", ".join(filter(None, sources))) or "data logger",
        "history": f"written by fieldlog {__version__}",
        "fieldlog": msgspec.json.encode({"format": 1, "devices": devices, "streams": seen.streams}).decode(),
    }
