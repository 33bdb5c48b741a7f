"""What is exported can be applied again: for every type of setting, any text, any calibration; and changes nothing."""

from __future__ import annotations

import struct
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog.config.check import checked
from fieldlog.config.document import parse
from fieldlog.config.export import export
from fieldlog.config.model import ChannelKey, Wanted
from fieldlog.config.present import Entry, Present, entry_of
from fieldlog.config.schema import schema_of
from fieldlog.config.target import Target
from fieldlog.config.template import Identity, resolved
from fieldlog.config.values import Setting
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands.logger import Capability, SettingFlag, SettingInfo, SettingType

# any Unicode, control characters, quotes and what templates take for variables
PIECES = [
    "${",
    "$${",
    "${serial}",
    "$",
    "}",
    '"',
    "\\",
    "'",
    "\n",
    "\r",
    "\t",
    "\0",
    "\x7f",
    "\x1b",
    "\u2028",
    "\u202e",
    "=",
]
TEXTS = st.text(max_size=20) | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(["a/b", "${serial}", "device/led", "x.y", '"', "\x00"])
CAPABILITIES = Capability.CALIBRATE | Capability.METADATA
_F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def packed(layout: str, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return numbers.map(lambda number: struct.pack(layout, number))


@st.composite
def limits(draw: st.DrawFn, layout: str, numbers: st.SearchStrategy[Any]) -> tuple[dict[str, Any], bytes]:
    """Lowest and highest as 32-bit floats or not, and a value within them."""
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    bounds = draw(st.sampled_from([{}, {"lo": low}, {"hi": high}, {"lo": low, "hi": high}]))
    return bounds, struct.pack(layout, value)


@st.composite
def described(draw: st.DrawFn, kind: SettingType) -> tuple[SettingInfo, bytes]:
    """A setting of this type and a value that it may have."""
    fields: dict[str, Any] = {}
    if kind is SettingType.BOOL:
        data = draw(st.sampled_from([b"\0", b"\1"]))
    elif kind is SettingType.CHOICE:
        fields["ch"] = tuple(draw(st.lists(TEXTS, min_size=1, max_size=5, unique=True)))
        data = bytes([draw(st.integers(0, len(fields["ch"]) - 1))])
    elif kind is SettingType.TEXT:
        data = draw(TEXTS).encode()
    elif kind is SettingType.BYTES:
        data = draw(st.binary(max_size=20))
    else:
        layout, numbers = {
            SettingType.I32: ("<i", st.integers(-(2**31), 2**31 - 1)),
            SettingType.U32: ("<I", st.integers(0, 2**32 - 1)),
            SettingType.I64: ("<q", st.integers(-(2**63), 2**63 - 1)),
            SettingType.F32: ("<f", _F32),
        }[kind]
        fields, data = draw(limits(layout, numbers))
    flags = draw(st.sampled_from([0, SettingFlag.NEEDS_RESTART, SettingFlag.AFFECTS_LINK]))
    unit = draw(st.sampled_from(["", "s", "Cel", "By"]) | TEXTS)
    return SettingInfo(k="", t=kind, f=flags, x=draw(TEXTS), u=unit, d=data, **fields), data


def named(key: str, info: SettingInfo) -> Setting:
    fields = {name: getattr(info, name) for name in info.__struct_fields__} | {"k": key}
    return schema_of([SettingInfo(**fields)])[key]


CALIBRATIONS = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8).map(tuple)


@st.composite
def streams(draw: st.DrawFn) -> list[StreamInfo]:
    """Streams of different names, with channels whose names are different within each."""
    found: list[StreamInfo] = []
    for number, name in enumerate(draw(st.lists(NAMES, max_size=3, unique=True))):
        channels = draw(st.lists(NAMES, max_size=3, unique=True))
        found.append(
            StreamInfo(
                number,
                name,
                1000,
                tuple(Channel(each, "Cel", ChannelType.I16, calibration=draw(CALIBRATIONS)) for each in channels),
            )
        )
    return found


METADATA = st.dictionaries(NAMES.filter(lambda name: name != "zone"), TEXTS, max_size=4)


def read_again(text: str, entries: list[Entry], known: list[StreamInfo]) -> Wanted:
    """What a file says of the device that it was exported from; nothing may be wrong with it."""
    target = Target({entry.setting.key: entry.setting for entry in entries}, known, "1.0", CAPABILITIES)
    found, wrong = resolved(parse(text, "file"), Identity(serial="S1", uid="00ff", label="x"))
    wanted, unfit = checked(found, target)
    assert not wrong
    assert not unfit
    return wanted


@pytest.mark.parametrize("kind", list(SettingType))
@settings(max_examples=60, deadline=None)
@given(key=NAMES, drawn=st.data())
def test_a_setting_of_every_type_comes_back_as_its_own_bytes(kind: SettingType, key: str, drawn: st.DataObject) -> None:
    info, data = drawn.draw(described(kind))
    entry = entry_of(named(key, info), data)
    text = export(Present("title", [entry]))
    assert all(line.isprintable() for line in text.split("\n"))
    assert read_again(text, [entry], []).settings == {key: data}


@settings(max_examples=100, deadline=None)
@given(known=streams(), texts=METADATA)
def test_calibrations_and_metadata_come_back(known: list[StreamInfo], texts: dict[str, str]) -> None:
    wanted = read_again(export(Present("title", [], known, texts)), [], known)
    assert wanted.metadata == texts
    for key, numbers in wanted.calibration.items():
        (held,) = (
            channel.calibration
            for stream in known
            for channel in stream.channels
            if ChannelKey(stream.name, channel.name) == key
        )
        assert list(map(repr, numbers)) == list(map(repr, held))
    if not any("/" in stream.name + channel.name for stream in known for channel in stream.channels):
        assert len(wanted.calibration) == sum(len(stream.channels) for stream in known)


@pytest.mark.parametrize("kind", list(SettingType))
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=10), default=st.none() | st.binary(max_size=10))
def test_whatever_bytes_a_device_holds_applying_the_export_changes_none(
    kind: SettingType, data: bytes, default: bytes | None
) -> None:
    """Such as after an update whose settings are of other types than before."""
    info = SettingInfo(k="a", t=kind, lo=1, hi=4, d=default, ch=("one", "two", "one") if kind == 7 else None)
    entry = entry_of(named("a", info), data)
    for changed_only in (False, True):
        text = export(Present("title", [entry]), changed_only=changed_only)
        assert read_again(text, [entry], []).settings in ({}, {"a": data})


def test_limits_of_32_bits_take_the_values_at_their_ends() -> None:
    """0.1 is another number in 32 bits than in 64, and devices send limits in either."""
    (tenth,) = struct.unpack("<f", struct.pack("<f", 0.1))
    for limit in (0.1, tenth):
        info = SettingInfo(k="a", t=SettingType.F32, lo=limit, hi=limit)
        entry = entry_of(named("a", info), struct.pack("<f", 0.1))
        text = export(Present("title", [entry]))
        assert "from 0.1 to 0.1" in text
        assert read_again(text, [entry], []).settings == {"a": entry.data}


@given(
    lowest=_F32.filter(lambda low: abs(low) < 1000),
    step=st.sampled_from([0.1, 0.25, 1 / 3, 0.001]),
    n=st.integers(0, 900),
)
def test_steps_that_32_bits_cannot_hold_exactly_are_steps(lowest: float, step: float, n: int) -> None:
    data = struct.pack("<f", lowest + n * step)
    entry = entry_of(named("a", SettingInfo(k="a", t=SettingType.F32, lo=lowest, step=step)), data)
    assert read_again(export(Present("title", [entry])), [entry], []).settings == {"a": data}


def test_what_tells_devices_apart_is_shown_and_not_copied() -> None:
    name = entry_of(named("device/name", SettingInfo(k="", t=SettingType.TEXT, hi=32)), b"Attic")
    serial = entry_of(named("device/serial", SettingInfo(k="", t=SettingType.TEXT, f=4)), b"S1")
    text = export(Present("title", [name, serial]))
    assert tomllib.loads(text)["settings"] == {}
    assert '# "device/name" = "Attic"' in text
    assert '# "device/serial" = "S1"' in text


def test_changes_alone_leave_out_what_nobody_chose() -> None:
    same = entry_of(named("same", SettingInfo(k="", t=SettingType.BOOL, d=b"\1")), b"\1")
    other = entry_of(named("other", SettingInfo(k="", t=SettingType.BOOL, d=b"\1")), b"\0")
    plain = Channel("plain", "Cel", ChannelType.I16)
    bent = Channel("bent", "Cel", ChannelType.I16, calibration=(0.5, 1.0))
    text = export(Present("t", [same, other], [StreamInfo(1, "s", 1, (plain, bent))], {}), changed_only=True)
    assert tomllib.loads(text) == {"settings": {"other": False}, "calibration": {"bent": [0.5, 1.0]}}


def test_channels_of_one_name_are_told_by_their_streams_and_names_of_values_are_not_calibrated() -> None:
    fast = StreamInfo(1, "fast", 1, (Channel("t", "Cel", ChannelType.I16), Channel("only", "V", ChannelType.U8)))
    slow = StreamInfo(2, "slow", 1, (Channel("t", "Cel", ChannelType.I16), Channel("on", "", ChannelType.BOOL)))
    text = export(Present("t", [], [fast, slow]))
    assert list(tomllib.loads(text)["calibration"]) == ["fast/t", "only", "slow/t"]


def test_metadata_that_are_no_texts_are_left_to_the_device_and_said_to_be_there() -> None:
    text = export(Present("t", [], (), None, strange_metadata=True))
    assert tomllib.loads(text) == {"settings": {}}
    assert "# [metadata]" in text
