"""Values of settings: between bytes on the wire, values in Python and words on a command line.

Rule: no I/O. Bytes are little endian (FL settings schema); a value that does not fit is refused with a sentence that
says what would, before anything is written.
"""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

from fieldlog.config.units import is_converted, quantity, unit_name
from fieldlog_protocol.commands.logger import SettingFlag, SettingInfo, SettingType
from fieldlog_protocol.errors import ProtocolError, UsageError

Value = bool | int | float | str | bytes

_FORMATS = {SettingType.I32: "<i", SettingType.U32: "<I", SettingType.I64: "<q", SettingType.F32: "<f"}
_INTEGERS = (SettingType.I32, SettingType.U32, SettingType.I64)
SWITCH_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
_LIMIT = 2**64
_MOST_SHOWN = 80
"""Of a value that does not fit; its beginning is enough to know it by."""
_FLOAT_LIMIT = 2**128  # where 32-bit floats end; larger whole numbers cannot even be compared as floats
LEAST_STEP = 2.0**-126  # the smallest 32-bit float that has all its digits
_F32_PRECISION = Fraction(1, 2**22)  # a step is reckoned in 32 bits on the device, and rounded twice
HEX = "hex:"
"""Before bytes in a file, so that they are not taken for text."""

MAX_CHOICES = 256
"""A choice is one byte."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the device describes it. `low` and `high` bound numbers, and lengths in bytes of text and bytes.

    `form`: how numbers and choices lie in bytes (as `struct` says it) on a stock device that has other sizes than the FL
    group; empty for the type's own.
    """

    key: str
    type: SettingType
    unit: str
    low: int | float | None
    high: int | float | None
    step: int | float | None
    default: bytes | None
    flags: SettingFlag
    text: str
    choices: tuple[str, ...]
    form: str = ""

    @property
    def packing(self) -> str:
        """How a number or a choice lies in bytes."""
        return self.form or _FORMATS.get(self.type, "<B")

    @property
    def read_only(self) -> bool:
        return bool(self.flags & SettingFlag.READ_ONLY)


def setting_of(info: SettingInfo, choices: tuple[str, ...]) -> Setting:
    """The setting that a schema entry declares; raises ProtocolError for an unknown type and limits that make no sense."""
    if info.t not in SettingType.__members__.values():
        raise ProtocolError(f"the setting {info.k!r} has type {info.t}, which this version of fieldlog does not know")
    kind = SettingType(info.t)
    _require_sense(info, kind, choices)
    return Setting(
        key=info.k,
        type=kind,
        unit=info.u or "",
        low=_limit(kind, info.lo),
        high=_limit(kind, info.hi),
        step=_limit(kind, info.step),
        default=info.d,
        flags=SettingFlag(info.f or 0),
        text=info.x or "",
        choices=choices,
    )


def _require_sense(info: SettingInfo, kind: SettingType, choices: tuple[str, ...]) -> None:
    numbers = [number for number in (info.lo, info.hi, info.step) if number is not None]
    whole = kind is not SettingType.F32
    most = _LIMIT if whole else _FLOAT_LIMIT
    if any(not -most < number < most or (whole and number != int(number)) for number in numbers):
        raise _senseless(info, "its limits are no numbers that it could have")
    if info.lo is not None and info.hi is not None and info.lo > info.hi:
        raise _senseless(info, f"its lowest value {info.lo} is above its highest {info.hi}")
    if info.step and info.step < LEAST_STEP:
        raise _senseless(info, f"its step is {info.step}")
    if len(choices) > MAX_CHOICES:
        raise _senseless(info, f"it has {len(choices)} choices, and one byte can name {MAX_CHOICES}")


def _senseless(info: SettingInfo, why: str) -> ProtocolError:
    return ProtocolError(f"the device's description of its setting {info.k!r} makes no sense: {why}")


def _limit(kind: SettingType, number: float | None) -> int | float | None:
    """Whole numbers as such, however the device sent them, and 32-bit floats with the digits that they had."""
    if number is None or kind is not SettingType.F32:
        return None if number is None else int(number)
    try:
        exact = struct.unpack("<f", struct.pack("<f", number))[0] == number
    except OverflowError:
        return number
    return shortest_f32(number) if exact and isinstance(number, float) else number


def decode(setting: Setting, data: bytes) -> Value:
    """The value that the device's bytes stand for; a choice is its name."""
    kind = setting.type
    try:
        if kind in _FORMATS:
            number: int | float = struct.unpack(setting.packing, data)[0]
            return _shortest(setting, number)
        if kind is SettingType.TEXT:
            return data.decode()
        if kind is SettingType.BOOL:
            return bool({b"\0": 0, b"\1": 1}[data])
        if kind is SettingType.CHOICE:
            position: int = struct.unpack(setting.packing, data)[0]
            return setting.choices[position]
    except (struct.error, UnicodeDecodeError, LookupError, ValueError):
        raise ProtocolError(
            f"the device's value of {setting.key!r} is not of its own type {kind.name.lower()}: {data.hex() or 'no bytes'}"
        ) from None
    return data


def encode(setting: Setting, value: Value) -> bytes:
    """The bytes for a value; raises UsageError that says what the setting takes."""
    kind = setting.type
    if setting.read_only:
        raise UsageError(f"{setting.key} is read only: leave it out")
    if kind is SettingType.BOOL:
        return _bool(setting, value)
    if kind is SettingType.CHOICE:
        return _choice(setting, value)
    if kind in _FORMATS:
        return _number(setting, value)
    return _sized(setting, value)


def encode_given(setting: Setting, item: object) -> bytes:
    """The bytes for what a file or a command line gives; raises UsageError that quotes it as it was given."""
    value = value_of(setting, item)
    try:
        return encode(setting, value)
    except _Unfit:
        if not isinstance(item, str) or setting.type not in _FORMATS:
            raise
        own = f"{_value_text(value)} {unit_name(setting.unit)}".rstrip()
        meaning = f"that is {own}, and " if is_converted(item, setting.unit) else ""
        raise UsageError(f"{setting.key} cannot be {_value_text(item)}: {meaning}it takes {allowed(setting)}") from None


def parse_words(setting: Setting, words: str) -> Value:
    """The value that words give, by the setting's type: numbers with or without a unit, bytes as hexadecimal digits."""
    kind = setting.type
    if kind is SettingType.BOOL and words.strip().lower() in SWITCH_WORDS:
        return SWITCH_WORDS[words.strip().lower()]
    if kind in _INTEGERS:
        return _whole_number(setting, words)
    if kind is SettingType.F32:
        return _real_number(setting, words)
    if kind is SettingType.BYTES:
        try:
            return bytes.fromhex(words.strip().removeprefix(HEX))
        except ValueError:
            raise _unfit(setting, words) from None
    return words


def _whole_number(setting: Setting, words: str) -> int:
    try:
        return int(_ascii(words), 0)
    except ValueError:
        number = _quantity(setting, words)
    if number.denominator != 1:
        try:
            about = f"that is {float(number):g} {unit_name(setting.unit)}".rstrip()
        except OverflowError:
            raise _unfit(setting, words) from None
        raise UsageError(f"{setting.key} cannot be {_value_text(words)}: {about}, and it takes {allowed(setting)}")
    return int(number)


def _real_number(setting: Setting, words: str) -> float:
    with suppress(ValueError):
        return float(_ascii(words))  # -0.0 too
    try:
        return float(_quantity(setting, words))
    except OverflowError:
        raise _unfit(setting, words) from None


def _ascii(words: str) -> str:
    """Digits of other scripts are no numbers here, as they are none in TOML."""
    if not words.isascii():
        raise ValueError(words)
    return words


def _quantity(setting: Setting, words: str) -> Fraction:
    try:
        return quantity(words, setting.unit)
    except UsageError as error:
        raise UsageError(
            f"{setting.key} cannot be {_value_text(words)}: {error}. It takes {allowed(setting)}"
        ) from error


def value_of(setting: Setting, item: object) -> Value:
    """The value that a file gives, by the setting's type; texts are words as on a command line."""
    if isinstance(item, str):
        return parse_words(setting, item)
    if isinstance(item, (bool, int, float)):
        return item
    kind = "list" if isinstance(item, list) else "table" if isinstance(item, dict) else "date or time"
    raise UsageError(f"{setting.key} cannot be a {kind}: it takes {allowed(setting)}")


def allowed(setting: Setting) -> str:
    """What the setting takes, in words."""
    if setting.type is SettingType.BOOL:
        return "true or false"
    if setting.type is SettingType.CHOICE:
        return "one of " + ", ".join(setting.choices)
    unit = f" {unit_name(setting.unit)}".rstrip()
    if setting.type in _FORMATS:
        step = f" in steps of {setting.step}" if setting.step else ""
        kind = "a number" if setting.type is SettingType.F32 else "a whole number"
        return f"{kind}{_range(setting)}{unit}{step}"
    kind = "text" if setting.type is SettingType.TEXT else "hexadecimal digits"
    return f"{kind}, length{_range(setting) or ' any'} bytes"


def _shortest(setting: Setting, number: float) -> float:
    return shortest_f32(number) if setting.packing == _FORMATS[SettingType.F32] else number


def shortest_f32(number: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 0.1, not 0.10000000149011612."""
    if not math.isfinite(number):
        return number
    tries = (float(f"{number:.{digits}g}") for digits in range(6, 10))
    return next(short for short in tries if struct.pack("<f", short) == struct.pack("<f", number))


def _bool(setting: Setting, value: Value) -> bytes:
    if not isinstance(value, bool):
        raise _unfit(setting, value)
    return bytes([value])


def _choice(setting: Setting, value: Value) -> bytes:
    if not isinstance(value, str) or value not in setting.choices:
        raise _unfit(setting, value)
    return struct.pack(setting.packing, setting.choices.index(value))


def _number(setting: Setting, value: Value) -> bytes:
    whole = setting.type in _INTEGERS
    if isinstance(value, (bool, str, bytes)) or (whole and not isinstance(value, int)):
        raise _unfit(setting, value)
    try:
        data = struct.pack(setting.packing, value)
    except (struct.error, OverflowError):
        raise _unfit(setting, value) from None
    # and what the device would have of it: 0.1 is within 0.1 to 1 as 32-bit floats too
    if not _between(setting, value) or not _within(
        setting, _shortest(setting, struct.unpack(setting.packing, data)[0])
    ):
        raise _unfit(setting, value)
    return data


def _sized(setting: Setting, value: Value) -> bytes:
    if setting.type is SettingType.TEXT and isinstance(value, str):
        data = _utf8(setting, value)
    elif setting.type is SettingType.BYTES and isinstance(value, bytes):
        data = value
    else:
        raise _unfit(setting, value)
    if not _within(setting, len(data)):
        raise _unfit(setting, value)
    return data


def _utf8(setting: Setting, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # bytes on a command line that are no UTF-8
        raise UsageError(f"{setting.key} cannot be {text!a}: that is no Unicode text") from None


def _within(setting: Setting, number: float) -> bool:
    return _between(setting, number) and _on_step(number, setting.low or 0, setting.step)


def _between(setting: Setting, number: float) -> bool:
    if isinstance(number, float) and not math.isfinite(number):
        return False
    return not (setting.low is not None and number < setting.low) and not (
        setting.high is not None and number > setting.high
    )


def _on_step(number: float, low: float, step: float | None) -> bool:
    if not step:
        return True
    offset = Fraction(number) - Fraction(low)  # exact: floats would overflow between limits that are far apart
    if isinstance(number, int) and isinstance(low, int) and isinstance(step, int):
        return offset % step == 0
    tolerance = Fraction(max(abs(number), abs(low), step)) * _F32_PRECISION
    return abs(offset - round(offset / Fraction(step)) * Fraction(step)) <= tolerance


def _range(setting: Setting) -> str:
    if setting.low is not None and setting.high is not None:
        return f" from {setting.low} to {setting.high}"
    if setting.low is not None:
        return f" of at least {setting.low}"
    return "" if setting.high is None else f" of at most {setting.high}"


class _Unfit(UsageError):
    """The value is none that the setting takes."""


def _unfit(setting: Setting, value: Value) -> UsageError:
    return _Unfit(f"{setting.key} cannot be {_value_text(value)}: it takes {allowed(setting)}")


def _value_text(value: Value) -> str:
    if isinstance(value, (str, bytes)) and len(value) > _MOST_SHOWN:
        return f"{_value_text(value[:_MOST_SHOWN])}..."
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > _FLOAT_LIMIT:
        return "a number of so many digits"
    return repr(value)
