"""`fieldlog config` on simulated devices: show, get, set, export, diff, schema; and apply of what was exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldlog.cli.main import invoke
from simulator import Simulator, simulator

# quotes, escapes, what templates and TOML take for theirs, controls, both directions, beyond 16 bits; 32 bytes at most
WILD = " ${a}$${\\\"'\x00\x1b\u202e\x7f\U0001f40d\n=#"


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Cli:
    """Commands on one device, in this process."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> Ran:
        self._capsys.readouterr()
        code = invoke(["config", *map(str, words), "-d", self.url])
        caught = self._capsys.readouterr()
        return Ran(code, caught.out, caught.err)

    def done(self, *words: str | Path) -> str:
        ran = self(*words)
        assert ran.code == 0, ran.err
        return ran.out

    def json(self, *words: str | Path) -> dict[str, Any]:
        return dict(json.loads(self.done(*words, "--json")))

    def values(self) -> dict[str, Any]:
        return {entry["key"]: entry["value"] for entry in self.json("show")["settings"]}


@pytest.fixture
def logger() -> Iterator[Simulator]:
    with simulator() as running:
        yield running


@pytest.fixture
def cli(logger: Simulator, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(logger.url, capsys)


SETTINGS = {
    "log/max_age": 7200,
    "log/led": False,
    "alarm/high": 35.55,
    "sensor/oversampling": "16x",
    "sensor/trim": -40,
    "sensor/key": "00ff",
    "clock/epoch": -(2**53),
}


def test_set_takes_units_and_get_gives_the_value_back(cli: Cli) -> None:
    assert cli.json("set", "log/max_age=10min", "alarm/high=95 degF", "sensor/trim=-0.4 hPa")["written"] == [
        "log/max_age",
        "alarm/high",
        "sensor/trim",
    ]
    values = cli.json("get", "log/max_age", "alarm/high", "sensor/trim")["values"]
    assert values == {"log/max_age": 600, "alarm/high": 35.0, "sensor/trim": -40}
    assert cli.done("get", "log/max_age") == "600\n"


def test_metadata_is_no_setting_and_where_it_is_said_is_told(cli: Cli) -> None:
    before = cli.values()
    ran = cli("set", "log/led=off", "metadata/site=north ridge")
    assert (ran.code, cli.values()) == (2, before)
    assert "`fieldlog log arm --meta 'site=north ridge'`" in ran.err


def test_set_tells_all_that_is_wrong_and_writes_nothing(cli: Cli) -> None:
    before = cli.values()
    ran = cli("set", "log/led=off", "log/max_age=10 V", "alarm/hihg=3", "device/serial=x", "sensor/trim=5")
    assert ran.code == 2
    assert [line.split(" ")[1] for line in ran.err.splitlines()] == [
        "log/max_age",
        "the",
        "device/serial",
        "sensor/trim",
        "4",
    ]
    assert ran.err.endswith("error: 4 problems. Nothing was changed\n")
    assert cli.values() == before
    assert cli("set", "log/led=off", "nonsense").code == 2
    assert "two values" in cli("set", "log/led=off", "log/led=on").err
    assert cli.values() == before


def test_set_says_what_changed_and_when_nothing_did(cli: Cli) -> None:
    assert cli.done("set", "alarm/high=36") == "[settings]\nalarm/high: 60.0 degC -> 36.0 degC\n"
    again = cli("set", "alarm/high=36 degC")
    assert (again.code, again.out) == (0, "")
    assert "nothing to change" in again.err
    assert "after a restart" in cli("set", "sensor/key=hex:01").err.lower()


def test_exported_and_applied_again_nothing_changes(cli: Cli, tmp_path: Path) -> None:
    cli.done("set", f"device/name={WILD}", *(f"{key}={value}" for key, value in SETTINGS.items()))
    file = tmp_path / "a.toml"
    cli.done("export", "-o", file)
    assert cli.done("export") == file.read_text(encoding="utf-8")
    assert cli.json("diff", file)["differs"] is False
    before = cli.values()
    assert before["device/name"] == WILD
    assert cli.json("apply", file, "--yes")
    assert cli.values() == before
    assert cli.done("export") == file.read_text(encoding="utf-8")


def test_what_one_device_exports_another_takes_over(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, deployment = tmp_path / "a.toml", tmp_path / "deployment.toml"
    deployment.write_text(
        '[calibration]\ntemperature = [0.1, 1.0004, -1e-7]\n[metadata]\nsite = "$${x} \\u0000\\u202e"\n"zähler 1" = ""\n'
    )
    cli.done("set", *(f"{key}={value}" for key, value in SETTINGS.items()))
    cli.done("apply", deployment, "--yes")
    cli.done("export", "-o", file)
    with simulator("--seed", "8") as other:
        second = Cli(other.url, capsys)
        second.done("set", "device/name=second")
        second.done("apply", file, "--yes")
        assert second.values() == cli.values() | {
            key: value for key, value in second.values().items() if key.startswith("device/")
        }
        exported = second.done("export")
    assert _shared(exported) == _shared(file.read_text(encoding="utf-8"))
    assert "[0.1, 1.0004, -1e-07]" in exported


def _shared(text: str) -> list[str]:
    """An export without what tells devices apart."""
    return [line for line in text.splitlines() if not line.startswith(("# fieldlog configuration", '# "device/'))]


def test_diff_shows_what_a_file_would_change_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text(
        '[settings]\n"alarm/high" = "35.5 degC"\n"log/led" = true\n"sensor/key" = "hex:01"\n'
        '[calibration]\nhumidity = [1, 2]\n[metadata]\nsite = "Ridge"\n'
    )
    before = cli.done("export")
    assert cli.done("diff", file) == (
        "[settings]\n"
        "alarm/high: 60.0 degC -> 35.5 degC\n"
        'sensor/key: "hex:" -> "hex:01"  (after a restart)\n'
        "[calibration]\n"
        "environment/humidity: [] -> [1.0, 2.0]\n"
        "[metadata]\n"
        'site: none -> "Ridge"\n'
    )
    assert cli("diff", file, "--exit-code").code == 1
    told = cli.json("diff", file)
    assert told["differs"] is True
    assert told["changes"][0] == {
        "table": "settings",
        "key": "alarm/high",
        "former": 60.0,
        "new": 35.5,
        "unit": "Cel",
    }
    assert cli.done("export") == before
    file.write_text('[settings]\n"log/led" = true\n[devices."hut*".settings]\n"log/led" = false\n')
    ran = cli("diff", file, "--exit-code")
    assert ran.code == 0
    assert "the section 'hut*' does not hold for this device" in ran.err


def test_a_bad_file_is_told_with_lines_that_editors_follow(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[settings]\n"alarm/hihg" = 1\n"log/led" = \n"log/max_age" = "1 V"\n')
    ran = cli("diff", file, "--json")
    assert ran.code == 2
    lines = ran.err.splitlines()
    assert [line.removeprefix(f"{file}:").split(" ")[0] for line in lines[:-1]] == ["2:1:", "3:13:", "4:17:"]
    assert lines[-1] == f"error: 3 problems in {file}. Nothing was changed"
    error = json.loads(ran.out)["error"]
    assert [(problem["line"], problem["column"]) for problem in error["problems"]] == [(2, 1), (3, 13), (4, 17)]


def test_schema_is_a_table_or_a_file_for_editors(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "logger.schema.json"
    assert "a number from -60 to 120 degC" in cli.done("schema")
    cli.done("schema", "--format", "json-schema", "-o", file)
    content = json.loads(file.read_text())
    assert cli.json("schema", "--format", "json-schema")["json_schema"] == content
    assert cli("schema", "--format", "json-schema", "-o", file).code == 2
    assert cli("schema", "-o", tmp_path / "x").code == 2


def test_settings_are_described_again_after_the_cache_was_damaged(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = cli.done("schema")
    (file,) = (tmp_path / "fieldlog" / "schemas").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    assert cli.done("schema") == table


def test_what_is_read_only_is_not_marked_as_changed_and_defaults_are_values(cli: Cli) -> None:
    rows = [line.split() for line in cli.done("show").splitlines()]
    (serial,) = [row for row in rows if row and row[0] == "device/serial"]
    assert serial[-1] != "*"
    described = {entry["key"]: entry for entry in cli.json("schema")["schema"]}
    assert described["log/led"]["default"] in (True, False)
    assert isinstance(described["alarm/high"]["default"], float)


def test_numbers_are_told_as_they_were_written(cli: Cli) -> None:
    def says(word: str) -> str:
        return cli("set", word).err

    assert "alarm/high cannot be '300 degC': it takes a number from -60" in says("alarm/high=300 degC")
    assert "sensor/trim cannot be '2 dbar': that is 20000 Pa, and it takes" in says("sensor/trim=2 dbar")
    assert "alarm/high cannot be '1e3': it takes" in says("alarm/high=1e3")


def test_the_table_of_settings_says_what_a_change_does(cli: Cli) -> None:
    lines = {line.split()[0]: line for line in cli.done("schema").splitlines()}
    assert "read only" in lines["device/serial"]
    assert "after a restart" in lines["sensor/key"]
    assert "115200 baud" in lines["serial/baud"]
    assert "affects the link" in lines["serial/baud"]
    assert "{port}" not in lines["udp/port"]


def test_what_a_restart_or_a_session_has_to_do_with_it_is_told(cli: Cli) -> None:
    assert "After a restart" in cli.json("set", "sensor/key=0a")["notes"][0]
    assert invoke(["log", "arm", "--label", "x", "--device", cli.url]) == 0
    told = cli.json("set", "alarm/high=41", "--timeout", "30s")["notes"]
    assert told == ["Session 1 is being recorded and goes on: what it records from now on goes by the new values"]
    assert invoke(["log", "stop", "--device", cli.url]) == 0
    assert cli("set", "alarm/high=42", "--timeout", "0s").code == 2


def test_no_help_of_a_command_is_cut(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config", "--help"]) == 0
    assert not any(line.endswith("...") for line in capsys.readouterr().out.splitlines()[1:])
