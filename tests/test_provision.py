"""Fleets: what becomes of devices that come, fail, come back, or are other ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldlog.provision.progress import alone
from flash_bench import firmware
from provision_bench import CONFIG, Bench, named
from simulator import Simulator, simulator


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    return Bench(tmp_path, capsys)


@pytest.fixture
def three() -> Iterator[Simulator]:
    with simulator("--count", "3", "--udp", "0", links=3) as running:
        yield running


def test_a_fleet_side_by_side_of_which_one_fails(bench: Bench, three: Simulator) -> None:
    serials, devices = named(three)
    rows = [
        f"{serials[0]},North,Ridge,",
        f"{serials[1]},South,Valley,999",
        f"{serials[2]},East,Camp,-5",
        "X9,West,Sea,",
    ]
    bench.write("serial,name,site,alarm/low\n" + "\n".join(rows))
    assert bench.provision(*devices, "--json") == 1
    *lines, last = bench.events
    assert {line["row"]: line["error"] is None for line in lines} == {1: True, 2: False, 3: True}
    assert (last["rows"], last["done"], last["failed"], last["missing"]) == (4, 2, 1, 1)
    assert "fleet.csv:3:1: alarm/low cannot be" in bench.err
    assert bench.results() == ["done", "failed", "done", "missing"]
    assert bench.values(three.urls[0], "device/name", "alarm/high") == ["North", 35]
    assert bench.values(three.urls[1], "device/name", "alarm/high") == ["", 60], "nothing of a row that is wrong"
    status = bench.status(three.urls[2])
    assert (status["state"], status["label"], status["metadata"]) == ("logging", "Camp 3", {"site": "Camp"})
    assert {stream["period_us"] for stream in status["streams"]} == {10_000_000}
    assert status["clock"]["set"] is not None
    report = json.loads((bench.folder / "fleet-report" / f"{three.ready[2]['uid']}.json").read_text())
    assert report["result"] == "done"
    assert {change["key"]: change["new"] for change in report["steps"]["configure"]["changes"]} == {
        "alarm/high": 35,
        "alarm/low": -5,
        "device/name": "East",
        "site": "Camp",
    }
    assert all(test["passed"] for test in report["steps"]["selftest"]["results"])

    bench.write("serial,name,site,alarm/low\n" + "\n".join(rows).replace("999", "-1"))
    assert bench.provision(*devices, "--json") == 0
    assert {line["row"]: line["skipped"] for line in bench.events[:-1]} == {1: True, 2: False, 3: True}
    assert bench.results() == ["done", "done", "done", "missing"]
    assert bench.status(three.urls[0])["session"] == 1, "it was armed once"


def test_rows_without_a_serial_number_are_given_once(bench: Bench, three: Simulator) -> None:
    serials, devices = named(three)
    bench.write(f"name,serial,site\nFirst,,a\nSecond,,b\nThird,{serials[1]},c\n")
    assert bench.provision(*devices) == 2
    assert "2 rows" in bench.err
    assert "--yes" in bench.err
    assert not (bench.folder / "fleet-report").exists()
    assert bench.provision(*devices, "--yes") == 0
    given = {row["name"]: row["serial"] for row in bench.table()}
    assert given["Third"] == serials[1]
    assert {given["First"], given["Second"]} == {serials[0], serials[2]}
    (bench.folder / "fleet-report" / "fleet-report.csv").unlink()
    assert bench.provision(*reversed_pairs(devices), "--yes") == 0
    assert {row["name"]: row["serial"] for row in bench.table()} == given
    with simulator("--seed", "77") as stranger:
        assert bench.provision("-d", stranger.url, "--yes") == 1
        assert "no row is for this device" in bench.err
        assert bench.values(stranger.url, "device/name") == [""]


def reversed_pairs(words: list[str]) -> list[str]:
    pairs = [words[at : at + 2] for at in range(0, len(words), 2)]
    return [word for pair in reversed(pairs) for word in pair]


def test_another_device_does_not_take_a_row_that_was_given(bench: Bench) -> None:
    bench.write("name,site\nOnly,a\n")
    with simulator("--seed", "1") as first:
        assert bench.provision("-d", first.url, "--yes") == 0
        uid = str(first.ready[0]["uid"])
        state = json.loads((bench.folder / "fleet.csv.state.json").read_text())
        state["devices"][0]["uid"] = "ff" * 8
        (bench.folder / "fleet.csv.state.json").write_text(json.dumps(state))
        bench.write(f"name,uid,site\nOnly,{uid},a\n")
        state["devices"][0]["row"] = f"uid:{uid}"
        (bench.folder / "fleet.csv.state.json").write_text(json.dumps(state))
        assert bench.provision("-d", first.url) == 1
        assert "was given to another device, uid ffffffffffffffff" in bench.err


def test_what_records_already_is_left_alone_unless_told(bench: Bench) -> None:
    with simulator() as running:
        bench.write(f"serial,name,site\n{running.ready[0]['serial']},North,Ridge\n")
        assert bench("log", "arm", "--label", "precious", "-d", running.url) == 0
        assert bench.provision("-d", running.url) == 1
        assert "records session 1 already" in bench.err
        assert bench.values(running.url, "device/name") == [""]
        assert bench.provision("-d", running.url, "--stop-logging") == 0
        status = bench.status(running.url)
        assert (status["session"], status["label"]) == (2, "Ridge 1")
        assert bench("log", "sessions", "-d", running.url) == 0
        assert "precious" in bench.out


def test_a_row_that_says_something_else_is_done_again(bench: Bench) -> None:
    with simulator() as running:
        serial = running.ready[0]["serial"]
        bench.write(f"serial,site,alarm/low\n{serial},Ridge,-5\n", "[settings]\n")
        assert bench.provision("-d", running.url) == 0
        assert bench.status(running.url)["state"] == "idle", "no [log], nothing to record"
        bench.write(f"serial,site,alarm/low\n{serial},Ridge,-6\n", "[settings]\n")
        for skipped in (False, True):
            assert bench.provision("-d", running.url, "--json") == 0
            assert bench.events[0]["skipped"] is skipped
            assert bench.values(running.url, "alarm/low") == [-6]
        bench.write(f"serial,site,alarm/low\n{serial},Ridge,-6\n", '[settings]\n"alarm/high" = 40\n')
        assert bench.provision("-d", running.url) == 0
        assert bench.values(running.url, "alarm/high") == [40]


def test_firmware_and_what_takes_effect_after_a_restart(bench: Bench) -> None:
    (bench.folder / "fw.bin").write_bytes(firmware("2.0.0"))
    with simulator("--history", "1h") as running:
        serial = running.ready[0]["serial"]
        fleet = f'image = "fw.bin"\n{CONFIG}\n[[device]]\nserial = "{serial}"\n'
        fleet += '[device.settings]\n"sensor/key" = "hex:0102"\n[device.variables]\nsite = "Ridge"\n'
        (bench.folder / "fleet.toml").write_text(fleet)
        assert (
            bench("provision", str(bench.folder / "fleet.toml"), "-d", running.url, "--stop-logging", "--json") == 0
        ), bench.err
        steps = bench.events[0]["provisioned"]["steps"]
        assert (steps["flash"]["outcome"], steps["flash"]["before"], steps["flash"]["version"]) == (
            "confirmed",
            "1.0.0",
            "2.0.0",
        )
        assert bench.events[0]["provisioned"]["firmware"] == "2.0.0"
        assert bench("info", "--json", "-d", running.url) == 0
        info = json.loads(bench.out)["logger"]
        assert info["clock_set_s"] is not None, "the clock was set after the restart"
        assert info["state"] == "logging"


def test_a_device_that_fails_its_self_test_is_not_armed(bench: Bench) -> None:
    with simulator("--firmware-fault", "selftest", "1.0.0") as faulty:
        bench.write(f"serial,site\n{faulty.ready[0]['serial']},Ridge\n")
        assert bench.provision("-d", faulty.url, "--json") == 1
        assert bench.events[0]["error"]["kind"] == "VerificationError"
        assert "It is configured and not armed" in bench.err
        assert bench.values(faulty.url, "alarm/high") == [35]
        assert bench.status(faulty.url)["state"] == "idle"
        assert bench.table()[0]["self test"].startswith("failed: ")


def test_what_a_device_cannot_record_is_told_before_anything_is_written(bench: Bench) -> None:
    with simulator() as running:
        bench.write(f"serial,site,log.for\n{running.ready[0]['serial']},Ridge,3d\n", CONFIG.replace('"10 s"', '"1 h"'))
        assert bench.provision("-d", running.url) == 1
        assert "base.toml:8:10: [log] stream 'motion' cannot be sampled every 1 h" in bench.err
        assert bench.values(running.url, "alarm/high") == [60]
        assert bench.status(running.url)["state"] == "idle"


def test_a_setting_and_a_stream_that_are_not_there_are_told_at_once(bench: Bench) -> None:
    with simulator() as running:
        config = CONFIG.replace("alarm/high", "alarm/hihg").replace('period = "10 s"', 'streams = ["enviroment=10s"]')
        bench.write(f"serial,site\n{running.ready[0]['serial']},Ridge\n", config)
        assert bench.provision("-d", running.url) == 1
        assert "base.toml:3:1: the device's firmware 1.0.0 has no setting 'alarm/hihg'" in bench.err
        assert "base.toml:8:12: [log] there is no stream 'enviroment'. Did you mean environment?" in bench.err
        assert bench.status(running.url)["state"] == "idle"


def test_devices_come_one_after_another_to_one_port(bench: Bench, tmp_path: Path) -> None:
    """Each stays until it is done, which its report tells; then the next one is at the same port."""
    port = tmp_path / "port"
    bench.write("name,site\nFirst,a\nSecond,b\n")
    command = [
        sys.executable,
        "-m",
        "fieldlog.cli",
        "provision",
        str(tmp_path / "fleet.csv"),
        "--yes",
        "--line",
        "--json",
    ]
    line = subprocess.Popen(
        [*command, "--config", str(tmp_path / "base.toml"), "-d", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    timer = threading.Timer(60, line.kill)
    timer.start()
    assert line.stdout is not None
    try:
        seen: list[str] = []
        for seed in ("1", "2"):
            with simulator("--seed", seed, "--pty", str(port)):
                event = json.loads(line.stdout.readline())
                assert event["error"] is None
                seen.append(event["provisioned"]["uid"])
        assert len(set(seen)) == 2
        _, err = line.communicate()
        assert (line.returncode, "Traceback" in err) == (0, False)
    finally:
        timer.cancel()
        line.kill()
        line.wait()
    assert [row["uid"] for row in bench.table()] == seen


def test_a_port_that_appears_later_and_one_that_never_does(bench: Bench, tmp_path: Path) -> None:
    bench.write("name,site\nLate,a\n")
    late, never = tmp_path / "late", tmp_path / "never"
    started = threading.Event()

    def come() -> None:
        with simulator("--pty", str(late)):
            started.wait(30)

    thread = threading.Thread(target=come)
    thread.start()
    try:
        assert bench.provision("--yes", "--wait", "5", "-d", str(late), "-d", str(never), "--json") == 1
    finally:
        started.set()
        thread.join()
    errors = {event["device"]: event["error"] for event in bench.events[:-1]}
    assert errors[str(late)] is None
    assert errors[str(never)]["exit_code"] == 3
    assert bench.results() == ["done"]


def test_two_programs_do_not_prepare_the_same_fleet(bench: Bench) -> None:
    bench.write("name,site\nOnly,a\n")
    with alone(bench.folder / "fleet.csv"):
        assert bench.provision("--yes", "-d", "udp:127.0.0.1:9") == 1
    assert "another program prepares" in bench.err


def test_a_state_that_cannot_be_read_stops_before_anything(bench: Bench) -> None:
    bench.write("name,site\nOnly,a\n")
    (bench.folder / "fleet.csv.state.json").write_text("{")
    assert bench.provision("--yes", "-d", "udp:127.0.0.1:9") == 1
    assert "cannot be read" in bench.err
    assert "Nothing was changed" in bench.err


def test_a_check_needs_no_device(bench: Bench) -> None:
    bench.write("name,site\nOnly,a\n")
    assert bench.provision("--check") == 0
    assert bench.out == "1 row, nothing wrong with them\n"
    bench.write("name\nOnly\n")
    assert bench.provision("--check") == 2
    assert "there is no variable 'site'" in bench.err


def test_what_a_fleet_says_of_itself_is_no_formula(bench: Bench) -> None:
    with simulator() as running:
        bench.write(f'serial,name,site\n{running.ready[0]["serial"]},"=HYPERLINK(""x"")",Ridge\n')
        assert bench.provision("-d", running.url) == 0
    assert bench.table()[0]["name"].startswith("'=")
    shutil.rmtree(bench.folder / "fleet-report")
