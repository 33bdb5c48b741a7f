"""Parquet files and their outlines made in threads of their own, aside, and renamed when they are safe on the disk.

Rule of this module: one thread writes batch after batch and file after file; another one waits for the disk to have a file
that is written to its end, so that neither decoding nor writing waits for it. A few batches are held at most. Nobody but
the thread that writes touches a file that is being written, whatever interrupts the others. What is written aside and not
renamed is the caller's to remove.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from fieldlog.archive.manifest import Entry
from fieldlog.archive.outline import outline
from fieldlog.archive.outline_file import Packer, group_head

if TYPE_CHECKING:
    from fieldlog.archive.arrow import Batch, Layout, ParquetWriter
    from fieldlog.archive.series import Series

_MOST_WAITING = 2  # so that planning a file between two series leaves the thread that writes no time to rest
_HASH_BYTES = 4
_FORMER_HASH_BYTES = 16
_PIECE = 1 << 18


def _nothing() -> None:
    pass


def _ended(threads: Sequence[ThreadPoolExecutor]) -> KeyboardInterrupt | None:
    """Waits for all, which is soon, whatever the keyboard says meanwhile: else they go on beside whoever clears up."""
    interrupt = None
    for one in threads:
        while True:
            try:
                one.shutdown()
                break
            except KeyboardInterrupt as again:
                interrupt = again
    return interrupt


class _Threads(NamedTuple):
    writing: ThreadPoolExecutor
    ending: ThreadPoolExecutor


class FileWriter:
    """Writes files below `folder` by way of `aside`. A context manager; leaving it with an error gives up what is begun."""

    def __init__(self, folder: Path, aside: Path) -> None:
        self._folder = folder
        self._aside = aside
        self._threads = _Threads(ThreadPoolExecutor(1), ThreadPoolExecutor(1))
        self._files = 0
        self._file: _File | None = None

    def __enter__(self) -> Self:
        # all there are: no interrupt may come between the start of one and its being known to be there
        for threads in self._threads:
            threads.submit(_nothing).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._file is not None:
            self._file.give_up()
        interrupt = _ended(self._threads)
        if interrupt is not None and error is None:
            raise interrupt

    def file(self, name: str, layout: Layout) -> _File:
        """The next file, when the one before was ended."""
        self._files += 1
        aside = self._aside / f"{self._files}.parquet"
        self._file = _File(aside, self._folder / name, layout, self._threads)
        return self._file


class _File:
    """One file. `add` its series, then `end` it. `packer` has their outlines as soon as the file has its name."""

    def __init__(
        self,
        aside: Path,
        target: Path,
        layout: Layout,
        threads: _Threads,
    ) -> None:
        self._aside = aside
        self._target = target
        self._layout = layout
        self._threads = threads
        self._waiting: deque[Future[None]] = deque()
        self._parquet: ParquetWriter | None = None
        self._given_up = False
        self.packer = Packer()

    def add(self, series: Series) -> None:
        """Returns when no more than two before this one are still to be written."""
        self._waiting.append(self._threads.writing.submit(self._write, self._layout.batch(series), series))
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().result()

    def end(self, origin: bytes) -> Future[Entry]:
        """What the manifest is to say of a file with this origin, as soon as it bears its name."""
        self._waiting.append(self._threads.writing.submit(self._close))
        return self._threads.ending.submit(self._put, origin, list(self._waiting))

    def give_up(self) -> None:
        """What waits is not written any more, and the file is closed without becoming one."""
        self._given_up = True
        self._threads.writing.submit(self._close)

    def _write(self, batch: Batch, series: Series) -> None:
        from fieldlog.archive.arrow import ParquetWriter

        if self._given_up:
            raise CancelledError
        if self._parquet is None:
            self._parquet = ParquetWriter(self._aside, self._layout, batch)
        self._parquet.write(batch)
        self.packer.add(group_head(series.utc_us), outline(series))

    def _close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()

    def _put(self, origin: bytes, before: list[Future[None]]) -> Entry:
        for written in before:
            written.result()
        if self._given_up:
            raise CancelledError
        if self._parquet is None:
            self._target.unlink(missing_ok=True)
            return Entry(origin, 0, 0, b"")
        with self._aside.open("rb+") as file:
            os.fsync(file.fileno())
        hashed, size = file_hash(self._aside), self._aside.stat().st_size
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._aside.replace(self._target)
        return Entry(origin, self._parquet.rows, size, hashed)


def file_hash(path: Path, length: int = _HASH_BYTES) -> bytes:
    """A CRC-32, as blocks have one, which takes a fifth of the time; or the BLAKE2b that older versions noted."""
    with path.open("rb") as file:
        if length == _FORMER_HASH_BYTES:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_FORMER_HASH_BYTES)).digest()
        crc = 0
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
    return crc.to_bytes(_HASH_BYTES, "little")
