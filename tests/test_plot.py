"""Plots tell the truth: every extreme is seen, no gap is joined, and names from devices are only text."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from fieldlog.plot import Trace, save, timeseries, traces
from fieldlog.plot.lines import lines_of
from fieldlog.plot.reduce import Columns, present, reduce, runs, uncovered
from fieldlog.plot.statistics import table_rows
from fieldlog.plot.zone import axis_label, offset_changes, zone
from fieldlog_protocol.errors import FieldlogError, UsageError

NAT = np.iinfo(np.int64).min
NEW_YEAR_US = 1_356_998_400_000_000
HOUR_US = 3_600_000_000


def trace(values: Any, *, step_us: int = HOUR_US, name: str = "T", unit: str = "Cel", starts: Any = None) -> Trace:
    column = np.asarray(values, dtype=np.float64)
    times = NEW_YEAR_US + np.arange(len(column), dtype=np.int64) * step_us
    return Trace(name, unit, times, column, None if starts is None else np.asarray(starts, dtype=np.bool_))


def pixels(figure: Figure) -> npt.NDArray[np.float64]:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return np.asarray(imread(buffer))[..., :3]


def coloured(image: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Pixels in the hue of the first trace."""
    return image[..., 2] - image[..., 0] > 0.25


def drawn_pairs(columns: Columns) -> list[tuple[int, int]]:
    """The pairs of neighbouring times that a line joins."""
    times, values = columns.joined(columns.mean)
    known = ~np.isnan(values)
    return [(int(a), int(b)) for a, b, join in zip(times, times[1:], known[1:] & known[:-1], strict=False) if join]


@pytest.mark.parametrize("where", [0, 123_456, 500_001, 999_999])
def test_a_spike_of_one_sample_in_a_million_is_seen(where: int) -> None:
    values = np.sin(np.arange(1_000_000) / 50_000)
    values[where] = 10
    image = coloured(pixels(timeseries([trace(values, step_us=1_000_000)])))
    flat = coloured(pixels(timeseries([trace(np.clip(values, -1, 1), step_us=1_000_000)])))
    rows = np.flatnonzero(image.any(axis=1))
    # the spike reaches 10 while the rest stays within 1: most of the panel's height holds the spike alone
    lone = [row for row in rows if image[row].sum() <= 8]
    assert len(lone) > 60
    assert len([row for row in np.flatnonzero(flat.any(axis=1)) if flat[row].sum() <= 2]) < 30


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=400),
    breaks=st.sets(st.integers(0, 399)),
    n_columns=st.integers(1, 40),
)
def test_reduction_keeps_extremes_and_joins_nothing_over_a_break(
    values: list[float], breaks: set[int], n_columns: int
) -> None:
    shown = trace(values, starts=[i in breaks for i in range(len(values))])
    known = ~np.isnan(shown.values)
    if not known.any():
        return
    columns = reduce(shown, int(shown.utc_us[0]), int(shown.utc_us[-1]), n_columns)
    assert columns.low.min() == shown.values[known].min()
    assert columns.high.max() == shown.values[known].max()
    assert len(columns.mean) <= max(3 * n_columns, n_columns + 2)
    assert np.all((columns.low <= columns.mean + 1e-6) & (columns.mean <= columns.high + 1e-6))
    if not columns.reduced:
        unbroken = {
            (int(shown.utc_us[i - 1]), int(shown.utc_us[i]))
            for i in range(1, len(values))
            if known[i] and known[i - 1] and i not in breaks
        }
        assert set(drawn_pairs(columns)) == unbroken


def test_a_gap_is_not_joined_when_columns_are_reduced_either() -> None:
    starts = np.zeros(100_000, dtype=np.bool_)
    starts[50_000] = True
    shown = trace(np.ones(100_000), starts=starts)
    columns = reduce(shown, int(shown.utc_us[0]), int(shown.utc_us[-1]), 1000)
    assert columns.reduced
    across = [pair for pair in drawn_pairs(columns) if pair[0] < shown.utc_us[50_000] <= pair[1]]
    assert across == []
    assert len(drawn_pairs(columns)) == len(columns.mean) - 2


def test_a_gap_is_white_between_the_runs() -> None:
    values = np.zeros(200)
    starts = np.zeros(200, dtype=np.bool_)
    shown = trace(values)
    later = np.where(np.arange(200) >= 100, 200 * HOUR_US, 0)
    starts[100] = True
    gapped = Trace("T", "Cel", shown.utc_us + later, values, starts)
    image = coloured(pixels(timeseries([gapped])))
    middle = image[60:, image.shape[1] // 2 - 100 : image.shape[1] // 2 + 100]
    assert not middle.any()
    joined = coloured(pixels(timeseries([Trace("T", "Cel", gapped.utc_us, values)])))
    assert joined[60:, image.shape[1] // 2 - 100 : image.shape[1] // 2 + 100].any()


def test_gaps_are_where_no_trace_has_readings() -> None:
    starts = [False, False, True, False, True, False]
    times = NEW_YEAR_US + np.array([0, 1, 5, 6, 10, 11], dtype=np.int64) * HOUR_US
    one = Trace("a", "", times, np.zeros(6), np.array(starts))
    other = Trace("b", "", times[:1] + np.arange(5, dtype=np.int64) * HOUR_US, np.zeros(5))
    begins, ends = uncovered([runs(shown.utc_us, present(shown)[2]) for shown in (one, other)])
    assert ((begins - NEW_YEAR_US) // HOUR_US).tolist() == [4, 6]
    assert ((ends - NEW_YEAR_US) // HOUR_US).tolist() == [5, 10]


def test_a_lone_reading_is_seen() -> None:
    values = np.full(50, np.nan)
    values[25] = 3.0
    assert coloured(pixels(timeseries([trace(values)])))[60:].any()


def texts(figure: Figure) -> list[str]:
    found = [figure.get_suptitle()]
    for axes in figure.axes:
        legend = axes.get_legend()
        found += [axes.get_ylabel(), axes.get_xlabel()]
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return found


def test_one_panel_per_unit_with_title_units_names_and_offset() -> None:
    figure = timeseries(
        [trace([1, 2], name="air"), trace([50, 60], name="humidity", unit="%"), trace([0, 1], name="dew point")],
        title="Newark",
    )
    assert len(figure.axes) == 2
    assert texts(figure) == ["Newark", "°C", "", "air", "dew point", "%", "time (UTC+00:00)", "humidity"]


HOSTILE = "$\\frac{1}{0}$ _^ \x1b[31m\x00 \\input{x} $ <script>&"


def test_names_from_devices_are_plain_text(tmp_path: Path) -> None:
    figure = timeseries([trace([1, 2], name=HOSTILE, unit="$x_2"), trace([1, 3], name="_hidden")], title=HOSTILE)
    for suffix in ("png", "svg", "pdf"):
        assert save(figure, tmp_path / f"plot.{suffix}").stat().st_size > 1000
    shown = " ".join(texts(figure))
    assert "$\\frac{1}{0}$" in shown
    assert "_hidden" in shown
    assert "\x1b" not in shown
    assert "\x00" not in shown
    assert "<script" not in (tmp_path / "plot.svg").read_text()


def test_a_dollar_is_drawn_as_a_dollar() -> None:
    """Were it mathtext, $x$ would lose its dollars and be narrower than a name without markup."""
    plain, dollars = (
        timeseries([trace([1, 2], name=name)]).axes[0].get_legend().get_texts()[0] for name in ("x", "$x$")
    )
    assert dollars.get_window_extent().width > 2 * plain.get_window_extent().width


def test_a_name_in_any_script_does_not_stop_the_plot(tmp_path: Path) -> None:
    figure = timeseries([trace([1, 2], name="温度 🌡 \ud800")], title="温度")
    assert save(figure, tmp_path / "plot.png").exists()


@pytest.mark.parametrize(
    ("name", "month", "label"),
    [
        ("UTC", 1, "time (UTC+00:00)"),
        ("Asia/Kolkata", 1, "time (Asia/Kolkata, UTC+05:30)"),
        ("America/New_York", 1, "time (America/New_York, UTC-05:00)"),
        ("Europe/Berlin", 3, "time (Europe/Berlin, UTC+01:00 / UTC+02:00)"),
    ],
)
def test_the_axis_names_the_offsets_in_force(name: str, month: int, label: str) -> None:
    begin_us = int(datetime(2013, month, 20, tzinfo=UTC).timestamp()) * 1_000_000
    assert axis_label(zone(name), begin_us, begin_us + 20 * 24 * HOUR_US) == label


def test_ticks_stand_at_local_midnight() -> None:
    tz = timezone(timedelta(hours=-5))
    axes = timeseries([trace(np.zeros(96))], tz=tz).axes[-1]
    hours = {round(float(tick) % 1 * 24, 3) for tick in axes.get_xticks()}
    assert 5.0 in hours
    assert {(hour - 5) % 6 for hour in hours} <= {0.0}


def test_unknown_times_are_left_out() -> None:
    shown = trace([1.0, 100.0, 2.0])
    shown.utc_us[1] = NAT
    columns = reduce(shown, NEW_YEAR_US, NEW_YEAR_US + 2 * HOUR_US, 100)
    assert columns.mean.tolist() == [1.0, 2.0]
    assert drawn_pairs(columns) == []


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_nothing_to_draw_is_one_sentence(values: list[float]) -> None:
    with pytest.raises(UsageError, match="nothing to plot"):
        timeseries([trace(values)])


def test_one_reading_is_a_plot() -> None:
    assert coloured(pixels(timeseries([trace([5.0])])))[60:].any()


def test_the_time_of_one_reading_can_be_read_off() -> None:
    low, high = timeseries([trace([5.0])]).axes[0].get_xlim()
    assert (high - low) * 24 * 60 < 2


def test_numbers_of_the_table_do_not_reach_into_each_other() -> None:
    figure = timeseries([trace([9.00000097934493e14, 1.099999e15], unit="Pa"), trace([1, 2], unit="V")], stats=True)
    figure.canvas.draw()
    cells = figure.axes[-1].texts
    assert "time beyond" not in [cell.get_text() for cell in cells]
    boxes = [cell.get_window_extent() for cell in cells if cell.get_text()]
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.4, 12.0, 182728.3], ("0.4", "60913.6", "182728.3", "86136.0")),
        ([16.28, 27.5, 20.0], ("16.28", "21.26", "27.50", "4.67")),
        ([100390, 100392, 100393], ("100390", "100391.67", "100393", "1.25")),
        ([-100397.5, -100397.5], ("\N{MINUS SIGN}100397.5", "\N{MINUS SIGN}100397.5", "\N{MINUS SIGN}100397.5", "0.0")),
        ([52.5200061, 52.5200063], ("52.5200061", "52.5200062", "52.5200063", "0.0000001")),
        ([1 / 3, 2 / 3], ("0.333", "0.500", "0.667", "0.167")),
    ],
)
def test_the_table_shows_extremes_as_recorded(values: list[float], said: tuple[str, ...]) -> None:
    assert table_rows(lines_of([trace(values)], 100, spread=True), 9)[1][3:] == said


def test_changes_of_the_offset_are_all_marked_or_none() -> None:
    tz, year_us = zone("Europe/Berlin"), 365 * 24 * HOUR_US
    assert len(offset_changes(tz, NEW_YEAR_US, NEW_YEAR_US + 5 * year_us)) == 10
    assert offset_changes(tz, NEW_YEAR_US, NEW_YEAR_US + 12 * year_us) == []


def test_nonsense_is_refused(tmp_path: Path) -> None:
    figure = timeseries([trace([1, 2])])
    with pytest.raises(UsageError, match=r"\.png"):
        save(figure, tmp_path / "plot.bmp")
    with pytest.raises(UsageError, match="time zone"):
        timeseries([trace([1, 2])], tz="Mars/Olympus")
    with pytest.raises(UsageError, match="differ in length"):
        Trace("a", "", np.zeros(2, dtype=np.int64), np.zeros(3))
    with pytest.raises(FieldlogError, match="could not be written"):
        save(figure, tmp_path / "missing" / "plot.png")
    assert list(tmp_path.iterdir()) == []


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in ("png", "svg", "pdf"):
        first, second = (
            save(timeseries([trace([1, 2, 3])]), tmp_path / f"{n}.{suffix}").read_bytes() for n in range(2)
        )
        assert first == second


class Readings:
    """The shape that the archive's series have."""

    def __init__(self, label: str, hour: int) -> None:
        self.label = label
        self.utc_us = NEW_YEAR_US + (hour + np.arange(3, dtype=np.int64)) * HOUR_US
        self.starts = np.zeros(3, dtype=np.bool_)
        self.channels = [trace([0], name="T"), trace([0], name="RH", unit="%")]
        self.columns = [np.arange(3.0), np.arange(3.0) + 50]


def test_sessions_of_a_channel_become_one_trace_with_a_break() -> None:
    found = traces([Readings("a", 0), Readings("a", 10)])
    assert [(t.name, t.unit, len(t.values)) for t in found] == [("T", "Cel", 6), ("RH", "%", 6)]
    assert found[0].starts is not None
    assert found[0].starts.tolist() == [True, False, False, True, False, False]
    assert [t.name for t in traces([Readings("a", 0), Readings("b", 0)], with_label=True)] == [
        "a: T",
        "a: RH",
        "b: T",
        "b: RH",
    ]


def test_importing_plots_does_not_import_matplotlib() -> None:
    code = "import sys, fieldlog.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_more_units_than_a_figure_has_room_for_are_refused() -> None:
    with pytest.raises(UsageError, match=r"each unit, 25 of them.*--channels"):
        timeseries([trace([1.0, 2.0], unit=f"u{n}") for n in range(25)])


def test_devices_with_more_panels_than_there_is_room_for_can_be_compared() -> None:
    (one,) = lines_of([trace([1.0, 2.0])], 100)
    many = [replace(one, label=f"logger {number}") for number in range(25)]
    with pytest.raises(UsageError, match=r"each unit of each device, 25 of them.*--compare"):
        timeseries(many, compare=False)
    assert len(timeseries(many).axes) == 1
