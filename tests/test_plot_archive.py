"""Plots from the archive: the Parquet files give what the blocks give, and are believed only while they show them all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import fieldlog.archive
import fieldlog.plot
from archive_data import (
    CLIMATE,
    DOOR,
    HOUR,
    LOG_ID,
    NEW_YEAR_US,
    TEMPERATURE,
    UID,
    PaperLogger,
    climate,
)
from fieldlog import pictures
from fieldlog.archive import Archive, database
from fieldlog.archive.dataset import files_in, folder_of, manifest_of, update_dataset
from fieldlog.archive.manifest import hold
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog.plot import Distributions, Event, Limit, Line, save_page, timeseries, traces
from fieldlog.plot.lines import Overview, lines_of
from fieldlog.plot.reduce import Grid
from fieldlog.plot.trace import Trace
from fieldlog.tables import Chosen, open_table
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.events import Boot, Mark, SessionStart
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

SYNCS = [Sync(1, 0, NEW_YEAR_US, 0), Sync(1, 1000 * HOUR, NEW_YEAR_US + 1000 * 3_600_000_000, 0)]
N = 2000
START = datetime(2013, 1, 1, tzinfo=UTC)


def fill(archive: Archive, uid: bytes = UID) -> None:
    """Two sessions of a climate with missing values and a loss, a door, and what happened."""
    logger = PaperLogger()
    logger.schema()
    ticks, temperature, humidity = climate(N)
    temperature[17], temperature[900:905], humidity[3] = -32768, -32768, 65535
    ticks[1500:] += 9 * TICK_HZ
    logger.data(CLIMATE, ticks, temperature, humidity)
    logger.data(DOOR, [5, 70_000, 80_000], [1, 0, 1])
    logger.events((TICK_HZ, Boot("power on", "1.0")), (HOUR // 2, Mark("window <open>")), (9, SessionStart(1, "a")))
    logger.session = 2
    logger.data(CLIMATE, *climate(50, start_s=5000))
    log = archive.log(uid, LOG_ID)
    log.describe(serial=f"L-{uid[0]}")
    log.add_blocks(logger.blocks)
    log.add_syncs(SYNCS)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path) as opened:
        fill(opened)
        yield opened


def drawn(archive: Archive, n_columns: int, **selection: Any) -> tuple[bool, list[Line]]:
    readings = archive.readings(**selection)
    found = pictures.find(archive, readings)
    return found.from_parquet, pictures.lines(found, n_columns, [Limit("temperature", 21.5)], spread=True)[0]


def assert_same(some: Sequence[Line], others: Sequence[Line]) -> None:
    assert [(line.name, line.unit) for line in some] == [(line.name, line.unit) for line in others]
    for one, other in zip(some, others, strict=True):
        for name in ("utc_us", "low", "mean", "high"):
            assert np.allclose(getattr(one.columns, name), getattr(other.columns, name), rtol=1e-12), name
        assert one.columns.starts.tolist() == other.columns.starts.tolist()
        for spans in ("runs", "logged"):
            for a, b in zip(getattr(one, spans), getattr(other, spans), strict=True):
                assert a.tolist() == b.tolist()
        assert (one.figures.count, one.figures.n_missing) == (other.figures.count, other.figures.n_missing)
        assert one.figures.passed_us == other.figures.passed_us
        assert one.figures.deviation == pytest.approx(other.figures.deviation, rel=1e-9)


SELECTIONS: list[dict[str, Any]] = [
    {},
    {"session": 2},
    {"channels": ["temperature"]},
    {"channels": ["open"]},
    {"start": START + timedelta(seconds=100), "end": START + timedelta(seconds=1600)},
    {"start": START + timedelta(seconds=1400)},
]


@pytest.mark.parametrize("n_columns", [40, 5000])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_parquet_files_give_what_the_blocks_give(archive: Archive, selection: dict[str, Any], n_columns: int) -> None:
    from_parquet, slow = drawn(archive, n_columns, **selection)
    assert not from_parquet
    update_dataset(archive)
    from_parquet, fast = drawn(archive, n_columns, **selection)
    assert from_parquet
    assert slow
    assert_same(fast, slow)


def test_files_that_lack_the_newest_blocks_are_not_believed(archive: Archive) -> None:
    update_dataset(archive)
    logger = PaperLogger(session=2)
    logger.blocks = [b""] * 500
    logger.data(CLIMATE, *climate(50, start_s=6000))
    archive.log(UID, LOG_ID).add_blocks(logger.blocks[500:])
    from_parquet, lines = drawn(archive, 5000, channels=["temperature"])
    assert not from_parquet
    assert lines[0].figures.count == N - 6 + 100


def test_files_with_times_that_a_sync_moved_are_not_believed(archive: Archive) -> None:
    update_dataset(archive)
    assert drawn(archive, 100)[0]
    archive.log(UID, LOG_ID).add_syncs([Sync(1, 500 * HOUR, NEW_YEAR_US + 500 * 3_600_000_000 + 5_000_000, 0)])
    assert not drawn(archive, 100)[0]
    update_dataset(archive)
    assert drawn(archive, 100)[0]


@pytest.mark.parametrize("harm", ["file gone", "file cut", "manifest gone", "manifest spoiled"])
def test_what_is_not_as_it_was_written_is_not_believed(archive: Archive, harm: str) -> None:
    update_dataset(archive)
    file = folder_of(archive.path) / files_in(folder_of(archive.path))[0]
    manifest = manifest_of(archive.path)
    if harm == "file gone":
        file.unlink()
    elif harm == "file cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif harm == "manifest gone":
        manifest.unlink()
    else:
        manifest.write_bytes(b"nonsense" * 1000)
    from_parquet, lines = drawn(archive, 100)
    assert not from_parquet
    assert lines[0].figures.count == N - 6 + 50


@pytest.mark.parametrize("late", [False, True])
def test_files_that_another_program_writes_are_not_waited_for(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    monkeypatch.setattr(database, "_HURRY_S", 0.0)
    _, slow = drawn(archive, 40)
    update_dataset(archive)
    before = pictures.find(archive, archive.readings())
    assert before.from_parquet
    with hold(manifest_of(archive.path)):
        found = before if late else pictures.find(archive, archive.readings())
        assert found.from_parquet == late
        assert_same(pictures.lines(found, 40, [Limit("temperature", 21.5)], spread=True)[0], slow)


def test_blocks_that_no_file_can_show_keep_the_files_from_being_believed(archive: Archive) -> None:
    undescribed = PaperLogger(schema_id=9)
    undescribed.blocks = [b""] * 900
    undescribed.data(CLIMATE, *climate(20, start_s=9000))
    archive.log(UID, LOG_ID).add_blocks(undescribed.blocks[900:])
    update_dataset(archive)
    assert not drawn(archive, 100)[0]


def test_events_stand_at_their_times(archive: Archive) -> None:
    told = {event.kind: event for event in pictures.events(archive.readings())}
    assert told["mark"].text == "window <open>"
    assert told["mark"].utc_us == NEW_YEAR_US + 1_800_000_000
    assert told["boot"].text == "restart: power on"
    assert told["start"].text == "start a"


def moments(figure: Figure) -> list[tuple[str, int, list[str]]]:
    """Of each panel its first name, how many vertical lines it has, and their words."""
    return [
        (
            axes.get_legend().get_texts()[0].get_text(),
            sum(len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1 for line in axes.lines),
            sorted(text.get_text().strip() for text in axes.texts if text.get_text().strip()),
        )
        for axes in figure.axes
    ]


def test_an_event_stands_in_the_panels_of_its_device_or_names_it(archive: Archive, tmp_path: Path) -> None:
    other = PaperLogger()
    other.schema()
    other.data(CLIMATE, *climate(N))
    other.events((TICK_HZ * 900, Mark("moved")))
    log = archive.log(bytes.fromhex("ff112233445566778899aabbccddeeff"), LOG_ID)
    log.describe(serial="hut")
    log.add_blocks(other.blocks)
    log.add_syncs(SYNCS)
    readings = archive.readings(["L-0", "hut"], channels=["temperature"])
    found = pictures.find(archive, readings)
    lines, _ = pictures.lines(found, 1000, with_label=True)
    own = ["restart: power on (+1)", "window <open>"]
    events = pictures.events(readings)
    assert moments(timeseries(lines, events=events, compare=False)) == [
        ("L-0: temperature", 2, own),
        ("hut: temperature", 1, ["moved"]),
    ]
    (shared,) = moments(timeseries(lines, events=events))
    assert shared[1:] == (3, ["L-0: restart: power on (+1)", "L-0: window <open>", "hut: moved"])
    unnamed, _ = pictures.lines(pictures.find(archive, readings), 1000)
    assert moments(timeseries(unnamed, events=events))[0][1:] == shared[1:]
    for compare, told in ((True, ["L-0: window <open>", "hut: moved"]), (False, ["window <open>", "moved"])):
        page = save_page(lines, tmp_path / f"{compare}.html", events=events, compare=compare).read_text()
        for words in told:
            assert page.count(f'"{words}"'.replace("<", "\\u003c").replace(">", "\\u003e")) == 1


def test_a_clock_compared_beside_a_mark_is_seen(archive: Archive) -> None:
    (trace,) = traces(archive.readings(channels=["temperature"]))
    mark, sync = Event(NEW_YEAR_US + 900_000_000, "mark", "door"), Event(NEW_YEAR_US + 900_300_000, "sync")
    figure = timeseries([trace], events=[mark, sync])
    assert [(n, words) for _, n, words in moments(figure)] == [(2, ["door"])]
    assert any("clock compared" in text.get_text() for text in figure.texts)


def test_a_mark_behind_the_last_reading_is_seen_or_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(N))
    logger.events(
        *((TICK_HZ * s, Mark(text)) for s, text in ((N + 60, "fetched"), (N + 900, "home"), (N + 999, "table")))
    )
    with fieldlog.archive.open(tmp_path / "archive") as store:
        log = store.log(UID, LOG_ID)
        log.describe(serial="hut")
        log.add_blocks(logger.blocks)
        log.add_syncs(SYNCS)
        readings = store.readings(channels=["temperature"])
        figure = timeseries(traces(readings), events=pictures.events(readings))
        assert [(n, words) for _, n, words in moments(figure)] == [(1, ["fetched"])]
        for name in ("a.png", "a.html"):
            assert plot(store, "-o", str(tmp_path / name)) == 0
            assert "2 marks lie long before or after these readings: not in the plot." in capsys.readouterr().err
        assert '"fetched"' in (tmp_path / "a.html").read_text()
        for words in (("--no-events",), ("--end", "2013-01-01T00:30:00Z")):
            assert plot(store, "-o", str(tmp_path / "b.png"), "--force", *words) == 0
            assert "mark" not in capsys.readouterr().err
        early = store.readings(end=START + timedelta(seconds=N + 100))
        assert [event.text for event in pictures.events(early)] == ["fetched"]


class Part:
    """Some of a trace's readings, in the shape of a series."""

    label = ""

    def __init__(self, trace: Trace, part: slice) -> None:
        assert trace.starts is not None
        self.utc_us, self.starts = trace.utc_us[part], trace.starts[part]
        self.channels, self.columns = [trace], [trace.values[part]]


@settings(max_examples=80, deadline=None)
@given(
    values=st.lists(st.one_of(st.integers(-50, 50).map(float), st.just(float("nan"))), min_size=1, max_size=120),
    breaks=st.sets(st.integers(0, 119)),
    cuts=st.sets(st.integers(1, 119)),
    n_columns=st.integers(1, 30),
)
def test_batches_of_any_size_come_to_the_same(
    values: list[float], breaks: set[int], cuts: set[int], n_columns: int
) -> None:
    times = NEW_YEAR_US + np.arange(len(values), dtype=np.int64) * 1_000_000
    whole = Trace("T", "Cel", times, np.array(values), np.array([i in breaks for i in range(len(values))]))
    if np.isnan(whole.values).all():
        return
    limits = [Limit("T", 10.0), Limit("T", -10.0, below=True)]
    (expected,) = lines_of([whole], n_columns, limits, spread=True)
    begin_us, end_us = int(expected.runs[0][0]), int(expected.runs[1][-1])
    overview = Overview(Grid(begin_us, end_us, n_columns), limits, spread=True)
    edges = [0, *sorted(cut for cut in cuts if cut < len(values)), len(values)]
    for low, high in pairwise(edges):
        overview.add(overview.reduce(Part(whole, slice(low, high))))
    assert_same(overview.lines(), [expected])


def test_sessions_are_not_joined(archive: Archive) -> None:
    lines = drawn(archive, 5000, channels=["temperature"])[1]
    (expected,) = lines_of(
        traces(archive.readings(channels=["temperature"])), 5000, [Limit("temperature", 21.5)], spread=True
    )
    assert_same(lines, [expected])


def test_whole_numbers_are_reduced_as_such() -> None:
    """A sum of large ones is exact."""
    times = NEW_YEAR_US + np.arange(1000, dtype=np.int64) * 1_000_000
    values = np.full(1000, 2**31 - 1, np.int32)

    class Counter:
        label = ""
        utc_us, starts, columns = times, np.arange(1000) == 0, [values]
        channels = [Trace("n", "1", times, values.astype(np.float64))]  # noqa: RUF012 - a stand-in for a record

    overview = Overview(Grid(int(times[0]), int(times[-1]), 10))
    overview.add(overview.reduce(Counter()))
    assert (overview.lines()[0].columns.mean == 2**31 - 1).all()


def plot(archive: Archive, *words: str) -> int:
    archive.flush()
    return invoke(["plot", "--archive", str(archive.path.parent), *words])


def test_the_command_draws_events_thresholds_and_a_table(archive: Archive, tmp_path: Path) -> None:
    target = tmp_path / "plot.svg"
    words = ("--threshold", "temperature>22", "--threshold", "relative humidity < 40", "--stats", "--theme", "dark")
    assert plot(archive, "-o", str(target), *words) == 0
    assert target.stat().st_size > 10_000
    assert "<open>" not in target.read_text()


@pytest.mark.parametrize("updated", [False, True])
@pytest.mark.parametrize("view", ["histogram", "duration"])
def test_every_value_is_counted_once(archive: Archive, tmp_path: Path, view: str, updated: bool) -> None:
    if updated:
        update_dataset(archive)
    readings = archive.readings()
    found = pictures.find(archive, readings)
    counted = Distributions(pictures.lines(found, 100)[0], view)
    for series in found.series():
        counted.add(series)
    numbers = {name: int(counts.counts.sum()) for (_, name, _), counts in counted.counted.items()}
    assert numbers == {"temperature": N - 6 + 50, "relative humidity": N - 1 + 50, "open": 3}
    assert plot(archive, "-o", str(tmp_path / "plot.png"), "--view", view) == 0


def test_the_command_writes_a_page(archive: Archive, tmp_path: Path) -> None:
    target = tmp_path / "plot.html"
    assert plot(archive, "-o", str(target), "--threshold", "temperature>22", "--theme", "dark") == 0
    assert "window \\u003copen\\u003e" in target.read_text()
    assert plot(archive, "-o", str(target)) != 0
    assert plot(archive, "-o", str(target), "--force") == 0


def test_since_counts_from_the_newest_reading(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for updated in (False, True):
        if updated:
            update_dataset(archive)
        target = tmp_path / f"{updated}.png"
        assert plot(archive, "-o", str(target), "--since", "10s", "--channels", "temperature") == 0
        assert "11 readings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--threshold", "nonsense"), "no threshold"),
        (("--threshold", "pressure>3"), "no channel 'pressure'"),
        (("--channels", "temperature", "--threshold", "open>0"), "no channel 'open'"),
        (("--since", "soon"), "no duration"),
        (("--since", "7d", "--start", "2013-01-01"), "--since and --start"),
        (("--start", "2013-02-01", "--end", "2013-01-01"), "put the earlier time first"),
        (("--start", "2030-01-01"), "nothing to plot"),
        (("--channels", "pressure"), "no channel 'pressure'"),
        (("--device", "nobody"), "nobody"),
        (("-o", "plot.html", "--view", "histogram"), "takes neither a page"),
        (("-o", "plot.gif"), ".html"),
        (("--view", "histogram", "--stats"), "--view histogram takes neither"),
        (("-o", "missing/folder/plot.png"), "missing"),
    ],
)
@pytest.mark.parametrize("updated", [False, True])
def test_nonsense_is_one_sentence(
    archive: Archive,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    sentence: str,
    updated: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    if updated:
        update_dataset(archive)
    assert plot(archive, "-o", "plot.png", *words) != 0
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*.png"))


def test_devices_are_compared_on_one_axis_or_apart(archive: Archive, tmp_path: Path) -> None:
    fill(archive, bytes.fromhex("ff112233445566778899aabbccddeeff"))
    for words in ((), ("--compare",)):
        target = tmp_path / f"plot{len(words)}.png"
        assert plot(archive, "-d", "L-0", "-d", "L-255", "-o", str(target), *words) == 0
    assert (tmp_path / "plot0.png").read_bytes() != (tmp_path / "plot1.png").read_bytes()


@pytest.mark.parametrize("updated", [False, True])
def test_two_devices_of_one_name_are_two_lines(archive: Archive, *, updated: bool) -> None:
    other = bytes([9]) + UID[1:]
    fill(archive, other)
    for uid, serial in ((UID, "S1"), (other, "S2")):
        archive.log(uid, LOG_ID).describe(label="hut", serial=serial)
    if updated:
        update_dataset(archive)
    readings = archive.readings([UID.hex(), other.hex()], channels="temperature")
    lines, _ = pictures.lines(pictures.find(archive, readings), 100, with_label=True)
    assert [line.full_name for line in lines] == ["hut S1: temperature", "hut S2: temperature"]
    assert {event.label for event in pictures.events(readings)} <= {"hut S1", "hut S2"}


def test_a_title_names_the_first_of_many_devices(archive: Archive, tmp_path: Path) -> None:
    for number in range(1, 5):
        fill(archive, bytes([number]) + UID[1:])
    devices = [word for number in range(5) for word in ("-d", f"L-{number}")]
    target = tmp_path / "plot.svg"
    assert plot(archive, *devices, "--compare", "-o", str(target)) == 0
    title = re.search(r"<!-- (.*more devices.*) -->", target.read_text())
    assert title is not None
    assert title[1].startswith("L-0 · L-1 · L-2 · 2 more devices")


def test_a_title_of_two_devices_says_whose_sessions_they_are(archive: Archive, tmp_path: Path) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(N))
    logger.events((0, SessionStart(1, "down here")))
    log = archive.log(bytes.fromhex("ff112233445566778899aabbccddeeff"), LOG_ID)
    log.describe(label="Cellar")
    log.add_blocks(logger.blocks)
    log.add_syncs(SYNCS)
    target = tmp_path / "plot.svg"
    for devices, title in ((["L-0", "Cellar"], "L-0 (a) · Cellar (down here)"), (["Cellar"], "Cellar · down here")):
        words = [word for device in devices for word in ("-d", device)]
        assert plot(archive, *words, "-o", str(target), "--force") == 0
        assert f"<!-- {title} -->" in target.read_text()


def test_a_title_names_no_session_without_readings_in_the_plot(archive: Archive, tmp_path: Path) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.events((0, SessionStart(1, "empty")))
    logger.session = 2
    logger.events((HOUR, SessionStart(2, "early")))
    logger.data(CLIMATE, *climate(60, 3600))
    logger.session = 3
    logger.events((2 * HOUR, SessionStart(3, "late")))
    logger.data(CLIMATE, *climate(60, 7200))
    log = archive.log(bytes.fromhex("ff112233445566778899aabbccddeeff"), LOG_ID)
    log.describe(label="Cellar")
    log.add_blocks(logger.blocks)
    log.add_syncs(SYNCS)
    target = tmp_path / "plot.svg"
    at = "2013-01-01T01:30Z"
    for words, title in (((), "early · late"), (("--end", at), "early"), (("--start", at), "late")):
        assert plot(archive, "-d", "Cellar", *words, "-o", str(target), "--force") == 0
        assert f"<!-- Cellar · {title} -->" in target.read_text()


def test_columns_are_fine_where_the_readings_are_few_hours_of_the_times_asked_for(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next readings are years later: the row group reaches so far, and the picture does not."""
    logger = PaperLogger(session=3)
    ticks, temperature, humidity = climate(20_000)
    ticks[-1] += 20_000 * HOUR
    logger.schema()
    logger.data(CLIMATE, ticks, temperature, humidity)
    with fieldlog.archive.open(tmp_path / "later") as later:
        log = later.log(UID, LOG_ID)
        log.describe(serial="later")
        log.add_blocks(logger.blocks)
        log.add_syncs([SYNCS[0]])
        update_dataset(later)
        seen: list[Line] = []

        def drawn_as(lines: Sequence[Line], **_: object) -> Figure:
            seen.extend(lines)
            return Figure()

        monkeypatch.setattr(fieldlog.plot, "timeseries", drawn_as)
        assert plot(later, "-o", str(tmp_path / "fine.png"), "--channels", "temperature", "--end", "2014-01-01") == 0
    assert len(np.unique(seen[0].columns.utc_us)) > 1000


INSIDE, OUTSIDE = (Stream(number, name, 60_000_000, (TEMPERATURE,)) for number, name in ((0, "inside"), (1, "outside")))
TWO = {"inside: temperature": (21.0, 21.0, 21.0), "outside: temperature": (-5.0, -5.0, -5.0)}


@pytest.fixture
def hut(tmp_path: Path) -> Iterator[Archive]:
    """Two sensors of a kind, each a stream of its own, over a night; outside is read half as long."""
    logger = PaperLogger((INSIDE, OUTSIDE))
    logger.schema()
    for stream, count, raw in ((INSIDE, 600, 2100), (OUTSIDE, 300, -500)):
        logger.data(stream, np.arange(count) * 60 * TICK_HZ, np.full(count, raw))
    with fieldlog.archive.open(tmp_path) as opened:
        log = opened.log(UID, LOG_ID)
        log.describe(serial="L-1")
        log.add_blocks(logger.blocks)
        log.add_syncs(SYNCS)
        yield opened


def extent(lines: Sequence[Line]) -> dict[str, tuple[float, float, float]]:
    return {line.name: (line.figures.lowest, line.figures.mean, line.figures.highest) for line in lines}


def test_sensors_of_a_kind_are_lines_of_their_own(hut: Archive) -> None:
    """One line through both would show a temperature that nobody measured."""
    from_parquet, slow = drawn(hut, 40)
    assert not from_parquet
    update_dataset(hut)
    from_parquet, fast = drawn(hut, 40)
    assert from_parquet
    assert extent(slow) == extent(fast) == TWO
    assert_same(fast, slow)
    assert [line.figures.limits for line in fast] == [
        (Limit(f"{name}: temperature", 21.5),) for name in ("inside", "outside")
    ]
    made = traces(hut.readings())
    assert {trace.name: (len(trace.values), set(trace.values.tolist())) for trace in made} == {
        "inside: temperature": (600, {21.0}),
        "outside: temperature": (300, {-5.0}),
    }


def test_one_of_them_alone_keeps_its_name(hut: Archive) -> None:
    later = START + timedelta(minutes=400)
    assert extent(drawn(hut, 40, start=later)[1]) == {"temperature": (21.0, 21.0, 21.0)}
    update_dataset(hut)
    assert extent(drawn(hut, 40, start=later)[1]) == {"temperature": (21.0, 21.0, 21.0)}


def test_in_files_of_readings_they_have_the_same_names(hut: Archive, tmp_path: Path) -> None:
    hut.flush()
    for name in ("hut.csv", "hut.parquet"):
        file = tmp_path / name
        assert invoke(["export", "--archive", str(tmp_path), "-o", str(file), "-q"]) == 0
        table = open_table(file, "", UTC)
        assert [channel.name for channel in table.channels] == list(TWO)
        found = Chosen([table])
        assert extent(pictures.lines(pictures.in_batches(*found.span_us(), found.series), 40)[0]) == TWO


@pytest.mark.parametrize("n_columns", [20, 5000])
def test_what_is_infinite_is_missing_and_spoils_no_figure(tmp_path: Path, n_columns: int) -> None:
    """A float that overflowed, or of which 1/0 was made: the others keep their mean, and the axis its ends."""
    ohms = Stream(0, "probe", 1_000_000, (Channel("resistance", "Ohm", ChannelType.F32),))
    values = np.tile(np.array([1, 2, 3, np.inf, 5, -np.inf, 7, np.nan], np.float32), 2000)
    logger = PaperLogger((ohms,), block_size=4096)
    logger.schema()
    logger.data(ohms, np.arange(len(values)) * TICK_HZ, values)
    with fieldlog.archive.open(tmp_path) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_blocks(logger.blocks)
        log.add_syncs(SYNCS)
        slow = drawn(archive, n_columns)[1]
        update_dataset(archive)
        from_parquet, fast = drawn(archive, n_columns)
        assert from_parquet
        (series,) = archive.readings()
        assert np.isinf(series.columns[0]).sum() == 4000
    assert_same(fast, slow)
    for (line,) in (slow, fast):
        figures = line.figures
        assert (figures.count, figures.n_missing) == (10_000, 6_000)
        assert (figures.lowest, figures.highest, figures.mean) == (1, 7, 3.6)
        assert figures.deviation == pytest.approx(np.std([1, 2, 3, 5, 7]))
        assert np.isfinite(line.columns.mean).all()
