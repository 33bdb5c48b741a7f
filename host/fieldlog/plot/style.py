"""The house style: prints well, readable to colour-blind eyes, and text that comes from devices stays text.

Colours are those of Okabe and Ito; after a round of them the line is dashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldlog.unit_signs import clean, unit_sign

__all__ = ["COLOURS", "DARK", "DASHES", "DPI", "LIGHT", "THEMES", "Theme", "clean", "dash", "rc", "unit_sign"]

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


def dash(index: int) -> str:
    """Of the line of that number where colours do not do: another one for each of neighbours, for print in grey. As there
    are seven colours and four dashes no two of 28 lines have both."""
    return DASHES[index % len(DASHES)]
