"""What stands around the lines of a plot: ticks that need no sum in the mind, names that leave the panel its room."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from fieldlog.plot import Event, Trace, save, timeseries
from fieldlog.plot.canvas import house_style
from fieldlog.plot.style import unit_sign
from fieldlog.plot.ticks import tick_text
from fieldlog_protocol.errors import UsageError

NEW_YEAR_US = 1_356_998_400_000_000
HOUR_US = 3_600_000_000
WAVE = np.sin(np.arange(100) / 10)


def trace(values: Any, *, name: str = "T", unit: str = "Cel") -> Trace:
    column = np.asarray(values, dtype=np.float64)
    return Trace(name, unit, NEW_YEAR_US + np.arange(len(column), dtype=np.int64) * HOUR_US, column)


def drawn(*traces: Trace) -> Figure:
    figure = timeseries(traces, title="title")
    with house_style():
        FigureCanvasAgg(figure).draw()
    return figure


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (100_300 + 40 * WAVE, ["100260", "100280", "100300", "100320", "100340"]),
        (100_300 + 0.4 * WAVE, ["100299.6", "100299.8", "100300.0", "100300.2", "100300.4"]),
        (1e12 * (1 + WAVE), ["0", "0.5e12", "1.0e12", "1.5e12", "2.0e12"]),
        (1e12 + WAVE, ["999999999999.0", "999999999999.5", "1000000000000.0", "1000000000000.5", "1000000000001.0"]),
        (1e-9 * WAVE, ["-1.0e-9", "-0.5e-9", "0", "0.5e-9", "1.0e-9"]),
        (10 * WAVE, ["-10", "-5", "0", "5", "10"]),
    ],
)
def test_ticks_are_whole_numbers_of_the_unit(values: Any, texts: list[str]) -> None:
    axis = drawn(trace(values)).axes[0].yaxis
    low, high = sorted(axis.get_view_interval())
    shown = [t.label1.get_text() for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    assert [text.replace("\N{MINUS SIGN}", "-") for text in shown] == texts
    assert axis.get_offset_text().get_text() == ""


spans = st.tuples(st.floats(-1e38, 1e38), st.floats(1e-300, 1e38)).filter(lambda span: span[1] > abs(span[0]) * 1e-10)


@given(spans)
def test_a_tick_reads_as_what_it_marks(span: tuple[float, float]) -> None:
    low, size = span
    ticks = [float(tick) for tick in MaxNLocator(5).tick_values(low, low + size)]
    texts = [tick_text(tick, ticks) for tick in ticks]
    assert len(set(texts)) == len(texts)
    assert np.allclose([number(text) for text in texts], ticks, rtol=1e-15, atol=size / 100)
    assert max(map(len, texts)) <= 22


@pytest.mark.parametrize("values", [[5e-324] * 3, [0.0], [3.4e38], [float("inf"), 1.0, 2.0]])
def test_extreme_values_are_drawn(values: list[float]) -> None:
    drawn(trace(values))


def boxes(figure: Figure) -> list[Bbox]:
    """Of the title, and of each panel and of the names above it, in pixels."""
    title = next(text for text in figure.texts if text.get_text() == "title")
    legends = [legend for axes in figure.axes if (legend := axes.get_legend())]
    return [part.get_window_extent() for part in (title, *figure.axes, *legends)]


def assert_room(figure: Figure, least_in: float = 1.0) -> None:
    """Everything is on the picture, nothing lies over anything else, and each panel has its height."""
    found = boxes(figure)
    for box in found:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1 + 1
    for one, other in combinations(found, 2):
        shared = Bbox.intersection(one, other)
        assert shared is None or min(shared.width, shared.height) < 1
    assert all(axes.get_window_extent().height >= least_in * figure.dpi for axes in figure.axes)


ZONE = "America/New_York"
LONG = (
    "The attic of the old school over the winter, with all its draughts and doors, and what else there is to say of it"
)


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Words that lie over each other, or beyond the edge; empty lines of a title and of a label are where the key
    and the date stand."""
    with house_style():
        FigureCanvasAgg(figure).draw()
    texts = [*figure.texts, *(text for axes in figure.axes for text in words_around(axes))]
    found = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text().strip()]
    beyond = [(name, "edge") for name, box in found if box.x0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y0 < -1]
    pairs, keys = combinations(found, 2), [text.get_text() for text in figure.texts]
    shared = [(a, b) for (a, one), (b, other) in pairs if (both := Bbox.intersection(one, other)) and both.width > 1]
    return beyond + [(a, b) for a, b in shared if not a.startswith("\n") and not (a.endswith("\n") and b in keys)]


def words_around(axes: Any) -> list[Any]:
    legend = axes.get_legend()
    low, high = sorted(axes.get_xlim())
    ticks = [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    shown = ticks if axes.xaxis.get_tick_params().get("labelbottom", True) else []
    return [axes.xaxis.label, axes.xaxis.get_offset_text(), *shown, *(legend.get_texts() if legend else [])]


@pytest.mark.parametrize("width_in", [3.0, 3.5, 6.0])
@pytest.mark.parametrize("step_us", [500, 61_000_000, 30 * HOUR_US])
@pytest.mark.parametrize(("title", "tz"), [("Hut", "UTC"), (LONG, ZONE)])
def test_words_of_a_narrow_picture_stand_apart(width_in: float, step_us: int, title: str, tz: str) -> None:
    times = NEW_YEAR_US + np.arange(200, dtype=np.int64) * step_us
    wave = np.sin(np.arange(200) / 10)
    wave[90:100] = np.nan
    traces = [Trace(name, unit, times, wave) for name, unit in (("a", "Cel"), ("b", "Cel"), ("c", "%"))]
    figure = timeseries(traces, title=title, tz=tz, width_in=width_in, height_in=4.0 if title == LONG else None)
    assert overlapping(figure) == []


def test_a_picture_is_as_large_as_was_asked_for(tmp_path: Path) -> None:
    figure = timeseries([trace(WAVE)], title="title", width_in=3.5, height_in=2.5, dpi=300)
    assert imread(save(figure, tmp_path / "a.png")).shape[:2] == (750, 1050)
    svg = ElementTree.parse(save(figure, tmp_path / "a.svg")).getroot()
    assert (svg.get("width"), svg.get("height")) == ("252pt", "180pt")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"width_in": 1.0}, "5.08 to 254 cm"),
        ({"width_in": float("nan")}, "5.08 to 254 cm"),
        ({"height_in": 0.0}, "5.08 to 254 cm"),
        ({"dpi": 7.0}, "50 to 2400 dots"),
        ({"width_in": 90.0, "dpi": 2000.0}, "million dots is too large, as a file of any kind"),
        ({"width_in": 4.0, "stats": True}, "the table takes"),
    ],
)
def test_a_size_that_cannot_be_is_one_sentence(more: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        timeseries([trace(WAVE)], **more)


def test_what_has_no_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a height of at least"):
        timeseries([trace(WAVE), trace(WAVE, unit="%"), trace(WAVE, unit="V")], height_in=2.0)
    with pytest.raises(UsageError, match="too small for its title"):
        save(timeseries([trace([1, np.nan, 2])], title=LONG, tz=ZONE, width_in=2.0, height_in=2.0), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def names(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("count", [1, 6, 7, 28, 29, 60, 255])
def test_names_leave_the_panel_its_room(count: int) -> None:
    figure = drawn(*(trace(WAVE + n, name=f"channel {n}") for n in range(count)), trace(WAVE, unit="%"))
    assert_room(figure)
    shown = names(figure)
    assert shown[:28] == [f"channel {n}" for n in range(min(count, 28))]
    assert shown[28:] == ([f"and {count - 28} more"] if count > 28 else [])
    assert len(figure.axes[0].lines) >= count


@pytest.mark.parametrize("letter", [*"xWQ温🌡"])
@pytest.mark.parametrize("lengths", [[140], [3, 80, 20], [9] * 30])
def test_names_of_any_length_stay_on_the_picture(lengths: list[int], letter: str) -> None:
    assert_room(drawn(*(trace(WAVE, name=letter * length) for length in lengths)))


def test_a_name_that_is_too_wide_is_cut() -> None:
    (shown,) = names(drawn(trace(WAVE, name="W" * 110)))
    assert shown == "W" * (len(shown) - 1) + "…"
    assert len(shown) > 60
    (whole,) = names(drawn(trace(WAVE, name="x" * 110)))
    assert whole == "x" * 110


def test_gravity_is_a_unit_like_others() -> None:
    assert unit_sign("[g]") == "g"


@given(
    st.text(st.characters(codec=None, exclude_categories=[]), max_size=12) | st.sampled_from(["]]>", "--", "a\ufffe"])
)
@settings(max_examples=6, deadline=None)
def test_an_svg_file_is_whole_whatever_a_channel_is_called(name: str) -> None:
    with TemporaryDirectory() as folder:
        path = save(timeseries([trace(WAVE, name=name, unit=name)], title=name, stats=True), Path(folder) / "a.svg")
        ElementTree.parse(path)


@pytest.mark.parametrize(("height_in", "fit"), [(8.0, True), (2.0, False)])
def test_of_an_events_words_the_beginning_is_seen_in_a_low_panel(height_in: float, *, fit: bool) -> None:
    mark = Event(NEW_YEAR_US + 50 * HOUR_US, "mark", "the window was opened again")
    figure = timeseries([trace(WAVE)], events=[mark], height_in=height_in)
    for _ in range(2):
        with house_style():
            FigureCanvasAgg(figure).draw()
        (axes,) = figure.axes
        (words,) = [text for text in axes.texts if mark.text in text.get_text()]
        assert words.get_window_extent().y0 > axes.bbox.y0
        assert bool(words.get_window_extent().y1 < axes.bbox.y1) is fit
        assert not figure.stale
