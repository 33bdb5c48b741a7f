"""`fieldlog archive` ls, merge and import as their users see them."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from archive_data import CLIMATE, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.archive import Session
from fieldlog.archive.log import GONE, NOT_SENT, OVERWRITTEN
from fieldlog.cli.main import invoke
from fieldlog_protocol.blocks.block import TICK_HZ, build_block, pad, parse_block
from fieldlog_protocol.blocks.events import Boot, ClockSync, Mark, SessionStart, SessionStop, UnknownEvent
from fieldlog_protocol.blocks.metadata import encode_metadata, metadata_events

DEPLOYED = {"site": "north wall", "operator": "Ada", "zone": "Europe/Vienna", "note": "x" * 300}


def paper(*, metadata: dict[str, str] | None = None, start_s: int = 0, log_id: int = LOG_ID) -> PaperLogger:
    """Two sessions, of which the first is told of by the log alone; a clock that was set."""
    logger = PaperLogger(block_size=256, log_id=log_id)
    logger.schema()
    logger.events((0, Boot("power", "1.2.3")), (1, ClockSync(1, NEW_YEAR_US, 1000, "host")))
    logger.events((5, SessionStart(1, "attic")))
    for event in metadata_events(encode_metadata(metadata or {}), 200):
        logger.events((5, event))
    logger.data(CLIMATE, *climate(600, start_s=start_s))
    logger.events((605 * TICK_HZ, SessionStop(1, "stopped")))
    logger.session = 2
    logger.events((700 * TICK_HZ, SessionStart(2, "cellar")))
    logger.data(CLIMATE, *climate(60, start_s=1000))
    return logger


def fill(folder: Path, logger: PaperLogger, uid: bytes = UID, **names: str) -> Path:
    with fieldlog.archive.open(folder) as archive:
        log = archive.log(uid, LOG_ID)
        log.add_blocks(logger.blocks)
        log.describe(**names)
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command; its exit code and the object that it prints."""

    def run(*words: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = invoke([*map(str, words), "--json"])
        (line,) = capsys.readouterr().out.splitlines()
        return code, json.loads(line)

    return run


def test_sessions_are_listed_with_their_times_and_deployment(tmp_path: Path, said: Any) -> None:
    fill(tmp_path, paper(metadata=DEPLOYED), serial="S1", label="hut")
    code, listed = said("archive", "ls", "--archive", tmp_path)
    assert code == 0
    first, second = listed["recorded"]
    assert (first["device"], first["label"], first["readings"], first["ended_by"]) == ("hut", "attic", 600, "stopped")
    assert (first["first_reading"], first["last_reading"]) == ("2012-12-31T23:59:59+00:00", "2013-01-01T00:09:58+00:00")
    assert first["metadata"] == DEPLOYED
    assert (second["label"], second["readings"], second["metadata"]) == ("cellar", 60, {})
    (device,) = listed["devices"]
    assert (device["sessions"], device["conflicts"], device["lost"]) == (2, 0, [])
    assert listed["size_bytes"] == (tmp_path / "archive.sqlite").stat().st_size


def test_one_device_of_several_is_listed_alone(tmp_path: Path, said: Any) -> None:
    fill(tmp_path, paper(), label="hut")
    fill(tmp_path, paper(), uid=b"other", label="cellar")
    listed = said("archive", "ls", "--archive", tmp_path)[1]
    assert [item["device"] for item in listed["devices"]] == ["hut", "cellar"]
    code, listed = said("archive", "ls", "--archive", tmp_path, "--device", "cellar")
    assert code == 0
    assert {item["device"] for kind in ("devices", "recorded") for item in listed[kind]} == {"cellar"}
    assert said("archive", "ls", "--archive", tmp_path, "-d", "attic")[0] == 2


def test_people_see_sessions_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, paper(metadata={"site": "north wall"}), label="hut")
    assert invoke(["archive", "ls", "--archive", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (shown,) = [line for line in lines if "attic" in line]
    assert "2013-01-01 00:09:58" in shown
    assert "±62 ms, extrapolated" in shown
    assert lines[0].endswith("last read (UTC)")
    assert "site: north wall" in shown


@pytest.mark.parametrize("syncs", [[], [0], [0, 2000], [0, 300, 900, 5000], [-900, 40_000]])
@pytest.mark.parametrize("rc", [False, True])
def test_how_well_the_times_of_a_session_are_known_is_told(
    tmp_path: Path, said: Any, syncs: list[int], rc: bool
) -> None:
    """At worst, and as the readings have it: no better, and hardly worse."""
    logger = PaperLogger(block_size=256, clock_ppm=50_000 if rc else None)
    logger.schema()
    for at_s in syncs:
        tick = (1000 + at_s) * TICK_HZ
        logger.events((tick, ClockSync(tick, NEW_YEAR_US + at_s * 1_000_000, 3000, "host")))
    logger.data(CLIMATE, *climate(6000, start_s=1000))
    fill(tmp_path, logger)
    code, listed = said("archive", "ls", "--archive", tmp_path)
    with fieldlog.archive.open(tmp_path, writable=False) as archive:
        (series,) = archive.readings()
    worst = int(series.error_us.max())
    (session,) = listed["recorded"]
    assert code == 0
    assert session["time_quality"] == (
        "unknown" if not syncs else "interpolated" if syncs[-1] > 6000 else "extrapolated"
    )
    if not syncs:
        assert session["time_error_us"] is None
    else:
        assert worst <= session["time_error_us"] <= worst * 1.01 + 1000


def test_what_devices_wrote_down_is_listed(tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logger = paper(metadata=DEPLOYED)
    logger.events((701 * TICK_HZ, Mark("window \x1b[31mopened")), (702 * TICK_HZ, UnknownEvent(77, {})))
    logger.boot_id = 2
    logger.events((3, Boot("watchdog", "1.2.4")))
    fill(tmp_path, logger, label="hut")
    code, listed = said("archive", "events", "--archive", tmp_path)
    assert code == 0
    told = [(item["event"], item["session"], item["text"]) for item in listed["events"]]
    assert told[0] == ("restart", 1, "power, firmware 1.2.3")
    assert told[1] == ("clock compared", 1, "host")
    assert told[2:5] == [
        ("session begins", 1, "attic"),
        ("session ends", 1, "stopped"),
        ("session begins", 2, "cellar"),
    ]
    assert told[5:7] == [("mark", 2, "window \x1b[31mopened"), ("unknown", 2, "kind 77")]
    assert told[7] == ("restart", 2, "watchdog, firmware 1.2.4")
    mark = listed["events"][5]
    assert (mark["time"], mark["time_quality"]) == ("2013-01-01T00:11:40.999+00:00", "extrapolated")
    assert 70_000 < mark["time_error_us"] < 72_000
    assert (mark["uid"], mark["boot_id"], mark["tick"]) == (UID.hex(), 1, 701 * TICK_HZ)
    assert invoke(["archive", "events", "-d", "hut", "--archive", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2013-01-01 00:11:40.999  ±72 ms, extrapolated" in shown
    assert r"window \x1b[31mopened" in shown
    assert invoke(["archive", "events", "-d", "shed", "--archive", str(tmp_path)]) == 2


def test_an_event_without_a_time_is_listed_without_one(tmp_path: Path, said: Any) -> None:
    logger = PaperLogger()
    logger.events((9, Mark("where am I")))
    fill(tmp_path, logger)
    (mark,) = said("archive", "events", "--archive", tmp_path)[1]["events"]
    assert (mark["time"], mark["time_error_us"], mark["time_quality"], mark["tick"]) == (None, None, "unknown", 9)


def test_metadata_that_is_none_is_left_out(tmp_path: Path) -> None:
    logger = paper()
    for blob in (b"\xff\xff", encode_metadata({"site": "hut"})[:-2], b"\xa1\x01\x02"):
        for event in metadata_events(blob, 200):
            logger.events((800 * TICK_HZ, event))
        fill(tmp_path, logger)
        with fieldlog.archive.open(tmp_path) as archive:
            assert [session.metadata for session in archive.logs()[0].sessions()] == [{}, {}]


def test_what_the_device_told_of_a_session_is_completed_by_its_log(tmp_path: Path) -> None:
    fill(tmp_path, paper(metadata={"site": "hut"}))
    with fieldlog.archive.open(tmp_path) as archive:
        log = archive.logs()[0]
        log.add_sessions([Session(1, "told", 1, 5, None, 4, None, 100, "")])
        first, _ = log.sessions()
        assert (first.label, first.stop_tick, first.frames, first.reason) == ("told", 605 * TICK_HZ, 600, "stopped")
        assert first.metadata == {"site": "hut"}
        log.add_sessions([Session(1, "told", 1, 5, 900, 4, 30, 700, "full")])
        first, _ = log.sessions()
        assert (first.stop_tick, first.last_seq, first.frames, first.reason) == (900, 30, 700, "full")


def test_a_session_whose_beginning_is_lost_is_known_by_its_readings(tmp_path: Path) -> None:
    logger = paper()
    del logger.blocks[2:5]
    fill(tmp_path, logger)
    with fieldlog.archive.open(tmp_path) as archive:
        first, _ = archive.logs()[0].sessions()
        assert (first.label, first.first_seq, first.reason) == ("", 5, "stopped")
        assert 0 < first.frames < 600


def test_merging_says_what_it_did(tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logger = paper()
    count = len(logger.blocks)
    whole = list(logger.blocks)
    logger.blocks[3:6] = []
    fill(tmp_path / "a", logger)
    logger.blocks[:] = whole[:8]
    fill(tmp_path / "b", logger)
    code, done = said("archive", "merge", tmp_path / "b", "--archive", tmp_path / "a")
    assert (code, done["blocks"]) == (0, 3)
    assert done["devices"][0]["filled"] == [[3, 5]]
    assert invoke(["archive", "merge", str(tmp_path / "b"), "--archive", str(tmp_path / "a")]) == 0
    assert "no new blocks" in capsys.readouterr().out
    code, listed = said("archive", "ls", "--archive", tmp_path / "a")
    assert listed["devices"][0]["blocks"] == count
    assert (tmp_path / "a" / "readings").is_dir(), "the Parquet files follow"
    assert not (tmp_path / "b" / "readings").exists()


def test_what_differs_is_named(tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a", paper())
    fill(tmp_path / "b", paper(start_s=7))
    into = ["--archive", str(tmp_path / "a")]
    assert invoke(["archive", "merge", str(tmp_path / "b"), *into]) == 5, "as of a pull"
    assert "the archive holds other content under the numbers of 8 blocks" in capsys.readouterr().err
    assert invoke(["archive", "merge", str(tmp_path / "b"), *into]) == 0, "it is known by now"
    code, found = said("archive", "check", *into)
    assert (code, found["conflicts"]) == (5, found["damaged"])
    assert "8 blocks (first: " in found["damaged"][0]
    message = found["error"]["message"]
    assert "blocks named above came with different contents under the same numbers: all of them are whole" in message
    assert "is damaged" not in message
    assert "pull again" not in message


def test_an_import_that_differs_fails_as_a_pull_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a", paper())
    file = dump(tmp_path / "flash.bin", paper(start_s=7))
    assert invoke(["archive", "import", str(file), "--archive", str(tmp_path / "a")]) == 5
    assert "the archive holds other content under the numbers of 8 blocks" in capsys.readouterr().err


def dump(path: Path, logger: PaperLogger) -> Path:
    path.write_bytes(b"\xff" * 512 + b"".join(pad(block, 256) for block in logger.blocks))
    return path


def test_a_check_names_the_gaps_inside_and_at_both_ends(
    tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = paper()
    count = len(logger.blocks)
    logger.blocks[4:6] = []
    with fieldlog.archive.open(tmp_path) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_blocks(logger.blocks[1:])
        log.add_gaps([range(1)], OVERWRITTEN)
        log.add_gaps([range(5, 6), range(count, count + 2)], GONE)
        log.add_gaps([range(count + 1, count + 7)], NOT_SENT)
        archive.log(UID, 99).add_gaps([range(3)], OVERWRITTEN)
    assert said("archive", "rebuild", "--archive", tmp_path)[0] == 0
    code, found = said("archive", "check", "--archive", tmp_path)
    ranges = {(part["log_id"], part["first_seq"], part["last_seq"]) for part in found["missing"]}
    assert ranges == {
        (LOG_ID, 0, 0),
        (LOG_ID, 4, 4),
        (LOG_ID, 5, 5),
        (LOG_ID, count, count),
        (LOG_ID, count + 1, count + 6),
    } | {(99, 0, 2)}
    assert len(found["missing"]) == 6
    assert [part["first_seq"] for part in found["missing"] if not part["lost"]] == [4, count + 1], "may still come"
    assert code == 0, "what is missing is not damaged"
    assert invoke(["archive", "check", "--archive", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{UID.hex()}: block 0 is lost: a gap" in lines
    assert f"{UID.hex()}: block {count} is lost: a gap" in lines
    assert (
        f"{UID.hex()}: block 4 was still open when the device was read, or did not come: the next pull asks for it"
        in lines
    )


def test_a_check_does_not_call_blocks_damaged_whose_description_was_overwritten(
    tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = paper()
    described, whole.blocks[:1] = whole.blocks[:1], []
    fill(tmp_path, whole)
    assert said("archive", "rebuild", "--archive", tmp_path)[0] == 0
    code, found = said("archive", "check", "--archive", tmp_path)
    assert (code, found["damaged"], found["blocks"], found["readings"]) == (0, [], len(whole.blocks), 0)
    (text,) = found["undescribed"]
    assert "nothing held describes" in text
    assert invoke(["archive", "check", "--archive", str(tmp_path)]) == 0
    assert f"warning: {text}" in capsys.readouterr().err
    whole.blocks[:] = described
    fill(tmp_path, whole)
    code, found = said("archive", "check", "--archive", tmp_path)
    assert (code, found["undescribed"], found["readings"]) == (0, [], 660)


def test_importing_says_what_it_did(tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logger = paper()
    del logger.blocks[7]
    image = dump(tmp_path / "flash.bin", logger)
    words = ["archive", "import", str(image), "--archive", str(tmp_path / "a"), "--no-parquet"]
    code, done = said(*words)
    (log,) = done["logs"]
    assert (code, log["blocks"], log["new"], log["missing"]) == (0, len(logger.blocks), len(logger.blocks), [[7, 7]])
    assert (done["erased_bytes"] >= 512, done["torn"], done["size_bytes"]) == (True, 0, image.stat().st_size)
    assert invoke(words) == 0
    told = capsys.readouterr().out
    assert "0 of them new" in told
    assert "1 block between them is not in the archive: 7" in told
    assert not (tmp_path / "a" / "readings").exists()


@pytest.mark.parametrize("options", [[], ["--no-parquet"]])
def test_blocks_that_are_whole_and_make_no_sense_fail_an_import(
    tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """Each time alike: they are kept, named, and the rest is readable."""
    logger = paper()
    block = parse_block(logger.blocks[5])
    logger.blocks[5] = build_block(replace(block, payload=b"\x07" * len(block.payload)))
    words = ["archive", "import", str(dump(tmp_path / "flash.bin", logger)), "--archive", str(tmp_path / "a"), *options]
    code, done = said(*words)
    (sentence,) = done["undecoded"]
    assert (code, done["error"]["kind"], done["logs"][0]["missing"]) == (5, "VerificationError", [])
    assert "block 5" in sentence
    assert invoke(words) == 5
    told = capsys.readouterr()
    assert sentence in told.out
    assert "warning" not in told.err
    assert "1 block is in" in told.err
    code, found = said("archive", "check", "--archive", tmp_path / "a")
    assert (code, found["readings"]) == (5, 660 - block.n_frames)
    assert found["undecodable"] == found["damaged"] == [sentence]
    assert "1 block named above is whole and cannot be decoded" in found["error"]["message"]
    assert "pull again" not in found["error"]["message"]


def test_a_check_tells_what_was_spoiled_from_what_makes_no_sense(tmp_path: Path, said: Any) -> None:
    """Another copy mends the one, and not the other."""
    logger = paper()
    block = parse_block(logger.blocks[5])
    logger.blocks[5] = build_block(replace(block, payload=b"\x07" * len(block.payload)))
    fill(tmp_path, logger)
    with sqlite3.connect(tmp_path / "archive.sqlite") as database:
        database.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE seq = 7")
    database.close()
    code, found = said("archive", "check", "--archive", tmp_path)
    assert (code, len(found["damaged"]), len(found["undecodable"])) == (5, 2, 1)
    message = found["error"]["message"]
    assert "is damaged in 1 place, named above" in message
    assert "pull again while the device has these blocks" in message
    assert "1 block named above is whole and cannot be decoded" in message
    fill(tmp_path, paper(start_s=7))
    message = said("archive", "check", "--archive", tmp_path)[1]["error"]["message"]
    assert "is damaged in 1 place, named above" in message
    assert ". Blocks named above came with different contents under the same numbers" in message


def test_what_an_import_has_to_leave_out_it_says_and_how_to_get_it(
    tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pages of two logs by turns: of which of them a block is, only descriptions say."""
    logs = [paper(), paper(start_s=5, log_id=7)]
    pages = [pad(wire, 256) for pair in zip(*(logger.blocks for logger in logs), strict=True) for wire in pair]
    (tmp_path / "both.bin").write_bytes(b"".join(pages))
    words = ["archive", "import", str(tmp_path / "both.bin"), "--archive", str(tmp_path / "a")]
    code, done = said(*words)
    assert (code, done["error"]["exit_code"], len(done["logs"])) == (5, 5, 2)
    assert done["unknown_blocks"] + sum(log["blocks"] for log in done["logs"]) == len(pages)
    assert done["unknown_blocks"] > len(pages) / 2
    assert invoke(words) == 5
    err = capsys.readouterr().err
    assert f"{done['unknown_blocks']} blocks in {tmp_path / 'both.bin'} could be of more than one log" in err
    assert "Cut the dump into one file for each logger" in err
    for number, logger in enumerate(logs):
        code, done = said("archive", "import", dump(tmp_path / f"{number}.bin", logger), "--archive", tmp_path / "a")
        assert (code, done["logs"][0]["blocks"], done["unknown_blocks"]) == (0, len(logger.blocks), 0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("import nowhere.bin", 2, "there is no file nowhere.bin"),
        ("import noise.bin", 5, "holds no whole log block"),
        ("import .", 2, "is a folder, not a dump"),
        ("import flash.bin --block-size 1024", 5, "in pages of 1024 bytes"),
        ("import flash.bin --block-size 1000", 2, "is not one of"),
        ("merge nowhere", 2, "no archive at"),
        ("merge archive", 2, "the archive itself"),
        ("merge flash.bin", 5, "not an archive"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    words: str,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "archive", paper())
    dump(tmp_path / "flash.bin", paper())
    (tmp_path / "noise.bin").write_bytes(random.Random(5).randbytes(50_000))
    before = (tmp_path / "archive" / "archive.sqlite").read_bytes()
    assert invoke(["archive", *words.split(), "--archive", "archive"]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert (tmp_path / "archive" / "archive.sqlite").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="devices of POSIX")
@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "pipe"])
def test_what_has_no_end_is_no_dump(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert invoke(["archive", "import", name, "--archive", "new"]) == 2
    assert f"{name} is neither a file nor a disk" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("held", "says", "waits"),
    [
        (9, "1 Parquet file, not up to date and not compared", "180 readings"),
        (12, "2 Parquet files, 600 readings in them agree; 1 not up to date and not compared", "60 readings"),
        (15, "2 Parquet files, 660 readings in them agree", None),
    ],
)
def test_a_check_tells_of_files_that_are_behind(
    held: int, says: str, waits: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = paper()
    whole = list(logger.blocks)
    logger.blocks[:] = whole[:held]
    fill(tmp_path, logger)
    assert invoke(["archive", "rebuild", "--archive", str(tmp_path)]) == 0
    logger.blocks[:] = whole if held > 9 else whole[:12]
    fill(tmp_path, logger)
    capsys.readouterr()
    assert invoke(["archive", "check", "--archive", str(tmp_path)]) == 0
    _, compared, *next_step = capsys.readouterr().out.splitlines()
    assert compared == says
    assert (not next_step) == (waits is None)
    if waits is not None:
        assert f"not written yet: {waits} of 1 Parquet file" in next_step[0]
        assert "`fieldlog archive rebuild --changed` writes them" in next_step[0]


def test_a_check_that_finds_something_is_one_object(tmp_path: Path, said: Any) -> None:
    fill(tmp_path, paper())
    assert invoke(["archive", "rebuild", "--archive", str(tmp_path)]) == 0
    with sqlite3.connect(tmp_path / "archive.sqlite") as database:
        database.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE seq = 8")
    database.close()
    code, found = said("archive", "check", "--archive", tmp_path)
    assert (code, found["error"]["exit_code"], found["error"]["kind"]) == (5, 5, "VerificationError")
    assert len(found["damaged"]) == 1
    assert "block 8" in found["damaged"][0]
    assert "damaged in 1 place" in found["error"]["message"]
    assert "pull again" in found["error"]["message"]
    assert (found["parquet"]["files"], found["parquet"]["readings"], found["parquet"]["uncompared"]) == (2, 60, 1)


def test_an_import_that_finds_nothing_leaves_no_archive(tmp_path: Path) -> None:
    (tmp_path / "noise.bin").write_bytes(random.Random(5).randbytes(50_000))
    assert invoke(["archive", "import", str(tmp_path / "noise.bin"), "--archive", str(tmp_path / "new")]) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["noise.bin"]
