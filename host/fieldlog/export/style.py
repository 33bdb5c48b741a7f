"""How a table of readings looks as text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum


class Units(StrEnum):
    """Where the units stand: behind each name, in a row of their own below the names, or nowhere."""

    HEADER = "header"
    ROW = "row"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Style:
    """`tz`: the zone of the times, which have its offset. `long`: a row for each value rather than for each moment.

    `spreadsheet`: as Excel reads it, with a mark for UTF-8 and times without an offset, and UTC beside those of a zone.
    """

    tz: tzinfo = UTC
    units: Units = Units.HEADER
    long: bool = False
    spreadsheet: bool = False
    decimal_comma: bool = False

    @property
    def delimiter(self) -> str:
        return ";" if self.decimal_comma else ","

    @property
    def point(self) -> str:
        return "," if self.decimal_comma else "."

    @property
    def line_end(self) -> str:
        return "\r\n" if self.spreadsheet else "\n"


PLAIN = Style()
