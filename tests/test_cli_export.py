"""`fieldlog export` and `fieldlog plot` on an archive made by hand: what they say, and what they leave behind."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog.whole_file import check_target
from fieldlog_protocol.blocks.events import SessionStart
from simulator import simulator


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)


def hourly() -> PaperLogger:
    """A day of readings on the hour from the new year on, and a door."""
    logger = PaperLogger()
    logger.schema()
    _, temperature, humidity = climate(24)
    logger.data(CLIMATE, [hour * HOUR for hour in range(24)], temperature, humidity)
    logger.data(DOOR, [HOUR, HOUR + 16384], [1, 0])
    return logger


def keep(logger: PaperLogger) -> None:
    with fieldlog.archive.open(Path("archive")) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_blocks(logger.blocks)
        log.add_syncs([Sync(1, 0, NEW_YEAR_US, 10)])


def rows(path: str) -> list[list[str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_streams_of_a_session_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    keep(hourly())
    assert invoke(["export", "-o", "table.csv", "--json"]) == 0
    table = rows("table.csv")
    assert json.loads(capsys.readouterr().out) == {"file": "table.csv", "rows": len(table) - 1}
    assert table[0] == ["time", "temperature [Cel]", "relative humidity [%]", "open"]
    assert [row[3] for row in table[1:4]] == ["", "1", "0"]
    assert all(table[2])
    assert len(table) == 1 + 24 + 1


@pytest.mark.parametrize("words", [("export",), ("export", "-o", "table.csv"), ("plot", "-o", "plot.png")])
def test_nothing_in_the_selection_is_one_sentence(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    keep(hourly())
    assert invoke([*words, "--start", "2030-01-01"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: there is nothing to {words[0]}: " in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["archive"]


@pytest.mark.parametrize("words", [("-o", "table.csv"), ()])
def test_what_cannot_be_read_is_counted_once(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    logger = hourly()
    logger.schema_id = 9
    logger.data(CLIMATE, [30 * HOUR], [2000], [500])
    keep(logger)
    assert invoke(["export", *words]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing held describes 1 block" in line


@pytest.mark.parametrize("words", [("-o", "table.csv"), ("-o", "table.parquet"), ()])
def test_readings_without_a_time_are_told(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with fieldlog.archive.open(Path("archive")) as archive:
        archive.log(UID, LOG_ID).add_blocks(hourly().blocks)
    assert invoke(["export", *words]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: 26 readings whose time is not known: written without one."


@pytest.mark.parametrize("command", ["export", "plot"])
def test_where_no_time_is_known_none_is_chosen_by_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with fieldlog.archive.open(Path("archive")) as archive:
        archive.log(UID, LOG_ID).add_blocks(hourly().blocks)
    assert invoke([command, "-o", "file.csv" if command == "export" else "file.png", "--since", "1h"]) == 2
    assert "the time of none is known (26 readings without)" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["archive"]


@pytest.mark.parametrize("words", [("--start", "2013-01-01"), ("--end", "2014-01-01", "--resample", "1h")])
def test_an_export_by_time_says_that_none_is_known(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with fieldlog.archive.open(Path("archive")) as archive:
        archive.log(UID, LOG_ID).add_blocks(hourly().blocks)
    for name in ("table.csv", "table.parquet"):
        assert invoke(["export", "-o", name, *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "the time of others is not known (26 readings without). Nothing was written; ask for no times" in line
        assert [path.name for path in Path().iterdir()] == ["archive"]


def test_what_cannot_be_written_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    keep(hourly())
    assert invoke(["export", "-o", "no/such/table.csv"]) == 1
    err = capsys.readouterr().err
    assert "could not be written" in err
    assert str(Path("no/such/table.csv")) in err


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.png", "x.html"])
def test_a_file_that_appears_while_it_is_written_is_left_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fieldlog.cli import export, plot

    keep(hourly())
    module = plot if name in ("x.png", "x.html") else export

    def look(target: Path, *, force: bool) -> None:
        """Another program makes the file right behind the look whether there is one."""
        check_target(target, force=force)
        target.write_text("precious")

    command = [module.__name__.rpartition(".")[2], "-o", name]
    with monkeypatch.context() as patched:
        patched.setattr(module, "check_target", look)
        assert invoke(command) == 2
    assert f"{name} came to be there meanwhile and was left alone" in capsys.readouterr().err
    assert Path(name).read_text() == "precious"
    assert sorted(path.name for path in Path().iterdir()) == ["archive", name]
    assert invoke([*command, "--force"]) == 0
    assert Path(name).read_bytes() != b"precious"


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system has no such name")
def test_whoever_reads_standard_output_may_have_read_enough() -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(9000))
    keep(logger)
    words = ["-c", "from fieldlog.cli.main import main; main()", "export", "--force", "-o"]
    os.mkfifo("pipe")
    for target, code in (("/dev/stdout", 0), ("pipe", 1)):
        with subprocess.Popen(
            [sys.executable, *words, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            with Path(target).open() if target == "pipe" else child.stdout as reader:
                assert reader.readline()
            assert child.stderr is not None
            err = child.stderr.read()
            assert (child.wait(), b"Broken pipe" in err) == (code, bool(code)), err


def exported_hours(*words: str) -> list[str]:
    assert invoke(["export", "-o", "table.csv", "--force", "--channels", "temperature", *words]) == 0
    return [row[0] for row in rows("table.csv")[1:]]


def plotted(capsys: pytest.CaptureFixture[str], *words: str) -> int:
    assert invoke(["plot", "-o", "plot.svg", "--force", "--channels", "temperature", "--json", *words]) == 0
    found: int = json.loads(capsys.readouterr().out)["readings"]
    return found


def test_a_time_without_an_offset_is_meant_in_the_zone_of_the_plot(capsys: pytest.CaptureFixture[str]) -> None:
    keep(hourly())
    berlin = ("--tz", "Europe/Berlin")
    assert plotted(capsys, "--start", "2013-01-01T12:00") == 12
    assert plotted(capsys, "--start", "2013-01-01T12:00", *berlin) == 13
    assert plotted(capsys, *berlin, "--end", "2013-01-01T12:00") == 11
    assert plotted(capsys, "--start", "2013-01-01T12:00+00:00", *berlin) == 12
    assert exported_hours("--start", "2013-01-01T23:00") == ["2013-01-01T23:00:00+00:00"]


@pytest.mark.parametrize("command", ["plot", "export"])
def test_the_help_says_which_zone_is_meant(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([command, "--help"]) == 0
    assert "without an offset is meant in --tz" in " ".join(capsys.readouterr().out.split())


def test_the_unit_of_gravity_stands_in_brackets_once(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator() as device:
        assert invoke(["log", "status", "--device", device.url]) == 0
    shown = capsys.readouterr().out
    assert "acceleration x [g]," in shown
    assert "[[" not in shown


def test_several_sessions_are_taken_together(capsys: pytest.CaptureFixture[str]) -> None:
    logger = hourly()
    for number in (2, 3):
        logger.session = number
        logger.data(CLIMATE, *climate(number * 10, start_s=100_000 * number))
    logger.events((300_000, SessionStart(3, "cellar")))
    keep(logger)
    assert plotted(capsys, "--session", "2", "--session", "cellar") == 50
    assert plotted(capsys, "--session", "2", "--session", "2") == 20
    assert invoke(["plot", "--device", "cellar", "-o", "x.png"]) == 2
    assert "A session is called 'cellar'" in capsys.readouterr().err
    assert invoke(["plot", "--session", "2", "--session", "attic", "-o", "x.png"]) == 2
    assert "there is no session 'attic'" in capsys.readouterr().err
    for command in ("plot", "export"):
        assert invoke([command, "--session", "99", "-o", "x.png" if command == "plot" else "x.csv"]) == 2
        assert "there is no session 99. Sessions that there are: 1, 2, 3 'cellar'" in capsys.readouterr().err


def test_one_reading_is_plotted_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(1))
    keep(logger)
    assert invoke(["plot", "-o", "fieldlog.png"]) == 0
    assert capsys.readouterr().out == "1 reading plotted to fieldlog.png\n"
