"""One file for many devices: which sections hold for which device, and what variables stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.config.document import parse, read_document
from fieldlog.config.model import Located, Problems
from fieldlog.config.template import Identity, escaped, matches, resolve, resolved, unused_sections
from fieldlog.config.toml_text import string

FLEET = """\
[settings]
"alarm/high" = 35
"device/name" = "${place} ${index}"
[metadata]
site = "${place}"
[log]
label = "winter"
[variables]
place = "Ridge"
offset = 0.5

[devices."FL-00*".settings]
"alarm/high" = 30
[devices."FL-00*".calibration]
temperature = ["${offset}", 1.0]

[devices."label:hut".variables]
place = "Hut"
[devices."label:hut".metadata]
operator = "Kim"
[devices."FL-0002".settings]
"alarm/high" = 25
"""
RIDGE = Identity(serial="FL-0001", uid="a1b2", product="logger", label="", index=1)
HUT = Identity(serial="FL-0002", uid="a1b3", product="logger", label="hut", index=2)
OTHER = Identity(serial="X-1", uid="ffff", product="logger", label="attic", index=3)


def plain(table: object) -> dict[str, object]:
    assert isinstance(table, dict)
    return {key: item.value for key, item in table.items() if isinstance(item, Located)}


def said(text: str, identity: Identity = RIDGE) -> list[str]:
    return str(Problems(resolved(parse(text, "f"), identity)[1], "f")).splitlines()


@pytest.mark.parametrize(
    ("identity", "high", "name", "metadata"),
    [
        (RIDGE, 30, "Ridge 1", {"site": "Ridge"}),
        (HUT, 25, "Hut 2", {"site": "Hut", "operator": "Kim"}),
        (OTHER, 35, "Ridge 3", {"site": "Ridge"}),
    ],
)
def test_each_device_gets_what_its_sections_say(
    identity: Identity, high: int, name: str, metadata: dict[str, str]
) -> None:
    found = resolve(read_document(FLEET, "fleet.toml"), identity)
    assert plain(found.settings) == {"alarm/high": high, "device/name": name}
    assert plain(found.metadata) == metadata
    assert plain(found.log) == {"label": "winter"}
    assert plain(found.calibration) == ({} if identity is OTHER else {"temperature": [0.5, 1.0]})
    assert found.name == "fleet.toml"


def test_a_value_stands_where_the_section_that_gave_it_says_it() -> None:
    document = read_document(FLEET, "fleet.toml")
    places = {who.serial: resolve(document, who).settings["alarm/high"].place for who in (RIDGE, HUT, OTHER)}
    assert {serial: str(place) for serial, place in places.items()} == {
        "FL-0001": "13:16",
        "FL-0002": "22:16",
        "X-1": "2:16",
    }
    assert str(resolve(document, HUT).settings["device/name"].place) == "3:17", "a replaced text stays in its place"


def test_without_a_table_nothing_is_said_of_metadata_and_an_empty_one_says_there_is_none() -> None:
    assert resolve(read_document("[settings]\n", "f"), RIDGE).metadata is None
    assert resolve(read_document("[metadata]\n", "f"), RIDGE).metadata == {}


@pytest.mark.parametrize(
    ("pattern", "devices"),
    [
        ("FL-0001", {"FL-0001"}),
        ("FL-000[12]", {"FL-0001", "FL-0002"}),
        ("hut", {"FL-0002"}),
        ("A1B?", {"FL-0001", "FL-0002"}),
        ("*", {"FL-0001", "FL-0002", "X-1"}),
        ("serial:hut", set[str]()),
        ("label:*t*", {"FL-0002", "X-1"}),
        ("label:*", {"FL-0002", "X-1"}),
        ("uid:A1*", {"FL-0001", "FL-0002"}),
        ("serial:fl-*", set[str]()),
        ("", set[str]()),
    ],
)
def test_what_a_section_matches(pattern: str, devices: set[str]) -> None:
    assert {who.serial for who in (RIDGE, HUT, OTHER) if matches(pattern, who)} == devices


def test_sections_that_hold_for_no_device_are_known() -> None:
    document = read_document(FLEET, "f")
    assert unused_sections(document, [RIDGE]) == ["label:hut", "FL-0002"]
    assert unused_sections(document, [RIDGE, HUT]) == []


def test_variables_may_be_made_of_others_and_of_what_devices_are() -> None:
    text = """
    [variables]
    a = "${b}/${uid}"
    b = "${count} ${yes} $${c} $$ ${product}"
    count = 1.5
    yes = true
    [log]
    streams = ["${serial}", "$${", "{x}"]
    [log.meta]
    site = "${a}"
    """
    found = resolve(read_document(text, "f"), RIDGE)
    assert found.log["streams"].value == ["FL-0001", "${", "{x}"]
    assert found.log["meta"].value == {"site": "1.5 true ${c} $$ logger/a1b2"}


@given(st.text("$${}ab é\n\\\"'\x00\x7f", max_size=30))
def test_an_escaped_text_stands_for_itself(text: str) -> None:
    document = read_document(f"[settings]\nkey = {string(escaped(text))}", "f")
    assert resolve(document, RIDGE).settings["key"].value == text


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[setings]\na = 1\n", ["f:1:2: a configuration has no table 'setings' here. Did you mean settings?"]),
        ('"alarm/high" = 1\n', ["f:1:1: 'alarm/high' stands in no table: settings stand below [settings]"]),
        ("settings = 3\n", ["f:1:1: settings is a table: write [settings]"]),
        ("[[log]]\nlabel = 'x'\n", ["f:1:3: log is a table: write [log]"]),
        ("[devices]\n'FL 1' = 3\n", ['f:2:1: a section is a table: write [devices."FL 1".settings]']),
        ("[devices.X.log]\n[devices.X.devices]\n", ["f:2:12: a configuration has no table 'devices' here. There are"]),
        ("[devices.none]\nmetadata = 1\n", ["f:2:1: metadata is a table: write [devices.none.metadata]"]),
        ("[variables]\nserial = 'x'\n", ["f:2:1: the variable serial is given by the device"]),
        ("[variables]\nx = [1]\n[settings]\na = '${x}'\n", ["f:2:5: the variable x must be a text"]),
        ("[settings]\na = 'x${'\n", ["f:2:5: a variable that begins with ${ ends with }"]),
        ("[settings]\na = '${sreial}'\n", ["f:2:5: there is no variable 'sreial'. Did you mean ${serial}?"]),
        ("[settings]\na = '${}'\n", ["f:2:5: there is no variable ''. Name it below [variables], or use ${serial}"]),
        ("[variables]\na = '${b}'\nb = '${a}'\n", ["f:3:5: the variable b is made of itself: b of a of b"]),
        ("[metadata]\na = '${p}'\nb = ?\n[x]\n", ["f:2:5: there is no", "f:3:5: this is not TOML", "f:4:2: a config"]),
    ],
)
def test_whatever_is_wrong_is_told_with_its_place(text: str, problems: list[str]) -> None:
    found = said(text)
    assert len(found) == len(problems), found
    for problem, beginning in zip(found, problems, strict=True):
        assert problem.startswith(beginning)


def test_problems_of_a_section_are_told_for_the_devices_it_holds_for() -> None:
    text = "[devices.'FL-*'.settings]\na = '${x}'\n"
    with pytest.raises(Problems):
        resolve(read_document(text, "f"), RIDGE)
    assert not resolved(read_document(text, "f"), OTHER)[1]


def test_what_cannot_be_known_is_told_once_and_judged_by_nobody() -> None:
    text = """\
[settings]
"a/b" = "${x}"
"c/d" = "${y}"
"e/f" = "${y}"
"g/h" = "${n}"
[log]
label = "${list}"
[variables]
y = "${z}"
n = 3
list = [1]
"""
    found, problems = resolved(read_document(text, "f"), Identity())
    assert sorted({str(problem.place) for problem in problems}) == ["11:8", "2:9", "9:5"]
    assert (list(found.settings), list(found.log)) == (["g/h"], [])
