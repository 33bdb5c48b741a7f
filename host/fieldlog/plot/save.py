"""Figures to files: written aside and renamed, so that a file is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldlog.plot import canvas
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def check_format(path: Path) -> str:
    """The format that the suffix of `path` names; raises UsageError for any other than PNG, SVG and PDF."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise UsageError(f"cannot write a plot as {path.name!r}. Nothing was written; end it in .png, .svg or .pdf")
    return kind


def save(figure: Figure, path: str | Path) -> Path:
    """Write `figure` as PNG, SVG or PDF, by the suffix of `path`, replacing what was there; returns the path.

    The same figure gives the same bytes. Raises UsageError for another suffix, FieldlogError when it cannot be written.
    """
    target = Path(path)
    kind = check_format(target)
    with whole_file(target) as aside:
        canvas.write(figure, aside, kind)
    return target
