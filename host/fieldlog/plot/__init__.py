"""Plots of readings: arrays in, a matplotlib Figure out. This package knows no device and no archive.

`timeseries(traces)` draws, `save(figure, path)` writes PNG, SVG or PDF. `traces(readings)` makes traces from anything
that has the shape of the archive's series. matplotlib is imported when a figure is made, never before.
"""

from fieldlog.plot.save import check_format, save
from fieldlog.plot.timeseries import timeseries
from fieldlog.plot.trace import Trace, traces
from fieldlog.plot.zone import zone

__all__ = ["Trace", "check_format", "save", "timeseries", "traces", "zone"]
