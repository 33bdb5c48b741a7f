"""`fieldlog plot --size` and `--dpi`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.plot.size import Size

SIZE_HELP = (
    "Width of the picture, and height if wanted: 9cm, 9x6cm or 3.5x2.5in; else 11 in (28 cm), as high as it takes."
)
DPI_HELP = "Dots per inch of a PNG; else 150."
_SIZE = re.compile(r"(?P<width>\d+(?:\.\d+)?)(?:\s*[x\u00d7]\s*(?P<height>\d+(?:\.\d+)?))?\s*(?P<unit>cm|mm|in)")
_PER_INCH = {"cm": 2.54, "mm": 25.4, "in": 1.0}


class Options(TypedDict, total=False):
    """What is said of the size of a picture."""

    width_in: float
    height_in: float
    dpi: float


@dataclass(frozen=True, slots=True)
class Wished:
    """What was asked for; None for what a view has by itself."""

    width_in: float | None = None
    height_in: float | None = None
    dpi: float | None = None

    def whole(self) -> Size:
        """With what readings over time have by themselves; UsageError where it cannot be."""
        from fieldlog.plot.size import Size
        from fieldlog.plot.style import DPI
        from fieldlog.plot.timeseries import WIDTH_IN

        width_in = WIDTH_IN if self.width_in is None else self.width_in
        return Size(width_in, self.height_in, DPI if self.dpi is None else self.dpi)

    def options(self) -> Options:
        """Of a function that draws."""
        found = Options()
        if self.width_in is not None:
            found["width_in"] = self.width_in
        if self.height_in is not None:
            found["height_in"] = self.height_in
        if self.dpi is not None:
            found["dpi"] = self.dpi
        return found


def wished(size: str | None, dpi: float | None, *, of_picture: bool) -> Wished:
    """UsageError for what is no size, and for what is no picture of a size."""
    if not of_picture and (size is not None or dpi is not None):
        raise UsageError(
            "--size and --dpi are for PNG, SVG and PDF. Nothing was plotted; leave them out, or name such a file with -o"
        )
    found = _parsed(size, dpi)
    found.whole()
    return found


def _parsed(size: str | None, dpi: float | None) -> Wished:
    if size is None:
        return Wished(dpi=dpi)
    match = _SIZE.fullmatch(size.strip().lower())
    if match is None:
        raise UsageError(
            f"{size!r} is no size. Nothing was plotted; write a width, or width and height, in cm, mm or in, such as 9x6cm or "
            "3.5in"
        )
    per_inch = _PER_INCH[match["unit"]]
    height_in = None if match["height"] is None else float(match["height"]) / per_inch
    return Wished(float(match["width"]) / per_inch, height_in, dpi)
