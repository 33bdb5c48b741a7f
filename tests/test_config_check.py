"""A file held against a device: all that is wrong is told in one run, with its place, and nothing of it is taken."""

from __future__ import annotations

import struct

import pytest

from fieldlog.config.check import check, checked
from fieldlog.config.document import parse
from fieldlog.config.model import ChannelKey, Place, Problem, Problems, Wanted
from fieldlog.config.schema import schema_of
from fieldlog.config.target import Target
from fieldlog.config.template import Identity, resolved
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands.logger import Capability, SettingInfo, SettingType

SCHEMA = schema_of(
    [
        SettingInfo(k="log/period", t=SettingType.U32, u="s", lo=1, hi=3600),
        SettingInfo(k="alarm/high", t=SettingType.F32, u="Cel", lo=-60, hi=120),
        SettingInfo(k="alarm/low", t=SettingType.F32, u="Cel", lo=-60, hi=120),
        SettingInfo(k="log/led", t=SettingType.BOOL),
        SettingInfo(k="log/label", t=SettingType.TEXT, hi=8),
        SettingInfo(k="probe/key", t=SettingType.BYTES, hi=4),
        SettingInfo(k="probe/mode", t=SettingType.CHOICE, ch=("off", "slow", "fast")),
        SettingInfo(k="device/serial", t=SettingType.TEXT, f=4),
    ]
)


def channel(name: str, kind: ChannelType = ChannelType.I16) -> Channel:
    return Channel(name, "Cel", kind)


STREAMS = (
    StreamInfo(1, "air", 1000, (channel("temperature"), channel("humidity"), channel("door", ChannelType.BOOL))),
    StreamInfo(2, "soil", 1000, (channel("temperature"),)),
)
LOGGER = Target(SCHEMA, STREAMS, "1.4.2", Capability.CALIBRATE | Capability.METADATA)


def told(text: str, target: Target = LOGGER) -> list[str]:
    """What is wrong with a file, a line each."""
    with pytest.raises(Problems) as caught:
        wanted(text, target)
    return str(caught.value).split("\n")


def wanted(text: str, target: Target = LOGGER) -> Wanted:
    found, problems = resolved(parse(text, "a.toml"), Identity())
    assert not problems
    return check(found, target)


def test_a_good_file_becomes_bytes() -> None:
    text = """
[settings]
"log/period" = "10 min"
"alarm/high" = "95 degF"
"alarm/low" = -2
"log/led" = "off"
"log/label" = "Ölberg"
"probe/key" = "hex:01 ff"
"probe/mode" = "fast"
[calibration]
humidity = [1, 2.5]
"soil/temperature" = []
[metadata]
site = "Ridge"
zone = "Europe/Berlin"
"""
    assert wanted(text) == Wanted(
        settings={
            "log/period": struct.pack("<I", 600),
            "alarm/high": struct.pack("<f", 35),
            "alarm/low": struct.pack("<f", -2),
            "log/led": b"\0",
            "log/label": "Ölberg".encode(),
            "probe/key": b"\x01\xff",
            "probe/mode": b"\2",
        },
        calibration={ChannelKey("air", "humidity"): (1.0, 2.5), ChannelKey("soil", "temperature"): ()},
        metadata={"site": "Ridge", "zone": "Europe/Berlin"},
    )


def test_everything_that_is_wrong_is_told_in_one_run_with_its_place() -> None:
    assert told(
        """[settings]
"log/perid" = 5
"log/period" = "5 V"
"alarm/high" = 500
"alarm/low" = true
"log/led" = 1
"log/label" = "far too long"
"probe/key" = "hex:0"
"probe/mode" = "fats"
"device/serial" = "S2"
"net/apn" = "internet"
[calibration]
temperature = [1.0]
humidity = [1.0, nan]
door = [1.0]
dor = []
[metadata]
zone = "Mars/Base"
size = 5
"""
    ) == [
        "a.toml:2:1: the device's firmware 1.4.2 has no setting 'log/perid'. Did you mean log/period?",
        (
            "a.toml:3:16: log/period cannot be '5 V': 'V' does not fit: write us, ms, s, min, h, d or w. It takes a "
            "whole number from 1 to 3600 s"
        ),
        "a.toml:4:16: alarm/high cannot be 500: it takes a number from -60 to 120 degC",
        "a.toml:5:15: alarm/low cannot be true: it takes a number from -60 to 120 degC",
        "a.toml:6:13: log/led cannot be 1: it takes true or false",
        "a.toml:7:15: log/label cannot be 'far too long': it takes text, length of at most 8 bytes",
        "a.toml:8:15: probe/key cannot be 'hex:0': it takes hexadecimal digits, length of at most 4 bytes",
        "a.toml:9:16: probe/mode cannot be 'fats': it takes one of off, slow, fast",
        "a.toml:10:19: device/serial is read only: leave it out",
        "a.toml:11:1: the device's firmware 1.4.2 has no setting 'net/apn'. `fieldlog config show` lists what it has",
        (
            "a.toml:13:1: the device has more than one channel 'temperature': air/temperature, soil/temperature. Name the "
            "stream too"
        ),
        "a.toml:14:12: humidity has a coefficient nan, and calibrations are finite",
        "a.toml:15:8: door cannot be calibrated: its values are names, not numbers",
        "a.toml:16:1: the device has no channel 'dor'. Did you mean door?",
        "a.toml:18:8: there is no time zone 'Mars/Base': use an IANA name such as Europe/Berlin",
        "a.toml:19:8: size is a text: write it in quotes",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('"log/period" = 1.5', "a whole number"),
        ('"log/period" = "1500 ms"', "that is 1.5 s, and it takes a whole number"),
        ('"log/period" = [1]', "cannot be a list"),
        ('"log/period" = {a = 1}', "cannot be a table"),
        ('"log/period" = 2013-05-01', "cannot be a date or time"),
        ('"log/period" = 99999999999999999999', "cannot be 99999999999999999999"),
        ('"alarm/high" = nan', "cannot be nan"),
        ('"alarm/high" = "inf"', "cannot be 'inf'"),
        ('"alarm/high" = "1 Q"', "no unit that fits"),
        ('"log/label" = 5', "cannot be 5: it takes text"),
        ('"probe/key" = 5', "it takes hexadecimal digits"),
        ('"probe/key" = "hex:0102030405"', "at most 4 bytes"),
        ('"probe/mode" = 1', "one of off, slow, fast"),
    ],
)
def test_values_of_other_types_are_refused_in_words(line: str, says: str) -> None:
    (problem,) = told(f"[settings]\n{line}\n")
    assert says in problem


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("humidity = 5", "a calibration is a list of numbers"),
        ('humidity = ["1"]', "a coefficient '1', which is no number"),
        ("humidity = [true]", "a coefficient true, which is no number"),
        ("humidity = [1, 2, 3, 4, 5, 6, 7, 8, 9]", "9 coefficients, and a calibration has up to 8"),
        ('humidity = [1, 1]\n"air/humidity" = [1, 1]', "air/humidity, which is calibrated above already"),
        ("Humidity = []", "Did you mean humidity?"),
    ],
)
def test_calibrations_that_are_none_are_refused_in_words(line: str, says: str) -> None:
    (problem,) = told(f"[calibration]\n{line}\n")
    assert says in problem


def test_metadata_that_a_device_cannot_keep_is_refused_as_a_whole() -> None:
    (problem,) = told(f'[metadata]\na = "{"x" * 300}"\nb = "{"y" * 300}"\n')
    assert problem.startswith("a.toml:2:1: the metadata takes 611 bytes")
    assert "keeps 512" in problem


def test_what_a_device_does_not_do_at_all_is_told_once() -> None:
    plain = Target(SCHEMA, (), "0.9", Capability(0))
    text = '[calibration]\na = []\nb = []\n[metadata]\nsite = "x"\nzone = "UTC"\n'
    assert told(text, plain) == [
        "a.toml:2:1: this device keeps no calibrations",
        "a.toml:5:1: this device keeps no metadata",
    ]


def test_an_empty_table_of_metadata_takes_all_texts_away_and_none_leaves_them() -> None:
    assert wanted("[metadata]\n").metadata == {}
    assert wanted("[settings]\n").metadata is None
    assert wanted("[metadata]\n", Target(SCHEMA, (), "0.9", Capability(0))).metadata == {}


def test_what_is_right_is_there_beside_what_is_wrong_for_whoever_has_more_to_tell() -> None:
    found, _ = resolved(parse('[settings]\n"log/led" = true\n"x" = 1\n', "a.toml"), Identity())
    good, problems = checked(found, LOGGER)
    assert good.settings == {"log/led": b"\1"}
    assert [problem.place for problem in problems] == [Place(3, 1)]


def test_problems_are_told_in_the_order_of_the_file_once_each_and_on_one_line() -> None:
    late, early = Problem(Place(10, 2), "late\n\x1b[2J"), Problem(Place(9, 30), "early")
    error = Problems((late, early, late, Problem(None, "of the whole")), "f.toml")
    assert str(error).split("\n") == ["f.toml: of the whole", "f.toml:9:30: early", "f.toml:10:2: late\\n\\x1b[2J"]
