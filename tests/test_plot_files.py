"""Plots of files: what was exported is drawn as the archive's own readings are, and what is no table is said to be none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, TEMPERATURE, UID, PaperLogger, climate
from fieldlog import pictures
from fieldlog.archive import Archive
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog.plot import Line, columns_for
from fieldlog.tables import Chosen, Name, csv_file, open_table
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

SYNCS = [Sync(1, 0, NEW_YEAR_US, 0), Sync(1, 1000 * HOUR, NEW_YEAR_US + 1000 * 3_600_000_000, 0)]
OTHER = bytes.fromhex("ff112233445566778899aabbccddeeff")
HOSTILE = "=cmd|'/c calc'!A1"
ODD = Stream(2, "odd", 1_000_000, (Channel(HOSTILE, "@x", ChannelType.I16), Channel("a, b", "", ChannelType.F32)))
N = 500
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")


def fill(archive: Archive, uid: bytes = UID) -> None:
    """A climate with missing values and a gap, a door, and names that are not harmless."""
    logger = PaperLogger(streams=(CLIMATE, DOOR, ODD))
    logger.schema()
    ticks, temperature, humidity = climate(N)
    temperature[17], humidity[200:205] = TEMPERATURE.missing, 65535
    ticks[300:] += 90 * TICK_HZ
    logger.data(CLIMATE, ticks, temperature, humidity)
    logger.data(DOOR, [5, 70_000, 8_000_000], [1, 0, 1])
    logger.data(ODD, np.arange(40) * TICK_HZ, np.arange(-20, 20), np.arange(40) / 8)
    log = archive.log(uid, LOG_ID)
    log.describe(serial=f"L-{uid[0]}")
    log.add_blocks(logger.blocks)
    log.add_syncs(SYNCS)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    with fieldlog.archive.open(tmp_path / "archive") as opened:
        fill(opened)
        yield opened


def lines_of(*paths: str, channels: tuple[str, ...] | None = None) -> list[Line]:
    chosen = Chosen([open_table(Path(path), "", UTC) for path in paths], channels)
    return pictures.lines(pictures.in_batches(*chosen.span_us(), chosen.series), columns_for(), with_label=True)[0]


def exported(archive: Archive, *words: str) -> None:
    archive.flush()
    assert invoke(["export", "--force", *words]) == 0


def values(line: Line) -> list[tuple[int, float]]:
    return list(zip(line.columns.utc_us.tolist(), line.columns.mean.tolist(), strict=True))


FORMS = [
    ("a.csv",),
    ("a.csv", "--units", "row"),
    ("a.csv", "--clock", "--tz", "Europe/Berlin"),
    ("a.csv", "--long"),
    ("a.csv", "--long", "--clock", "--decimal-comma"),
    ("a.csv", "--format", "excel", "--decimal-comma", "--tz", "America/New_York"),
    ("a.csv", "--format", "excel"),
    ("a.parquet",),
]


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_what_was_exported_is_plotted_as_the_archive_is(archive: Archive, form: tuple[str, ...]) -> None:
    exported(archive, "-o", *form)
    found = {(line.name, line.unit): line for line in lines_of(form[0])}
    readings = archive.readings()
    expected, _ = pictures.lines(pictures.find(archive, readings), columns_for())
    assert found.keys() == {(line.name, line.unit) for line in expected}
    for line in expected:
        one = found[line.name, line.unit]
        within_us = 999 if "excel" in form else 0  # which has no more than milliseconds, and the rest is cut off
        assert np.abs(one.columns.utc_us - line.columns.utc_us).max() <= within_us
        assert one.columns.mean.tolist() == line.columns.mean.tolist()
        if line.name != "open" or form[0] == "a.parquet":
            assert one.columns.starts.tolist() == line.columns.starts.tolist()
        if "--long" not in form and line.name != "open":  # a long table has rows for values alone
            assert one.figures.n_missing == line.figures.n_missing
            assert len(one.logged[0]) == len(line.logged[0])


def test_a_parquet_file_tells_missing_values_gaps_and_devices(archive: Archive) -> None:
    fill(archive, OTHER)
    exported(archive, "-d", "L-0", "-d", "L-255", "-o", "both.parquet")
    found = {(line.label, line.name): line for line in lines_of("both.parquet")}
    for label in ("L-0", "L-255"):
        assert found[label, "temperature"].figures.n_missing == 1
        assert len(found[label, "temperature"].logged[0]) == 2
        assert found[label, "relative humidity"].figures.n_missing == 5


@pytest.mark.parametrize("words", [(), ("--long",)])
def test_devices_of_a_table_are_told_apart(archive: Archive, words: tuple[str, ...]) -> None:
    fill(archive, OTHER)
    exported(archive, "-d", "L-0", "-d", "L-255", "-o", "both.csv", *words)
    found = [(line.label, line.figures.count) for line in lines_of("both.csv", channels=("temperature",))]
    assert found == [("L-0", N - 1), ("L-255", N - 1)]


def test_the_command_plots_files_side_by_side(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    exported(archive, "-o", "a.csv")
    exported(archive, "-o", "b.parquet", "--resample", "1min", "--stat", "min,max")
    capsys.readouterr()
    words = ["--channels", "temperature,temperature max", "--since", "1h", "--stats", "--compare"]
    assert invoke(["plot", "a.csv", "b.parquet", "-o", "both.svg", *words]) == 0
    assert "readings plotted to both.svg" in capsys.readouterr().out
    assert invoke(["plot", "a.csv", "-o", "page.html", "--rolling", "1min", "--threshold", "temperature>21"]) == 0
    assert invoke(["plot", "a.csv", "-o", "map.png", "--view", "histogram"]) == 0


def test_the_command_makes_a_picture_of_the_size_that_is_wanted(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(archive, "-o", "a.csv")
    for size, dpi, dots in (
        ("9x12.7cm", "254", (1270, 900)),
        ("90 mm", "100", (None, 354)),
        ("4X5in", "100", (500, 400)),
    ):
        assert invoke(["plot", "a.csv", "-o", "a.png", "--force", "--size", size, "--dpi", dpi]) == 0
        height, width = imread("a.png").shape[:2]
        assert (height if dots[0] else None, width) == dots
    for view in ("histogram", "duration", "heatmap", "spectrum"):
        words = ["--view", view, "--channels", "temperature", "--size", "4x5in", "--dpi", "100"]
        assert invoke(["plot", "-o", "a.png", "--force", *words]) == 0
        assert imread("a.png").shape[:2] == (500, 400)
    pair = "temperature,relative humidity"
    assert invoke(["plot", "-o", "a.svg", "--view", "scatter", "--channels", pair, "--size", "9cm"]) == 0
    assert 'width="255.118' in Path("a.svg").read_text()
    capsys.readouterr()
    for words, sentence in (
        (["-o", "b.png", "--size", "9x6"], "'9x6' is no size"),
        (["-o", "b.png", "--size", "9x"], "is no size"),
        (["-o", "b.html", "--size", "9cm"], "are for PNG, SVG and PDF"),
        (["-o", "b.png", "--dpi", "nan"], "50 to 2400 dots"),
    ):
        assert invoke(["plot", "a.csv", *words]) == 2
        assert sentence in capsys.readouterr().err
        assert not Path(words[1]).exists()


def test_lines_of_a_table_are_interrupted_where_even_readings_pause(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    minutes = [*range(20), *range(25, 40)]
    path.write_text("time,x\n" + "".join(f"2013-01-01T00:{minute:02d}:00Z,{minute}\n" for minute in minutes))
    (line,) = lines_of(str(path))
    assert np.flatnonzero(line.columns.starts).tolist() == [0, 20]


def test_empty_cells_are_missing_values_where_a_reading_was_due_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the blocks in which a file is read: of two streams a second apart each has a row in which the other has none."""
    rows = [f"2013-01-01T00:{minute:02d}:00Z,{'' if minute in (20, 30, 31) else minute}," for minute in range(50)]
    rows += [f"2013-01-01T00:{minute:02d}:01Z,,{'' if minute in (0, 40) else minute}" for minute in range(45)]
    path = tmp_path / "a.csv"
    path.write_text("time,x,y\n" + "".join(f"{row}\n" for row in sorted(rows)))
    for block_bytes in (1 << 22, 600):
        monkeypatch.setattr(csv_file, "_BLOCK_BYTES", block_bytes)
        x, y = lines_of(str(path))
        assert [(one.figures.count, one.figures.n_missing) for one in (x, y)] == [(47, 3), (43, 1)]
        assert [len(one.logged[0]) for one in (x, y)] == [1, 1]
        assert [len(one.runs[0]) for one in (x, y)] == [3, 2]


def test_readings_at_odd_times_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    hours = [0, 1, 3, 4, 7, 8, 12, 13, 15, 16, 20, 23]
    path.write_text("time,x\n" + "".join(f"2013-01-01T{hour:02d}:00:00Z,{hour}\n" for hour in hours))
    (line,) = lines_of(str(path))
    assert np.flatnonzero(line.columns.starts).tolist() == [0]


FOREIGN = {
    "Timestamp;Außen [°C];Note\n2013-07-01 12:00:00;12,5;cold\n2013-07-01 12:10:00;;x\n2013-07-01 12:20:00;-3;\n": 2,
    "date\tx\n2013-07-01\t1\n2013-07-02\tNaN\n2013-07-03\t3\n": 2,
    'time,"a ""b"", c"\n2013-07-01T12:00+02:00,1e3\n2013-07-01T12:00:00.25+02:00,2\n': 2,
}


@pytest.mark.parametrize("text", FOREIGN)
def test_tables_of_others_are_plotted_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    (line,) = lines_of(str(path))
    assert line.figures.count == FOREIGN[text]


def test_times_without_an_offset_are_meant_in_the_zone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,x\n2013-03-31 01:30,1\n2013-03-31 03:30,2\n2013-07-01 12:00,3\n")
    chosen = Chosen([open_table(path, "", ZoneInfo("Europe/Berlin"))])
    (series,) = chosen.series()
    assert np.diff(series.utc_us).tolist()[0] == 3_600_000_000
    assert str(series.utc_us.view("datetime64[us]")[2]) == "2013-07-01T10:00:00.000000"


def test_parquet_of_others_is_plotted_with_its_units(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("note", pa.string()),
            ("when", pa.timestamp("ms")),
            pa.field("x", pa.int16(), metadata={"unit": "V"}),
            ("on", pa.bool_()),
        ]
    )
    table = pa.table([["a", "b"], [0, 60_000], [1, None], [True, False]], schema=schema)
    pq.write_table(table, tmp_path / "a.parquet")
    opened = open_table(tmp_path / "a.parquet", "", UTC)
    assert opened.channels == [Name("x", "V"), Name("on", "", states=("0", "1"))]
    assert "note" in opened.left_out[0]
    assert [(line.name, line.figures.count) for line in lines_of(str(tmp_path / "a.parquet"))] == [("x", 1), ("on", 2)]


NO_TABLES = {
    "empty.csv": (b"", "is empty"),
    "binary.csv": (b"PK\x03\x04\0\0\0", "is no text"),
    "words.csv": (b"Dear all,\nthis is a letter.\n", "no column of times among Dear all"),
    "names.csv": (b"time,x\n", "holds no readings"),
    "american.csv": (b"time,x\n7/1/2013 1:00 PM,3\n", "'7/1/2013 1:00 PM' for a time"),
    "mixed.csv": (b"time,x\n2013-07-01T00:00Z,3\n" + b"2013-07-01T00:00Z,3\n" * 2000 + b"soon,4\n", "cannot be read"),
    "ragged.csv": (b"time,x\n2013-07-01T00:00Z,3\n2013-07-01T00:00Z,3,5,6\n", "cannot be read"),
    "no.parquet": (b"PAR1 and no more", "cannot be read"),
    "book.xlsx": (b"PK", "neither CSV nor Parquet"),
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_what_is_no_table_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data, sentence = NO_TABLES[name]
    Path(name).write_bytes(data)
    assert invoke(["plot", name, "-o", "a.png"]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Nothing was plotted" in told
    assert len(told.strip().splitlines()) == 1
    assert not Path("a.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("missing.csv",), "missing.csv cannot be read: No such file"),
        ((".",), "is a folder"),
        (("a.csv", "--device", "L-0"), "choose from the archive"),
        (("a.csv", "--session", "1"), "choose from the archive"),
        (("a.csv", "--all"), "choose from the archive"),
        (("a.csv", "--channels", "wind"), "there is no channel 'wind'"),
        (("a.csv", "--threshold", "wind>3"), "no channel 'wind' to set a threshold"),
        (("a.csv", "--start", "2013-02-01", "--end", "2013-01-01"), "put the earlier time first"),
        (("a.csv", "--start", "2030-01-01"), "nothing to plot"),
        (("a.csv", "--view", "scatter"), "this selection has temperature"),
        (("a.csv", "--rolling", "1h", "--resample", "1h"), "give one of them"),
        (("a.csv", "--view", "heatmap", "--rolling", "1h"), "--view heatmap takes neither"),
    ],
)
def test_nonsense_is_one_sentence(
    archive: Archive, words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(archive, "-o", "a.csv", "--channels", "temperature")
    capsys.readouterr()
    assert invoke(["plot", *words, "-o", "a.png"]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert not Path("a.png").exists()


def test_what_a_pull_brought_so_far_is_plotted_and_said(archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    (log,) = archive.logs()
    log.begin_pull()
    archive.flush()
    assert invoke(["plot", "-o", "a.png", "--channels", "temperature"]) == 0
    told = capsys.readouterr()
    assert f"{N} readings plotted" in told.out
    assert "L-0: the pull that began 20" in told.err
    assert "has not ended: plotted is what it brought so far" in told.err


def in_window(backend: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in DISPLAYS}
    environment |= {"MPLBACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-m", "fieldlog.cli", "plot", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_without_a_file_a_window_opens(archive: Archive) -> None:
    archive.flush()
    done = in_window("module://live_backend", "--channels", "temperature,relative humidity")
    assert (done.returncode, done.stdout) == (0, f"{N} readings plotted\n"), done.stderr
    assert "a window with 2 panels" in done.stderr


def test_without_a_display_it_says_what_to_do(archive: Archive) -> None:
    done = in_window("tkagg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no display")
    assert "-o readings.png" in done.stderr
    assert invoke(["plot", "--json"]) == 2
