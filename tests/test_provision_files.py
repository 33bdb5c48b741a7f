"""The files of a fleet: what is wrong with them is told, none of somebody else's is lost, a full disk stops no more than it must."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fieldlog.cli.main import invoke
from little_disk import little_disk
from provision_bench import Bench, named
from simulator import Simulator, simulator

PLAIN = '[settings]\n"alarm/high" = 40\n'


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    return Bench(tmp_path, capsys)


# reports


@pytest.mark.parametrize("name", ["fleet.csv", "fleet.toml"])
def test_a_report_takes_the_place_of_no_other_file(bench: Bench, name: str) -> None:
    fleet = "name\nOnly\n" if name == "fleet.csv" else '[[device]]\nname = "Only"\n'
    bench.write(fleet, PLAIN, name)
    (bench.folder / "fleet.csv").write_text(fleet)
    with simulator() as running:
        report = ("--report", str(bench.folder), "-d", running.url, "--yes")
        table = bench.folder / "fleet-report.csv"
        table.write_text("row,name\nmy own\n")
        assert bench.provision(*report, name=name) == 1
        assert f"{table} is no report of fieldlog's" in bench.err
        assert bench.values(running.url, "device/name") == [""], "told before anything is done"
        table.unlink()

        own = bench.folder / f"{running.ready[0]['uid']}.json"
        own.write_text('{"uid": "mine"}')
        assert bench.provision(*report, name=name) == 1
        assert f"{own} is no report of fieldlog's" in bench.err
        assert own.read_text() == '{"uid": "mine"}'
        assert bench.values(running.url, "device/name") == ["Only"]
        assert table.exists()

        own.unlink()
        for _ in range(2):
            bench.write(fleet, f'{PLAIN}"alarm/low" = -1\n', name)
            assert bench.provision(*report, name=name) == 0
    assert json.loads(own.read_text())["result"] == "done"
    assert (bench.folder / name).read_text() == fleet
    assert (bench.folder / "fleet.csv").read_text() == fleet


def test_a_folder_for_reports_that_cannot_be_made_stops_before_anything(bench: Bench) -> None:
    bench.write("name\nOnly\n", PLAIN)
    (bench.folder / "taken").touch()
    assert bench.provision("--yes", "-d", "udp:127.0.0.1:9", "--report", str(bench.folder / "taken/x")) == 1
    assert "cannot be made" in bench.err
    assert "Nothing was changed" in bench.err


# a full disk


@pytest.mark.parametrize("room", [100, 900, 1000])
def test_a_full_disk_loses_no_state_and_says_what_was_done(bench: Bench, room: int) -> None:
    """Too little for the state at once, or after the device is configured: then that is not denied."""
    bench.write("name\nOnly\n", f'{PLAIN}[metadata]\nsite = "Ridge"\n')
    with simulator() as running:
        with little_disk(room):
            assert bench.provision("-d", running.url, "--yes") == 1
        assert "fleet.csv.state.json could not be written: File too large. It is as it was" in bench.err
        assert "what was done to the device since stays done" in bench.err
        assert "Nothing else was changed" not in bench.err
        (name,) = bench.values(running.url, "device/name")
        assert name == ("Only" if room > 100 else ""), "a device is touched when its row is stored"
        assert bench.provision("-d", running.url, "--yes") == 0
        assert bench.values(running.url, "device/name") == ["Only"]
    assert bench.results() == ["done"]


def test_a_full_disk_stops_no_other_device(bench: Bench, three: Simulator) -> None:
    """A state behind a link too is whole afterwards."""
    bench.write("name,site\nA,1\nB,2\nC,3\n", PLAIN)
    (bench.folder / "far").mkdir()
    (bench.folder / "fleet.csv.state.json").symlink_to("far/state.json")
    devices = named(three)[1]
    assert bench.provision("--yes", *devices[:2]) == 0
    before = json.loads((bench.folder / "far/state.json").read_text())
    with little_disk(len((bench.folder / "far/state.json").read_bytes()) + 20):
        assert bench.provision("--yes", "--json", *devices) == 1
    *lines, last = bench.events
    assert sorted(line["device"] for line in lines) == sorted(three.urls), "each has its word"
    assert (last["rows"], last["done"]) == (3, 1)
    assert json.loads((bench.folder / "far/state.json").read_text()) == before
    assert bench.values(three.urls[1], "device/name") == [""]
    assert bench.provision("--yes", *devices) == 0
    assert (bench.folder / "fleet.csv.state.json").is_symlink()
    assert bench.results() == ["done"] * 3


# the state


def damaged(state: dict[str, Any], how: str) -> None:
    first = state["devices"][0]
    match how:
        case "no changes":
            del first["steps"]["configure"]["changes"]
        case "no results":
            del first["steps"]["selftest"]["results"]
        case "a test without its outcome":
            del first["steps"]["selftest"]["results"][0]["passed"]
        case "an empty step":
            first["steps"]["arm"] = {}
        case "no uid":
            first["uid"] = "../../evil"
        case "one row twice":
            state["devices"].append(first | {"uid": "00" * 8})
        case "one device twice":
            state["devices"].append(first | {"row": "name:Other"})
        case "no format":
            del state["format"]
        case _:
            first["arm_id"] = -5


@pytest.fixture(scope="module")
def good_state(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("good")
    (folder / "fleet.csv").write_text("name\nOnly\n")
    with simulator() as running:
        assert invoke(["provision", str(folder / "fleet.csv"), "-d", running.url, "--yes"]) == 0
    return (folder / "fleet.csv.state.json").read_text()


@pytest.mark.parametrize(
    "how",
    [
        "no changes",
        "no results",
        "a test without its outcome",
        "an empty step",
        "no uid",
        "one row twice",
        "one device twice",
        "no format",
        "an id below 0",
    ],
)
def test_a_damaged_state_is_told(bench: Bench, good_state: str, how: str) -> None:
    bench.write("name\nOnly\n", PLAIN)
    state = json.loads(good_state)
    damaged(state, how)
    path = bench.folder / "fleet.csv.state.json"
    path.write_text(json.dumps(state))
    assert bench.provision("--yes", "-d", "udp:127.0.0.1:9", "--wait", "0") == 1
    assert f"{path}, which says how far the fleet has come, cannot be read" in bench.err
    assert json.loads(path.read_text()) == state


# whose row is whose


def toml_fleet(*highs: int) -> str:
    return "".join(f'[[device]]\nsettings = {{ "alarm/high" = {high} }}\n' for high in highs)


@pytest.fixture
def three() -> Any:
    with simulator("--count", "3", "--udp", "0", links=3) as running:
        yield running


def test_rows_without_names_keep_their_devices(bench: Bench, three: Simulator) -> None:
    one, other, third = three.urls

    def highs(*asked: int) -> list[Any]:
        """What the first two devices hold after a run with these rows."""
        bench.write(toml_fleet(*asked), "", "fleet.toml")
        for url in (other, one):  # not in the order of the rows
            assert bench("provision", str(bench.folder / "fleet.toml"), "-d", url, "--yes") == 0
        return [bench.values(url, "alarm/high")[0] for url in (one, other)]

    bench.write(toml_fleet(41, 42), "", "fleet.toml")
    assert bench("provision", str(bench.folder / "fleet.toml"), "-d", one, "-d", other, "--yes") == 0
    assert [bench.values(url, "alarm/high")[0] for url in (one, other)] == [41, 42]
    assert highs(40, 41, 42) == [41, 42], "one was put above"
    assert highs(42, 40, 41) == [41, 42], "they were sorted otherwise"
    assert highs(42, 40, 51) == [51, 42], "one says something else at its place"
    assert highs(42, 40, 51, 51) == [51, 42], "another says the same"
    assert bench("provision", str(bench.folder / "fleet.toml"), "-d", third, "--yes") == 0
    assert bench.values(third, "alarm/high") == [40]


def test_a_device_has_one_row(bench: Bench, three: Simulator) -> None:
    """That which names it: the one that it was given before is for another then."""
    serials, devices = named(three)
    bench.write("name,serial\nNorth,\nSouth,\n", PLAIN)
    assert bench.provision("--yes", *devices[:2]) == 0
    bench.write(f"name,serial\nNorth,\nSouth,{serials[0]}\n", PLAIN)
    assert bench.provision("--yes", *devices[:2]) == 0
    assert [(row["name"], row["serial"], row["result"]) for row in csv_table(bench)] == [
        ("North", "", "missing"),
        ("South", serials[0], "done"),
    ]
    assert bench.provision("--yes", *devices[2:4]) == 0
    assert [row["serial"] for row in csv_table(bench)] == [serials[1], serials[0]]
    uid = three.ready[2]["uid"]
    bench.write(f"name,serial,uid\nNorth,{serials[2]},\nSouth,,{uid}\n", PLAIN)
    assert bench.provision(*devices[4:]) == 1
    assert "rows 1 (North) and 2 (South) both name this device" in bench.err
    assert bench.values(three.urls[2], "device/name") == [""]


def csv_table(bench: Bench) -> list[dict[str, str]]:
    with (bench.folder / "fleet-report/fleet-report.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_given_in_the_order_of_the_devices(bench: Bench) -> None:
    """Not in that of their answers: the first one is slow."""
    with simulator("--latency", "60ms") as slow, simulator("--seed", "9") as quick:
        bench.write("name\nFirst\nSecond\n", PLAIN)
        assert bench.provision("--yes", "-d", slow.url, "-d", quick.url) == 0
        assert bench.values(slow.url, "device/name") == ["First"]
        assert bench.values(quick.url, "device/name") == ["Second"]
        bench.write("name\nThird\n", PLAIN)
        (bench.folder / "fleet.csv.state.json").unlink()
        assert bench.provision("--yes", "-d", "udp:127.0.0.1:9", "--wait", "1", "-d", quick.url) == 1
        assert bench.values(quick.url, "device/name") == ["Third"], "one that never comes keeps nobody waiting for ever"


# --check


@pytest.mark.parametrize(
    ("fleet", "says"),
    [
        ("name,calibration.temperature\nA,nan\n", ["2:1: temperature has a coefficient nan"]),
        ("name,calibration.temperature\nA,1 2 3 4 5 6 7 8 9\n", ["2:1: temperature has 9 coefficients"]),
        ("name,settings.,calibration.\nA,1,1\n", ["1:2: the column 'settings.'", "1:3: the column 'calibration.'"]),
        ("uid,name\n--,A\n", ["2:1: a uid is hexadecimal digits, unlike '--'"]),
        ("name,device/name\nA,B\n", ["2:1: name is what device/name of settings shall be too"]),
        ("name,settings.device/name\nA,B\n", ["2:1: name is what device/name"]),
        ("name,variables.name\nA,B\n", ["2:1: name is what name of variables"]),
        ("name,image\nA,gone.bin\n", ["1:2: firmware is for all devices"]),
        ("name,metadata.zone\nA,Foo/Bar\n", ["2:1: there is no time zone 'Foo/Bar'"]),
        (
            "name,uid,metadata.zone,log.period\nA,zz,Foo/Bar,ten\nB,,,,9\n",
            ["2:1: there is no time zone", "2:1: 'ten' is no duration", "2:2: a uid is", "3:5: 5 cells stand below 4"],
        ),
    ],
)
def test_a_check_of_a_table_tells_all(bench: Bench, fleet: str, says: list[str]) -> None:
    bench.write(fleet, "")
    assert_told(bench, "fleet.csv", says)


@pytest.mark.parametrize(
    ("fleet", "says"),
    [
        ('[[device]]\nname = "A"\ncalibration = { temperature = "x" }\n', ["1:1: temperature cannot be 'x'"]),
        ('[calibration]\ntemperature = [inf]\n[[device]]\nname = "A"\n', ["2:15: temperature has a coefficient inf"]),
        ('[[device]]\nname = "A"\nsettings = { "" = 1 }\n', ["1:1: settings has a value without a name"]),
        ('[[device]]\nname = "A"\nsettings = { "device/name" = "B" }\n', ["1:1: name is what"]),
        (
            'image = "gone.bin"\n[[device]]\nname = 1\nuid = "x"\n',
            ["1:1: there is no file", "3:1: name is", "4:1: a uid"],
        ),
        (
            'key = "public.pem"\n[[device]]\nname = "A"\nimage = "fw.bin"\nkey = "public.pem"\n',
            [
                "1:1: a fleet has no 'key'. Who must have signed the firmware is said by --key PEM",
                "4:1: a device has no 'image'. Firmware is for all devices: write image =",
                "5:1: a device has no 'key'. Who must have signed",
            ],
        ),
    ],
)
def test_a_check_of_a_toml_fleet_tells_all(bench: Bench, fleet: str, says: list[str]) -> None:
    (bench.folder / "fleet.toml").write_text(fleet)
    assert bench("provision", str(bench.folder / "fleet.toml"), "--check") == 2
    assert_lines(bench.err, bench.folder / "fleet.toml", says)


def assert_told(bench: Bench, name: str, says: list[str]) -> None:
    assert bench.provision("--check", name=name) == 2
    assert_lines(bench.err, bench.folder / name, says)


def assert_lines(err: str, path: Path, says: list[str]) -> None:
    *lines, last = err.splitlines()
    assert len(lines) == len(says), err
    for line, wanted in zip(lines, says, strict=True):
        assert line.startswith(f"{path}:{wanted}"), err
    assert last.endswith(f"in {path}. Nothing was changed")
