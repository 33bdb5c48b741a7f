"""Commands over BLE as their users type them, to simulators on a virtual radio of other processes."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fieldlog.cli.main import invoke
from fieldlog.scanning import Advertised
from fieldlog.transports import radio
from fieldlog_protocol.advertising import LoggerAdvertisement, product_number
from fieldlog_protocol.commands.logger import State
from simulator import Simulator, simulator
from terminal import CLI

PASSKEY = "012345"


@pytest.fixture(scope="module")
def logger() -> Iterator[Simulator]:
    with simulator("--ble", "0", "--history", "1d", "--count", "3", links=3) as found:
        yield found


@pytest.fixture(scope="module")
def locked() -> Iterator[Simulator]:
    with simulator("--ble", "0", "--ble-security", "authenticated", "--ble-passkey", PASSKEY) as found:
        yield found


@pytest.fixture(scope="module")
def broken() -> Iterator[Simulator]:
    """Every reply takes the link away."""
    with simulator("--ble", "0", "--disconnect", "1") as found:
        yield found


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = invoke(words)
    out, err = capsys.readouterr()
    return code, out, err


def radio_of(simulator: Simulator) -> str:
    return simulator.url.partition("?")[2]


def test_a_scan_tells_how_each_logger_is(logger: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("devices", "--ble", "--seconds", "1", "--radio", radio_of(logger))
    code, out, _ = ran(capsys, *words, "--json")
    assert code == 0
    found = {entry["name"]: entry for entry in json.loads(out)["devices"]}
    assert sorted(found) == sorted(str(ready["serial"]) for ready in logger.ready)
    for entry in found.values():
        assert entry["smp"] is True
        assert entry["attention"] == ["clock not set"]
        assert entry["url"].startswith(f"ble:{entry['name']}?backend=virtual&at=")
        said = entry["logger"]
        assert (said["state"], said["clock_set"], said["product"]) == ("logging", False, product_number("fieldlog-sim"))
        code, out, _ = ran(capsys, "log", "status", "--json", "-d", entry["url"])
        assert code == 0
    code, out, _ = ran(capsys, *words)
    lines = out.splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["name", "address", "rssi", "battery", "state", "log", "clock", "newest", "attention"]
    assert "logging" in lines[1]


def test_a_radio_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("devices", "--ble", "--radio"), ("echo", "-d")):
        url = "backend=virtual&at=127.0.0.1:1"
        code, out, err = ran(capsys, *words, f"ble:hut?{url}" if words[0] == "echo" else url)
        assert (code, out) == (3, "")
        assert err.startswith("error: ")
        assert "Bluetooth cannot be used here: no virtual radio answers at 127.0.0.1:1" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--every",), "add --ble"),
        (("--ble", "--radio", "at=127.0.0.1:1"), "needs a backend"),
        (("--ble", "--radio", "backend=nope"), "no BLE backend 'nope'"),
        (("--ble", "--radio", "backend=virtual"), "at= is missing"),
        (("--ble", "--radio", "backend=virtual&at=127.0.0.1:1&speed=9"), "bonds=FILE and pairing=auto, not speed"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, "devices", *words)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    ("state", "clock", "battery", "attention"),
    [
        (State.LOGGING, True, 80, ()),
        (State.LOGGING, True, None, ()),
        (State.FULL, True, 19, ("log full", "battery low")),
        (State.FAULT, False, 20, ("fault", "clock not set")),
        (7, True, 100, ()),
    ],
)
def test_what_needs_attention(state: State | int, clock: bool, battery: int | None, attention: tuple[str, ...]) -> None:
    said = LoggerAdvertisement(1, state, clock, battery, 100, 5)
    assert Advertised("ble:x", "x", "a", -50, True, said).attention == attention


def test_several_loggers_are_read_over_one_radio(
    logger: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [word for url in logger.urls for word in ("-d", url)]
    code, out, err = ran(capsys, "pull", *urls, "--archive", str(tmp_path), "--no-parquet")
    assert code == 0, err
    assert out.count("done") == 3


@pytest.fixture
def soon_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldlog.scanning.SCAN_S", 1.0)


@pytest.mark.usefixtures("soon_heard")
def test_all_loggers_that_are_heard_are_read(
    logger: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("pull", "--ble", "--radio", radio_of(logger), "--archive", str(tmp_path), "--no-parquet")
    code, out, err = ran(capsys, *words, "--json")
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert sorted(line["serial"] for line in found) == sorted(str(ready["serial"]) for ready in logger.ready)
    assert {line["outcome"] for line in found} == {"done"}
    code, out, err = ran(capsys, *words, "--device", logger.url)
    assert (code, out.count("done")) == (0, 3), err  # named and heard is read once


@pytest.mark.usefixtures("soon_heard")
def test_devices_of_different_passkeys_are_read_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--passkey is for those that have none of their own; one named by its address is not taken again as it is heard."""
    with simulator("--ble", "0", "--ble-security", "authenticated", "--count", "2", links=2) as locked:
        radio = radio_of(locked)
        words = ("pull", "--ble", "--radio", radio, "--archive", str(tmp_path), "--no-parquet")
        code, out, err = ran(capsys, *words)
        assert code == 3, err
        assert "backend" not in out
        assert "wants a passkey" in err
        heard = json.loads(ran(capsys, "devices", "--ble", "--seconds", "1", "--radio", radio, "--json")[1])["devices"]
        passkeys = {str(ready["serial"]): str(ready["passkey"]) for ready in locked.ready}
        first, second = heard
        own = f"ble:{first['address']}?{radio}&passkey={passkeys[first['name']]}"
        code, out, err = ran(capsys, *words, "-d", own, "--passkey", passkeys[second["name"]], "--json")
        assert code == 0, err
        assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["done", "done"]


@pytest.mark.usefixtures("soon_heard")
def test_all_loggers_that_are_heard_are_configured(
    logger: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[metadata]\nsite = "ridge"\n')
    words = ("config", "apply", str(file), "--ble", "--radio", radio_of(logger))
    code, out, err = ran(capsys, *words, "--yes")
    assert (code, out.count("applied")) == (0, 3), err


@pytest.mark.usefixtures("soon_heard")
def test_that_no_logger_is_heard_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with simulator("--ble", "0", "--profile", "smp-server") as stock:
        code, out, err = ran(capsys, "pull", "--ble", "--radio", radio_of(stock), "--archive", str(tmp_path))
    assert (code, out) == (3, "")
    assert "no logger was heard within 1 s (1 other BLE device heard)" in err
    assert "Nothing was read" in err
    code, out, err = ran(capsys, "pull", "--radio", "backend=virtual", "--archive", str(tmp_path))
    assert (code, out) == (2, "")
    assert "add --ble" in err


def test_a_file_is_fetched_on_over_links_that_break(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "up", tmp_path / "down"
    source.write_bytes(Random(1).randbytes(20_000))
    device = ("--ble", "0", "--buffers", "384x4", "--state", str(tmp_path / "state"))
    with simulator(*device) as whole:
        code, _, err = ran(capsys, "fs", "put", str(source), "/lfs/up", "-d", whole.url)
        assert code == 0, err
    with simulator(*device, "--disconnect", "0.04", "--seed", "5") as breaking:
        code, _, err = ran(capsys, "fs", "get", "/lfs/up", "-o", str(target), "-d", breaking.url)
    assert code == 0, err
    assert "opening it again" in err
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    "words", [("info",), ("config", "export"), ("log", "status"), ("image", "list"), ("fs", "stat", "/lfs/x")]
)
def test_other_commands_end_with_the_link_in_one_sentence(
    words: tuple[str, ...], broken: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ran(capsys, *words, "-d", broken.url)
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert "was lost: it went out of range, restarted or was switched off" in err


def test_a_device_that_is_not_there_is_told_with_those_that_are(
    logger: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radio.Radio.find, "__defaults__", (None, 0.5))
    code, out, err = ran(capsys, "echo", "-d", f"ble:nobody?{radio_of(logger)}")
    assert (code, out) == (3, "")
    assert "ble:nobody was not heard within 0.5 s. Heard instead: " in err
    assert str(logger.ready[0]["serial"]) in err


def test_without_a_passkey_a_locked_device_gives_nothing(
    locked: Simulator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = ran(capsys, "info", "-d", locked.url)
    assert (code, out) == (3, "")
    assert "wants a passkey, and none was given" in err
    code, out, err = ran(capsys, "info", "-d", locked.url, "--passkey", "12346")
    assert (code, out) == (3, "")
    assert "did not accept the passkey" in err


def test_with_the_passkey_it_is_paired_once(
    locked: Simulator, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{locked.url}&bonds={tmp_path / 'bonds.json'}"
    monkeypatch.setenv("FIELDLOG_DEVICE", url)
    code, out, err = ran(capsys, "echo", "first", "--passkey", PASSKEY)
    assert (code, out) == (0, "first\n"), err
    code, out, err = ran(capsys, "echo", "again")
    assert (code, out) == (0, "again\n"), err


def test_at_a_terminal_the_passkey_is_asked_for(locked: Simulator) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
    master, slave = pty.openpty()
    words = [sys.executable, "-c", CLI, "echo", "hello", "-d", locked.url]
    child = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen, typed = "", 0
    answers = ["letters\n", f"{PASSKEY}\n"]
    while select.select([master], [], [], 30)[0]:
        try:
            seen += os.read(master, 4096).decode()
        except OSError:
            break
        if seen.count("passkey that ble:") > typed < len(answers):
            os.write(master, answers[typed].encode())
            typed += 1
    os.close(master)
    assert child.wait(30) == 0, seen
    assert "a passkey is a number" in seen
    assert "hello" in seen.splitlines()[-2:][0] + seen.splitlines()[-1]
