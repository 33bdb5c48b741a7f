"""Plots of readings: arrays in, a matplotlib Figure out. This package knows no device and no archive.

`timeseries(traces)` draws, `save(figure, path)` writes PNG, SVG or PDF. `traces(readings)` makes traces from anything
that has the shape of the archive's series. matplotlib is imported when a figure is made, never before.
"""

from fieldlog.plot.clouds import Cloud, Clouds
from fieldlog.plot.course import Smoothing
from fieldlog.plot.distribution import VIEWS, Distributions, distribution
from fieldlog.plot.events import Event, marks_outside
from fieldlog.plot.heatmap import DayHours, heatmap
from fieldlog.plot.lines import Line, Overview, span_us
from fieldlog.plot.page import page_columns, save_page
from fieldlog.plot.pairs import Pairing, Side
from fieldlog.plot.reduce import Grid, Limit
from fieldlog.plot.save import check_format, save
from fieldlog.plot.scatter import scatter
from fieldlog.plot.smooth import smoothing
from fieldlog.plot.spectrum import Spectra, spectra, spectrum
from fieldlog.plot.timeseries import columns_for, timeseries
from fieldlog.plot.trace import Trace, traces
from fieldlog.plot.zone import zone

__all__ = [
    "VIEWS",
    "Cloud",
    "Clouds",
    "DayHours",
    "Distributions",
    "Event",
    "Grid",
    "Limit",
    "Line",
    "Overview",
    "Pairing",
    "Side",
    "Smoothing",
    "Spectra",
    "Trace",
    "check_format",
    "columns_for",
    "distribution",
    "heatmap",
    "marks_outside",
    "page_columns",
    "save",
    "save_page",
    "scatter",
    "smoothing",
    "span_us",
    "spectra",
    "spectrum",
    "timeseries",
    "traces",
    "zone",
]
