"""The JSON Schema for editors: it takes what the check takes, and refuses what it can tell is wrong."""

from __future__ import annotations

import json
import struct
import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from fieldlog.config import toml_text
from fieldlog.config.document import read_document
from fieldlog.config.json_schema import json_schema
from fieldlog.config.log_check import held_against
from fieldlog.config.log_section import FIELDS
from fieldlog.config.target import Target
from fieldlog.config.template import Identity, resolved
from fieldlog.config.units import quantity
from fieldlog.config.values import Setting
from fieldlog.logger_info import merge
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands.logger import Capability, InfoResponse, SettingFlag, SettingType
from fieldlog_protocol.errors import UsageError

NONE = SettingFlag(0)


def setting(key: str, type: SettingType, unit: str = "", *limits: float | None, **more: Any) -> Setting:
    low, high, step = (*limits, None, None, None)[:3]
    return Setting(
        key, type, unit, low, high, step, more.get("default"), more.get("flags", NONE), key, more.get("ch", ())
    )


SETTINGS = [
    setting("device/serial", SettingType.TEXT, "", 0, 32, flags=SettingFlag.READ_ONLY),
    setting("device/name", SettingType.TEXT, "", 2, 8),
    setting("log/age", SettingType.U32, "s", 0, 86_400, default=struct.pack("<I", 600)),
    setting("log/on", SettingType.BOOL, default=b"\1"),
    setting("alarm/high", SettingType.F32, "Cel", -60, 120, default=struct.pack("<f", 35.5)),
    setting("alarm/odd", SettingType.F32, "", default=struct.pack("<f", float("inf"))),
    setting("alarm/broken", SettingType.U32, "", default=b"\1"),
    setting("wind/limit", SettingType.F32, "m/s", 0, 60),
    setting("filter/taps", SettingType.I32, "", -50, 50, 10, flags=SettingFlag.NEEDS_RESTART),
    setting("filter/odd", SettingType.I32, "", 5, 50, 10),
    setting("filter/kind", SettingType.CHOICE, ch=("off", "2x", "a|b")),
    setting("probe/key", SettingType.BYTES, "", 1, 4, default=b"\0\xff"),
    setting("clock/epoch", SettingType.I64, "s"),
    setting("air/low", SettingType.F32, "Pa", 0.1, 110_000),
    setting("serial/baud", SettingType.U32, "Bd", 1200, 3_000_000),
    setting("udp/port", SettingType.U32, "{port}", 0, 65_535),
    setting("shock/limit", SettingType.F32, "[g]", 0, 16, 0.5),
]
STREAMS = [
    StreamInfo(
        0,
        "air",
        10_000_000,
        (Channel("temperature", "Cel", ChannelType.I16), Channel("rain (1)", "mm", ChannelType.U8)),
    ),
    StreamInfo(
        1,
        "soil+",
        10_000_000,
        (Channel("temperature", "Cel", ChannelType.I16), Channel("kind", "", ChannelType.ENUM, choices=("dry", "wet"))),
    ),
]
TARGET = Target({item.key: item for item in SETTINGS}, STREAMS, "2.0.1", Capability.CALIBRATE | Capability.METADATA)
SCHEMA = json_schema(TARGET, "fieldlog configuration of a test")
VALIDATOR = Draft7Validator(SCHEMA)
LOGGER = merge(
    [
        InfoResponse(
            parts=1, uid=b"u", log=1, block=1024, boot=1, tick=0, state=0, first=0, next=0, total=9999, caps=0x7FF
        )
    ]
)
IDENTITY = Identity("FL-1", "ab", "logger", "hut", 1)


def refused(text: str) -> list[str]:
    """What an editor would mark, as a path."""
    plain = json.loads(json.dumps(tomllib.loads(text), default=str))
    return ["/".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(plain)]


def unfit(text: str) -> int:
    """How much the check finds wrong."""
    found, problems = resolved(read_document(text, "f"), IDENTITY)
    return len(problems) + len(held_against(found, TARGET, LOGGER)[1])


def test_it_is_a_json_schema_that_any_program_reads() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA


TAKEN = [
    ('"device/name" = "Öl 1"', '"device/name" = "${serial}${label}"', '"device/name" = "$${n}"'),
    ('"log/age" = 600', '"log/age" = "10 min"', '"log/age" = "2h30min"', '"log/age" = "0x10"', '"log/age" = "600"'),
    ('"log/on" = false', '"log/on" = "Off"'),
    ('"alarm/high" = 35.5', '"alarm/high" = 35', '"alarm/high" = "95 degF"', '"alarm/high" = " 3.5e1 °C"'),
    ('"air/low" = "0.75 mmHg"', '"air/low" = "20 inHg"', '"air/low" = "3 kg.m-1.s-2"', '"serial/baud" = "115.2 kBd"'),
    (
        '"log/age" = "1_000"',
        '"log/age" = "3000000 µs"',
        '"log/age" = "3 ks"',
        '"log/on" = " on "',
        '"udp/port" = "8 {port}"',
    ),
    ('"device/name" = "ÄÖÜß"', '"device/name" = "😀😀"', '"probe/key" = " hex:00"', '"probe/key" = "${uid}"'),
    ('"wind/limit" = "20 km/h"', '"wind/limit" = "10 kn"', '"wind/limit" = "3 m/s"'),
    ('"filter/taps" = -20', '"filter/odd" = 15', '"filter/kind" = "a|b"'),
    ('"probe/key" = "hex:00ff"', '"probe/key" = "00 FF"', '"probe/key" = "01"'),
    ('"clock/epoch" = -9000000000', '"clock/epoch" = "3 w"', '"alarm/odd" = "-.5"'),
]


@pytest.mark.parametrize("line", [line for lines in TAKEN for line in lines])
def test_what_the_check_takes_it_takes_too(line: str) -> None:
    text = f"[settings]\n{line}\n"
    assert unfit(text) == 0
    assert refused(text) == []
    assert refused(f"[devices.'FL-*'.settings]\n{line}\n") == []


@pytest.mark.parametrize(
    "line",
    [
        '"device/serial" = "X"',
        '"device/nmae" = "X"',
        '"device/name" = "far too long"',
        '"device/name" = ""',
        '"device/name" = 3',
        '"log/age" = 86401',
        '"log/age" = -1',
        '"log/age" = 1.5',
        '"log/age" = "10 degC"',
        '"log/age" = "ten minutes"',
        '"log/age" = true',
        '"log/on" = "perhaps"',
        '"log/on" = 1',
        '"alarm/high" = "35 s"',
        '"alarm/high" = [35]',
        '"wind/limit" = "20 xm/h"',
        '"filter/taps" = 15',
        '"filter/taps" = "10 s"',
        '"filter/kind" = "3x"',
        '"probe/key" = "hex:"',
        '"probe/key" = "0102030405"',
        '"probe/key" = "xy"',
        '"clock/epoch" = 2024-01-01',
    ],
)
def test_what_is_wrong_is_marked(line: str) -> None:
    assert unfit(f"[settings]\n{line}\n") == 1
    assert len(refused(f"[settings]\n{line}\n")) == 1
    assert len(refused(f"[devices.'FL-*'.settings]\n{line}\n")) == 1


@given(st.floats(-70, 130, allow_nan=False).map(lambda number: round(number, 3)), st.sampled_from(["", " Cel", "degC"]))
def test_limits_of_bare_numbers_are_those_of_the_check(number: float, unit: str) -> None:
    bare = f'[settings]\n"alarm/high" = {number!r}\n'
    assert bool(refused(bare)) == bool(unfit(bare))
    with_unit = f'[settings]\n"alarm/high" = "{number!r}{unit}"\n'
    assert not refused(with_unit) or unfit(with_unit), "what it cannot reckon it leaves to the check"


NAMES = st.sampled_from([item.key for item in SETTINGS] + ["log/agee"])
NUMBERS = st.one_of(
    st.integers(-(2**40), 2**40), st.integers(-60, 60), st.floats(-100, 100), st.sampled_from([0.1, 16, 110_000, 3e5])
)
PREFIXES = ["", "n", "u", "µ", "μ", "m", "c", "d", "h", "k", "M", "G", "Ki"]
ATOMS = [
    "s",
    "min",
    "h",
    "d",
    "w",
    "wk",
    "m",
    "g",
    "Pa",
    "bar",
    "Bd",
    "baud",
    "Cel",
    "degF",
    "°F",
    "K",
    "mmHg",
    "inHg",
    "[g]",
]
ATOMS += [
    "psi",
    "%",
    "1",
    "ft",
    "kn",
    "{port}",
    "atm",
    "N",
    "kg",
    "B",
    "mph",
    "m[Hg]",
    "V",
    "Ohm",
    "Ω",
    "Ah",
    "lx",
    "S",
    "A",
]
SPACES = st.sampled_from(["", "", " ", "  ", "\t", "\n"])
UNITS = st.lists(
    st.tuples(
        st.sampled_from(["", "/", "."]),
        st.sampled_from(PREFIXES),
        st.sampled_from(ATOMS),
        st.sampled_from(["", "", "2", "-1"]),
    ),
    max_size=3,
).map(lambda parts: "".join("".join(part) for part in parts))
QUANTITIES = st.builds(lambda number, space, unit, end: f"{number}{space}{unit}{end}", NUMBERS, SPACES, UNITS, SPACES)
WORDS = st.one_of(
    QUANTITIES,
    st.lists(QUANTITIES, min_size=2, max_size=3).map("".join),
    st.sampled_from(
        [
            "on",
            " Off ",
            "0x1F",
            "-0b101",
            "1_000",
            "+5",
            "١٢",
            "1e3",
            "nan",
            "off",
            "2x",
            "a|b",
            "$${",
            "${n}",
            "${label}x",
        ]
    ),
    st.text(max_size=9),
    st.binary(max_size=5).map(lambda data: "hex:" + data.hex(" ")),
)
LOG_WORDS = st.sampled_from(
    ["air", "soil+ = 10 s", "air=1min", "${label}", "sky", "rain (1)=1 mm", "3 d", "1.5h", "30", "٣", "2030-01-01"]
)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "settings": st.dictionaries(NAMES, st.one_of(NUMBERS, st.booleans(), WORDS), max_size=3),
        "calibration": st.dictionaries(
            st.sampled_from(["temperature", "air/temperature", "soil+/temperature", "rain (1)", "kind", "soil+/kind"]),
            st.lists(st.one_of(NUMBERS, st.sampled_from(["${n}", "1"])), max_size=3),
            max_size=2,
        ),
        "metadata": st.dictionaries(st.text(max_size=4), st.one_of(WORDS, NUMBERS), max_size=2),
        "log": st.dictionaries(
            st.sampled_from(list(FIELDS)),
            st.one_of(LOG_WORDS, st.lists(LOG_WORDS, max_size=2), st.booleans(), NUMBERS),
            max_size=3,
        ),
        "variables": st.just({"n": 0.5}),
    },
)


def toml(tables: dict[str, dict[str, Any]], before: str = "") -> str:
    lines: list[str] = []
    for name, table in tables.items():
        lines.append(f"[{before}{name}]")
        lines += [f"{toml_text.key(key)} = {written(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def written(value: Any) -> str:
    return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else toml_text.value(value)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(TABLES, st.booleans())
def test_whatever_the_check_takes_is_marked_nowhere(tables: dict[str, dict[str, Any]], section: bool) -> None:
    for key, value in tables.get("settings", {}).items():  # one by one: most files at random have something wrong
        one = toml({"settings": {key: value}})
        if unfit(one) == 0:
            assert refused(one) == [], one
    others = {name: table for name, table in tables.items() if name != "settings"}
    whole = toml(others) + (toml(others, "devices.hut.") if section else "")
    if unfit(whole) == 0:
        assert refused(whole) == [], whole


@pytest.mark.parametrize(
    "unit", ["s", "Cel", "Pa", "[g]", "m/s", "Bd", "{port}", "%", "V", "Ohm", "A.h", "By", "lx", "uS/cm"]
)
def test_no_unit_is_marked_that_can_be_converted(unit: str) -> None:
    one = setting("x", SettingType.F32, unit)
    form = Draft7Validator(json_schema(Target({"x": one}, (), "", Capability(0)), "t")["definitions"]["settings"])
    singles = [prefix + atom for prefix in PREFIXES for atom in ATOMS]
    names = [*singles, *(a + sign + b for a in ATOMS for b in ATOMS for sign in ("/", "."))]
    taken = [name for name in names if convertible(name, unit)]
    assert taken
    assert [name for name in taken if not form.is_valid({"x": f"1 {name}"})] == []
    single = [name for name in singles if not set("./1") & set(name) and not convertible(name, unit)]
    assert [name for name in single if form.is_valid({"x": f"1 {name}"})] == [], (
        "what measures something else is marked"
    )


def convertible(name: str, unit: str) -> bool:
    try:
        return quantity(f"1 {name}", unit) is not None
    except UsageError:
        return False


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("[calibration]\n'air/temperature' = [0.1, 1]\n'rain (1)' = []\n'soil+/temperature' = ['${x}', 1]\n", []),
        ("[calibration]\ntemperature = [1]\n", ["calibration"]),
        ("[calibration]\n'rain (1)' = 'x'\n", ["calibration/rain (1)"]),
        ("[calibration]\n'rain (1)' = [1,2,3,4,5,6,7,8,9]\n", ["calibration/rain (1)"]),
        ("[metadata]\nsite = 'Ridge'\nbatch = '7'\n", []),
        ("[metadata]\nsite = 3\n", ["metadata/site"]),
        ("[log]\nstreams = ['air', 'soil+ = 10 s', '${x}']\nperiod = '1min'\nwrap = true\nframes = 3\n", []),
        ("[log]\nstreams = ['air=8Hz']\nperiod = '0.5 Hz'\n", []),
        ("[log]\nafter = '5 Hz'\n", ["log/after"]),
        ("[log]\nat = 2030-01-01T00:00:00Z\nfor = '3 d'\nabove = 'temperature=30 Cel'\n", []),
        ("[log]\nstreams = ['sky']\nperiod = '10'\nwrap = 'yes'\nframes = 0\nlable = 'x'\nabove = '30'\n", None),
        ("[variables]\nplace = 'x'\nn = 3\nyes = true\n", []),
        ("[variables]\nserial = 'x'\nlist = [1]\n", ["variables", "variables/list"]),
        ("[setings]\n", [""]),
        ("[devices.X.devices]\n", ["devices/X"]),
    ],
)
def test_the_other_tables(text: str, marked: list[str] | None) -> None:
    found = sorted(refused(text))
    assert found == (
        ["log", *(f"log/{key}" for key in ("above", "frames", "period", "streams/0", "wrap"))]
        if marked is None
        else marked
    )


def test_it_names_all_that_a_log_table_may_hold() -> None:
    assert set(SCHEMA["definitions"]["log"]["properties"]) == set(FIELDS)


def test_every_setting_is_described() -> None:
    known = SCHEMA["definitions"]["settings"]["properties"]
    assert set(known) == {item.key for item in SETTINGS} - {"device/serial"}
    assert known["alarm/high"]["description"] == "alarm/high. a number from -60 to 120 degC"
    assert known["filter/taps"]["description"].endswith("; takes effect after a restart")
    defaults = {key: form["default"] for key, form in known.items() if "default" in form}
    assert defaults == {"log/age": 600, "log/on": True, "alarm/high": 35.5, "probe/key": "hex:00ff"}
