"""Decimal numbers that were multiples of a power of two before a program printed them, as what a converter counts is.

Rule of this module: every digit that was written stays. A number written in full must be such a multiple itself, and one
that was rounded must be what the multiple is when it is rounded as far.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fieldlog_protocol.blocks.schema import ChannelType

Integers: TypeAlias = npt.NDArray[np.int64]
Cell: TypeAlias = tuple[int, int]
"""Mantissa and power of ten."""

_MAX_BITS = 27  # 5 ** 27 is the largest multiplier that a channel can have
_SPARE = 16  # times that a rounded number's last digit is finer than the multiples, at least
_EVIDENCE = 8  # so many rounded numbers do not lie near multiples by chance
_LARGEST = ChannelType.I32.maximum
_SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Multiples:
    """Each number as a count of 2 ** -`bits`; `rounded` tells whether the file lacks digits of some."""

    bits: int
    counts: Integers
    rounded: bool


@dataclass(frozen=True, slots=True)
class _Precision:
    """The most digits that any number has, and the most decimals: where one has fewer, zeros at its end were left out."""

    digits: int
    decimals: int

    def padded(self, cell: Cell) -> Cell:
        mantissa, exponent = cell
        zeros = min(self.digits - len(str(abs(mantissa))), self.decimals + exponent)
        return mantissa * 10**zeros, exponent - zeros


def as_multiples(mantissa: Integers, exponent: Integers) -> Multiples | None:
    """In the coarsest steps of which all are multiples; None where there are none or counts take over 32 bits."""
    every = len(mantissa) // _SAMPLE + 1
    sample = _distinct(mantissa[::every], exponent[::every])
    first = next((bits for bits in range(_MAX_BITS + 1) if _counts(sample, bits) is not None), None)
    if first is None:
        return None
    cells = _distinct(mantissa, exponent)
    for bits in range(first, _MAX_BITS + 1):
        if (counts := _counts(cells, bits)) is not None:
            rounded = sum(1 for cell in cells if not _is_exact(cell, bits))
            each = (counts[cell] for cell in zip(mantissa.tolist(), exponent.tolist(), strict=True))
            found = Multiples(bits, np.fromiter(each, np.int64, len(mantissa)), rounded > 0)
            return None if 0 < rounded < _EVIDENCE else found
    return None


def _distinct(mantissa: Integers, exponent: Integers) -> set[Cell]:
    return set(zip(mantissa.tolist(), exponent.tolist(), strict=True))


def _counts(cells: Collection[Cell], bits: int) -> dict[Cell, int] | None:
    digits = max(len(str(abs(mantissa))) for mantissa, _ in cells)
    precision = _Precision(digits, -min(exponent for _, exponent in cells))
    counts: dict[Cell, int] = {}
    for cell in cells:
        count = _count(precision.padded(cell), bits)
        if count is None:
            return None
        counts[cell] = count
    return counts


def _count(cell: Cell, bits: int) -> int | None:
    """How many times 2 ** -`bits` it is; None where it is no multiple, or too large a one."""
    mantissa, exponent = cell
    unit = 10 ** max(0, -exponent)
    whole = mantissa * 10 ** max(0, exponent) << bits
    count = (2 * whole + unit) // (2 * unit)
    off = abs(whole - count * unit)
    rounds_to_it = 2 * off <= 1 << bits and _SPARE << bits <= unit
    return count if abs(count) <= _LARGEST and (off == 0 or rounds_to_it) else None


def _is_exact(cell: Cell, bits: int) -> bool:
    mantissa, exponent = cell
    return exponent >= 0 or (mantissa << bits) % 10**-exponent == 0
