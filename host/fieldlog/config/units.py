"""Quantities as people write them, "10 min" or "3.5 degC", in the unit that a device wants.

Rule: units are UCUM codes, as devices name them, or the usual spellings of them; all reckoning is exact. A table serves
here: general unit libraries take a quarter of a second to load and know no UCUM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from fieldlog_protocol.errors import UsageError

Dimension = Mapping[str, int]
"""Powers of base units; none: a plain number."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A value in it, times `factor` and plus `offset`, is a value in base units."""

    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)


def _unit(factor: str, offset: str = "0", **powers: int) -> Unit:
    return Unit(powers, Fraction(factor), Fraction(offset))


_METRIC = {
    "m": _unit("1", m=1),
    "s": _unit("1", s=1),
    "g": _unit("1/1000", kg=1),
    "A": _unit("1", A=1),
    "K": _unit("1", K=1),
    "mol": _unit("1", mol=1),
    "cd": _unit("1", cd=1),
    "L": _unit("1/1000", m=3),
    "Hz": _unit("1", s=-1),
    "N": _unit("1", kg=1, m=1, s=-2),
    "Pa": _unit("1", kg=1, m=-1, s=-2),
    "bar": _unit("100000", kg=1, m=-1, s=-2),
    "m[Hg]": _unit("133322.387", kg=1, m=-1, s=-2),
    "J": _unit("1", kg=1, m=2, s=-2),
    "W": _unit("1", kg=1, m=2, s=-3),
    "V": _unit("1", kg=1, m=2, s=-3, A=-1),
    "Ohm": _unit("1", kg=1, m=2, s=-3, A=-2),
    "S": _unit("1", kg=-1, m=-2, s=3, A=2),
    "F": _unit("1", kg=-1, m=-2, s=4, A=2),
    "H": _unit("1", kg=1, m=2, s=-2, A=-2),
    "C": _unit("1", A=1, s=1),
    "T": _unit("1", kg=1, s=-2, A=-1),
    "lx": _unit("1", cd=1, m=-2),
    "bit": _unit("1", bit=1),
    "By": _unit("8", bit=1),
    "Bd": _unit("1", Bd=1),
}
"""Units that take prefixes."""

_OTHERS = {
    "1": _unit("1"),
    "%": _unit("1/100"),
    "[ppth]": _unit("1/1000"),
    "[ppm]": _unit("1/1000000"),
    "[ppb]": _unit("1/1000000000"),
    "min": _unit("60", s=1),
    "h": _unit("3600", s=1),
    "d": _unit("86400", s=1),
    "wk": _unit("604800", s=1),
    "Cel": _unit("1", "273.15", K=1),
    "[degF]": _unit("5/9", "229835/900", K=1),
    "deg": _unit("1", deg=1),
    "[ft_i]": _unit("0.3048", m=1),
    "[in_i]": _unit("0.0254", m=1),
    "[mi_i]": _unit("1609.344", m=1),
    "[nmi_i]": _unit("1852", m=1),
    "[kn_i]": _unit("1852/3600", m=1, s=-1),
    "[g]": _unit("9.80665", m=1, s=-2),
    "[psi]": _unit("6894.757293168", kg=1, m=-1, s=-2),
    "[in_i'Hg]": _unit("3386.3886298", kg=1, m=-1, s=-2),
    "atm": _unit("101325", kg=1, m=-1, s=-2),
}

_PREFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "c": Fraction(1, 100),
    "d": Fraction(1, 10),
    "h": Fraction(100),
    "k": Fraction(1000),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
}

_SPELLINGS = {
    "degC": "Cel",
    "°C": "Cel",
    "℃": "Cel",
    "degF": "[degF]",
    "°F": "[degF]",
    "℉": "[degF]",
    "°": "deg",
    "w": "wk",
    "percent": "%",
    "ppm": "[ppm]",
    "ppb": "[ppb]",
    "baud": "Bd",
    "psi": "[psi]",
    "mmHg": "mm[Hg]",
    "inHg": "[in_i'Hg]",
    "ft": "[ft_i]",
    "in": "[in_i]",
    "mi": "[mi_i]",
    "nmi": "[nmi_i]",
    "kn": "[kn_i]",
    "mph": "[mi_i]/h",
    "ohm": "Ohm",
    "kohm": "kOhm",
    "Ω": "Ohm",
    "kΩ": "kOhm",
    "MΩ": "MOhm",
    "Ah": "A.h",
    "mAh": "mA.h",
    "Wh": "W.h",
    "l": "L",
    "ml": "mL",
    **{f"{prefix}B": f"{prefix}By" for prefix in ("", "k", "M", "G", "Ki", "Mi", "Gi")},
}
"""What people write for a UCUM code."""

_NAMES = {
    _SPELLINGS[name]: name
    for name in (
        *(
            "degC",
            "degF",
            "w",
            "ppm",
            "ppb",
            "baud",
            "psi",
            "mmHg",
            "inHg",
            "ft",
            "in",
            "mi",
            "nmi",
            "kn",
            "ohm",
            "kohm",
        ),
        *("Ah", "mAh", "Wh", "B", "kB", "MB", "GB", "KiB", "MiB", "GiB"),
    )
} | {"[g]": "g"}
"""What is shown for a UCUM code."""

_USUAL = (
    *("us", "ms", "s", "min", "h", "d", "w", "degC", "degF", "K", "uV", "mV", "V", "uA", "mA", "A", "mW", "W"),
    *(
        "%",
        "ppm",
        "Pa",
        "hPa",
        "kPa",
        "bar",
        "mbar",
        "psi",
        "mmHg",
        "inHg",
        "mm",
        "cm",
        "m",
        "km",
        "ft",
        "Hz",
        "kHz",
        "MHz",
        "1/min",
    ),
    *("B", "kB", "MB", "KiB", "MiB", "baud", "g", "kg", "deg", "m/s", "km/h", "kn", "ohm", "kohm", "lx", "mAh", "Ah"),
    *("m/s2", "L", "mL", "J", "uT", "uS/cm", "mS/cm", "g/m3", "[g]"),
)
"""What is offered where a unit does not fit."""

_FACTOR = re.compile(r"([./]?)((?:[^\W\d_]|[%°'℃℉]|\[[^\]]+\]|\{[^}]*\})+|1)([+-]?\d)?")
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?"
_QUANTITY = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<unit>\D.*)?", re.ASCII | re.DOTALL)
_PART = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]+)", re.ASCII)
_MOST_DIGITS = 400
_TIME = {"s": 1}


def quantity(words: str, unit: str) -> Fraction:
    """The number in `unit` that the words give; a number alone is in that unit already.

    Raises UsageError, with the units that fit, for another quantity; durations may have parts, "2h30min".
    """
    words = words.strip()
    match = _QUANTITY.fullmatch(words) if len(words) <= _MOST_DIGITS else None
    if match is None:
        raise UsageError(f"{_shortened(words)!r} is no number")
    given = (match["unit"] or "").strip()
    if any(map(str.isdigit, given)) and _is_time(unit) and (parts := _parts(words)):
        return sum((convert(number, name, unit) for number, name in parts), Fraction(0))
    number = Fraction(match["number"])
    return convert(number, given, unit) if given else number


def is_converted(words: str, unit: str) -> bool:
    """Whether the words give a quantity in another unit than the device's."""
    match = _QUANTITY.fullmatch(words.strip())
    return match is not None and bool(match["unit"]) and code(match["unit"]) != code(unit)


def convert(number: Fraction, given: str, unit: str) -> Fraction:
    """A number of one unit in another; raises UsageError where they do not measure the same."""
    if code(given) == code(unit):
        return number
    wanted = unit_of(unit)
    found = unit_of(given)
    if wanted is not None and given == "g" and wanted.dimension == _OTHERS["[g]"].dimension:
        found = _OTHERS["[g]"]  # people do not mean grams
    if wanted is None or found is None or found.dimension != wanted.dimension or not unit:
        raise UsageError(_misfit(given, unit, known=found is not None))
    return (number * found.factor + found.offset - wanted.offset) / wanted.factor


def _misfit(given: str, unit: str, *, known: bool) -> str:
    if not unit_name(unit):
        return f"it has no unit, so {given!r} does not fit: write the number alone"
    what = f"{given!r} does not fit" if known else f"{given!r} is no unit that fits"
    return f"{what}: write {_either(fitting(unit))}"


def _either(names: Sequence[str]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def fitting(unit: str) -> list[str]:
    """The usual units that measure the same, or else the unit alone."""
    wanted = unit_of(unit)
    if wanted is None or not unit:
        return [unit_name(unit)]
    names = [
        unit_name(name)
        for name in _USUAL
        if (usual := unit_of(name)) is not None and usual.dimension == wanted.dimension
    ]
    return (
        names
        if unit_name(unit) in names or any(code(name) == code(unit) for name in names)
        else [unit_name(unit), *names]
    )


def measuring_alike(unit: str) -> list[str]:
    """All single units that `convert` takes for this one, prefixed ones and usual spellings included."""
    wanted = unit_of(unit)
    dimension = None if wanted is None or not unit else wanted.dimension
    gravity = ["g"] if dimension == _OTHERS["[g]"].dimension else []
    fit = (
        name for name in (unit, *_SPELLINGS, *_single_units()) if code(name) == code(unit) or _measures(name, dimension)
    )
    return [way for name in dict.fromkeys([*fit, *gravity]) for way in _with_micro(name)]


def compound_pattern() -> str:
    """A regular expression of units that are made of others (m/s, kg.m-3), whatever they measure."""
    prefixed = f"(?:{_either_of([*_PREFIXES, 'µ', 'μ'])})?(?:{_either_of(_METRIC)})"
    atom = f"(?:{prefixed}|{_either_of([*_OTHERS, *_SPELLINGS])})"
    power = r"[+-]?\d"
    return f"(?:/{atom}(?:{power})?|{atom}{power}|{atom}(?:{power})?[./]{atom}(?:{power})?)(?:[./]{atom}(?:{power})?)*"


def _single_units() -> Iterator[str]:
    yield from _OTHERS
    yield from _METRIC
    yield from (f"{prefix}{unit}" for prefix in _PREFIXES for unit in _METRIC)


def _measures(name: str, dimension: Dimension | None) -> bool:
    known = unit_of(name)
    return known is not None and known.dimension == dimension


def _with_micro(name: str) -> Iterator[str]:
    yield name
    if "u" in name:
        yield from (name.replace("u", sign) for sign in ("µ", "μ"))


def _either_of(names: Iterable[str]) -> str:
    return "|".join(escaped(name) for name in sorted(names, key=len, reverse=True))


def escaped(text: str) -> str:
    """Just what ECMAScript takes with a backslash before it: Python's own escapes are more than that."""
    return "".join(f"\\{char}" if char in r"\^$.*+?()[]{}|/" else char for char in text)


def unit_name(unit: str) -> str:
    """How people write a device's unit, and may write it here too; what only says what is counted is no unit."""
    return _NAMES.get(unit, "" if unit.startswith("{") and unit.endswith("}") else unit)


def code(unit: str) -> str:
    """The UCUM code of a unit as people write it."""
    plain = unit.strip().replace("µ", "u").replace("μ", "u")
    return _SPELLINGS.get(plain, plain)


@lru_cache(maxsize=512)
def unit_of(unit: str) -> Unit | None:
    """The unit of a code or spelling; None for one that is not known, and for what no other unit could be given for."""
    whole = code(unit)
    if whole in _OTHERS:
        return _OTHERS[whole]
    product = Unit({}, Fraction(1))
    end = 0
    for match in _FACTOR.finditer(whole):
        factor = _atom(code(match[2]))
        if match.start() != end or factor is None or factor.offset or (match[1] != "/" and bool(match[1]) != bool(end)):
            return None
        power = int(match[3] or 1) * (-1 if match[1] == "/" else 1)
        product = _times(product, factor, power)
        end = match.end()
    return product if whole and end == len(whole) else None


def _times(product: Unit, factor: Unit, power: int) -> Unit:
    dimension = dict(product.dimension)
    for base, exponent in factor.dimension.items():
        dimension[base] = dimension.get(base, 0) + exponent * power
    return Unit({base: power for base, power in dimension.items() if power}, product.factor * factor.factor**power)


def _atom(symbol: str) -> Unit | None:
    known = _METRIC.get(symbol) or _OTHERS.get(symbol)
    if known is not None:
        return known
    for prefix, size in _PREFIXES.items():
        base = _METRIC.get(symbol.removeprefix(prefix)) if symbol.startswith(prefix) else None
        if base is not None:
            return Unit(base.dimension, base.factor * size)
    return None


def _is_time(unit: str) -> bool:
    known = unit_of(unit)
    return known is not None and known.dimension == _TIME


def _parts(words: str) -> list[tuple[Fraction, str]]:
    """The parts of a duration; none where it has only one, or is none."""
    found = list(_PART.finditer(words))
    whole = "".join(match[0] for match in found) == words
    return [(Fraction(match[1]), match[2]) for match in found] if whole and len(found) > 1 else []


def _shortened(words: str) -> str:
    return words if len(words) <= 40 else words[:40] + "..."
