"""Settings between bytes, values, words and TOML; and the schema read in pages."""

from __future__ import annotations

import asyncio
import struct
import tomllib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fieldlog
from fieldlog.config import toml_text
from fieldlog.config.export import export, toml_value
from fieldlog.config.present import Present, entry_of, read
from fieldlog.config.raw import parse_raw, show_raw
from fieldlog.config.schema import find_all, schema
from fieldlog.config.values import (
    Setting,
    Value,
    decode,
    encode,
    parse_words,
    setting_of,
    shortest_f32,
)
from fieldlog.config.write import write
from fieldlog_protocol.commands import logger, settings
from fieldlog_protocol.commands.logger import SettingFlag, SettingType
from fieldlog_protocol.errors import ProtocolError, RefusedError, UsageError
from smp_peer import Answer, Handler, Refuse, pty_peer


def setting(kind: SettingType, **given_: Any) -> Setting:
    fields: dict[str, Any] = {
        "key": "a/b",
        "type": kind,
        "unit": "",
        "low": None,
        "high": None,
        "step": None,
        "default": None,
        "flags": SettingFlag(0),
        "text": "",
        "choices": (),
    }
    return Setting(**(fields | given_))


CHOICES = ("off", "2x", "ünïcode")
GOLDEN: list[tuple[SettingType, Value, str]] = [
    (SettingType.BOOL, True, "01"),
    (SettingType.I32, -2, "feffffff"),
    (SettingType.U32, 86400, "80510100"),
    (SettingType.I64, -(2**40), "0000000000ffffff"),
    (SettingType.F32, 0.1, "cdcccc3d"),
    (SettingType.TEXT, "Ölberg", "c3966c62657267"),
    (SettingType.BYTES, b"\x00\xff", "00ff"),
    (SettingType.CHOICE, "ünïcode", "02"),
]


@pytest.mark.parametrize(("kind", "value", "wire"), GOLDEN)
def test_values_have_their_bytes(kind: SettingType, value: Value, wire: str) -> None:
    one = setting(kind, choices=CHOICES)
    assert encode(one, value).hex() == wire
    assert decode(one, bytes.fromhex(wire)) == value


_VALUES: dict[SettingType, st.SearchStrategy[Any]] = {
    SettingType.BOOL: st.booleans(),
    SettingType.I32: st.integers(-(2**31), 2**31 - 1),
    SettingType.U32: st.integers(0, 2**32 - 1),
    SettingType.I64: st.integers(-(2**63), 2**63 - 1),
    SettingType.F32: st.floats(allow_nan=False, allow_infinity=False, width=32),
    SettingType.TEXT: st.text(),
    SettingType.BYTES: st.binary(),
    SettingType.CHOICE: st.sampled_from(CHOICES),
}


@pytest.mark.parametrize("kind", list(SettingType))
@given(data=st.data())
def test_every_value_survives_bytes_and_words(kind: SettingType, data: st.DataObject) -> None:
    value = data.draw(_VALUES[kind])
    one = setting(kind, choices=CHOICES)
    wire = encode(one, value)
    back = decode(one, wire)
    assert encode(one, back) == wire
    words = str(toml_value(back))
    assert encode(one, parse_words(one, words)) == wire


@pytest.mark.parametrize("kind", list(SettingType))
@given(data=st.binary(max_size=12))
def test_any_bytes_are_a_value_or_a_protocol_error(kind: SettingType, data: bytes) -> None:
    one = setting(kind, choices=CHOICES)
    try:
        value = decode(one, data)
    except ProtocolError:
        return
    assert kind is SettingType.F32 or encode(one, value) == data


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(999999986991104.0)  # 1e15 to the nearest
def test_floats_are_shown_with_the_fewest_digits(number: float) -> None:
    short = shortest_f32(number)
    assert struct.pack("<f", short) == struct.pack("<f", number)
    assert digits(short) <= digits(number)


def digits(number: float) -> int:
    """How many of them tell it from others; zeros at its ends only say how large it is."""
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


LIMITED = setting(SettingType.U32, low=10, high=100, step=10, unit="s", key="log/period")


@pytest.mark.parametrize(
    ("one", "words", "says"),
    [
        (LIMITED, "5", "log/period cannot be 5: it takes a whole number from 10 to 100 s in steps of 10"),
        (LIMITED, "15", "steps of 10"),
        (LIMITED, "110", "from 10 to 100"),
        (LIMITED, "ten", "cannot be 'ten'"),
        (LIMITED, "1.5", "whole number"),
        (setting(SettingType.U32), "-1", "cannot be -1"),
        (setting(SettingType.I32), "2147483648", "cannot be 2147483648"),
        (setting(SettingType.F32), "nan", "a number"),
        (setting(SettingType.F32), "1e39", "a number"),
        (setting(SettingType.BOOL), "maybe", "true or false"),
        (setting(SettingType.CHOICE, choices=CHOICES), "3x", "one of off, 2x, ünïcode"),
        (setting(SettingType.TEXT, high=3), "four", "text, length of at most 3 bytes"),
        (setting(SettingType.TEXT, low=1, high=3), "öö", "length from 1 to 3"),
        (setting(SettingType.BYTES), "0g", "hexadecimal digits"),
        (setting(SettingType.U32, flags=SettingFlag.READ_ONLY), "1", "read only"),
    ],
)
def test_what_does_not_fit_is_told_what_would(one: Setting, words: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode(one, parse_words(one, words))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("words", "wire"),
    [
        ("hex:01 ff", "01ff"),
        ("str:a:b", "613a62"),
        ("u32:0x10", "10000000"),
        ("i32:-1", "ffffffff"),
        ("u8:255", "ff"),
        ("i16:-2", "feff"),
        ("u64:1", "0100000000000000"),
        ("f64:1.5", "000000000000f83f"),
        ("bool:on", "01"),
        ("f32:1.5", "0000c03f"),
        ("str:", ""),
    ],
)
def test_raw_values_say_their_type(words: str, wire: str) -> None:
    assert parse_raw(words).hex() == wire


@pytest.mark.parametrize(
    "words", ["5", "u32:-1", "u32:x", "hex:0", "bool:2", "f32:", "u8:256", "u16:-1", "i8:128", "f64:x", ""]
)
def test_raw_values_that_make_no_sense_are_refused(words: str) -> None:
    with pytest.raises(UsageError):
        parse_raw(words)


@given(st.binary())
def test_raw_values_are_shown_as_they_are_read(data: bytes) -> None:
    shown = show_raw(data)
    assert shown.isprintable()
    assert parse_raw(shown) == data


@given(st.text(), st.text())
def test_toml_keeps_every_key_and_text_and_shows_all_of_it(key: str, text: str) -> None:
    line = f"{toml_text.key(key)} = {toml_text.value(text)}"
    assert line.isprintable()
    assert tomllib.loads(line) == {key: text}


def test_a_comment_from_a_device_cannot_leave_its_line() -> None:
    evil = setting(SettingType.BOOL, text='x\n"log/led" = false\n\x1b[2J', unit="\n")
    text = export(Present("t\ny = 1", [entry_of(evil, b"\1")]))
    assert tomllib.loads(text) == {"settings": {"a/b": True}}
    assert "\x1b" not in text


def test_export_of_changes_leaves_out_defaults_and_comments_read_only_ones() -> None:
    entries = [
        entry_of(setting(SettingType.U32, key="same", default=b"\5\0\0\0"), b"\5\0\0\0"),
        entry_of(setting(SettingType.U32, key="other", default=b"\5\0\0\0"), b"\6\0\0\0"),
        entry_of(setting(SettingType.TEXT, key="fixed", flags=SettingFlag.READ_ONLY, default=b"y"), b"x"),
    ]
    text = export(Present("t", entries), changed_only=True)
    assert tomllib.loads(text)["settings"] == {"other": 6}
    assert "# fixed" in text


# the device's schema

TABLE: list[dict[str, Any]] = [
    {"k": "log/period", "t": 2, "u": "s", "lo": 1, "hi": 3600, "d": b"\x0a\0\0\0", "x": "how often"},
    {"k": "sensor/mode", "t": 7, "nc": 40, "ch": [f"mode {n}" for n in range(40)], "d": b"\0"},
    {"k": "log/led", "t": 0, "d": b"\1", "f": 1},
]


class Settings:
    """Settings described three choices and one setting a page."""

    def __init__(self) -> None:
        self.values = {info["k"]: info["d"] for info in TABLE}
        self.saved = dict(self.values)

    def handlers(self) -> dict[tuple[int, int, int], Handler]:
        return {
            logger.INFO.key: lambda _: {"parts": 1},
            logger.SCHEMA.key: self.schema,
            settings.READ.key: self.read,
            settings.WRITE.key: self.write,
            settings.COMMIT.key: lambda _: {},
            settings.SAVE.key: self.save,
        }

    def schema(self, body: dict[str, Any]) -> Answer:
        at, start = body.get("i", 0), body.get("c", 0)
        info = dict(TABLE[at])
        if "ch" in info:
            info["ch"] = info["ch"][start : start + 16]
        return {"n": len(TABLE), "i": at, "s": [info]}

    def read(self, body: dict[str, Any]) -> Answer:
        return {"val": self.values[body["name"]]} if body["name"] in self.values else Refuse(3, 3)

    def write(self, body: dict[str, Any]) -> Answer:
        self.values[body["name"]] = body["val"]
        return {}

    def save(self, _: dict[str, Any]) -> Answer:
        self.saved = dict(self.values)
        return {}


async def test_the_schema_is_read_in_pages_to_its_last_choice() -> None:
    with pty_peer(Settings().handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            known = await schema(device)
    assert list(known) == ["log/period", "sensor/mode", "log/led"]
    assert known["sensor/mode"].choices == tuple(f"mode {n}" for n in range(40))


async def test_set_writes_commits_and_saves() -> None:
    store = Settings()
    with pty_peer(store.handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            known = await schema(device)
            assert await write(device, {"log/period": struct.pack("<I", 60), "sensor/mode": b"\x21"})
            entries = {entry.setting.key: entry for entry in await read(device, known)}
    assert (entries["log/period"].value, entries["sensor/mode"].value) == (60, "mode 33")
    assert [entry.changed for entry in entries.values()] == [True, True, False]
    assert store.saved == store.values


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("log/perid", "Did you mean log/period?"),
        ("log.period", "Did you mean log/period?"),
        ("alarm", "Did you mean alarm/high or alarm/low?"),
        ("high", "Did you mean alarm/high?"),
        ("zzz", "`fieldlog config show` lists them"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, hint: str) -> None:
    known = dict.fromkeys(["log/period", "alarm/high", "alarm/low"], LIMITED)
    with pytest.raises(UsageError) as caught:
        find_all(known, ["log/period", key, "other"])
    first, second = str(caught.value).splitlines()
    assert first == f"the device has no setting {key!r}. {hint}"
    assert second.startswith("the device has no setting 'other'")


async def test_a_device_that_cannot_save_is_told_from_one_that_fails() -> None:
    store = Settings()
    with pty_peer(store.handlers() | {settings.SAVE.key: lambda _: Refuse(8)}) as peer:
        async with fieldlog.connect(peer.path) as device:
            assert not await write(device, {"log/led": b"\0"})
            peer.peer.on(settings.SAVE, lambda _: Refuse(1, 3))
            with pytest.raises(RefusedError):
                await write(device, {"log/led": b"\0"})


@pytest.mark.parametrize(
    "page",
    [
        {"n": 5, "i": 0, "s": []},
        {"n": 1, "i": 0, "s": [{"k": "x", "t": 99}]},
        {"n": 1, "i": 0, "s": [{"k": "x", "t": 7, "nc": 9, "ch": []}]},
    ],
)
async def test_a_schema_that_never_ends_or_makes_no_sense_is_an_error(page: dict[str, Any]) -> None:
    with pty_peer(Settings().handlers() | {logger.SCHEMA.key: lambda _: page}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError):
                await schema(device)


@pytest.mark.parametrize(
    "limits",
    [
        {"step": float("nan")},
        {"lo": float("-inf"), "step": 1},
        {"hi": float("inf")},
        {"lo": 10**400},
        {"lo": 0.5},
        {"lo": 9, "hi": 3},
        {"step": 5e-324, "t": SettingType.F32},
        {"step": -1},
        {"t": SettingType.F32, "hi": float("nan")},
    ],
)
def test_limits_that_make_no_sense_are_the_devices_fault(limits: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"k": "a/b", "t": SettingType.I32} | limits
    with pytest.raises(ProtocolError, match="makes no sense"):
        setting_of(logger.SettingInfo(**fields), ())


def test_a_choice_is_one_byte() -> None:
    info = logger.SettingInfo(k="a/b", t=SettingType.CHOICE)
    assert encode(setting_of(info, tuple(f"c{n}" for n in range(256))), "c255") == b"\xff"
    with pytest.raises(ProtocolError, match="257 choices"):
        setting_of(info, tuple(f"c{n}" for n in range(257)))


@pytest.mark.parametrize("kind", [SettingType.I64, SettingType.F32])
@given(
    limits=st.dictionaries(
        st.sampled_from(["lo", "hi", "step"]), st.floats() | st.integers(-(2**70), 2**70) | st.just(10**400)
    ),
    words=st.integers(-(2**70), 2**70).map(str)
    | st.floats().map(repr)
    | st.sampled_from(["9" * 400, "0x" + "f" * 9999]),
)
def test_no_limits_of_a_device_break_the_check_of_a_value(
    kind: SettingType, limits: dict[str, Any], words: str
) -> None:
    try:
        one = setting_of(logger.SettingInfo(k="a/b", t=kind, **limits), ())
    except ProtocolError:
        return
    try:
        data = encode(one, parse_words(one, words))
    except UsageError:
        return
    assert len(data) in (4, 8)


def test_steps_are_exact_beyond_what_floats_can_tell() -> None:
    one = setting_of(logger.SettingInfo(k="a/b", t=SettingType.I64, lo=0.0, step=2), ())
    assert encode(one, 2**60) == (2**60).to_bytes(8, "little")
    with pytest.raises(UsageError):
        encode(one, 2**60 + 1)


def _numbered(body: dict[str, Any]) -> Answer:
    at = body.get("i", 0)
    return {"n": 60_000, "i": at, "s": [{"k": f"k{at}", "t": 2}]}


def _endless_choices(body: dict[str, Any]) -> Answer:
    return {"n": 1, "i": 0, "s": [{"k": "x", "t": 7, "nc": 0xFFFF, "ch": [f"c{body.get('c', 0)}"]}]}


SPOILED: dict[str, Handler] = {
    "the same page": lambda _: {"n": 3, "i": 0, "s": [{"k": "x", "t": 2}]},
    "the same key": lambda body: {"n": 3, "i": body.get("i", 0), "s": [{"k": "x", "t": 2}]},
    "too many settings": _numbered,
    "too many choices": _endless_choices,
    "too many at once": lambda _: {"n": 1, "i": 0, "s": [{"k": "x", "t": 7, "ch": [f"c{n}" for n in range(300)]}]},
    "another setting's": lambda body: {
        "n": 1,
        "i": 0,
        "s": [{"k": "y" if body.get("c") else "x", "t": 7, "nc": 9, "ch": ["a"]}],
    },
}


@pytest.mark.parametrize("name", SPOILED)
async def test_a_schema_that_repeats_itself_ends(name: str) -> None:
    with pty_peer(Settings().handlers() | {logger.SCHEMA.key: SPOILED[name]}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError):
                await asyncio.wait_for(schema(device), 10)
