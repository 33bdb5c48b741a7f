"""Calibrations of a logger's channels: what they are, setting them, and finding them from reference points.

Rule: a calibration is a polynomial of the value that the sensor gives, in the channel's unit, its constant first. The
device keeps it and describes its log with it; whoever reads values applies it, and the raw numbers stay.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fieldlog.config.channels import NamedChannel, coefficients, find_channel, holds
from fieldlog.config.model import Coefficients
from fieldlog.device import Device
from fieldlog.recording import read_streams
from fieldlog.text import count
from fieldlog_protocol.blocks.schema import MAX_COEFFICIENTS
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import Capability
from fieldlog_protocol.errors import UsageError, VerificationError

_DIGITS = 12
"""Of a coefficient that was found from points: more are noise, and are in the way of whoever writes them down."""


@dataclass(frozen=True, slots=True)
class Point:
    """What the sensor measured, and what it should have, in the channel's unit."""

    measured: float
    reference: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration found from points. `residuals` are what is left: calibrated value less reference, in their order."""

    coefficients: Coefficients
    residuals: tuple[float, ...]

    @property
    def rms(self) -> float:
        return math.sqrt(sum(residual**2 for residual in self.residuals) / len(self.residuals))


async def set_calibration(device: Device, where: NamedChannel, coefficients: Sequence[float]) -> Coefficients:
    """Set a calibration, none for no coefficients, and answer what the device keeps now."""
    wanted = checked(where, coefficients)
    info = await device.logger_info()
    if Capability.CALIBRATE not in info.capabilities:
        raise UsageError(f"{device.name} keeps no calibrations. Nothing was changed")
    message = logger.CalibrateRequest(id=secrets.randbits(32), s=where.stream_id, c=where.position, cal=wanted)
    await device.request(logger.CALIBRATE, message)
    kept = find_channel(str(where.key), await read_streams(device)).channel.calibration
    if not holds(kept, wanted):
        raise VerificationError(
            f"{device.name} was told to calibrate {where.key} with {polynomial_text(wanted)} and keeps "
            f"{polynomial_text(kept)}. Repeat the command, and see to the device's firmware if it says so again"
        )
    return kept


def checked(where: NamedChannel, numbers: Sequence[float]) -> Coefficients:
    """The coefficients, if a channel can have them and readings are still told apart by them."""
    if numbers and not any(numbers[1:]):
        raise UsageError(
            f"{numbers[0]:g} alone would make every reading {numbers[0]:g}: an offset is {numbers[0]:g} 1. Nothing was changed"
        )
    return coefficients(str(where.key), where.channel, list(numbers))


def fit(points: Sequence[Point], degree: int | None = None) -> Fit:
    """One point gives an offset, two a line, more the line of least squares, or the polynomial of that degree.

    Degree 0 is an offset alone: the slope stays 1.
    """
    chosen = min(1, len(points) - 1) if degree is None else degree
    _require_enough(points, chosen)
    found = _offset(points) if chosen == 0 else _least_squares(points, chosen)
    return Fit(found, tuple(evaluate(found, point.measured) - point.reference for point in points))


def _require_enough(points: Sequence[Point], degree: int) -> None:
    if any(not math.isfinite(number) for point in points for number in (point.measured, point.reference)):
        raise UsageError("reference points are finite numbers. Nothing was changed")
    distinct = len({point.measured for point in points})
    if distinct < degree + 1:
        raise UsageError(
            f"a calibration of degree {degree} needs {degree + 1} points of different measured values, and here "
            f"{'is' if distinct == 1 else 'are'} {distinct}. Nothing was changed; give more points or a lower degree"
        )
    if degree >= MAX_COEFFICIENTS:
        raise UsageError(f"a calibration is of degree {MAX_COEFFICIENTS - 1} at most, not {degree}")


def _offset(points: Sequence[Point]) -> Coefficients:
    return (_rounded(sum(point.reference - point.measured for point in points) / len(points)), 1.0)


def _least_squares(points: Sequence[Point], degree: int) -> Coefficients:
    """On the points' own range, which keeps the equations well behaved, and then for the values as they are."""
    from numpy.polynomial import Polynomial

    found = Polynomial.fit([point.measured for point in points], [point.reference for point in points], degree)
    numbers: list[float] = found.convert().coef.tolist()
    return tuple(map(_rounded, [*numbers, *[0.0] * (degree + 1 - len(numbers))]))


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def evaluate(polynomial: Sequence[float], value: float) -> float:
    """The calibrated value; without coefficients the value itself."""
    if not polynomial:
        return value
    result = 0.0
    for coefficient in reversed(polynomial):
        result = result * value + coefficient
    return result


def compose(outer: Sequence[float], inner: Sequence[float]) -> Coefficients:
    """What calibrates as `inner` and then `outer` do."""
    result: list[float] = [0.0]
    for coefficient in reversed(outer):
        result = _product(result, inner)
        result[0] += coefficient
    while len(result) > 2 and result[-1] == 0:
        result.pop()
    if len(result) > MAX_COEFFICIENTS:
        raise UsageError(
            f"on top of the present calibration that would be one of {count(len(result), 'coefficient')}, and there are "
            f"{MAX_COEFFICIENTS} at most. Nothing was changed; measure without the calibration and give --uncalibrated"
        )
    return tuple(map(_rounded, result))


def _product(one: Sequence[float], other: Sequence[float]) -> list[float]:
    result = [0.0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            result[i + j] += a * b
    return result


def polynomial_text(polynomial: Sequence[float]) -> str:
    """For people: the coefficients as they are given, constant first."""
    return " ".join(f"{number:.{_DIGITS}g}" for number in polynomial) or "none"
