"""Units by their usual signs, and text of devices on one line: as pictures and terminals show them.

Rule: what is written into files keeps the UCUM code of a unit; a sign is for people.
"""

from __future__ import annotations

import re
import unicodedata

_UNIT_SIGNS = {
    "Cel": "°C",
    "degC": "°C",
    "[degF]": "°F",
    "degF": "°F",
    "deg": "°",
    "Ohm": "Ω",
    "m/s2": "m/s²",
    "m2": "m²",
    "m3": "m³",
    "[mi_i]/h": "mph",
    "dB[SPL]": "dB SPL",
    "1": "",
}


_BRACKETED = re.compile(r"[\[{]([^\[\]{}]+)[\]}]")
_KIND = re.compile(r"_(?:i|us|br|av|tr|ap)(?=$|')")
_CONTROL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NO_XML = "\ufffe\uffff"
"""Characters that no SVG file may contain."""


def unit_sign(unit: str) -> str:
    """The usual sign of a UCUM unit code (Cel: °C); other codes as they are but for brackets and braces and what sets units
    of one name apart ([ft_i]: ft), u for micro as µ."""
    plain = clean(unit)
    if plain not in _UNIT_SIGNS:
        plain = _BRACKETED.sub(_unbracketed, plain)
    if len(plain) > 1 and plain[0] == "u" and plain[1] in "gmsVAWLT":
        return "µ" + plain[1:]
    return _UNIT_SIGNS.get(plain, plain)


def _unbracketed(match: re.Match[str]) -> str:
    return _UNIT_SIGNS.get(match[0]) or _KIND.sub("", match[1]).replace("'", "")


def clean(text: str, limit: int = 120) -> str:
    """Text from a device on one line: control, formatting and unpaired characters become spaces, long text is cut."""
    plain = "".join(" " if unicodedata.category(c) in _CONTROL or c in _NO_XML else c for c in text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def in_brackets(name: str, unit: str) -> str:
    """A channel's name with the sign of its unit, as over a plot's axis."""
    sign = unit_sign(unit)
    return f"{name} [{sign}]" if sign else name


_MEASURED = re.compile(r"(.* )?([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?) (\S+)", re.ASCII)


def with_sign(measured: str) -> str:
    """What a device says of a test that measured something, such as "temperature 19.5 Cel", with the usual sign."""
    match = _MEASURED.fullmatch(measured)
    return measured if match is None else f"{match[1] or ''}{match[2]} {unit_sign(match[3])}".rstrip()
