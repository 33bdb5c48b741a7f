"""Two channels against each other: what belongs together is paired, nothing else, and r and n are those of the pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fieldlog.plot import Cloud, Clouds, Pairing, Side, Trace, scatter
from fieldlog.plot.clouds import cloud_of, r_text, scale_of
from fieldlog.plot.pairs import nearest
from fieldlog_protocol.errors import UsageError

NEW_YEAR_US = 1_356_998_400_000_000
SECOND_US = 1_000_000


def trace(values: Any, *, step_us: int = SECOND_US, later_us: int = 0, name: str = "x", unit: str = "Cel") -> Trace:
    column = np.asarray(values, np.float64)
    return Trace(name, unit, NEW_YEAR_US + later_us + np.arange(len(column), dtype=np.int64) * step_us, column)


def batches(times: list[int], cuts: set[int]) -> Iterator[tuple[Any, Any]]:
    """The values are the times."""
    edges = [0, *sorted(cut for cut in cuts if cut < len(times)), len(times)]
    for low, high in pairwise(edges):
        part = np.array(times[low:high], np.int64)
        yield part, part.astype(np.float64)


@settings(max_examples=80, deadline=None)
@given(
    slow=st.sets(st.integers(0, 300), max_size=40),
    fast=st.sets(st.integers(0, 300), max_size=80),
    cuts=st.tuples(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 80))),
    tolerance=st.integers(0, 12),
)
def test_each_reading_has_the_nearest_of_the_other_channel(
    slow: set[int], fast: set[int], cuts: tuple[set[int], set[int]], tolerance: int
) -> None:
    found = {
        x: abs(y - x)
        for a, b in nearest(batches(sorted(slow), cuts[0]), batches(sorted(fast), cuts[1]), tolerance)
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    }
    distances = {x: min((abs(y - x) for y in fast), default=999) for x in slow}
    assert found == {x: distance for x, distance in distances.items() if distance <= tolerance}


def test_what_goes_back_in_time_has_no_partner_and_stops_nothing() -> None:
    lead = [(np.array([10, 20], np.int64), np.array([1.0, 2.0])), (np.array([5, 30], np.int64), np.array([9.0, 3.0]))]
    other = [(np.array([10, 20, 30], np.int64), np.array([1.0, 2.0, 3.0]))]
    pairs = [pair for x, y in nearest(lead, other, 2) for pair in zip(x.tolist(), y.tolist(), strict=True)]
    assert pairs == [(1, 1), (2, 2), (3, 3)]


def test_only_what_is_needed_of_the_faster_channel_is_held() -> None:
    held: list[int] = []

    def fast() -> Iterator[tuple[Any, Any]]:
        for low in range(0, 100_000, 1000):
            held.append(low)
            times = np.arange(low, low + 1000, dtype=np.int64)
            yield times, times.astype(np.float64)

    slow = iter([(np.arange(0, 100_000, 500, dtype=np.int64), np.zeros(200))])
    first = next(nearest(slow, fast(), 0))
    assert len(first[0]) == 2
    assert held == [0]


def test_rows_of_a_stream_are_pairs_and_their_r_is_pearsons() -> None:
    rng = np.random.default_rng(5)
    x = 1e6 + rng.normal(0, 1, 3000)
    y = 3 * x + rng.normal(0, 2, 3000)
    x[10], y[20], y[30] = np.nan, np.nan, np.inf
    cloud = cloud_of("", trace(x), trace(y, name="y"))
    there = np.isfinite(x) & np.isfinite(y)
    assert cloud.moments.n == 2997
    assert cloud.pairing.n_without == 3
    assert cloud.moments.correlation == pytest.approx(np.corrcoef(x[there], y[there])[0, 1], rel=1e-9)
    assert cloud.points[0].tolist() == x[there].tolist()
    assert cloud.points[1].tolist() == y[there].tolist()


class Rows:
    """Some readings in the shape of a series."""

    label = ""

    def __init__(self, utc_us: Any, **columns: Any) -> None:
        self.utc_us, self.starts = utc_us, np.zeros(len(utc_us), np.bool_)
        self.channels = [trace([], name=name) for name in columns]
        self.columns = list(columns.values())


def test_batches_come_to_the_same_as_the_whole() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(20, 3, 20_000).round(1), rng.normal(50, 9, 20_000).round(1)
    times = NEW_YEAR_US + np.arange(20_000, dtype=np.int64) * SECOND_US
    parts = [Rows(times[k : k + 777], x=x[k : k + 777], y=y[k : k + 777]) for k in range(0, 20_000, 777)]

    def source() -> list[Rows]:
        return parts

    cloud = Cloud("", Pairing(Side("x", source), Side("y", source)))
    assert cloud.moments.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
    assert len(cloud.points[0]) == 5000
    across, up = (scale_of([cloud], axis) for axis in (0, 1))
    counts = cloud.counts(across, up)
    assert counts.sum() == 20_000
    edges = [[scale.begin + k * scale.width for k in range(scale.number + 1)] for scale in (across, up)]
    expected, _, _ = np.histogram2d(y, x, (edges[1], edges[0]))
    assert counts.tolist() == expected.astype(int).tolist()


@pytest.mark.parametrize(("spread", "width"), [(10, 0.1), (100, 1.0), (1.0, 0.1)])
def test_cells_hold_as_many_of_a_sensors_steps_each(spread: float, width: float) -> None:
    """No stripes: a cell is as wide as some whole steps, and no value lies on an edge."""
    values = (np.arange(-spread * 5, spread * 5 + 1) / 10).round(1)
    cloud = cloud_of("", trace(values), trace(values, name="y"))
    scale = scale_of([cloud], 0)
    assert scale.width == pytest.approx(width)
    numbers = np.bincount(scale.cells(cloud.points[0]))[:-1]
    assert set(numbers.tolist()) == {round(width / 0.1)}


def test_other_streams_are_paired_by_time() -> None:
    x = trace(np.arange(600.0))
    slow = trace(np.arange(10.0), step_us=60 * SECOND_US, later_us=400_000, name="y", unit="%")
    cloud = cloud_of("", x, slow)
    assert cloud.pairing.apart_us == SECOND_US // 2
    assert cloud.points[0].tolist() == [60.0 * k for k in range(10)]
    assert cloud.points[1].tolist() == list(range(10))
    turned = cloud_of("", slow, x)
    assert turned.points[0].tolist() == cloud.points[1].tolist()
    assert turned.points[1].tolist() == cloud.points[0].tolist()
    apart = cloud_of("", x, trace(np.arange(10.0), step_us=60 * SECOND_US, later_us=10**12))
    assert (apart.moments.n, apart.pairing.n_without) == (0, 10)


def texts(figure: Any) -> list[str]:
    FigureCanvasAgg(figure).draw()
    legends = [axes.get_legend() for axes in figure.axes]
    names = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
    return [figure.get_suptitle(), figure.get_supxlabel(), *names, *labels]


def test_the_picture_tells_r_n_units_and_how_pairs_were_made() -> None:
    x, y = trace(np.arange(50.0), name="$a_1$"), trace(-np.arange(50.0), name="<b>", unit="%")
    assert texts(scatter((x, y), title="Hut"))[:4] == [
        "Hut · r = \N{MINUS SIGN}1.000, n = 50",
        "pairs: both values of one reading",
        "$a_1$ [°C]",
        "<b> [%]",
    ]
    later = trace(np.arange(50.0), later_us=200_000)
    assert texts(scatter({"attic": (x, later), "cellar": (x, trace(np.ones(50)))}, title="Hut"))[:4] == [
        "Hut",
        "pairs: both values of one reading, or nearest in time, at most 0.5 s apart   dashed: equal values",
        "attic: r = 1.000, n = 50",
        "cellar: r is not defined, n = 50",
    ]


def test_a_long_title_leaves_room_for_r_and_n() -> None:
    figure = scatter((trace(np.arange(50.0)), trace(-np.arange(50.0))), title="W" * 200)
    FigureCanvasAgg(figure).draw()
    (title,) = [text for text in figure.texts if text.get_text().startswith("WWW")]
    assert title.get_text().endswith("… · r = \N{MINUS SIGN}1.000, n = 50")
    readable = scatter((trace(np.arange(50.0)), trace(-np.arange(50.0))), title="attic of the old house " * 9)
    FigureCanvasAgg(readable).draw()
    (title,) = [text for text in readable.texts if text.get_text().startswith("attic")]
    assert title.get_window_extent().x1 < readable.bbox.x1


@pytest.mark.parametrize(
    ("r", "text"),
    [
        (None, "is not defined"),
        (0.12345, "= 0.123"),
        (1.0, "= 1.000"),
        (0.99971, "> 0.999"),
        (-0.99999, "< \N{MINUS SIGN}0.999"),
    ],
)
def test_r_is_1_only_where_it_is(r: float | None, text: str) -> None:
    assert r_text(r) == text


def test_cells_are_small_beside_a_distance_that_no_value_lies_in() -> None:
    """A longitude at both ends of its range, or one wild reading: the empty distance is no step of the sensor."""
    fine = np.arange(6000) % 40 * 1e-7
    longitude = np.where(np.arange(6000) % 3, 180 - fine, fine - 180)
    cloud = cloud_of("", trace(longitude), trace(np.where(np.arange(6000) == 17, 2e6, fine)))
    for axis, spread in ((0, 360.0), (1, 2e6)):
        scale = scale_of([cloud], axis)
        assert spread / 160 <= scale.width <= spread / 50


def test_many_pairs_are_cells_and_few_are_points() -> None:
    few, many = trace(np.arange(4000.0)), trace(np.arange(6000.0))
    assert (len(scatter((few, few)).axes), len(scatter((many, many)).axes)) == (1, 2)
    assert not scatter((few, few)).axes[0].images
    several = scatter({"a": (many, many), "b": (few, few)}).axes
    assert (len(several), len(several[0].images)) == (1, 2)


def test_nonsense_is_one_sentence() -> None:
    none = trace([np.nan, np.nan])
    with pytest.raises(UsageError, match="no pairs to plot"):
        scatter((none, trace([1.0, 2.0])))
    with pytest.raises(UsageError, match="nothing to plot"):
        scatter((trace([]), trace([])))
    one, other = trace([1.0, 2.0]), trace([1.0, 2.0], unit="[degF]")
    with pytest.raises(UsageError, match=r"'Cel' and in '\[degF\]'"):
        scatter({"a": (one, one), "b": (other, one)})
    with pytest.raises(UsageError, match="nothing to plot"):
        scatter(Clouds([], ("x", "y")))
