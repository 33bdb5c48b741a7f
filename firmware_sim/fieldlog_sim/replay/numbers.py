"""Columns of decimal numbers as whole numbers and a power of ten, so that every digit that was written is kept.

Rule of this module: numbers are read from their text and never pass through a binary fraction, unless no 64-bit
integer can hold a column. What changes a value is said.
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
from fieldlog_sim.replay.binary import as_multiples
from fieldlog_sim.replay.table import Column, Words

Integers: TypeAlias = npt.NDArray[np.int64]

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "--", "#n/a"})
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_SCIENTIFIC = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[eE]([+-]?\d{1,6})", re.ASCII)
_PLAIN_LINES = re.compile(rf"(?:(?:{_PLAIN.pattern})?\n)*", re.ASCII)
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
    """The cells of a column: what they are and, for numbers, mantissa and exponent. `word` is the first that is text;
    `rounded` numbers had more digits than are kept, as the first of them, `long`, has."""

    kind: npt.NDArray[np.uint8]
    mantissa: Integers
    exponent: Integers
    word: str = ""
    rounded: int = 0
    long: str = ""

    def count(self, kind: Cell) -> int:
        return int((self.kind == kind).sum())


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


def parse_column(column: Column, *, decimal_comma: bool) -> Parsed:
    pieces: list[Parsed] = []
    for cells in column.pieces:
        piece = _parse_plain(cells, decimal_comma=decimal_comma)
        if piece is None:
            return _parse_words(column.words(), decimal_comma=decimal_comma)
        pieces.append(piece)
    return Parsed(
        np.concatenate([piece.kind for piece in pieces]),
        np.concatenate([piece.mantissa for piece in pieces]),
        np.concatenate([piece.exponent for piece in pieces]),
    )


def _parse_plain(cells: Sequence[str], *, decimal_comma: bool) -> Parsed | None:
    """All cells at once; None unless they are plain numbers of few enough digits, or empty."""
    lines = "\n".join((*cells, ""))
    if decimal_comma:
        lines = lines.replace(",", ".")
    if lines.count("\n") != len(cells) or not _PLAIN_LINES.fullmatch(lines):
        return None
    characters = np.frombuffer(lines.encode("ascii"), np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    lengths = np.diff(ends, prepend=-1) - 1
    if int(lengths.max()) > _DIGITS:
        return None
    present = lengths > 0
    mantissa, exponent = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int64)
    mantissa[present] = np.fromstring(lines.replace(".", ""), np.int64, sep="\n")
    points = np.flatnonzero(characters == ord("."))
    rows = np.searchsorted(ends, points)
    exponent[rows] = points + 1 - ends[rows]
    return Parsed(np.where(present, Cell.NUMBER, Cell.MISSING).astype(np.uint8), mantissa, exponent)


def _parse_words(words: Words, *, decimal_comma: bool) -> Parsed:
    kind = np.full(len(words.texts), Cell.NUMBER, np.uint8)
    mantissa, exponent = np.zeros(len(words.texts), np.int64), np.zeros(len(words.texts), np.int64)
    rounded = np.zeros(len(words.texts), np.bool_)
    word = long = ""
    for place, text in enumerate(words.texts):
        try:
            number = parse_number(text.replace(",", ".") if decimal_comma else text)
            if number is None:
                kind[place] = Cell.MISSING
                continue
            mantissa[place], exponent[place] = limited = _limited(number)
            rounded[place] = limited is not number and _differ(number, limited)
            long = long or (text if rounded[place] else "")
        except ValueError:
            kind[place] = Cell.TEXT
            word = word or text
    index = words.index
    return Parsed(kind[index], mantissa[index], exponent[index], word, int(rounded[index].sum()), long)


def _limited(number: Number) -> Number:
    """With no more digits than a 64-bit integer holds; ValueError where no float holds it."""
    excess = len(str(abs(number.mantissa))) - _DIGITS
    if excess > 0:
        number = Number(Number(number.mantissa, -excess).rounded(), number.exponent + excess)
    if number.exponent > _FLOAT_EXPONENT:
        raise ValueError(number)
    return number if number.exponent > -_FLOAT_EXPONENT else Number(0, 0)


def _differ(number: Number, limited: Number) -> bool:
    if limited.mantissa == 0:
        return number.mantissa != 0
    return limited.mantissa * int(10 ** (limited.exponent - number.exponent)) != number.mantissa


def is_numeric(parsed: Parsed) -> bool:
    """Whether there are numbers, and next to no text."""
    numbers, texts = parsed.count(Cell.NUMBER), parsed.count(Cell.TEXT)
    return numbers > 0 and texts <= _MOSTLY * (numbers + texts)


def to_series(name: str, unit: str, parsed: Parsed) -> Series:
    """The smallest integer that holds the column and a value for missing."""
    present = parsed.kind == Cell.NUMBER
    mantissa, exponent = parsed.mantissa[present], parsed.exponent[present]
    notes = _text_notes(name, parsed)
    found = _as_written(mantissa, exponent) or _without_zeros(mantissa, exponent)
    if found is None:
        found = _to_18_digits(mantissa, exponent)
        if found is None:
            return _floats(name, unit, parsed, notes)
        rounding = f"column {name}: more digits than a 64-bit integer holds; values are rounded to 1e{found[1]}"
        notes = (*notes, rounding)
    elif parsed.rounded:
        notes = (*notes, _rounding_note(name, parsed))
    elif found[2] is ChannelType.I64 and (series := _multiples(name, unit, parsed, notes)) is not None:
        return series
    numbers, scale, type_ = found
    channel = Channel(name=name, unit=unit, type=type_, exponent=scale, missing=type_.minimum)
    return Series(channel, _with_missing(numbers, present, type_), notes)


def _with_missing(numbers: Integers, present: npt.NDArray[np.bool_], type_: ChannelType) -> Integers:
    raw = np.full(len(present), type_.minimum, np.int64)
    raw[present] = numbers
    return raw


def _multiples(name: str, unit: str, parsed: Parsed, notes: tuple[str, ...]) -> Series | None:
    """Multiples of a power of two, which take a shorter integer than their digits do."""
    present = parsed.kind == Cell.NUMBER
    found = as_multiples(parsed.mantissa[present], parsed.exponent[present])
    type_ = None if found is None else _smallest(found.counts)
    if found is None or type_ is None:
        return None
    if found.rounded:
        step = 2**found.bits
        notes = (
            *notes,
            f"column {name}: multiples of 1/{step}, written with fewer digits, are recorded as those multiples",
        )
    channel = Channel(
        name=name, unit=unit, type=type_, multiplier=5**found.bits, exponent=-found.bits, missing=type_.minimum
    )
    return Series(channel, _with_missing(found.counts, present, type_), notes)


def _rounding_note(name: str, parsed: Parsed) -> str:
    what = "1 cell has" if parsed.rounded == 1 else f"{parsed.rounded} cells have"
    return f"column {name}: {what} more digits than a 64-bit integer holds, such as {parsed.long[:40]!r}: rounded"


def _text_notes(name: str, parsed: Parsed) -> tuple[str, ...]:
    texts = parsed.count(Cell.TEXT)
    if not texts:
        return ()
    return (f"column {name}: {texts} cells that are no numbers, such as {parsed.word[:40]!r}, are missing values",)


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


def _floats(name: str, unit: str, parsed: Parsed, notes: tuple[str, ...]) -> Series:
    pairs = zip(parsed.mantissa.tolist(), parsed.exponent.tolist(), parsed.kind.tolist(), strict=True)
    values = [float(f"{m}e{e}") if kind == Cell.NUMBER else math.nan for m, e, kind in pairs]
    with np.errstate(over="ignore"):
        raw = np.array(values, np.float32).astype(np.float64)
    too_large = np.isinf(raw)
    raw[too_large] = np.nan
    note = f"column {name}: values too far apart for an integer; they are rounded to 32-bit floats"
    if too_large.any():
        note += f", and {int(too_large.sum())} that are too large for one are missing values"
    return Series(Channel(name=name, unit=unit, type=ChannelType.F32), raw, (*notes, note))
