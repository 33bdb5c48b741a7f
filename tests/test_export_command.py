"""`fieldlog export` with its options: zones, units, steps, long tables, what Excel reads, and words that make no sense."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive with two days of readings on the hour from the new year on, and a door."""
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)
    logger = PaperLogger()
    logger.schema()
    _, temperature, humidity = climate(48)
    temperature[5] = -32768
    logger.data(CLIMATE, [hour * HOUR for hour in range(48)], temperature, humidity)
    logger.data(DOOR, [HOUR, HOUR + 16384], [1, 0])
    with fieldlog.archive.open(Path("archive")) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_blocks(logger.blocks)
        log.add_syncs([Sync(1, 0, NEW_YEAR_US, 10)])


def exported(*words: str, delimiter: str = ",", encoding: str = "utf-8") -> list[list[str]]:
    assert invoke(["export", "-o", "table.csv", "--force", "--quiet", *words]) == 0
    with Path("table.csv").open(encoding=encoding, newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence of an export that makes no sense, which leaves nothing behind."""
    before = sorted(path.name for path in Path().iterdir())
    assert invoke(["export", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == before
    return err


TEMPERATURES = [f"{raw / 100:.2f}" for raw in climate(48)[1].tolist()]


def test_times_stand_in_the_zone_with_its_offset_and_bare_ones_are_meant_in_it() -> None:
    words = ("--tz", "America/New_York", "--start", "2013-01-01T00:00", "--channels", "temperature")
    table = exported(*words)
    assert table[1] == ["2013-01-01T00:00:00-05:00", ""]  # the one that is missing
    assert table[2] == ["2013-01-01T01:00:00-05:00", TEMPERATURES[6]]


def test_the_last_hours_of_what_there_is() -> None:
    table = exported("--since", "3h", "--channels", "temperature")
    assert table[1:] == [[f"2013-01-02T{hour}:00:00+00:00", TEMPERATURES[24 + hour]] for hour in (20, 21, 22, 23)]


def test_all_devices_of_an_archive_are_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--all", "--channels", "temperature")
    of_one = exported(*words)
    assert of_one == exported("--channels", "temperature")
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(3))
    with fieldlog.archive.open(Path("archive")) as archive:
        for log_id in (1, 2):  # it was erased in between
            log = archive.log(b"other", log_id)
            log.describe(label="Cellar")
            log.add_blocks(logger.blocks)
            log.add_syncs([Sync(1, 0, NEW_YEAR_US, 10)])
    capsys.readouterr()
    assert "or all (--all)" in refused(capsys)
    table = exported(*words)
    assert table[0] == ["time", "device", "temperature [Cel]"]
    assert [row[1] for row in table[1:]] == [UID.hex()] * 48 + ["Cellar"] * 6
    assert len(exported(*words, "--since", "1h")) == 1 + 2


def test_units_stand_where_they_are_wanted() -> None:
    words = ("--channels", "temperature,relative humidity", "--units")
    assert exported(*words, "header")[0] == ["time", "temperature [Cel]", "relative humidity [%]"]
    assert exported(*words, "row")[:2] == [["time", "temperature", "relative humidity"], ["", "Cel", "%"]]
    table = exported(*words, "none")
    assert table[0] == ["time", "temperature", "relative humidity"]
    assert table[1][0] == "2013-01-01T00:00:00+00:00"


def test_a_long_table_has_a_row_for_each_value_that_is_there() -> None:
    table = exported("--long")
    assert table[0] == ["time", "channel", "value", "unit"]
    assert table[1:3] == [
        ["2013-01-01T00:00:00.000+00:00", "temperature", TEMPERATURES[0], "Cel"],
        ["2013-01-01T00:00:00.000+00:00", "relative humidity", f"{climate(48)[2][0] / 10:.1f}", "%"],
    ]
    at_one = [row[1:] for row in table if row[0].startswith("2013-01-01T01:00:00.000")]
    assert [row[0] for row in at_one] == ["temperature", "relative humidity", "open"]
    assert len(table) == 1 + 2 * 48 + 2 - 1
    assert exported("--long", "--units", "none")[0] == ["time", "channel", "value"]
    # the sync's 10 us, and the block's: 2.5 ticks and 50 ppm of a second
    assert exported("--long", "--clock")[1][-2:] == ["interpolated", "0.000137"]


def test_excel_gets_a_mark_plain_times_and_utc_beside_them() -> None:
    words = ("--format", "excel", "--channels", "temperature", "--start", "2013-01-01T06:00Z")
    table = exported(*words, "--tz", "Europe/Berlin", encoding="utf-8-sig")
    assert table[0] == ["time (Europe/Berlin)", "time (UTC)", "temperature [Cel]"]
    assert table[1] == ["2013-01-01 07:00:00", "2013-01-01 06:00:00", TEMPERATURES[6]]
    assert Path("table.csv").read_bytes().startswith(b"\xef\xbb\xbftime")
    assert exported(*words, encoding="utf-8-sig")[0] == ["time (UTC)", "temperature [Cel]"]
    table = exported(*words, "--decimal-comma", delimiter=";", encoding="utf-8-sig")
    assert table[1] == ["2013-01-01 06:00:00", TEMPERATURES[6].replace(".", ",")]


def test_excel_gets_milliseconds_at_most() -> None:
    table = exported("--format", "excel", "--channels", "open", encoding="utf-8-sig")
    assert [row[0] for row in table[1:]] == ["2013-01-01 01:00:00.000", "2013-01-01 01:00:00.500"]


def test_a_decimal_comma_brings_semicolons_to_any_csv() -> None:
    table = exported("--decimal-comma", "--channels", "temperature", delimiter=";")
    assert table[1] == ["2013-01-01T00:00:00+00:00", TEMPERATURES[0].replace(".", ",")]


def test_steps_have_the_statistics_asked_for() -> None:
    table = exported("--resample", "6h", "--stat", "mean, min,max,count", "--channels", "temperature")
    assert table[0][1:] == [f"temperature {what}" for what in ("mean [Cel]", "min [Cel]", "max [Cel]", "count")]
    first = [int(raw) for raw in climate(48)[1][:5]]
    assert table[1] == [
        "2013-01-01T00:00:00+00:00",
        f"{sum(first) / 500:.4f}",
        f"{min(first) / 100:.2f}",
        f"{max(first) / 100:.2f}",
        "5",
    ]
    assert [row[0][:13] for row in table[1:]] == [f"2013-01-0{1 + n // 4}T{n % 4 * 6:02d}" for n in range(8)]


def test_days_are_those_of_the_zone_and_streams_share_their_steps() -> None:
    table = exported("--resample", "1d", "--tz", "Europe/Berlin", "--stat", "count")
    assert table[1:] == [
        ["2013-01-01T00:00:00+01:00", "22", "23", "2"],
        ["2013-01-02T00:00:00+01:00", "24", "24", ""],
        ["2013-01-03T00:00:00+01:00", "1", "1", ""],
    ]


def test_a_step_without_readings_is_not_there_and_one_without_values_is_empty() -> None:
    table = exported("--resample", "30min", "--channels", "temperature")
    assert [row[0][11:16] for row in table[1:8]] == ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00", "06:00"]
    assert [bool(row[1]) for row in table[1:8]] == [True] * 5 + [False, True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "x.xlsx"), "writes no .xlsx workbooks"),
        (("-o", "x.xlsx", "--format", "excel"), "writes no .xlsx workbooks"),
        (("-o", "x.json"), "as 'x.json'. Nothing was written; end it in .csv or .txt (CSV), .parquet or .pq (Parquet)"),
        (("-o", "x.csv.gz"), "cannot write readings as 'x.csv.gz'"),
        (("-o", "x.tsv"), "cannot write readings as 'x.tsv'"),
        (("--format", "parquet"), "needs --output"),
        (("-o", "x.parquet", "--long"), "--long is for CSV"),
        (("-o", "x.parquet", "--decimal-comma"), "--decimal-comma is for CSV"),
        (("--stat", "min"), "add --resample"),
        (("--resample", "1h", "--stat", "median"), "--stat takes mean, min, max, count, not 'median'"),
        (("--resample", "7min"), "do not fill a day"),
        (("--resample", "0s"), "do not fill a day"),
        (("--resample", "often"), "'often' is no duration"),
        (("--tz", "Mars/Base"), "there is no time zone 'Mars/Base'"),
        (("--long", "--units", "row"), "leave --units row out"),
        (("--channels", "wind"), "there is no channel 'wind'"),
        (("--start", "2014-01-01", "--end", "2013-01-01"), "put the earlier time first"),
        (("--start", "soon"), "--start takes a time"),
        (("--all", "--device", "L-0"), "give one of them"),
    ],
)
def test_nonsense_is_one_sentence(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, *words)


@pytest.mark.parametrize("words", [("x.txt",), ("X.CSV",), ("x",), ("x.json", "--format", "csv")])
def test_csv_stands_under_its_own_names_and_any_that_is_asked_for(words: tuple[str, ...]) -> None:
    assert invoke(["export", "-o", *words]) == 0
    assert Path(words[0]).read_text(encoding="utf-8").startswith("time,temperature [Cel],")


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_nothing_is_overwritten_without_force(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text("mine")
    assert "exists already" in refused(capsys, "-o", name)
    assert Path(name).read_text() == "mine"
    assert invoke(["export", "-o", name, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] in (49, 50)


@pytest.mark.parametrize("name", ["no/such/table.csv", "no/such/table.parquet", "no/such/table.nc"])
def test_a_folder_that_is_not_there_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["export", "-o", name]) == 1
    assert "could not be written: there is no folder no/such. Nothing was done" in capsys.readouterr().err


def test_an_object_on_standard_output_leaves_no_room_for_readings(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["export", "--json"]) == 2
    assert "--json needs --output" in json.loads(capsys.readouterr().out)["error"]["message"]
