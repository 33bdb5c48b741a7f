"""The house style: prints well, readable to colour-blind eyes, and text that comes from devices stays text.

Colours are those of Okabe and Ito; after a round of them the line is dashed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
DPI = 150


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours around the lines."""

    background: str
    text: str
    edge: str
    grid: str
    gap: str
    missing: str
    colours: tuple[str, ...]


LIGHT = Theme("#ffffff", "#222222", "#888888", "#e8e8e8", "#d0d0d0", "#999999", COLOURS)
DARK = Theme(
    "#16191d",
    "#d8dadd",
    "#7a8087",
    "#2b3036",
    "#3a4048",
    "#8a9098",
    ("#56B4E9", "#E69F00", "#2FC79A", "#E68FC0", "#F0E442", "#7FA8FF", "#FFFFFF"),
)
THEMES: Mapping[str, Theme] = {"light": LIGHT, "dark": DARK}


def rc(theme: Theme) -> dict[str, object]:
    """matplotlib's settings."""
    return {
        "font.family": "sans-serif",
        "font.size": 9.0,
        "text.usetex": False,
        "text.parse_math": False,
        "text.color": theme.text,
        "axes.facecolor": theme.background,
        "axes.labelcolor": theme.text,
        "axes.edgecolor": theme.edge,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.formatter.use_mathtext": False,
        "grid.color": theme.grid,
        "grid.linewidth": 0.6,
        "xtick.color": theme.text,
        "ytick.color": theme.text,
        "legend.frameon": False,
        "legend.fontsize": 9.0,
        "lines.solid_capstyle": "round",
        "figure.facecolor": theme.background,
        "savefig.facecolor": "auto",
        "svg.fonttype": "path",
        "svg.hashsalt": "fieldlog",
        "pdf.fonttype": 42,
    }


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


def dash(index: int) -> str:
    """Of the line of that number where colours do not do: another one for each of neighbours, for print in grey. As there
    are seven colours and four dashes no two of 28 lines have both."""
    return DASHES[index % len(DASHES)]


def clean(text: str, limit: int = 120) -> str:
    """Text from a device on one line: control, formatting and unpaired characters become spaces, long text is cut."""
    plain = "".join(" " if unicodedata.category(c) in _CONTROL or c in _NO_XML else c for c in text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
