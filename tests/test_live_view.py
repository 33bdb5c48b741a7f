"""What the live view shows of given frames: on screens of any size, as lines, and whatever a device calls its channels."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fieldlog.cli.live import _Work
from fieldlog.cli.live_lines import CsvLines, JsonLines
from fieldlog.cli.live_view import Size, View
from fieldlog.cli.live_window import Curves
from fieldlog.cli.live_words import age_text, spark, value_text
from fieldlog.cli.output import Output
from fieldlog.live import Event, Found, Frames, LinkBack, LinkLost, Restarted
from fieldlog.live.frames import Layout, layout_of
from fieldlog.live.picture import Picture
from fieldlog.live.trail import KEPT, Trail
from fieldlog.logger_info import LoggerInfo, merge
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands.logger import ArmRequest, InfoResponse, State, StreamPeriod
from fieldlog_protocol.errors import VerificationError

NOW_S = 1_800_000_000.0
VIEW = View("/dev/ttyACM0", window_s=10.0)
TEMPERATURE = Channel("temperature", "Cel", ChannelType.I16, exponent=-2)
VOLTAGE = Channel("voltage", "V", ChannelType.F32)
HOSTILE = "\x1b[31m=cmd|'/c calc'!A1\n\u202e<b>"


def info(state: State = State.LOGGING, name: str = "attic") -> LoggerInfo:
    said = InfoResponse(
        parts=1, uid=b"\x01\x02", log=1, block=1024, boot=3, tick=0, first=0, next=1, state=state, name=name
    )
    return merge([said])


def layout(*channels: Channel, id: int = 0, name: str = "climate", period_us: int = 1_000_000) -> Layout:
    return layout_of(StreamInfo(id, name, period_us, channels), range(len(channels)))


def frames(of: Layout, columns: Sequence[Sequence[float]], *, lost: int = 0, end_s: float = NOW_S) -> Frames:
    """At the stream's period, the last one at `end_s`."""
    values = tuple(np.array(column, np.float64) for column in columns)
    period_us = of.stream.period_us
    utc_us = round(end_s * 1e6) - period_us * np.arange(len(values[0]), dtype=np.int64)[::-1]
    ticks = (utc_us - round((NOW_S - 1e6) * 1e6)) * 32768 // 1_000_000
    return Frames(of.stream, 3, of.channels, ticks, utc_us, values, lost)


def picture(*events: Event) -> Picture:
    shown = Picture()
    for event in events:
        shown.add(event)
    return shown


def text(shown: Picture, width: int = 80, height: int = 24, view: View = VIEW, now_s: float = NOW_S) -> list[str]:
    return ["".join(part.text for part in line).rstrip() for line in view.lines(shown, Size(width, height), now_s)]


CLIMATE = layout(TEMPERATURE, VOLTAGE)
READINGS = frames(CLIMATE, [[20.5, 21, 22.25, -3], [3.25, 3.3, math.nan, 3.5]])


def test_the_newest_values_their_course_and_their_range_are_shown() -> None:
    assert text(picture(Found(info(), (CLIMATE,), 100), READINGS), width=60) == [
        "attic  /dev/ttyACM0  logging",
        "climate  1 Hz  4 frames  none lost",
        "  temperature  -3.00 °C                 ███▁  -3.00 to 22.25",
        "  voltage        3.5 V                  ▁▂ █   3.25 to   3.5",
        "Ctrl-C ends",
    ]


def test_names_that_are_too_long_keep_the_end_that_tells_them_apart() -> None:
    axes = layout(*(Channel(f"acceleration {axis}", "g", ChannelType.F32) for axis in "xyz"))
    shown = text(picture(Found(info(), (axes,), 100), frames(axes, [[1.0], [2.0], [3.0]])), width=40)
    assert [line.split()[1] for line in shown[2:5]] == ["x", "y", "z"]
    assert all("~" in line for line in shown[2:5])


def test_a_screen_without_unicode_gets_plain_marks() -> None:
    shown = text(picture(Found(info(), (CLIMATE,), 100), READINGS), 60, view=View("x", 10.0, unicode=False))
    assert "@@@_" in shown[2]


def test_losses_restarts_and_breaks_stand_out() -> None:
    lossy = picture(
        Found(info(), (CLIMATE,), 100), frames(CLIMATE, [[1.0], [2.0]], lost=7), Restarted(4), LinkLost("it is gone")
    )
    head, trouble, stream, *_ = VIEW.lines(lossy, Size(80, 24), NOW_S)
    assert [part.text.strip() for part in head if part.style == "alarm"] == ["restarted once", "link lost once"]
    assert [(part.text, part.style) for part in trouble] == [("it is gone", "alarm")]
    assert [part.text for part in stream if part.style == "alarm"] == ["7 lost"]
    lossy.add(LinkBack())
    assert "it is gone" not in text(lossy)


@pytest.mark.parametrize("state", [State.IDLE, State.ARMED, State.FULL, State.FAULT])
def test_why_nothing_comes_is_said_with_what_to_do(state: State) -> None:
    shown = " ".join(text(picture(Found(info(state), (CLIMATE,), 100)), width=50))
    assert state.name.lower() in shown
    assert "`fieldlog " in shown
    assert "no frame yet" in shown


def test_a_stream_that_the_session_leaves_out_is_said_to_be() -> None:
    motion = layout(VOLTAGE, id=1, name="motion")
    running = replace(info(), plan=ArmRequest(id=0, streams=(StreamPeriod(s=0),)))
    shown = text(picture(Found(running, (CLIMATE, motion), 100), READINGS))
    assert shown[-2:] == ["motion  not recorded", "Ctrl-C ends"]
    both = replace(running, plan=ArmRequest(id=0))
    assert "motion  no frame yet" in text(picture(Found(both, (CLIMATE, motion), 100), READINGS))


def test_readings_that_are_old_say_so() -> None:
    shown = picture(Found(info(), (CLIMATE,), 100), READINGS)
    assert "newest 5 min ago" in text(shown, now_s=NOW_S + 300)[1]


def test_what_does_not_fit_is_counted() -> None:
    many = layout(*(Channel(f"channel {number}", "V", ChannelType.I16) for number in range(40)))
    shown = text(picture(Found(info(), (many,), 100), frames(many, [[1.0]] * 40)), height=10)
    assert len(shown) == 10
    assert shown[-1].startswith("33 more channels")


NAMES = st.text(max_size=40) | st.just(HOSTILE) | st.sampled_from(["温度", "e\u0301" * 9, "😀" * 30])


@given(
    names=st.lists(NAMES, min_size=1, max_size=6),
    unit=NAMES,
    values=st.lists(st.floats(width=32), min_size=1, max_size=5),
    width=st.integers(1, 250),
    height=st.integers(1, 30),
)
def test_no_line_is_wider_than_the_screen_and_nothing_acts_on_it(
    names: list[str], unit: str, values: list[float], width: int, height: int
) -> None:
    odd = layout(*(Channel(name, unit, ChannelType.F32) for name in names), name=names[0])
    shown = picture(Found(info(name=names[0]), (odd,), 100), frames(odd, [values] * len(names)))
    lines = text(shown, width, height)
    assert len(lines) <= height
    for line in lines:
        assert cell_len(line) <= width
        assert line.isprintable()


@pytest.mark.parametrize(
    ("channel", "value", "expected"),
    [
        (TEMPERATURE, 21.0, "21.00"),
        (TEMPERATURE, math.nan, "-"),
        (VOLTAGE, 1 / 3, "0.333333"),
        (VOLTAGE, -math.inf, "-inf"),
        (Channel("g", "[g]", ChannelType.I16, multiplier=5**12, exponent=-12), 1.000244140625, "1.0002"),
        (Channel("p", "Pa", ChannelType.I32), 101325.0, "101325"),
        (Channel("p", "Pa", ChannelType.I32, exponent=12), 1e15, "1e+15"),
        (Channel("w", "V", ChannelType.I16, calibration=(0.0, 0.001)), 1.2345, "1.234"),
    ],
)
def test_values_have_the_decimals_of_their_steps(channel: Channel, value: float, expected: str) -> None:
    assert value_text(channel, value) == expected


def test_a_spark_goes_from_the_lowest_to_the_highest() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert spark([5, math.nan, 5]) == "▁ ▁"
    assert spark([-math.inf, 0, 1, math.inf]) == "█▁██"
    assert spark([]) == ""
    assert [age_text(age) for age in (0.4, 100, 130, 7300, 200_000)] == ["0 s", "100 s", "2 min", "2 h", "2 d"]


# what is kept


def test_a_spike_of_one_reading_is_seen_and_memory_is_bounded() -> None:
    fast = layout(VOLTAGE, period_us=1000)
    trail = Trail(fast)
    for number in range(12):
        values = np.zeros(3000)
        values[1234] = 9.0 if number == 11 else 0.0
        trail.add(frames(fast, [values.tolist()], end_s=NOW_S - 3 * (11 - number)))
    assert trail.total == 36_000
    assert KEPT <= len(trail.seconds) <= 2 * KEPT
    assert np.nanmax(trail.bins(30, 10.0, NOW_S)) == 9.0
    assert trail.rate_hz == pytest.approx(1000, rel=1e-3)
    assert (trail.lowest, trail.highest) == ([0.0], [9.0])


def test_gaps_are_blank_and_the_rate_is_not_theirs() -> None:
    steady = layout(VOLTAGE, period_us=100_000)
    trail = Trail(steady)
    trail.add(frames(steady, [[1.0] * 20], end_s=NOW_S - 6))
    trail.add(frames(steady, [[1.0] * 20]))
    bins = trail.bins(10, 10.0, NOW_S - 0.05)[0]
    assert np.isnan(bins[[0, 1, 5, 6]]).all()
    assert not np.isnan(bins[[2, 3, 8, 9]]).any()
    assert trail.rate_hz == pytest.approx(10)


def test_a_clock_that_was_set_back_does_not_mix_up_times() -> None:
    trail = Trail(CLIMATE)
    trail.add(READINGS)
    trail.add(frames(CLIMATE, [[1.0], [1.0]], end_s=NOW_S - 0.2))
    assert (np.diff(trail.seconds) >= 0).all()
    trail.add(frames(CLIMATE, [[1.0], [1.0]], end_s=NOW_S - 3600))
    assert len(trail.seconds) == 1


# lines


def csv_rows(capsys: pytest.CaptureFixture[str], *events: Event) -> tuple[list[list[str]], str]:
    lines = CsvLines(Output())
    for event in events:
        lines.show(event)
    out, err = capsys.readouterr()
    return list(csv.reader(io.StringIO(out))), err


def test_csv_has_a_column_for_each_channel_of_all_streams(capsys: pytest.CaptureFixture[str]) -> None:
    wind = layout(Channel("voltage", "V", ChannelType.I16, exponent=-1), id=1, name="wind")
    rows, err = csv_rows(
        capsys,
        Found(info(), (CLIMATE, wind), 9),
        READINGS,
        frames(wind, [[7.0]], lost=3),
        Found(info(), (CLIMATE, wind), 9),
    )
    assert rows[0] == ["time", "stream", "temperature [Cel]", "climate voltage [V]", "wind voltage [V]"]
    assert rows[3:] == [
        ["2027-01-15T07:59:59.000000+00:00", "climate", "22.25", "", ""],
        ["2027-01-15T08:00:00.000000+00:00", "climate", "-3.00", "3.5", ""],
        ["2027-01-15T08:00:00.000000+00:00", "wind", "", "", "7.0"],
    ]
    assert err == "warning: 3 frames of wind lost\n"


def test_csv_ends_where_the_channels_become_others(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VerificationError, match="other channels now"):
        csv_rows(capsys, Found(info(), (CLIMATE,), 9), Found(info(), (layout(VOLTAGE),), 9))


def test_names_are_no_formulas_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    odd = layout(Channel(HOSTILE, "V", ChannelType.F32), Channel(HOSTILE, "V", ChannelType.F32), name="=1+1")
    rows, _ = csv_rows(capsys, Found(info(name=HOSTILE), (odd,), 9), frames(odd, [[1.0], [2.0]]))
    assert [cell[:1] in "=+-@" for row in rows for cell in row if cell] == [False] * 8
    assert all(cell.isprintable() for row in rows for cell in row)
    assert len(set(rows[0])) == 4


def json_lines(capsys: pytest.CaptureFixture[str], *events: Event) -> list[dict[str, object]]:
    lines = JsonLines("/dev/ttyACM0")
    for event in events:
        lines.show(event)
    out = capsys.readouterr().out
    assert out.isascii()
    return [json.loads(line) for line in out.splitlines()]


def test_json_tells_each_event_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = Found(info(), (CLIMATE,), 100)
    told = json_lines(
        capsys,
        found,
        READINGS,
        found,
        LinkLost("gone"),
        LinkBack(),
        Restarted(4),
        Found(info(State.IDLE), (CLIMATE,), 100),
    )
    events = ["device", *["frame"] * 4, "link lost", "link back", "restart", "device"]
    assert [event["event"] for event in told] == events
    assert told[0]["streams"] == [
        {
            "id": 0,
            "name": "climate",
            "period_us": 1_000_000,
            "channels": [{"name": "temperature", "unit": "Cel"}, {"name": "voltage", "unit": "V"}],
        }
    ]
    assert told[3]["values"] == {"temperature": 22.25, "voltage": None}
    assert told[4]["time"] == "2027-01-15T08:00:00.000000+00:00"
    assert told[-1]["state"] == "idle"


def test_json_says_where_frames_were_lost(capsys: pytest.CaptureFixture[str]) -> None:
    told = json_lines(capsys, frames(CLIMATE, [[1, 2], [1, 2]], lost=7), frames(CLIMATE, [[], []], lost=2))
    assert [(event["event"], event.get("lost", event.get("frames"))) for event in told] == [
        ("frame", 7),
        ("frame", 0),
        ("lost", 2),
    ]


def test_channels_of_one_name_keep_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    twins = layout(VOLTAGE, VOLTAGE, Channel("voltage 2", "V", ChannelType.F32))
    (told,) = json_lines(capsys, frames(twins, [[1], [2], [3]]))
    assert told["values"] == {"voltage": 1, "voltage 2": 2, "voltage 2 2": 3}


# the window's curves


def test_curves_have_a_panel_for_each_unit_and_gaps_where_frames_are_missing() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    curves = Curves(figure, 10.0)
    steady = layout(VOLTAGE, TEMPERATURE, Channel("_$x^2$\x1b", "V", ChannelType.F32), period_us=100_000)
    shown = picture(
        Found(info(name=r"$x^2$ $\frac$"), (steady,), 9),
        frames(steady, [[1.0] * 20] * 3, end_s=NOW_S - 6),
        frames(steady, [[2.0] * 20] * 3, lost=40),
    )
    for _ in range(2):
        curves.update(shown, NOW_S)
        figure.draw_without_rendering()
    volts, degrees = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["V", "°C"]
    legend = volts.get_legend()
    assert legend is not None
    assert [one.get_text() for one in legend.get_texts()] == ["voltage", "_$x^2$ "]
    figure.canvas.draw()
    assert "$x^2$" in figure.get_suptitle(), "a name is no formula"
    (line,) = degrees.get_lines()
    assert np.isnan(np.asarray(line.get_ydata(), float)).sum() == 1
    low, high = degrees.get_ylim()
    assert low < 1
    assert high > 2


def test_states_and_events_are_steps_with_their_words() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    curves = Curves(figure, 10.0)
    mode = Channel("mode", "", ChannelType.ENUM, choices=("idle", "run", "fault"))
    steady = layout(VOLTAGE, mode, period_us=100_000)
    events = layout(Channel("open", "", ChannelType.BOOL), id=1, name="door", period_us=0)
    moments = frames(layout(id=1, period_us=8_000_000), [[0, 1, 0]], end_s=NOW_S - 3).utc_us
    opened = replace(frames(events, [[0, 1, 0]]), utc_us=moments)
    shown = picture(Found(info(), (steady, events), 9), frames(steady, [[1.0] * 20, [0.0, 2.0] * 10]), opened)
    curves.update(shown, NOW_S)
    figure.draw_without_rendering()
    volts, modes, doors = figure.axes
    assert [line.get_drawstyle() for axes in figure.axes for line in axes.get_lines()] == ["default"] + [
        "steps-post"
    ] * 2
    assert [text.get_text() for text in modes.get_yticklabels()][1:-1] == ["idle", "run", "fault"]
    (door,) = doors.get_lines()
    assert np.asarray(door.get_xdata(), float).tolist() == [-11.0, -3.0, 0.0], (
        "the value before holds, and the last one"
    )
    assert np.asarray(door.get_ydata(), float).tolist() == [1, 0, 0]
    shown.add(LinkLost("the device is gone"))
    curves.update(shown, NOW_S)
    assert np.asarray(door.get_xdata(), float).tolist() == [-11.0, -3.0], "nobody knows what came since"
    assert volts.get_ylabel() == "V"


def test_what_was_lost_is_a_gap_of_steps_too() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    steady = layout(Channel("open", "", ChannelType.BOOL), period_us=100_000)
    parts = (frames(steady, [[1.0] * 20], end_s=NOW_S - 6), frames(steady, [[0.0] * 20], lost=40))
    Curves(figure, 10.0).update(picture(Found(info(), (steady,), 9), *parts), NOW_S)
    (line,) = figure.axes[0].get_lines()
    (gap,) = np.flatnonzero(np.isnan(np.asarray(line.get_ydata(), float)))
    assert np.asarray(line.get_xdata(), float)[gap] == pytest.approx(-6), "the last value does not hold over the gap"


class Slow:
    """A drawing that takes long; closed after a few times."""

    every_s = 0.001

    def __init__(self) -> None:
        self.spans_s: list[tuple[float, float]] = []

    def draw(self, _: Picture) -> bool:
        begin_s = time.monotonic()
        time.sleep(0.02)
        self.spans_s.append((begin_s, time.monotonic()))
        return len(self.spans_s) < 4


def test_slow_drawing_leaves_most_of_the_time_to_reading() -> None:
    drawing = Slow()
    work = _Work(common=None, asked=None)  # type: ignore[arg-type]
    assert asyncio.run(work._draw(drawing)) == "closed"
    for (begin_s, end_s), (next_s, _) in pairwise(drawing.spans_s):
        assert next_s - end_s >= 2.9 * (end_s - begin_s)
