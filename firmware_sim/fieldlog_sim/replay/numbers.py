"""Columns of decimal numbers as whole numbers and a power of ten, so that every digit that was written is kept.

Rule of this module: numbers are read from their text and never pass through a binary fraction, unless no 64-bit
integer can hold a column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from fieldlog_protocol.blocks.schema import Channel, ChannelType

Integers: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = npt.NDArray[np.int32]

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "--", "#n/a"})
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_SCIENTIFIC = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[eE]([+-]?\d{1,6})", re.ASCII)
_ALL_PLAIN = re.compile(rf"(?:{_PLAIN.pattern}\n)*", re.ASCII)
_INTEGERS = (ChannelType.I16, ChannelType.I32, ChannelType.I64)
_EXPONENT_LIMIT = 30  # a channel's scale goes no further
_FLOAT_EXPONENT = 290
_DIGITS = 18  # that any 64-bit integer holds
_KEPT_DIGITS = 9  # of the smallest value, where a column must be rounded to fit
_MOSTLY = 0.1  # so much text in a column of numbers is taken for failed readings


class Cell(IntEnum):
    """What a text is."""

    MISSING = 0
    NUMBER = 1
    TEXT = 2


class Number(NamedTuple):
    """mantissa * 10 ** exponent."""

    mantissa: int
    exponent: int

    def rounded(self) -> int:
        """To the nearest whole number, half up."""
        if self.exponent >= 0:
            return self.mantissa * int(10**self.exponent)
        unit = int(10**-self.exponent)
        return (2 * self.mantissa + unit) // (2 * unit)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The meaning of each text of a column: its kind and, for a number, mantissa and exponent."""

    kind: npt.NDArray[np.uint8]
    mantissa: Integers
    exponent: Integers


@dataclass(frozen=True, slots=True)
class Series:
    """One channel and its raw values, int64, or float64 with NaN for a channel of floats."""

    channel: Channel
    raw: npt.NDArray[Any]
    notes: tuple[str, ...] = ()


def parse_number(text: str) -> Number | None:
    """With the digits that were written. None where the text means that there is no reading; ValueError where it is no
    number."""
    if _PLAIN.fullmatch(text):
        whole, _, fraction = text.partition(".")
        return Number(int(whole + fraction), -len(fraction))
    if match := _SCIENTIFIC.fullmatch(text):
        whole, _, fraction = match[1].partition(".")
        return _shortened(Number(int(whole + fraction), int(match[2]) - len(fraction)))
    if text.lower() in MISSING_WORDS:
        return None
    raise ValueError(text)


def _shortened(number: Number) -> Number:
    """Scientific notation has a fixed number of digits: zeros at the end say nothing."""
    digits = str(number.mantissa).rstrip("0")
    if digits in {"", "-"}:
        return Number(0, 0)
    return Number(int(digits), number.exponent + len(str(number.mantissa)) - len(digits))


def parse_column(texts: Sequence[str], *, decimal_comma: bool) -> Parsed:
    if decimal_comma:
        texts = [text.replace(",", ".") for text in texts]
    kind = np.array([Cell.MISSING if text.lower() in MISSING_WORDS else Cell.NUMBER for text in texts], np.uint8)
    mantissa, exponent = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    written = [text for text, is_number in zip(texts, kind.tolist(), strict=True) if is_number]
    places = np.flatnonzero(kind == Cell.NUMBER)
    if _ALL_PLAIN.fullmatch("".join(f"{text}\n" for text in written)) and max(map(len, written), default=0) <= _DIGITS:
        mantissa[places] = np.array([text.replace(".", "") for text in written], "U").astype(np.int64)
        exponent[places] = [text.find(".") + 1 - len(text) if "." in text else 0 for text in written]
        return Parsed(kind, mantissa, exponent)
    for place, text in zip(places.tolist(), written, strict=True):
        try:
            number = _limited(parse_number(text) or Number(0, 0))
        except ValueError:
            kind[place] = Cell.TEXT
        else:
            mantissa[place], exponent[place] = number
    return Parsed(kind, mantissa, exponent)


def _limited(number: Number) -> Number:
    """With no more digits than a 64-bit integer holds; ValueError where no float holds it."""
    excess = len(str(abs(number.mantissa))) - _DIGITS
    if excess > 0:
        number = Number(Number(number.mantissa, -excess).rounded(), number.exponent + excess)
    if number.exponent > _FLOAT_EXPONENT:
        raise ValueError(number)
    return number if number.exponent > -_FLOAT_EXPONENT else Number(0, 0)


def is_numeric(parsed: Parsed, rows: Rows) -> bool:
    """Whether there are numbers, and next to no text."""
    cells = np.bincount(parsed.kind[rows], minlength=3)
    return bool(cells[Cell.NUMBER]) and cells[Cell.TEXT] <= _MOSTLY * (cells[Cell.NUMBER] + cells[Cell.TEXT])


def to_series(name: str, unit: str, texts: Sequence[str], parsed: Parsed, rows: Rows) -> Series:
    """The smallest integer that holds the column and a value for missing."""
    present = parsed.kind == Cell.NUMBER
    mantissa, exponent = parsed.mantissa[present], parsed.exponent[present]
    notes = _text_notes(name, texts, parsed, rows)
    found = _as_written(mantissa, exponent) or _without_zeros(mantissa, exponent)
    if found is None:
        found = _to_18_digits(mantissa, exponent)
        if found is None:
            return _floats(name, unit, parsed, rows, notes)
        rounding = f"column {name}: more digits than a 64-bit integer holds; values are rounded to 1e{found[1]}"
        notes = (*notes, rounding)
    raw, scale, type_ = found
    channel = Channel(name=name, unit=unit, type=type_, exponent=scale, missing=type_.minimum)
    meanings = np.full(len(present), type_.minimum, np.int64)
    meanings[present] = raw
    return Series(channel, meanings[rows], notes)


def _text_notes(name: str, texts: Sequence[str], parsed: Parsed, rows: Rows) -> tuple[str, ...]:
    words = np.flatnonzero(parsed.kind == Cell.TEXT)
    if not len(words):
        return ()
    cells = int((parsed.kind[rows] == Cell.TEXT).sum())
    return (f"column {name}: {cells} cells that are no numbers, such as {texts[words[0]][:40]!r}, are missing values",)


def _as_written(mantissa: Integers, exponent: Integers) -> tuple[Integers, int, ChannelType] | None:
    """All digits that were written, unless fewer than are needed for a 32-bit integer suffice."""
    scale = min(0, int(exponent.min()))
    raw = _scaled(mantissa, exponent, scale)
    if raw is None:
        return None
    type_ = _smallest(raw)
    if type_ is ChannelType.I64 and (shorter := _without_zeros(mantissa, exponent)) is not None:
        return shorter if shorter[2] is not ChannelType.I64 else (raw, scale, type_)
    return None if type_ is None else (raw, scale, type_)


def _without_zeros(mantissa: Integers, exponent: Integers) -> tuple[Integers, int, ChannelType] | None:
    """The digits that say something."""
    mantissa, exponent = mantissa.copy(), exponent.copy()
    while (zeros := (mantissa % 10 == 0) & (mantissa != 0)).any():
        mantissa[zeros] //= 10
        exponent[zeros] += 1
    scale = int(exponent[mantissa != 0].min(initial=_EXPONENT_LIMIT))
    raw = _scaled(mantissa, exponent, scale)
    type_ = None if raw is None else _smallest(raw)
    return None if raw is None or type_ is None else (raw, scale, type_)


def _to_18_digits(mantissa: Integers, exponent: Integers) -> tuple[Integers, int, ChannelType] | None:
    """Rounded to 18 digits of the largest value, as long as the smallest keeps enough of them."""
    sizes = np.log10(np.abs(mantissa[mantissa != 0]).astype(np.float64)) + exponent[mantissa != 0]
    scale = math.floor(float(sizes.max())) + 1 - _DIGITS
    if float(sizes.min()) < scale + _KEPT_DIGITS or abs(scale) > _EXPONENT_LIMIT:
        return None
    raw = [
        Number(digits, power - scale).rounded()
        for digits, power in zip(mantissa.tolist(), exponent.tolist(), strict=True)
    ]
    return np.array(raw, np.int64), scale, ChannelType.I64


def _scaled(mantissa: Integers, exponent: Integers, scale: int) -> Integers | None:
    """In units of 10 ** `scale`; None where that takes more than 64 bits."""
    shift = np.where(mantissa == 0, 0, exponent - scale)
    if abs(scale) > _EXPONENT_LIMIT or int(shift.max()) > _DIGITS:
        return None
    if (np.abs(mantissa.astype(np.float64)) * 10.0**shift > 9.2e18).any():
        return None
    scaled: Integers = mantissa * 10**shift
    return scaled


def _smallest(raw: Integers) -> ChannelType | None:
    """The lowest value of a type stands for missing."""
    low, high = int(raw.min()), int(raw.max())
    return next((type_ for type_ in _INTEGERS if type_.minimum < low and high <= type_.maximum), None)


def _floats(name: str, unit: str, parsed: Parsed, rows: Rows, notes: tuple[str, ...]) -> Series:
    pairs = zip(parsed.mantissa.tolist(), parsed.exponent.tolist(), parsed.kind.tolist(), strict=True)
    values = [float(f"{m}e{e}") if kind == Cell.NUMBER else math.nan for m, e, kind in pairs]
    with np.errstate(over="ignore"):
        meanings = np.array(values, np.float32).astype(np.float64)
    meanings[np.isinf(meanings)] = np.nan
    note = f"column {name}: values too far apart for an integer; they are rounded to 32-bit floats"
    return Series(Channel(name=name, unit=unit, type=ChannelType.F32), meanings[rows], (*notes, note))
