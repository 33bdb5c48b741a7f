"""What stands in the cells: values and names from devices as text.

Rule of this module: numbers are formatted from what the device counted, never by way of a rounded one. Only those of
a calibrated channel are reckoned, and have as many digits as still mean something.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Literal

from fieldlog_protocol.blocks.schema import Channel, ChannelType

if TYPE_CHECKING:
    import numpy.typing as npt

TimeUnit = Literal["s", "ms", "us"]

_FORMULA_STARTS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # the wide forms count in some spreadsheets
_EXACT_IN_FLOAT = 2**51
_DIGITS, _DIGITS_OF_F32 = 12, 8


def value_texts(channel: Channel, raw: npt.NDArray[Any]) -> list[str]:
    """The values of one channel, exactly, with the decimals of its scale; empty where missing."""
    if channel.calibration:
        return _calibrated_texts(channel, raw)
    if channel.type.is_float:
        return _float_texts(channel, raw)
    if channel.choices:
        texts = [_choice(channel, value) for value in raw.tolist()]
    elif _largest(channel, raw) <= _EXACT_IN_FLOAT:
        texts = list(map(f"%.{channel.decimals}f".__mod__, (channel.values(raw) + 0.0).tolist()))  # no -0.0
    else:
        texts = [_exact(value * channel.multiplier + channel.offset, channel.exponent) for value in raw.tolist()]
    if channel.missing is not None:
        for index in (raw == channel.missing).nonzero()[0].tolist():
            texts[index] = ""
    return texts


def _largest(channel: Channel, raw: npt.NDArray[Any]) -> int:
    extremes = (int(raw.min()), int(raw.max())) if len(raw) else (0, 0)
    power: int = 10 ** max(channel.exponent, 0)
    return max(abs(value * channel.multiplier + channel.offset) for value in extremes) * power


def _exact(numerator: int, exponent: int) -> str:
    """numerator * 10 ** exponent in digits, without rounding."""
    if exponent >= 0:
        return str(numerator * 10**exponent)
    digits = str(abs(numerator)).rjust(1 - exponent, "0")
    return f"{'-' if numerator < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"


def _float_texts(channel: Channel, raw: npt.NDArray[Any]) -> list[str]:
    """The shortest text that reads back as the same number, in the precision in which it was measured."""
    scaled = (channel.multiplier, channel.offset, channel.exponent) != (1, 0, 0)
    texts = list(map(repr, channel.values(raw).tolist())) if scaled else list(map(str, raw))
    return ["" if text == "nan" else text for text in texts]


def _calibrated_texts(channel: Channel, raw: npt.NDArray[Any]) -> list[str]:
    """Without the noise of the last binary digits. What was reckoned in float64 beforehand has as many as integers."""
    import numpy as np

    digits = _DIGITS_OF_F32 if raw.dtype == np.float32 else _DIGITS
    texts = [f"{value:.{digits}g}" for value in channel.values(raw).tolist()]
    return ["" if text == "nan" else text for text in texts]


def _choice(channel: Channel, value: int) -> str:
    known = channel.type is ChannelType.ENUM and value < len(channel.choices)
    return plain(channel.choices[value]) if known else str(value)


def plain(text: str) -> str:
    """Text from a device that is only text: no control characters, and nothing a spreadsheet takes for a formula."""
    shown = printable(text)
    return "'" + shown if shown.lstrip()[:1] in _FORMULA_STARTS and shown.strip() else shown


def printable(text: str) -> str:
    """Text from a device without characters that control anything."""
    return "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
