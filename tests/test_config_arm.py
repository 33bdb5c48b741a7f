"""`log arm --from FILE`: what a configuration file says of a session, and all that is wrong with it, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldlog.arming import Wish
from fieldlog.cli.main import invoke
from fieldlog.config.document import read_document
from fieldlog.config.log_section import combined, log_problems, read_log
from fieldlog.config.template import Identity, resolve
from simulator import Simulator, simulator

WHOLE = """\
[settings]
"alarm/high" = 30
[metadata]
site = "Ridge"
zone = "Europe/Berlin"
[log]
label = "winter ${index}"
streams = ["environment=5 s"]
after = "2 h"
for = "3 d"
frames = 100000
wrap = false
[devices."*".log]
until = 2031-07-01T06:00:00
"""


@pytest.fixture(scope="module")
def device() -> Iterator[Simulator]:
    with simulator("--udp", "0") as running:
        assert invoke(["clock", "sync", "--device", running.url]) == 0
        yield running


class Arm:
    """Arms the device by a file, and lets it rest again."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._capsys = capsys
        self._url = url
        self.err = ""

    def __call__(self, text: str, *words: str) -> int:
        Path("d.toml").write_text(text)
        self._capsys.readouterr()
        code = invoke(["log", "arm", "--from", "d.toml", "--json", "--device", self._url, *words])
        out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        self.said: dict[str, Any] = json.loads(out)
        return code

    def status(self) -> dict[str, Any]:
        self._capsys.readouterr()
        assert invoke(["log", "status", "--json", "--device", self._url]) == 0
        found: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return {key: found[key] for key in ("state", "session", "label", "metadata")}

    def said_by_last_command(self) -> str:
        return self._capsys.readouterr().err

    def problems(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("d.toml:")]


@pytest.fixture
def arm(
    device: Simulator, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Arm]:
    monkeypatch.chdir(tmp_path)
    yield Arm(capsys, device.url)
    invoke(["log", "stop", "--device", device.url])


def test_a_file_says_all_that_options_can_say(arm: Arm) -> None:
    assert arm(WHOLE) == 0, arm.err
    assert arm.said["state"] == "armed"
    assert arm.said["label"] == "winter 1"
    assert [(stream["name"], stream["period_us"]) for stream in arm.said["streams"]] == [("environment", 5_000_000)]
    assert arm.said["metadata"] == {"site": "Ridge", "zone": "Europe/Berlin"}
    assert arm.said["stop"]["until"] == "2031-07-01T04:00:00+00:00", "in the zone that the file names"
    assert (arm.said["stop"]["for_seconds"], arm.said["stop"]["frames"]) == (3 * 86_400, 100_000)


def test_options_win(arm: Arm) -> None:
    words = [
        "--label",
        "mine",
        "--above",
        "temperature=40 Cel",
        "--for",
        "1h",
        "--meta",
        "site=Valley",
        "--wrap",
        "--stream",
        "environment=1min",
    ]
    assert arm(WHOLE, *words) == 0, arm.err
    assert arm.said["label"] == "mine"
    assert arm.said["start"]["mode"] == "threshold", "the file's own way to begin is dropped"
    assert arm.said["stop"]["for_seconds"] == 3600
    assert arm.said["stop"]["frames"] == 100_000
    assert arm.said["metadata"] == {"site": "Valley", "zone": "Europe/Berlin"}
    assert [stream["period_us"] for stream in arm.said["streams"]] == [60_000_000]


def test_all_that_is_wrong_is_told_with_its_line_and_nothing_is_armed(arm: Arm, device: Simulator) -> None:
    text = """\
[log]
label = 3
lable = "x"
streams = ["sky", "environment=5 min 3"]
period = 10
at = "2020-01-01"
until = "whenever"
for = "1.5s"
frames = 0
wrap = "no"
above = "depth=3 m"
[metadata]
zone = "Mars/Olympus"
site = "${nowhere}"
b = ?
"""
    assert arm(text) == 2
    lines = [int(problem.split(":")[1]) for problem in arm.problems()]
    assert lines == [2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 11, 13, 14, 15], arm.err
    assert invoke(["log", "stop", "--device", device.url]) != 0, "nothing was armed"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('streams = ["environmnet"]', "2:12: there is no stream 'environmnet'. Did you mean environment?"),
        (
            'streams = ["sky"]\nperiod = "1us"',
            "2:12: there is no stream 'sky'. Streams of this device: environment, motion",
        ),
        ('streams = ["motion", "environment=1us"]', "2:22: stream 'environment' cannot be sampled every 1 us"),
        ('streams = ["environment"]\nperiod = "1us"', "3:10: stream 'environment' cannot be sampled"),
        ('streams = ["sky"]\nabove = "temperature=30 Cel"', "2:12: there is no stream 'sky'"),
        ('streams = ["motion"]\nabove = "temperature=30 Cel"', "3:9: there is no channel 'temperature' in what is"),
        ('above = "depth=3 m"', "2:9: there is no channel 'depth'"),
        ('below = "temperature=-3000 Cel"', "2:9: temperature can never be"),
        ('at = "2020-01-01T00:00Z"', "2:6: --at 2020-01-01 00:00 UTC is over by the device's clock"),
        ("until = 2020-01-01T00:00:00Z", "2:9: the session would end"),
        ('at = 2035-01-01\nafter = "1h"', "3:1: a session begins on one condition, not on at and after"),
        ('streams = "environment"', '2:11: streams takes a list such as ["environment", "wind=10s"], not environment'),
        ('streams = ["environment", "environment=1s"]', "2:27: stream 'environment' is named twice"),
        ('label = "' + 33 * "x" + '"', "2:9: a label has at most 32 bytes, this one has 33"),
        ('label = ["x"]', "2:9: label takes a text in quotes, not a list"),
        ("wrap = {}", "2:8: wrap takes true or false, not a table"),
        ("on-button = 1", "2:13: on-button takes true or false, not 1"),
        ("frames = true", "2:10: frames takes a whole number from 1 on, not true"),
        ("frames = 9223372036854775808", "2:10: frames takes a number that some logger may reach"),
        ('stream = ["environment"]', "2:1: [log] has no 'stream'. Did you mean streams?"),
    ],
)
def test_one_thing_that_is_wrong(arm: Arm, line: str, problem: str) -> None:
    assert arm(f"[log]\n{line}\n") == 2
    assert len(arm.problems()) == 1, arm.err
    assert arm.problems()[0].startswith(f"d.toml:{problem}")


def test_all_that_is_wrong_with_one_list_is_told_where_it_stands(arm: Arm) -> None:
    streams = '["environmnet=5s", "motion=1us", "motion", 7, "sky=4 z"]'
    assert arm(f"[log]\nstreams = {streams}\nabove = 'depth=3 m'\n") == 2
    told = [problem.split(": ")[0].removeprefix("d.toml:") for problem in arm.problems()]
    assert told == ["2:12", "2:30", "2:44", "2:54", "2:57", "2:57", "3:9"], arm.err


def test_the_rest_of_the_file_is_held_against_the_device_too(arm: Arm, device: Simulator) -> None:
    text = '[settings]\n"alarm/hihg" = 1\n[calibration]\ndepth = [0, 1]\n[log]\nlable = "x"\nstreams = ["sky"]\n'
    assert arm(text) == 2
    for command in ("diff", "apply"):
        wrong = arm.problems()
        assert [problem.split(":")[1] for problem in wrong] == ["2", "4", "6", "7"]
        invoke(["config", command, "d.toml", "--device", device.url])
        arm.err = arm.said_by_last_command()
        assert arm.problems() == wrong, "each command tells the same"


def test_what_the_device_does_not_have_of_the_file_is_told_and_recording_begins(arm: Arm, device: Simulator) -> None:
    text = '[settings]\n"alarm/low" = -7\n[calibration]\ntemperature = [0.5, 1]\n[log]\nlabel = "x"\n'
    assert arm(text) == 0
    told = (
        "not have all that d.toml says beside [log] (alarm/low, the calibration of environment/temperature): `fieldlog"
    )
    assert told in arm.err
    assert any(told in warning for warning in arm.said["preflight"]["warnings"])
    assert invoke(["log", "stop", "--device", device.url]) == 0
    assert invoke(["config", "apply", "d.toml", "--yes", "--device", device.url]) == 0
    assert arm(text) == 0
    assert "beside [log]" not in arm.err


def test_a_file_is_held_against_the_channels_as_it_calibrates_them(arm: Arm, device: Simulator) -> None:
    text = '[calibration]\nhumidity = [0.0, 0.001]\n[log]\nabove = "humidity=50 %"\n'
    Path("d.toml").write_text(text)
    assert invoke(["config", "diff", "d.toml", "--device", device.url]) == 2
    assert "d.toml:4:9: humidity can never be at or above 50 %" in arm.said_by_last_command()
    Path("d.toml").write_text(text.replace("0.001", "1.001"))
    assert invoke(["config", "diff", "d.toml", "--device", device.url]) == 0


def test_a_time_that_is_over_is_no_fault_of_what_is_applied(arm: Arm, device: Simulator) -> None:
    Path("d.toml").write_text("[log]\nat = 2020-01-01\nuntil = 2020-01-02\n")
    assert invoke(["config", "diff", "d.toml", "--device", device.url]) == 0
    Path("d.toml").write_text("[log]\nat = 2020-01-03\nuntil = 2020-01-02\n")
    assert invoke(["config", "diff", "d.toml", "--device", device.url]) == 2
    assert "d.toml:3:9: the session would end" in arm.said_by_last_command()


def test_what_is_wrong_with_an_option_is_no_problem_of_the_file(arm: Arm) -> None:
    assert arm('[log]\nlabel = "x"\n', "--stream", "sky") == 2
    assert not arm.problems()
    assert "there is no stream 'sky'" in arm.err


@pytest.mark.parametrize("text", ["", "[log]\n", '[metadata]\nsite = "x"\n', '[devices.other.log]\nlabel = "x"\n'])
def test_a_file_that_says_nothing_of_a_session_begins_none(arm: Arm, device: Simulator, text: str) -> None:
    before = arm.status()
    assert arm(text) == 2
    assert "d.toml has no [log] table that says anything for this device" in arm.err
    assert arm.status() == before
    assert arm(text, "--label", "mine") == 0, arm.err
    assert arm.said["label"] == "mine"


@pytest.mark.parametrize("option", ["at", "until"])
def test_a_clock_that_is_not_set_is_no_fault_of_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with simulator() as unset:
        arm = Arm(capsys, unset.url)
        assert arm(f'[log]\n{option} = "2037-01-01T00:00Z"\n') == 4
        assert f"the device's clock is not set, so it cannot know when --{option} is" in arm.err
        assert arm.problems() == []
        assert arm(f'[log]\n{option} = "2037-01-01T00:00Z"\nstreams = ["nope"]\n') == 2
        assert len(arm.problems()) == 1, "what is wrong with the file is told first, and alone"
        assert "no stream 'nope'" in arm.err
        assert arm.status()["state"] == "idle"


def test_two_ways_to_begin_are_told_without_a_device_too() -> None:
    found = resolve(read_document('[log]\nat = 2035-01-01\nafter = "1h"\nbelow = ""\n', "f"), Identity())
    assert [problem.text("f") for problem in log_problems(found)] == [
        "f:4:1: a session begins on one condition, not on at and after and below"
    ]


def test_texts_that_variables_made_may_be_numbers() -> None:
    text = '[log]\nframes = "${n}"\nperiod = "${n} s"\n[variables]\nn = 30\n'
    found, problems = read_log(resolve(read_document(text, "f"), Identity()))
    assert not problems
    assert combined(found, {}) == Wish(frames=30, period_us=30_000_000)


def test_a_way_to_begin_on_the_command_line_is_the_only_one() -> None:
    section: dict[str, object] = {"after_s": 60, "label": "x", "metadata": {"a": "1", "b": "2"}}
    assert combined(section, {"at": "2030-01-01"}) == Wish(label="x", at="2030-01-01", metadata={"a": "1", "b": "2"})
    assert combined(section, {"on_button": False, "metadata": {"b": "3"}}).metadata == {"a": "1", "b": "3"}
    assert combined(section, {"on_button": False}).after_s == 60
