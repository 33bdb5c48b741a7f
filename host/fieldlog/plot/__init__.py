"""Plots of readings: arrays in, a matplotlib Figure out. This package knows no device and no archive.

`timeseries(traces)` draws, `save(figure, path)` writes PNG, SVG or PDF. `traces(readings)` makes traces from anything
that has the shape of the archive's series. matplotlib is imported when a figure is made, never before.
"""

from fieldlog.plot.course import Smoothing
from fieldlog.plot.distribution import VIEWS, Distributions, distribution
from fieldlog.plot.events import Event
from fieldlog.plot.lines import Line, Overview
from fieldlog.plot.page import page_columns, save_page
from fieldlog.plot.reduce import Grid, Limit
from fieldlog.plot.save import check_format, save
from fieldlog.plot.smooth import smoothing
from fieldlog.plot.timeseries import columns_for, timeseries
from fieldlog.plot.trace import Trace, traces
from fieldlog.plot.zone import zone

__all__ = [
    "VIEWS",
    "Distributions",
    "Event",
    "Grid",
    "Limit",
    "Line",
    "Overview",
    "Smoothing",
    "Trace",
    "check_format",
    "columns_for",
    "distribution",
    "page_columns",
    "save",
    "save_page",
    "smoothing",
    "timeseries",
    "traces",
    "zone",
]
