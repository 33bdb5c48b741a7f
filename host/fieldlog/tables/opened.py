"""Several files as one selection of readings: which channels and times of them are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path

import numpy as np

from fieldlog.tables.table import NO_TIME, FileSeries, Name, SeriesOf, Table
from fieldlog.text import printable
from fieldlog_protocol.errors import UsageError

_ENDINGS = {".csv": "csv", ".txt": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}


def open_table(path: Path, label: str, tz: tzinfo) -> Table:
    """A file by its ending; UsageError where it is not there or is no table of readings."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Nothing was plotted; name an archive with --archive, or files")
    kind = _ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path} is neither CSV nor Parquet by its ending. Nothing was plotted; `fieldlog export` writes both"
        )
    try:
        if kind == "csv":
            from fieldlog.tables.csv_file import CsvTable

            return CsvTable(path, label, tz)
        from fieldlog.tables.parquet_file import ParquetTable

        return ParquetTable(path, label, tz)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}. Nothing was plotted") from error


@dataclass(frozen=True, slots=True)
class Chosen:
    """Of some tables the channels and times that are wanted."""

    tables: Sequence[Table]
    channels: tuple[str, ...] | None = None
    start_us: int | None = None
    end_us: int | None = None

    def __post_init__(self) -> None:
        known = dict.fromkeys(name.name for table in self.tables for name in table.channels)
        unknown = [name for name in self.channels or () if name not in known]
        if unknown and all(table.channels for table in self.tables):
            raise UsageError(
                f"there is no channel {unknown[0]!r}. Nothing was plotted; channels: {', '.join(map(printable, known))}"
            )
        if self.start_us is not None and self.end_us is not None and self.start_us >= self.end_us:
            raise UsageError("the selection ends before it begins: put the earlier time first")

    @property
    def names(self) -> list[Name]:
        """The channels that are known before a file is read, and wanted."""
        known = dict.fromkeys(name for table in self.tables for name in table.channels)
        return [name for name in known if self._wants(name)]

    @property
    def left_out(self) -> list[str]:
        return [text for table in self.tables for text in table.left_out]

    def span_us(self) -> tuple[int, int]:
        spans = [span for span in (table.span_us() for table in self.tables) if span != (0, 0)]
        if not spans:
            return 0, 0
        first, last = min(low for low, _ in spans), max(high for _, high in spans)
        return (
            first if self.start_us is None else max(first, self.start_us),
            last if self.end_us is None else min(last, self.end_us),
        )

    def series(self) -> Iterator[FileSeries]:
        """Table after table."""
        for table in self.tables:
            for found in SeriesOf().series(table.rows()):
                kept = self._cut(self._channels_of(found))
                if len(kept.utc_us) and kept.channels:
                    yield kept

    def _wants(self, name: Name) -> bool:
        return self.channels is None or name.name in self.channels

    def _channels_of(self, series: FileSeries) -> FileSeries:
        kept = [pair for pair in zip(series.channels, series.columns, strict=True) if self._wants(pair[0])]
        return replace(series, channels=[name for name, _ in kept], columns=[column for _, column in kept])

    def _cut(self, series: FileSeries) -> FileSeries:
        """What follows a reading that is left out begins anew."""
        if self.start_us is None and self.end_us is None:
            return series
        keep = series.utc_us != NO_TIME
        if self.start_us is not None:
            keep &= series.utc_us >= self.start_us
        if self.end_us is not None:
            keep &= series.utc_us < self.end_us
        starts = (series.starts | np.concatenate([[False], ~keep[:-1]]))[keep]
        quality = None if series.quality is None else series.quality[keep]
        columns = [column[keep] for column in series.columns]
        return replace(series, utc_us=series.utc_us[keep], starts=starts, columns=columns, quality=quality)
