"""What devices send is made visible: nothing of it acts on a terminal."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.datetimes import from_device, to_device
from fieldlog.silence import explain_silence
from fieldlog.text import printable, printable_lines
from fieldlog_protocol.errors import ProtocolError, UsageError

EVERYTHING = st.text(st.characters(codec=None))


@given(EVERYTHING)
def test_one_line_stays_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()


@given(EVERYTHING)
def test_lines_hold_nothing_but_printable_characters_and_line_ends(text: str) -> None:
    assert printable_lines(text).replace("\n", "").isprintable()


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_people_write_is_left_alone(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\r", r"a\nb\r"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\x07\x00\x7f", r"\x07\x00\x7f"),
        ("\udc80", r"\udc80"),
        ("Grüße 日本 🌡", "Grüße 日本 🌡"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_tabs_and_line_ends_keep_their_meaning_in_lines() -> None:
    assert printable_lines("a\tb\r\nc\x1b\n") == "a       b\nc\\x1b\n"


@given(st.binary(max_size=300), st.integers(0, 3))
def test_silence_is_explained_in_one_printable_sentence(seen: bytes, damaged: int) -> None:
    sentence = explain_silence("/dev/ttyX", 6.0, seen, damaged)
    assert sentence.isprintable()
    assert sentence.startswith("nobody answered on /dev/ttyX within 6 s")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-02-29T23:59:59", dt.datetime(2024, 2, 29, 23, 59, 59, tzinfo=dt.UTC)),
        ("2024-01-01T00:00:00.5", dt.datetime(2024, 1, 1, 0, 0, 0, 5000, tzinfo=dt.UTC)),
        ("2024-01-01T00:00:00.123456", dt.datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=dt.UTC)),
        ("2024-01-01T05:30:00.050000+05:30", dt.datetime(2024, 1, 1, 0, 0, 0, 50_000, tzinfo=dt.UTC)),
        ("2024-01-01T00:00:00.000000-0800", dt.datetime(2024, 1, 1, 8, tzinfo=dt.UTC)),
        ("2024-01-01T00:00:00Z", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_device_times_are_utc_unless_they_say_and_their_milliseconds_unpadded(text: str, time: dt.datetime) -> None:
    assert from_device(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-01",
        "2024-13-01T00:00:00",
        "2024-01-01 00:00:00",
        "٢٠٢٤-01-01T00:00:00",
        "2024-01-01T00:00:00+24:00",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_times_that_are_none_break_the_protocol(text: str) -> None:
    with pytest.raises(ProtocolError):
        from_device(text)


def test_times_go_to_the_device_in_utc_to_the_second() -> None:
    zone = dt.timezone(dt.timedelta(hours=5, minutes=45))
    assert to_device(dt.datetime(2024, 1, 1, 0, 30, 5, 999, tzinfo=zone)) == "2023-12-31T18:45:05"
    with pytest.raises(UsageError, match="no time zone"):
        to_device(dt.datetime(2024, 1, 1))  # noqa: DTZ001 - that is the mistake
