"""Figures to files: written aside and renamed, so that a file is whole or not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from fieldlog.plot import canvas
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
PAGE = "html"


def check_format(path: Path, *, page: bool = False) -> str:
    """The format that the suffix of `path` names: PNG, SVG, PDF or, where it may be a `page`, HTML; else UsageError."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS and not (page and kind == PAGE):
        endings = ".png, .svg, .pdf or .html" if page else ".png, .svg or .pdf"
        raise UsageError(f"cannot write a plot as {path.name!r}. Nothing was written; end it in {endings}")
    return kind


def save(figure: Figure, path: str | Path, *, force: bool = True) -> Path:
    """Write `figure` as PNG, SVG or PDF, by the suffix of `path`, with `force` in place of what is there; returns the path.

    The same figure gives the same bytes. Raises UsageError for another suffix and for a file that is not to be replaced, FieldlogError when it cannot be written.
    """
    target = Path(path)
    kind = check_format(target)
    picture = io.BytesIO()  # matplotlib, on a disk that is full, fails a second time in its own way
    canvas.write(figure, picture, kind)
    with whole_file(target, force=force) as aside:
        aside.write_bytes(picture.getbuffer())
    return target
