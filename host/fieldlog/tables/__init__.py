"""Tables of readings in files, as `fieldlog export` writes them or others do, read back a batch at a time for plots.

`open_table(path)` gives a `Table`; its `series()` have the shape that plots take.
"""

from fieldlog.tables.opened import Chosen, open_table
from fieldlog.tables.table import FileSeries, Name, Rows, Table

__all__ = ["Chosen", "FileSeries", "Name", "Rows", "Table", "open_table"]
