"""What a plot must not make up: states between states, values between events, and readings whose time nobody knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import fieldlog.archive
from archive_data import LOG_ID, NEW_YEAR_US, UID, PaperLogger
from fieldlog import pictures
from fieldlog.archive import Archive, outline, plan
from fieldlog.archive.dataset import update_dataset
from fieldlog.cli import plot_views
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog.plot import Limit, Trace, save, timeseries, traces
from fieldlog.plot.course import Smooth
from fieldlog.plot.in_steps import InSteps
from fieldlog.plot.lines import Line, Overview, Single, lines_of
from fieldlog.plot.reduce import Grid
from fieldlog.plot.rolling import Rolling
from fieldlog.plot.statistics import table_rows
from fieldlog.plot.style import unit_sign
from fieldlog.plot.ticks import state_text
from fieldlog.plot.trace import NO_TIME
from fieldlog.resample import Steps
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

MODES = ("idle", "run", "fault")
MODE = Channel("mode", "", ChannelType.ENUM, choices=MODES)
DOOR = Channel("open", "", ChannelType.BOOL)
LEVEL = Channel("level", "m", ChannelType.I16, exponent=-2)
EVENTS = Stream(1, "events", 0, (DOOR, MODE, LEVEL), timed=True)
STEADY = Stream(0, "steady", 1_000_000, (LEVEL, DOOR, MODE))
N = 1000
PLAIN = ["open", "level"]
"""The channels that are drawn from Parquet files, where these are there."""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path / "archive", clock=lambda: 1) as opened:
        yield opened


def store(archive: Archive, logger: PaperLogger, boot_id: int = 1) -> None:
    log = archive.log(UID, LOG_ID)
    log.add_blocks(logger.blocks)
    log.flush()
    log.add_syncs([Sync(boot_id, 0, NEW_YEAR_US, 0), Sync(boot_id, 10**6 * TICK_HZ, NEW_YEAR_US + 10**12, 0)])


def events_logged(seconds: Any, door: Any, mode: Any = None, level: Any = None) -> PaperLogger:
    logger = PaperLogger(streams=(STEADY, EVENTS), block_size=1024)
    logger.schema()
    door = np.asarray(door)
    columns = (door, door if mode is None else mode, door if level is None else level)
    logger.data(EVENTS, (np.asarray(seconds) * TICK_HZ).astype(np.int64), *columns)
    return logger


def two_boots(archive: Archive, *, sessions: tuple[int, int] = (1, 1), untimed: int = 0) -> None:
    """Nobody knows when the first of two boots was; levels are higher by `untimed` then."""
    logger = PaperLogger(streams=(STEADY, EVENTS), block_size=1024, session=sessions[0])
    logger.schema()
    number = np.arange(N)
    for boot_id, session in zip((1, 2), sessions, strict=True):
        logger.boot_id, logger.session = boot_id, session
        level = number + (untimed if boot_id == 1 else 0)
        logger.data(STEADY, 1000 + number * TICK_HZ, level, number // 100 % 2, number // 150 % 3)
    store(archive, logger, boot_id=2)


def lines(archive: Archive, n_columns: int = 1000, *, derived: bool = False, **selection: Any) -> dict[str, Line]:
    found = pictures.find(archive, archive.readings(**selection))
    assert found.from_parquet == derived
    return {line.name: line for line in pictures.lines(found, n_columns, spread=True)[0]}


def points(line: Line) -> list[tuple[float, float]]:
    """(seconds, value) of each point of the line as it is drawn."""
    utc_us, values = line.columns.course()
    return [(float(t - NEW_YEAR_US) / 1e6, float(v)) for t, v in zip(utc_us, values, strict=True)]


def assert_steps(utc_us: Any, values: Any) -> None:
    """Every stroke goes up or across."""
    joined = ~np.isnan(values[1:]) & ~np.isnan(values[:-1])
    slanted = joined & (np.diff(utc_us) != 0) & (np.diff(values) != 0)
    assert not slanted.any()


def plot_of(archive: Path, target: Path, *options: str) -> list[str]:
    return ["plot", "--archive", str(archive), "-o", str(target), *options]


# readings without a time


@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("sessions", [(1, 1), (1, 2)])
def test_readings_without_a_time_are_neither_plotted_nor_missing(
    archive: Archive, capsys: pytest.CaptureFixture[str], tmp_path: Path, sessions: tuple[int, int], *, derived: bool
) -> None:
    two_boots(archive, sessions=sessions)
    if derived:
        update_dataset(archive)
    found = pictures.find(archive, archive.readings(channels=PLAIN))
    assert found.from_parquet == derived
    drawn, counted = pictures.lines(found, 100)
    assert counted == (N, N)
    assert [(line.figures.count, line.figures.n_missing) for line in drawn] == [(N, 0)] * 2
    target = tmp_path / "a.svg"
    options = ("--channels", ",".join(PLAIN))
    assert invoke(plot_of(archive.path.parent, target, *options)) == 0
    assert capsys.readouterr().out == f"{N} readings plotted to {target}; {N} have no known time and are not in it\n"
    assert invoke([*plot_of(archive.path.parent, target, "--force", *options), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["readings"], told["without_time"]) == (N, N)


VIEWS = {view: "level,open" if view == "scatter" else "level" for view in plot_views.VIEWS}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("sessions", [(1, 1), (1, 2)])
def test_readings_without_a_time_are_in_no_view_wherever_readings_come_from(
    archive: Archive, capsys: pytest.CaptureFixture[str], tmp_path: Path, view: str, sessions: tuple[int, int]
) -> None:
    two_boots(archive, sessions=sessions, untimed=5000)
    target = tmp_path / "a.png"
    found: list[bytes] = []
    for words in ((), (), ("--session", "2"))[: 1 + sessions[1]]:
        options = ("--view", view, "--channels", VIEWS[view], "--title", "-", "--force", "--json", *words)
        assert invoke(plot_of(archive.path.parent, target, *options)) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["readings"], told["without_time"]) == (N, 0 if words else N)
        found.append(target.read_bytes())
        update_dataset(archive)
    assert len(set(found)) == 1


@pytest.mark.parametrize("view", VIEWS)
def test_where_no_reading_of_a_view_has_a_time_nothing_is_plotted(
    archive: Archive, capsys: pytest.CaptureFixture[str], tmp_path: Path, view: str
) -> None:
    two_boots(archive, sessions=(1, 2))
    told: list[str] = []
    for _ in range(2):
        words = ("--view", view, "--channels", VIEWS[view], "--session", "1")
        assert invoke(plot_of(archive.path.parent, tmp_path / "a.png", *words)) == 2
        told.append(capsys.readouterr().err)
        update_dataset(archive)
    assert told[0] == told[1]
    assert "no reading in this selection has both a value and a known time" in told[0]
    assert list(tmp_path.glob("a.*")) == []


@pytest.mark.parametrize("view", VIEWS)
def test_rows_of_a_table_without_a_time_are_in_no_view(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, view: str
) -> None:
    rows = [f"2013-01-01T00:00:{second:02d}Z,{second % 7},{second % 3}" for second in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["time,level,open", ",70,9", *rows, ",80,9", ""]))
    words = ("-o", str(tmp_path / "a.png"), "--view", view, "--channels", VIEWS[view], "--json")
    assert invoke(["plot", str(tmp_path / "a.csv"), *words]) == 0
    told = json.loads(capsys.readouterr().out)
    n_channels = 2 if view == "scatter" else 1
    assert (told["readings"], told["without_time"]) == (40 * n_channels, 2 * n_channels)


def redescribed(archive: Archive, first: Stream, then: Stream) -> None:
    """A session of one stream, and after it one of another of the same number."""
    logger = PaperLogger(streams=(first,), block_size=1024)
    number = np.arange(N)
    for schema_id, stream in enumerate((first, then)):
        logger.schema_id, logger.session, logger.streams = schema_id, schema_id + 1, (stream,)
        logger.schema()
        ticks = (schema_id * N + number) * TICK_HZ
        logger.data(stream, ticks, *(number % 2 for _ in stream.channels))
    store(archive, logger)


@pytest.mark.parametrize("derived", [False, True])
def test_readings_of_channels_that_are_not_wanted_are_no_readings_without_a_time(
    archive: Archive, capsys: pytest.CaptureFixture[str], tmp_path: Path, *, derived: bool
) -> None:
    redescribed(archive, *(Stream(0, "s", 1_000_000, (Channel(name, "", ChannelType.I16),)) for name in "ab"))
    if derived:
        update_dataset(archive)
    target = tmp_path / "a.svg"
    assert pictures.find(archive, archive.readings(channels=["a"])).from_parquet == derived
    assert invoke(plot_of(archive.path.parent, target, "--channels", "a")) == 0
    assert capsys.readouterr().out == f"{N} readings plotted to {target}\n"


def test_outlines_do_not_hide_readings_without_a_time(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "CHUNK", 16)
    two_boots(archive)
    update_dataset(archive)
    found = pictures.find(archive, archive.readings(channels=PLAIN))
    drawn, counted = pictures.lines(found, 10)
    assert found.from_parquet
    assert drawn[0].columns.reduced
    assert counted == (N, N)
    assert [line.figures.n_missing for line in drawn] == [0, 0]


def test_a_line_does_not_go_on_behind_readings_without_a_time() -> None:
    overview = Overview(Grid(NEW_YEAR_US, NEW_YEAR_US + 30, 10))
    for begin in (0, 10, 20):
        times = NEW_YEAR_US + np.arange(begin, begin + 10, dtype=np.int64)
        single = Single(Trace("v", "", np.full(10, NO_TIME) if begin == 10 else times, np.ones(10)))
        single.starts[:] = begin == 0
        overview.add(overview.reduce(single))
    (line,) = overview.lines()
    assert np.flatnonzero(line.columns.starts).tolist()[-1] == 10
    assert (line.figures.count, line.figures.n_missing) == (20, 0)


@pytest.mark.parametrize("derived", [False, True])
def test_where_no_reading_has_a_time_that_is_said(
    archive: Archive, capsys: pytest.CaptureFixture[str], tmp_path: Path, *, derived: bool
) -> None:
    two_boots(archive, sessions=(1, 2))
    if derived:
        update_dataset(archive)
    for ending in ("png", "html"):
        target = tmp_path / f"a.{ending}"
        assert invoke(plot_of(archive.path.parent, target, "--session", "1", "--channels", "open,level")) == 2
        told = capsys.readouterr().err
        assert f"of {N} readings {N} have no known time" in told
    assert list(tmp_path.glob("a.*")) == []


def test_readings_outside_the_times_wanted_are_not_spoken_of(
    archive: Archive, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    two_boots(archive, sessions=(1, 2))
    update_dataset(archive)
    assert invoke(plot_of(archive.path.parent, tmp_path / "a.svg", "--start", "2013-01-01T00:00:00Z")) == 0
    assert capsys.readouterr().out == f"{N} readings plotted to {tmp_path / 'a.svg'}\n"


def test_rows_of_a_table_without_a_time_are_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f"2013-01-01T00:00:{second:02d}Z,{second}" for second in range(20)]
    (tmp_path / "a.csv").write_text("\n".join(["time,v", ",7", *rows, ",8", ""]))
    assert invoke(["plot", str(tmp_path / "a.csv"), "-o", str(tmp_path / "a.svg")]) == 0
    told = capsys.readouterr().out
    assert told == f"20 readings plotted to {tmp_path / 'a.svg'}; 2 have no known time and are not in it\n"


# what holds until the next


@pytest.mark.parametrize("derived", [False, True])
def test_events_hold_their_value_until_the_next(archive: Archive, *, derived: bool) -> None:
    store(archive, events_logged([0, 600, 7200], [0, 1, 0], [0, 2, 1], [100, 150, 120]))
    if derived:
        update_dataset(archive)
    drawn = lines(archive, derived=derived, channels=PLAIN if derived else None)
    values = {"open": (0.0, 1.0, 0.0), "mode": (0.0, 2.0, 1.0), "level": (1.0, 1.5, 1.2)}
    for name, line in drawn.items():
        corners = list(dict.fromkeys(points(line)))
        first, second, third = values[name]
        assert corners == [(0, first), (600, first), (600, second), (7200, second), (7200, third)]


@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("session", [1, 2])
def test_a_session_is_as_eventful_as_its_own_description(archive: Archive, session: int, *, derived: bool) -> None:
    redescribed(archive, *(Stream(0, "s", period_us, (LEVEL,), timed=True) for period_us in (1_000_000, 0)))
    if derived:
        update_dataset(archive)
    drawn = lines(archive, derived=derived, session=session)
    assert drawn["level"].eventful == (session == 2)
    assert (drawn["level"].columns.last is not None) == (session == 2)


def test_the_series_of_the_archive_hold_too(archive: Archive) -> None:
    store(archive, events_logged([0, 600, 7200], [0, 1, 0]))
    found = traces(archive.readings())
    assert [(one.held, one.states) for one in found] == [(True, ("0", "1")), (True, MODES), (True, None)]
    for line in lines_of(found, 100):
        assert_steps(*line.columns.course())


def test_states_of_a_steady_stream_have_steps_and_quantities_none(archive: Archive) -> None:
    two_boots(archive)
    drawn = lines(archive)
    assert drawn["level"].columns.last is None
    for name in ("open", "mode"):
        assert_steps(*drawn[name].columns.course())


def test_nothing_holds_over_a_gap() -> None:
    times = NEW_YEAR_US + np.array([0, 10, 20, 30], np.int64) * 1_000_000
    starts = np.array([True, False, True, False])
    (line,) = lines_of([Trace("door", "", times, np.array([0.0, 1, 0, 1]), starts, held=True)], 100)
    utc_us, values = line.columns.course()
    (gap,) = np.flatnonzero(np.isnan(values))
    assert utc_us[gap - 1] == times[1]
    assert utc_us[gap + 1] == times[2]


@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("stream", [EVENTS, STEADY])
def test_columns_of_many_states_have_no_value_that_none_had(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, stream: Stream, *, derived: bool
) -> None:
    monkeypatch.setattr(outline, "CHUNK", 16)
    monkeypatch.setattr(plan, "BATCH_FRAMES", 2000)
    n = 12_000
    rng = np.random.default_rng(7)
    door = (rng.random(n) < 0.1).astype(int)
    mode = np.where(door, 2, 0)
    logger = PaperLogger(streams=(STEADY, EVENTS), block_size=1024)
    logger.schema()
    columns = {"open": door, "mode": mode, "level": door * 100}
    logger.data(stream, np.arange(n) * TICK_HZ, *(columns[channel.name] for channel in stream.channels))
    store(archive, logger)
    if derived:
        update_dataset(archive)
    drawn = lines(archive, 40, derived=derived, channels=PLAIN if derived else None)
    for name in ("open",) if derived else ("open", "mode"):
        found = drawn[name].columns
        assert found.reduced
        high = 2 if name == "mode" else 1
        for utc_us, values in (found.course(), found.edge(found.high), found.edge(found.low)):
            assert_steps(utc_us, values)
            assert set(values[~np.isnan(values)]) <= {0, high}
        strokes_us, strokes = found.strokes()
        assert_steps(strokes_us, strokes)
        assert found.high.max() == high
    if stream is EVENTS:
        cells = np.searchsorted(np.ceil(np.arange(1, 40) * (n - 1) / 40), np.arange(n), side="right")
        last = [int(door[cells == cell][-1]) for cell in range(40)]
        assert drawn["open"].columns.level.tolist() == last


def test_a_limit_is_passed_as_long_as_the_value_holds() -> None:
    times = NEW_YEAR_US + np.array([0, 10, 100], np.int64) * 1_000_000
    door = Trace("door", "", times, np.array([0.0, 1, 0]), held=True, states=("0", "1"))
    (line,) = lines_of([door], 100, [Limit("door", 0.5)])
    assert line.figures.passed_us == (90_000_000,)
    figure = timeseries([line])
    (shade,) = figure.axes[0].collections[-1].get_paths()
    corners = {(round(x, 9), round(y, 6)) for x, y in np.asarray(shade.vertices)}
    days = [round(float(t) / 86_400e6, 9) for t in times]
    assert {(days[1], 1.0), (days[2], 1.0)} <= corners


def labels_up(figure: Figure, panel: int) -> list[str]:
    figure.draw_without_rendering()
    axes = figure.axes[panel]
    low, high = axes.get_ylim()
    ticks = [label for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
    return [label.get_text() for label in ticks]


def test_the_axis_of_states_has_their_words(archive: Archive, tmp_path: Path) -> None:
    two_boots(archive)
    figure = timeseries(lines(archive).values(), stats=True)
    assert labels_up(figure, 1) == ["0", "1"]
    assert labels_up(figure, 2) == list(MODES)
    save(figure, tmp_path / "a.png")


def test_words_that_lack_are_numbers() -> None:
    words = ("idle", "", "a\x1b" + "b" * 40)
    assert [state_text(value, words) for value in (0, 1, 2, 3, -1, 0.5)] == [
        "idle",
        "1",
        "a " + "b" * 13 + "…",
        "3",
        "-1",
        "",
    ]


def test_a_smoothed_door_has_an_axis_of_shares() -> None:
    times = NEW_YEAR_US + np.arange(100, dtype=np.int64) * 1_000_000
    door = Trace("door", "", times, np.asarray(np.arange(100) // 7 % 2, np.float64), states=("0", "1"))
    assert "0.5" in ",".join(labels_up(timeseries([door], rolling="30s"), 0))


def test_words_are_not_smoothed() -> None:
    times = NEW_YEAR_US + np.arange(100, dtype=np.int64) * 1_000_000
    mode = Trace("mode", "", times, np.asarray(np.arange(100) // 7 % 3, np.float64), states=MODES)
    assert labels_up(timeseries([mode], rolling="30s"), 0) == list(MODES)


@pytest.mark.parametrize("choices", [MODES, ()])
@pytest.mark.parametrize("way", ["--rolling", "--resample"])
@pytest.mark.parametrize("number_first", [True, False])
def test_what_became_words_is_smoothed_as_far_as_it_was_numbers(
    archive: Archive, tmp_path: Path, choices: tuple[str, ...], way: str, *, number_first: bool
) -> None:
    kinds = [Channel("m", "", ChannelType.I16), Channel("m", "", ChannelType.ENUM, choices=choices)]
    streams = [Stream(0, "s", 1_000_000, (LEVEL, kind)) for kind in kinds]
    redescribed(archive, *(streams if number_first else streams[::-1]))
    assert invoke(plot_of(archive.path.parent, tmp_path / "a.png", way, "60s")) == 0
    begin = 0 if number_first else N
    course = Rolling(60_000_000) if way == "--rolling" else InSteps(Steps(60_000_000, UTC))
    level, smooth = pictures.lines(pictures.find(archive, archive.readings()), 1000, way=course)[0]
    assert isinstance(level, Smooth)
    assert isinstance(smooth, Smooth)
    assert level.course is not None
    assert smooth.course is not None
    assert (np.diff(level.course.utc_us) > 0).all()
    seconds = (smooth.course.utc_us - NEW_YEAR_US) / 1e6
    assert begin - 60 < seconds.min() < seconds.max() < begin + N + 60


def test_the_table_has_no_mean_of_states(archive: Archive) -> None:
    two_boots(archive)
    head, _, door, mode = table_rows(list(lines(archive).values()), 9)
    assert head[1:] == ("readings", "missing", "lowest", "mean", "highest", "st. dev.")
    assert door[4] == "0.50"
    assert mode[3:] == ("idle", "\N{EN DASH}", "fault", "\N{EN DASH}")


def test_of_events_the_share_of_readings_is_no_share_of_time(archive: Archive) -> None:
    store(archive, events_logged([0, 600, 7200], [0, 1, 0]))
    _, door, *_ = table_rows(list(lines(archive).values()), 9)
    assert door[3:] == ("0", "\N{EN DASH}", "1", "\N{EN DASH}")


@pytest.mark.parametrize("derived", [False, True])
def test_tables_of_fieldlog_tell_what_holds(archive: Archive, tmp_path: Path, *, derived: bool) -> None:
    store(archive, events_logged([0, 600, 7200], [0, 1, 0]))
    if derived:
        update_dataset(archive)
    target = tmp_path / "a.parquet"
    assert invoke(["export", "--archive", str(archive.path.parent), "-o", str(target)]) == 0
    assert invoke(["plot", str(target), "-o", str(tmp_path / "a.html")]) == 0
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    panels = json.loads(data)["panels"]
    assert [[line["held"] for line in panel["lines"]] for panel in panels] == [[True], [True]]
    assert [panel["states"] for panel in panels] == [["0", "1"], None]


# units


@pytest.mark.parametrize(
    ("unit", "sign"),
    [
        ("[g]", "g"),
        ("m[g]", "mg"),
        ("u[g]", "µg"),
        ("[ppm]", "ppm"),
        ("[ft_i]/min", "ft/min"),
        ("[kn_i]", "kn"),
        ("[in_i]", "in"),
        ("[in_i'Hg]", "inHg"),
        ("mm[Hg]", "mmHg"),
        ("[mi_i]/h", "mph"),
        ("[degF]", "°F"),
        ("[degF]/h", "°F/h"),
        ("[pH]", "pH"),
        ("{tips}", "tips"),
        ("{beats}/min", "beats/min"),
        ("dB[SPL]", "dB SPL"),
        ("[", "["),
        ("[]", "[]"),
        ("Cel", "°C"),
    ],
)
def test_annotations_of_units_follow_one_rule(unit: str, sign: str) -> None:
    assert unit_sign(unit) == sign
