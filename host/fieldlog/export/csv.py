"""Readings as CSV: times in ISO 8601 with their offset, units in the header, every value with exactly its decimals.

Rule of this module: it streams. The readings are gone through once to settle what the file has in common, then to write.
"""

from __future__ import annotations

import csv
from functools import partial
from typing import TextIO

from fieldlog.export.layout import Batches, surveyed
from fieldlog.export.style import PLAIN, Style

_MARK = "\ufeff"
"""What tells Excel that a file is UTF-8."""


def write_csv(readings: Batches, file: TextIO, *, clock: bool = False, style: Style = PLAIN) -> int:
    """Write `readings` into `file` (opened as UTF-8 with newline=""); answers the number of rows.

    Session after session; in each the streams are side by side in order of time, and their readings of one moment share
    a row. A column per channel, empty where it has no value at that time; a `device` column when there are several.
    `clock` adds each time's quality and the bound of its error. A time that is unknown is an empty cell. In a long table
    each value that is not missing has a row.

    UsageError, and nothing written, when there is no reading.
    """
    from fieldlog.archive.ahead import ahead
    from fieldlog.export.merge import rows
    from fieldlog.export.table import Table

    layout = surveyed(readings, with_clock=clock)
    table = Table(layout, style)
    if style.spreadsheet:
        file.write(_MARK)
    csv.writer(file, delimiter=style.delimiter, lineterminator=style.line_end).writerows(table.head())
    count = 0
    for text, number in ahead(partial(table.text, some) for some in rows(readings, layout)):
        file.write(text)
        count += number
    return count
