"""The house style: prints well, readable to colour-blind eyes, and text that comes from devices stays text.

Colours are those of Okabe and Ito; after a round of them the line is dashed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
GAP_COLOUR = "#D0D0D0"
MISSING_COLOUR = "#999999"
DPI = 150
TEXT_COLOUR = "#222222"

RC: Mapping[str, object] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.usetex": False,
    "text.parse_math": False,
    "text.color": TEXT_COLOUR,
    "axes.labelcolor": TEXT_COLOUR,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.6,
    "xtick.color": TEXT_COLOUR,
    "ytick.color": TEXT_COLOUR,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
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
    "[g]": "g",
    "m2": "m²",
    "m3": "m³",
    "[in_i]": "in",
    "[mi_i]/h": "mph",
    "1": "",
}


def unit_sign(unit: str) -> str:
    """The usual sign of a UCUM unit code (Cel: °C); other codes as they are, u for micro as µ."""
    plain = clean(unit)
    if len(plain) > 1 and plain[0] == "u" and plain[1] in "gmsVAWLT":
        return "µ" + plain[1:]
    return _UNIT_SIGNS.get(plain, plain)


def clean(text: str, limit: int = 120) -> str:
    """Text from a device on one line: control, formatting and unpaired characters become spaces, long text is cut."""
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c for c in text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
