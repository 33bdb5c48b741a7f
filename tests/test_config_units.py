"""Quantities with units: exact, in every spelling, and refused with what would fit."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.config.units import convert, fitting, quantity, unit_of
from fieldlog_protocol.durations import duration_text, parse_duration_us
from fieldlog_protocol.errors import UsageError

KNOWN: list[tuple[str, str, str]] = [
    ("10 min", "s", "600"),
    ("10min", "s", "600"),
    ("2h30min", "s", "9000"),
    ("1 d 12 h", "min", "2160"),
    ("1.5h", "ms", "5400000"),
    ("1e3 ms", "s", "1"),
    ("90 s", "min", "3/2"),
    ("1 w", "d", "7"),
    ("5 µs", "s", "1/200000"),
    ("3.5 degC", "Cel", "7/2"),
    ("3.5 °C", "Cel", "7/2"),
    ("-40 °F", "Cel", "-40"),
    ("212 degF", "Cel", "100"),
    ("0 K", "Cel", "-5463/20"),
    ("25 Cel", "[degF]", "77"),
    ("3.3 V", "mV", "3300"),
    ("5%", "%", "5"),
    ("5 %", "1", "1/20"),
    ("250 ppm", "%", "1/40"),
    ("1013.25 hPa", "Pa", "101325"),
    ("1 bar", "kPa", "100"),
    ("10 mbar", "hPa", "10"),
    ("760 mmHg", "Pa", "10132501412/100000"),
    ("30 ft", "m", "1143/125"),
    ("20 mA", "uA", "20000"),
    ("32.768 kHz", "Hz", "32768"),
    ("60 /min", "Hz", "1"),
    ("2 KiB", "By", "2048"),
    ("2 kB", "By", "2000"),
    ("16 bit", "By", "2"),
    ("115.2 kBd", "Bd", "115200"),
    ("9600 baud", "Bd", "9600"),
    ("500 mAh", "A.h", "1/2"),
    ("36 km/h", "m/s", "10"),
    ("10 mph", "m/s", "44704/10000"),
    ("2 g", "m/s2", "196133/10000"),
    ("2 g", "kg", "1/500"),
    ("4.7 kΩ", "Ohm", "4700"),
    ("12 uS/cm", "mS/m", "6/5"),
    ("7 {tick}", "{tick}", "7"),
    ("7 dB[W]", "dB[W]", "7"),
    ("7", "s", "7"),
    ("-7.5e-1", "", "-3/4"),
]


@pytest.mark.parametrize(("words", "unit", "number"), KNOWN)
def test_quantities_become_numbers_of_the_unit_wanted(words: str, unit: str, number: str) -> None:
    assert quantity(words, unit) == Fraction(number)


@pytest.mark.parametrize(
    ("words", "unit", "says"),
    [
        ("10 V", "s", "'V' does not fit: write us, ms, s, min, h, d or w"),
        ("10 m", "s", "'m' does not fit"),
        ("2h30m", "s", "'m' does not fit"),
        ("10 Q", "Cel", "'Q' is no unit that fits: write degC, degF or K"),
        ("10 s", "", "write the number alone"),
        ("10 s", "{tick}", "write the number alone"),
        ("10 s", "dB[W]", "write dB[W]"),
        ("5 deg", "Cel", "does not fit"),
        ("1 kg", "m/s2", "does not fit"),
        ("1.5.2", "s", "no unit that fits"),
        ("10 min 5", "s", "no unit"),
        ("ten", "s", "'ten' is no number"),
        ("", "s", "no number"),
        ("nan", "s", "no number"),
        ("1e9999", "s", "no unit"),
        ("9" * 500, "s", "no number"),
        ("5 m/", "m", "no unit"),
        ("5 s s", "s", "no unit"),
        ("5 kmin", "s", "no unit"),
        ("1 Cel/s", "Cel", "no unit"),
        ("3,5 degC", "Cel", "no unit"),
    ],
)
def test_what_does_not_fit_is_told_what_does(words: str, unit: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        quantity(words, unit)
    assert says in str(caught.value)


@given(st.integers(0, 2**63))
def test_durations_are_those_of_the_rest_of_fieldlog(microseconds: int) -> None:
    words = duration_text(microseconds)
    assert quantity(words, "us") == parse_duration_us(words) == microseconds


_SAME = [["s", "min", "h", "d", "us"], ["Cel", "K", "[degF]"], ["Pa", "bar", "mm[Hg]", "[psi]"], ["By", "KiBy", "bit"]]


@given(st.sampled_from(_SAME), st.decimals(allow_nan=False, allow_infinity=False, places=6), st.data())
def test_there_and_back_again_is_the_same_number(units: list[str], number: Decimal, data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(units)) for _ in range(2))
    assert convert(convert(Fraction(number), one, other), other, one) == Fraction(number)


@given(st.text(max_size=60), st.sampled_from(["s", "Cel", "", "{tick}", "m/s2", "By"]) | st.text(max_size=10))
def test_any_words_are_a_number_or_a_usage_error(words: str, unit: str) -> None:
    with suppress(UsageError):
        assert isinstance(quantity(words, unit), Fraction)


@pytest.mark.parametrize(
    "unit", ["s", "Cel", "mV", "Pa", "%", "m", "uA", "Hz", "By", "Bd", "m/s2", "A.h", "[degF]", "W"]
)
def test_what_is_offered_is_taken(unit: str) -> None:
    for name in fitting(unit):
        convert(Fraction(1), name, unit)
    assert len(fitting(unit)) > 1 or unit == "Bd"


@pytest.mark.parametrize("unit", ["", " ", "x", "s.", ".s", "s//m", "kCel", "s2s", "[s", "{a}"])
def test_what_is_no_unit_is_not_known(unit: str) -> None:
    assert unit_of(unit) is None
