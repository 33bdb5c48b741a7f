"""`log arm` and `log status` as people use them, on simulated devices in fast time, and on peers that say nonsense."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldlog import archive as archives
from fieldlog.cli.main import invoke
from fieldlog_protocol.blocks.metadata import encode_metadata
from fieldlog_protocol.commands import Group, logger
from fieldlog_protocol.commands.logger import Capability, LoggerError, State
from simulator import Simulator, simulator
from smp_peer import Answer, Handler, Refuse, udp_peer

SCALE = 200
HOSTILE = "\x1b[2J\u202e'x"
FAR = 2**63 - 1
PATIENCE_S = 30


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with simulator() as running:
        yield running


@pytest.fixture
def hurried() -> Iterator[Simulator]:
    with simulator("--time-scale", str(SCALE)) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))


class Shell:
    """Runs commands on one device."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self._url = url
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        code = invoke([*words, "--device", self._url])
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        assert all(char.isprintable() or char == "\n" for char in self.out + self.err)
        return code

    def json(self, *words: str) -> Any:
        assert self(*words, "--json") == 0, self.err
        return json.loads(self.out)

    def ended_by(self) -> str:
        """Why the last session ended, once it has."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            sessions = self.json("log", "sessions")["sessions"]
            if sessions and sessions[-1]["ended_by"] != "still running":
                return str(sessions[-1]["ended_by"])
            time.sleep(0.05)  # asked without a pause, it would have no time to record
        raise AssertionError("the session did not end")


def test_a_session_that_begins_and_ends_by_itself_is_pulled_with_its_metadata(
    hurried: Simulator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = Shell(capsys, hurried.url)
    armed = run.json(
        *("log", "arm", "--after", "10min", "--for", "5min", "--stream", "environment=5s", "--label", "short"),
        *("--meta", "site=Öl 1", "--meta", "zone=Europe/Berlin", "--meta", "operator=Kim"),
    )
    assert (armed["session"], armed["state"], armed["start"]["mode"]) == (1, "armed", "after")
    assert armed["stop"]["for_seconds"] == 300
    assert [test["passed"] for test in armed["preflight"]["self_test"]] == [True] * 4
    assert armed["preflight"]["warnings"] == ["the device's clock is not set: `fieldlog clock sync` sets it"]
    assert run.ended_by() == "time"
    assert run.json("log", "sessions")["sessions"][0]["frames"] == 60
    assert run.json("pull")["readings"] == 60
    with archives.open(tmp_path / "archive", writable=False) as archive:
        (log,) = archive.logs()
        (session,) = log.sessions()
    assert session.metadata == {"site": "Öl 1", "zone": "Europe/Berlin", "operator": "Kim"}


def test_on_a_threshold_for_some_frames(hurried: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    run = Shell(capsys, hurried.url)
    arm = ("log", "arm", "--below", "humidity=99.5 %", "--frames", "7", "--stream", "environment=1s")
    assert run.json(*arm)["start"]["below"] == 99.5
    assert run.ended_by() == "frames"
    assert run.json("log", "sessions")["sessions"][0]["frames"] == 7


def test_from_a_time_to_another(hurried: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The device's clock, once set, goes much faster than ours: 20 minutes of it are soon over."""
    run = Shell(capsys, hurried.url)
    assert run("clock", "sync") == 0
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + later)) for later in (1200, 1260))
    run.json("log", "arm", "--at", begin, "--until", end, "--stream", "environment=1s")
    assert run.ended_by() == "time"
    assert run.json("log", "sessions")["sessions"][0]["frames"] == 60


def test_a_restart_that_costs_the_clock_makes_until_wait_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator() as running:
        run = Shell(capsys, running.url)
        assert run("clock", "sync") == 0
        assert run("log", "arm", "--until", "2100-01-01", "--stream", "environment=1h") == 0
        assert run("log", "status") == 0
        assert "  at 2100-01-01 00:00 UTC or when the log is full\n" in run.out
        assert run("reset") == 0
        assert run("log", "status") == 0
        assert "  at 2100-01-01 00:00 UTC, once its clock is set, or when the log is full\n" in run.out
        assert "  not set: `fieldlog clock sync` sets it\n" in run.out


def test_a_battery_that_is_drained(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--time-scale", "400000", "--battery-mah", "2") as running:
        run = Shell(capsys, running.url)
        armed = run.json("log", "arm", "--stream", "environment=1h")
        assert 0 < armed["preflight"]["estimate"]["battery_seconds"] < 30 * 86_400
        assert run.ended_by() == "battery"
        assert run("log", "arm") == 0
        assert "the self test failed: battery" in run.err


def test_what_is_armed_is_told_and_disarmed(shared: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    run = Shell(capsys, shared.url)
    assert run("log", "arm", "--above", "acceleration z=7.5 g", "--stream", "motion", "--wrap", "--label", "fall") == 0
    assert "session 1 is armed" in run.out
    assert "when acceleration z is at or above 7.5 g" in run.out
    status = run.json("log", "status")
    assert (status["state"], status["session"], status["label"]) == ("armed", 1, "fall")
    start = status["start"]
    assert (start["stream"], start["channel"], start["unit"], start["above"]) == (
        "motion",
        "acceleration z",
        "[g]",
        7.5,
    )
    assert status["stop"] == {"until": None, "for_seconds": None, "frames": None, "when_full": "wrap"}
    assert [stream["recorded"] for stream in status["streams"]] == [False, True]
    assert run("log", "status") == 0
    assert run.out.index("streams of the session:") < run.out.index("motion") < run.out.index("not recorded:")
    assert run.out.index("not recorded:") < run.out.index("environment")
    assert "while it waits" in run.out
    assert run("log", "arm") == 4
    assert "stop it first" in run.err
    assert run.json("log", "stop") == {"session": 1, "was_armed": True}
    assert run.json("log", "status")["state"] == "idle"


def test_metadata_stays_and_is_changed_piece_by_piece(shared: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    run = Shell(capsys, shared.url)

    def armed(*meta: str) -> object:
        words = [word for text in meta for word in ("--meta", text)]
        found = run.json("log", "arm", "--after", "1d", *words)["metadata"]
        run("log", "stop")
        return found

    assert armed("site=roof", f"operator={HOSTILE}", "x=" + "y" * 300) == {
        "site": "roof",
        "operator": HOSTILE,
        "x": "y" * 300,
    }
    assert armed("site=", "x=z") == {"operator": HOSTILE, "x": "z"}
    assert armed() == {"operator": HOSTILE, "x": "z"}
    assert run("log", "status") == 0
    assert "x=z" in run.out
    assert armed("operator=", "x=") == {}
    assert run.json("log", "status")["metadata"] == {}


def test_a_dry_run_tells_how_long_it_would_last_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--battery-mah", "600") as running:
        run = Shell(capsys, running.url)
        assert run("clock", "sync") == 0
        before = run.json("log", "status")
        words = (
            "log",
            "arm",
            "--dry-run",
            "--after",
            "10d",
            "--for",
            "40d",
            "--stream",
            "environment=1min",
            "--meta",
            "a=b",
        )
        tried = run.json(*words)
        assert (tried["session"], tried["state"], tried["dry_run"]) == (None, "idle", True)
        assert tried["start"]["begins_in_seconds"] == 864_000
        assert tried["preflight"]["estimate"]["memory_is_enough"]
        assert run(*words) == 0
        assert run.out.startswith("nothing was changed: a session would be armed\n")
        assert "600 mAh left, enough until the session ends where no more than 500 uA are drawn" in run.out
        tried = run.json("log", "arm", "--dry-run", "--stream", "motion=100Hz", "--for", "40d")
        assert "the log will be full after about 15.9 hours of the 40 days asked for" in run.err
        assert tried["preflight"]["estimate"]["memory_end"]
        assert run("log", "arm", "--dry-run", "--stream", "motion=100Hz") == 0
        assert re.search(r"full in 15.9 hours, on \d{4}-\d\d-\d\d \d\d:\d\d UTC \(", run.out)
        assert run("log", "arm", "--dry-run", "--stream", "environment=10s") == 0
        assert re.search(r"full in 498 days, on \d{4}-\d\d-\d\d \(", run.out)
        assert run("log", "arm", "--dry-run", "--stream", "moton=100Hz") == 2
        after = run.json("log", "status")
        assert run.json("log", "sessions")["sessions"] == []
        assert {key: after[key] for key in before if key not in ("clock", "estimate")} == {
            key: before[key] for key in before if key not in ("clock", "estimate")
        }
        armed = run.json("log", "arm", "--stream", "motion=100Hz", "--for", "40d")
        assert armed["dry_run"] is False
        promised, kept = (item["preflight"]["estimate"]["memory_seconds"] for item in (tried, armed))
        assert promised == pytest.approx(kept, rel=0.01)


def test_units_are_shown_by_their_usual_signs(shared: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """As over a plot's axis, and codes in JSON."""
    run = Shell(capsys, shared.url)
    assert run("log", "arm", "--above", "temperature=90 °C") == 0
    told = run.out
    assert run("log", "status") == 0
    told += run.out
    assert run("selftest") == 0
    told += run.out
    assert told.count("when temperature is at or above 90 °C") == 2
    assert "temperature [°C]" in told
    assert len(re.findall(r"acceleration x -?[0-9.e-]+ g\b", told)) == 2
    assert "Cel" not in told
    assert run.json("log", "status")["streams"][0]["channels"][0]["unit"] == "Cel"
    assert run("log", "stop") == 0


def test_sizes_are_told_as_people_say_them(shared: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    run = Shell(capsys, shared.url)
    assert run("info") == 0
    assert re.search(r"^log +[0-9.]+ kB of 11\.5 MB \(", run.out, re.MULTILINE)
    assert run("log", "mark", "window opened") == 0
    assert re.fullmatch(r"noted at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00, by this computer's clock\n", run.out)


def test_of_one_that_waits_for_a_threshold_both_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Waiting takes little, and what matters is how long it can record."""
    with simulator("--battery-mah", "500") as running:
        run = Shell(capsys, running.url)
        words = ("--above", "temperature=90 Cel", "--for", "500d", "--stream", "environment=1s", "--stream", "motion")
        armed = run.json("log", "arm", "--wrap", *words)["preflight"]
        battery, lasts = armed["battery"], armed["estimate"]
        assert lasts["battery_recording_seconds"] == pytest.approx(battery["mah"] * 3.6e6 / battery["recording_ua"])
        assert lasts["battery_recording_seconds"] < lasts["battery_seconds"] / 2
        assert "the battery will last about 453 days of the 500 days asked for if it begins now" in run.err
        assert run("log", "status") == 0
        assert "enough for 453 days of recording at 46 uA; while it waits until 20" in run.out


def test_a_period_may_be_given_as_a_rate(shared: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    run = Shell(capsys, shared.url)
    armed = run.json(
        "log", "arm", "--after", "1d", "--stream", "motion=50Hz", "--stream", "environment", "--period", "0.1Hz"
    )
    assert run("log", "stop") == 0
    assert {item["name"]: item["period_us"] for item in armed["streams"]} == {
        "motion": 20_000,
        "environment": 10_000_000,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--at 2031-01-01", "clock is not set"),
        ("--until 2031-01-01", "clock is not set"),
        ("--after 2h --above temperature=30", "one condition"),
        ("--after 0s", "whole seconds"),
        ("--after 1500ms", "whole seconds"),
        ("--for 90000d", "whole seconds"),
        ("--for yesterday", "no duration"),
        ("--frames 0", "0"),
        (f"--frames {2**63}", "may reach"),
        ("--above temperature", "no threshold"),
        ("--above dew=3", "no channel 'dew'"),
        ("--above temperature=9000", "above 9000 Cel: it is between -327.68 and 327.67 Cel. Nothing"),
        ("--above temperature=30psi", "'psi' does not fit: write degC, degF or K"),
        ("--on-button", "cannot begin on a button"),
        ("--stream environment=1us", "cannot be sampled"),
        ("--stream environment --stream environment=1s", "named twice"),
        ("--stream motion=30Hz", "write 33333us (30.0003 Hz)"),
        ("--after 2Hz", "no duration"),
        ("--meta site", "NAME=TEXT"),
        ("--meta =x", "NAME=TEXT"),
        ("--meta zone=Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("--meta a=" + "x" * 600, "keeps 512"),
    ],
)
def test_nonsense_is_one_sentence_and_changes_nothing(
    shared: Simulator, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    run = Shell(capsys, shared.url)
    before = run.json("log", "status")["metadata"]
    assert run("log", "arm", *words.split()) in (2, 4)
    assert said in run.err
    status = run.json("log", "status")
    assert (status["state"], status["metadata"]) == ("idle", before)


# peers that say nonsense

WHO = {
    "parts": 1,
    "uid": b"u",
    "log": 1,
    "block": 1024,
    "boot": 1,
    "tick": 0,
    "state": 1,
    "first": 0,
    "next": 0,
    "caps": int(Capability.METADATA | Capability.START_THRESHOLD),
}
STREAM = {
    "n": 1,
    "i": 0,
    "id": 4,
    "name": HOSTILE,
    "us": 1000,
    "nc": 1,
    "c": 0,
    "ch": [{"n": HOSTILE, "u": HOSTILE, "t": 1, "mul": -(2**31), "exp": 30}],
}


def peer_of(plan: dict[str, Any], blob: bytes = b"", **more: Any) -> Any:
    return udp_peer(
        {
            logger.INFO.key: lambda _: WHO | {"plan": {"id": 1} | plan} | more,
            logger.STREAMS.key: lambda _: STREAM,
            logger.CLOCK_PROBE.key: lambda _: {"boot": 1, "rx": 5, "tx": 5},
            logger.METADATA_READ.key: lambda _: {"o": 0, "len": len(blob), "d": blob},
        }
    )


@pytest.mark.parametrize(
    "plan",
    [
        {"start": 3, "level": -(2**63)},
        {"start": 3, "level": 5, "s": 9},
        {"start": 3, "level": 5, "ch": 200, "below": True},
        {"start": 3},
        {"start": 1, "at": FAR},
        {"start": 2, "at": FAR, "until": FAR, "secs": FAR, "frames": FAR},
        {"start": 200, "streams": []},
        {"label": HOSTILE, "streams": [{"s": 77, "us": FAR}]},
    ],
    ids=str,
)
def test_a_plan_that_makes_no_sense_is_shown_all_the_same(
    plan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    blob = encode_metadata({HOSTILE: HOSTILE})
    with peer_of(plan, blob, left=FAR, mah=2**32 - 1, ua=1, pct=255, mv=1, used=FAR, total=1) as peer:
        run = Shell(capsys, peer.url)
        assert run("log", "status") == 0
        assert run.json("log", "status")["metadata"] == {HOSTILE: HOSTILE}
        assert run.json("info")["logger"]["plan"]["id"] == 1


def test_a_level_of_many_digits_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    counter = STREAM | {"ch": [{"n": "count", "u": "", "t": 5}]}

    def streams(_: object) -> dict[str, Any]:
        return counter

    with peer_of({"start": 3, "level": 4_000_000_001}) as peer:
        peer.peer.on(logger.STREAMS, streams)
        run = Shell(capsys, peer.url)
        assert run("log", "status") == 0
        assert "when count is at or above 4000000001" in run.out
        assert run.json("log", "status")["start"]["above"] == 4_000_000_001


@pytest.mark.parametrize("blob", [b"\xff", b"\x01", b"\xa1\x01\x02", b"\x9f" * 500])
def test_metadata_that_is_none_is_told_as_none(blob: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with peer_of({}, blob) as peer:
        run = Shell(capsys, peer.url)
        assert run.json("log", "status")["metadata"] is None


def test_metadata_that_never_ends_breaks_the_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    answers: dict[tuple[int, int, int], Handler] = {
        logger.METADATA_READ.key: lambda _: {"o": 0, "len": 65_535, "d": b""},
        logger.INFO.key: lambda _: WHO,
        logger.STREAMS.key: lambda _: STREAM,
        logger.CLOCK_PROBE.key: lambda _: {"boot": 1, "rx": 5, "tx": 5},
    }
    with udp_peer(answers) as peer:
        run = Shell(capsys, peer.url)
        assert run("log", "status") == 3
        assert "does not tell all of its metadata" in run.err


# sessions


def test_sessions_of_this_boot_have_times_by_this_computers_clock(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with simulator() as running:
        run = Shell(capsys, running.url)
        before = dt.datetime.now(dt.UTC)
        run.json("log", "arm", "--label", "short")
        run.json("log", "stop")
        run.json("log", "arm")
        after = dt.datetime.now(dt.UTC)
        first, second = run.json("log", "sessions")["sessions"]
        began, ended, began_too = map(dt.datetime.fromisoformat, (first["began"], first["ended"], second["began"]))
        second_s = dt.timedelta(seconds=1)
        assert before - second_s < began <= ended <= began_too <= after + second_s
        assert second["ended"] is None
        assert run("log", "sessions") == 0
        assert f"{began:%Y-%m-%d %H:%M:%S}" in run.out
        assert run("reset") == 0
        assert run("log", "stop") == 0
        first, second = run.json("log", "sessions")["sessions"]
        assert (first["began"], first["ended"], second["began"]) == (None, None, None), "of the boot before"
        assert dt.datetime.fromisoformat(second["ended"]) >= began_too


def test_a_device_without_a_session_is_not_stopped_and_one_with_a_session_not_armed(
    shared: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Shell(capsys, shared.url)
    assert run("log", "stop") == 4
    assert run.err == (
        "error: no session is armed or being recorded, so nothing was stopped. `fieldlog log sessions` lists the last "
        "ones\n"
    )
    assert run("log", "arm", "--after", "1d") == 0
    assert run("log", "arm") == 4
    assert "Nothing was changed; `fieldlog log stop` ends it" in run.err
    assert run("log", "stop") == 0


def test_what_was_armed_is_echoed_and_told_again(shared: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    run = Shell(capsys, shared.url)
    words = ("log", "arm", "--label", "attic", "--after", "1d", "--for", "3d", "--stream", "environment=10s")
    armed = run.json(*words)
    assert (armed["label"], [(item["name"], item["period_us"]) for item in armed["streams"]]) == (
        "attic",
        [("environment", 10_000_000)],
    )
    assert armed["preflight"]["estimate"]["memory_is_enough"] is True
    assert run("log", "status") == 0
    assert "enough until the session ends" in run.out
    assert "at 8 uA while it waits" in run.out, "a reading in 10 s hardly counts"
    assert run("log", "stop") == 0
    assert run("log", "status") == 0
    assert "full in" not in run.out
    assert run("clock", "sync") == 0
    assert run("log", "arm", "--at", "2100-07-01T06:00", "--meta", "zone=Europe/Berlin") == 0
    assert "is taken as" not in run.err
    assert run("log", "status") == 0
    assert "at 2100-07-01 06:00 Europe/Berlin (04:00 UTC)" in run.out
    assert run("log", "stop") == 0
    assert run("log", "arm", "--at", "2100-07-01T06:00", "--stream", "environment=10s") == 0
    assert "--at 2100-07-01T06:00 is taken as 2100-07-01 06:00 Europe/Berlin (04:00 UTC)" in run.err
    assert "records    environment every 10 s\n" in run.out
    assert "begins     at 2100-07-01 06:00 Europe/Berlin (04:00 UTC)" in run.out
    assert run("log", "stop") == 0
    assert run("log", "arm", "--after", "1d", "--stream", "motion=1s") == 0
    assert "at 8 uA until it begins and 12 uA then" in run.out
    assert run("log", "stop") == 0


# two programs at once

MINE, THEIRS = {"site": "mine"}, {"site": "theirs"}
ARMING = ("log", "arm", "--meta", "site=mine")


class Raced:
    """A logger that other programs arm and describe too: `before_arm` runs as the request to arm comes."""

    def __init__(self) -> None:
        self.state, self.metadata = State.IDLE, b""
        self.before_arm: Callable[[], None] = lambda: None
        self.arm_answer: Answer = {"session": 7, "state": int(State.ARMED)}
        self.written = 0

    def handlers(self) -> dict[tuple[int, int, int], Handler]:
        return {
            logger.INFO.key: lambda _: WHO | {"state": int(self.state)},
            logger.STREAMS.key: self.streams,
            logger.CLOCK_PROBE.key: self.clock,
            logger.METADATA_READ.key: lambda _: {"o": 0, "len": len(self.metadata), "d": self.metadata},
            logger.METADATA_WRITE.key: self.write,
            logger.ARM.key: self.arm,
        }

    def streams(self, _: dict[str, Any]) -> Answer:
        return STREAM

    def clock(self, _: dict[str, Any]) -> Answer:
        return {"boot": 1, "rx": 5, "tx": 5}

    def write(self, body: dict[str, Any]) -> Answer:
        self.metadata = body["d"]
        self.written += 1
        return {"o": len(self.metadata)}

    def arm(self, _: dict[str, Any]) -> Answer:
        self.before_arm()
        if self.state == State.IDLE and isinstance(self.arm_answer, dict):
            self.state = State.ARMED
            return self.arm_answer
        return self.arm_answer if self.state == State.IDLE else Refuse(LoggerError.RECORDING, Group.LOGGER)

    def overwrite(self) -> None:
        self.metadata = encode_metadata(THEIRS)

    def take(self) -> None:
        self.state = State.ARMED


def test_metadata_that_another_program_wrote_before_the_session_began_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    raced = Raced()
    with udp_peer(raced.handlers()) as peer:
        run = Shell(capsys, peer.url)
        assert run.json(*ARMING)["metadata"] == MINE
        raced.state, raced.before_arm = State.IDLE, raced.overwrite
        assert run(*ARMING) == 5
        assert "session 7 is armed, with other metadata than this command meant" in run.err
        assert "`fieldlog log stop`" in run.err
        assert run("log", "status") == 0
        assert "site=theirs" in run.out


def test_a_session_that_another_program_armed_meanwhile_keeps_its_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    raced = Raced()

    def clock(_: dict[str, Any]) -> Answer:
        raced.take()  # once all was looked at
        return {"boot": 1, "rx": 5, "tx": 5}

    with udp_peer(raced.handlers() | {logger.CLOCK_PROBE.key: clock}) as peer:
        run = Shell(capsys, peer.url)
        assert run(*ARMING) == 4
        assert "Nothing was changed; `fieldlog log stop` ends it" in run.err
        assert not raced.written


def test_metadata_that_came_too_late_are_told_as_those_of_the_other_session(
    capsys: pytest.CaptureFixture[str],
) -> None:
    raced = Raced()
    raced.before_arm = raced.take
    with udp_peer(raced.handlers()) as peer:
        run = Shell(capsys, peer.url)
        assert run(*ARMING) == 4
        assert "that session has the metadata given here now, and no other was begun" in run.err


def test_a_link_that_is_lost_while_arming_is_told_with_what_may_have_happened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    raced = Raced()
    raced.arm_answer = None
    with udp_peer(raced.handlers()) as peer:
        run = Shell(capsys, f"{peer.url}?timeout=0.7")
        assert run(*ARMING) == 3
        assert "did not answer 'logger arm'" in run.err
        assert (
            "The metadata may have been changed, and a session may have been armed or begun: `fieldlog log s" in run.err
        )
