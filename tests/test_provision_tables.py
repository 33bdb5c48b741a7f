"""Fleets: what a file says, as a table and as TOML."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from fieldlog.config.model import Problems
from fieldlog.provision.fleet import NAME_KEY
from fieldlog.provision.fleet_file import read_fleet
from fieldlog.provision.wanted import check_rows
from fieldlog_protocol.errors import FieldlogError, UsageError
from provision_bench import CONFIG


def fleet_of(folder: Path, text: str, name: str = "fleet.csv", config: str | None = None) -> Any:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    if config is not None:
        (folder / "base.toml").write_text(config, encoding="utf-8")
    return read_fleet(path, None if config is None else folder / "base.toml")


def problems_of(folder: Path, text: str, name: str = "fleet.csv", config: str | None = None) -> list[str]:
    with pytest.raises(Problems) as caught:
        check_rows(fleet_of(folder, text, name, config))
    return str(caught.value).replace(f"{folder}{os.sep}", "").splitlines()


def test_columns_are_settings_tables_and_variables(tmp_path: Path) -> None:
    text = (
        "\ufeffserial,name,alarm/low,settings.plain,calibration.temperature,metadata.site,log.label,log.streams,log.wrap,place\n"
        "A1,North,-5 degC,7,0.12 1.0004,Ridge,winter,environment=10s motion,yes,up\n"
        "\n"
        ",,,,,,,,,\n"
        "A2,,,,none,,,,,\n"
    )
    first, second = fleet_of(tmp_path, text).rows
    assert (first.number, first.line, first.serial, first.name, first.free) == (1, 2, "A1", "North", False)
    assert first.tables == {
        "settings": {NAME_KEY: "North", "alarm/low": "-5 degC", "plain": "7"},
        "calibration": {"temperature": [0.12, 1.0004]},
        "metadata": {"site": "Ridge"},
        "log": {"label": "winter", "streams": ["environment=10s", "motion"], "wrap": True},
        "variables": {"name": "North", "place": "up"},
    }
    assert (second.line, second.tables) == (5, {"calibration": {"temperature": []}})


def test_spreadsheets_of_other_countries_write_semicolons(tmp_path: Path) -> None:
    (row,) = fleet_of(tmp_path, "name;place\r\nNorth;a, b\r\n").rows
    assert (row.name, row.tables["variables"]["place"], row.free) == ("North", "a, b", True)


def test_columns_that_a_spreadsheet_left_empty_mean_nothing_until_something_stands_in_them(tmp_path: Path) -> None:
    (row,) = fleet_of(tmp_path, "name,,place,,\nNorth,,up,,\n").rows
    assert row.tables["variables"] == {"name": "North", "place": "up"}
    found = problems_of(tmp_path, "name,,place,,\nNorth,35 degC,up,,x\n")
    assert found == [
        "fleet.csv:2:2: '35 degC' stands in a column that has no name",
        "fleet.csv:2:5: 'x' stands in a column that has no name",
    ]


def test_a_table_without_end_is_refused_soon(tmp_path: Path) -> None:
    with pytest.raises(Problems, match="no fleet is longer than 1000000 bytes"):
        fleet_of(tmp_path, "serial,name\n" + "".join(f"S{number},N{number}\n" for number in range(100_000)))
    began_s = time.process_time()
    assert problems_of(tmp_path, "," * 900_000)
    assert time.process_time() - began_s < 20


def test_a_name_is_no_template(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, "name,site\n${index},x\n", config=CONFIG)
    check_rows(fleet)
    assert fleet.rows[0].tables["settings"][NAME_KEY] == "$${index}"


def test_all_that_is_wrong_with_a_table_is_told_at_once(tmp_path: Path) -> None:
    text = "serial,nmae,uid,nmae,calibration.t,cal.t\nA,x,zz,,warm,1\nA,,,,,,,\n"
    assert problems_of(tmp_path, text) == [
        "fleet.csv:1:2: the column 'nmae' would be a variable of that name. Did you mean name?",
        "fleet.csv:1:4: there are two columns 'nmae'",
        "fleet.csv:1:6: the column 'cal.t' is of no table. There are settings, calibration, metadata, log, variables",
        "fleet.csv:2:3: a uid is hexadecimal digits, unlike 'zz'",
        "fleet.csv:2:5: t is calibrated with numbers such as 0.12 1.0004, constant first, or none, not with 'warm'",
        "fleet.csv:3:1: the serial 'A' stands in line 2 already",
        "fleet.csv:3:7: 8 cells stand below 6 columns",
    ]


def test_what_is_wrong_with_rows_and_configurations_has_its_place(tmp_path: Path) -> None:
    text = "serial,place,log.period\nA,x,7 parsecs\nB,y,\n"
    found = problems_of(tmp_path, text, config='[settings]\n"a/b" = "${plcae}"\n[log]\nlabl = "x"\n')
    assert [problem.partition(". ")[0].partition(" is no d")[0] for problem in found] == [
        "fleet.csv:2:1: '7 parsecs'",
        "base.toml:2:9: there is no variable 'plcae'",
        "base.toml:4:1: [log] has no 'labl'",
    ]
    assert any("base.toml:1:" in problem for problem in problems_of(tmp_path, text, config="[settings\n"))


def test_a_fleet_in_toml(tmp_path: Path) -> None:
    text = """
image = "fw.bin"
[settings]
"alarm/high" = 30
[log]
label = "${name}"
[[device]]
serial = "A1"
name = "North"
settings = { "alarm/high" = 35.5 }
[[device]]
uid = "00:11-22 33"
[device.calibration]
temperature = [0.5, 1]
"""
    fleet = fleet_of(tmp_path, text, "fleet.toml")
    assert fleet.image == tmp_path / "fw.bin"
    first, second = fleet.rows
    assert first.tables["settings"] == {NAME_KEY: "North", "alarm/high": 35.5}
    assert (second.uid, second.tables) == ("00112233", {"calibration": {"temperature": [0.5, 1]}})
    assert first.config.values == {"settings": {"alarm/high": 30}, "log": {"label": "${name}"}}
    more = fleet_of(tmp_path, text + '[[device]]\nserial = "new"\n', "fleet.toml")
    assert [row.digest for row in more.rows[:2]] == [row.digest for row in fleet.rows], "a new row is no news to others"
    other = fleet_of(tmp_path, text.replace("= 30", "= 31"), "fleet.toml")
    assert other.rows[1].digest != second.digest


def test_all_that_is_wrong_with_a_toml_fleet(tmp_path: Path) -> None:
    text = """config = "x.toml"
[settings]
"a/b" = 1
[[device]]
name = 3
[[device]]
serail = "A"
uid = "xyz"
[[device]]
name = "N"
settings = 5
[[device]]
name = "N"
"""
    (tmp_path / "x.toml").write_text("")
    found = problems_of(tmp_path, text, "fleet.toml")
    assert [":".join(problem.split(":")[:2]) for problem in found] == [
        f"fleet.toml:{line}" for line in (1, 5, 7, 8, 11, 12)
    ]
    assert "Did you mean serial?" in found[2]


def test_files_that_are_no_fleets(tmp_path: Path) -> None:
    for name, text, says in (
        ("fleet.csv", "", "no device stands in it"),
        ("fleet.csv", "name\n", "no device stands in it"),
        ("fleet.toml", "", "no device stands in it"),
        ("fleet.csv", 'name\n"x\n', "no table of comma-separated values"),
        ("fleet.json", "{}", "neither a .csv nor a .toml"),
        ("fleet.csv", "name,config\nx,gone.toml\n", "gone.toml cannot be read"),
    ):
        with pytest.raises(UsageError, match=says):
            check_rows(fleet_of(tmp_path, text, name))
    with pytest.raises(FieldlogError):
        read_fleet(tmp_path / "none.csv")
