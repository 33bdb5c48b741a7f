"""Readings as NetCDF with the CF conventions, as xarray opens them: the same table as CSV, a variable for each column.

Rule of this module: numbers are float64 in the channel's unit, times whole microseconds. What the conventions have no place
for (a reading whose time is not known) is left out and counted. The dimension along the readings is unlimited, so that they
are written as they come, through netCDF4: xarray itself would have to hold all of them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
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

_CHUNK = 1 << 16
_PACKED = {"zlib": True, "complevel": 1, "chunksizes": (_CHUNK,)}
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

    UsageError, and no file, when there is no reading, or netCDF4 is not installed. OSError when the disk takes no more.
    """
    netcdf4 = _installed()
    seen = seen_in(readings)
    layout = surveyed(readings, with_clock=True)
    with _as_of_the_system(), netcdf4.Dataset(path, "w", format="NETCDF4") as file:
        table = _Table(file, layout)
        for some in rows(readings, layout):
            table.add(some)
        if table.count:
            table.describe()
            file.setncatts(_attributes(seen, about))
    if not table.count:
        path.unlink()
        raise UsageError(NO_TIMES)
    return table.count, table.undated


@contextmanager
def _as_of_the_system() -> Generator[None]:
    """What netCDF4 says of a disk that is full or fails, under whatever type, is an OSError."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("NetCDF: "):
            raise
        raise OSError(str(error)) from error


def _installed() -> Any:
    if importlib.util.find_spec("netCDF4") is None:
        raise UsageError(
            "NetCDF is written by netCDF4, which is not installed. Nothing was written; install fieldlog[netcdf], or take "
            "CSV or Parquet"
        )
    return importlib.import_module("netCDF4")


class _Table:
    """The variables of a file that is being written. Of several devices each reading names its own."""

    def __init__(self, file: Any, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self.count = 0
        self.undated = 0
        self._names = dict(zip(layout.columns, _names([key.title for key in layout.columns]), strict=True))
        self._channels: dict[ColumnKey, dict[Channel, None]] = {}
        self._uids = list(dict.fromkeys(session.uid for session in layout.sessions))
        self._several = len(self._uids) > 1
        self._dimension = "obs" if self._several else "time"
        file.createDimension(self._dimension, None)
        self._variable("time", np.int64)
        self._variable("time_quality", np.int8)
        self._variable("time_error", np.float64)
        self._variable("session", np.int32)
        if self._several:
            self._variable("device_index", np.int32)
        for name in self._names.values():
            self._variable(name, np.float64)

    def _variable(self, name: str, dtype: npt.DTypeLike) -> None:
        missing = {"fill_value": np.nan} if dtype is np.float64 else {}
        self._file.createVariable(name, dtype, (self._dimension,), **_PACKED, **missing)

    def add(self, some: Rows) -> None:
        """Those of the rows whose time is known."""
        known = some.utc_us != UNKNOWN_TIME
        n_known, first = int(np.count_nonzero(known)), some.parts[0][0]
        self.undated += len(some) - n_known
        columns: dict[str, npt.NDArray[Any]] = {
            "time": some.utc_us,
            "time_quality": some.quality.astype(np.int8),
            "time_error": np.where(some.error_us == UNBOUNDED, np.nan, some.error_us / 1e6),
            "session": np.full(len(some), first.session, np.int32),
        }
        if self._several:
            columns["device_index"] = np.full(len(some), self._uids.index(first.log.uid), np.int32)
        values, blank = self._values(some), np.full(len(some), np.nan)
        columns |= {name: values.get(key, blank) for key, name in self._names.items()}
        for name, column in columns.items():
            self._file[name][self.count : self.count + n_known] = column[known]
        self.count += n_known

    def _values(self, some: Rows) -> dict[ColumnKey, npt.NDArray[Any]]:
        found: dict[ColumnKey, npt.NDArray[Any]] = {}
        for series, place in some.parts:
            for key, channel, raw in zip(self._layout.keys(series), series.channels, series.raw, strict=True):
                self._channels.setdefault(key, {})[channel] = None
                found[key] = np.full(len(some), np.nan)
                found[key][slice(None) if place is None else place] = channel.values(raw)
        return found

    def describe(self) -> None:
        """Say of each variable what it is, now that all readings have been seen."""
        about: dict[str, dict[str, Any]] = {
            "time": _TIME,
            "time_quality": _QUALITY,
            "time_error": _ERROR,
            "session": _SESSION,
        }
        about |= {name: _about_channel(key, list(self._channels[key])) for key, name in self._names.items()}
        if self._several:
            about["device_index"] = {"instance_dimension": "device"}
        for name, told in about.items():
            self._file[name].setncatts(told)
            if name != "time":
                self._file[name].coordinates = "time" if self._several else "device"
        self._name_devices()

    def _name_devices(self) -> None:
        if self._several:
            self._file.createDimension("device", len(self._uids))
        device = self._file.createVariable("device", str, ("device",) if self._several else ())
        device[...] = np.array(self._uids if self._several else self._uids[0], object)
        device.setncatts(_DEVICE)


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
