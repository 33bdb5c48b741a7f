"""A file that is on its way: kept beside its target until it is whole, and found again by the next call.

Rule: its name says which file of which device it belongs to, so that nothing else need be written that a crash could
part from it; whether what it holds still is the beginning of that file is for whoever continues it to check. Only one
program has it open. Nothing of it is left when it is empty.
"""

from __future__ import annotations

import glob
import hashlib
import os
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from fieldlog.whole_file import put
from fieldlog_protocol.errors import FieldlogError, UsageError

_SUFFIX = ".part"
_TAG_DIGITS = 8
_READ_SIZE = 1 << 20


def partials(target: Path) -> list[Path]:
    """What is kept for a target, the newest first."""
    found = target.parent.glob(f"{glob.escape(target.name)}.{'[0-9a-f]' * _TAG_DIGITS}{_SUFFIX}")
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


class Partial:
    """An open partial file. Leaving the context keeps what it holds; `finish` makes the target of it."""

    def __init__(self, target: Path, origin: str) -> None:
        """`origin` says which file of which device it shall become."""
        tag = hashlib.sha256(origin.encode()).hexdigest()[:_TAG_DIGITS]
        self.target = target
        self.path = target.with_name(f"{target.name}.{tag}{_SUFFIX}")
        self.size = 0

    def __enter__(self) -> Self:
        with self._in_words():
            self._file = FileIO(self.path, "a+")
            try:
                self._require_alone()
                self.size = os.fstat(self._file.fileno()).st_size
            except BaseException:
                self._file.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file.closed:
            return
        if not self.size:
            with suppress(OSError):
                self.path.unlink()  # while nobody else can have it
        self._file.close()

    def write(self, data: bytes) -> None:
        """Add what comes next; what does not fit on the disk any more is not counted."""
        view = memoryview(data)
        with self._in_words():
            while view:
                written = self._file.write(view)
                self.size += written
                view = view[written:]

    def clear(self) -> None:
        """Forget what it holds."""
        with self._in_words():
            self._file.truncate(0)
            self.size = 0

    def piece(self, offset: int, size: int) -> bytes:
        with self._in_words():
            self._file.seek(offset)
            return self._file.read(size)

    def digest(self, kind: str) -> int | bytes:
        """Its crc32 or sha256."""
        crc, sha = 0, hashlib.sha256()
        with self._in_words():
            self._file.seek(0)
            while data := self._file.read(_READ_SIZE):
                crc = zlib.crc32(data, crc)
                sha.update(data)
        return crc if kind == "crc32" else sha.digest()

    def finish(self, *, force: bool) -> None:
        """It is whole: give it the target's name, in one step. UsageError, without `force`, where there is one by now."""
        with self._in_words():
            os.fsync(self._file.fileno())
            self._file.close()
            try:
                is_lost_link = self.target.is_symlink() and not self.target.exists()
                put(self.path, self.target, force=force or is_lost_link, target=self.target)
            except UsageError as error:
                raise UsageError(f"{error}. {self.size} bytes are kept in {self.path}") from None

    def state(self, total: int) -> str:
        """What is kept, and what to do, as the end of a sentence about what went wrong."""
        if not self.size:
            return "Nothing was kept"
        return f"{self.size} of {total} bytes are kept in {self.path}: repeat the command to go on there"

    def _require_alone(self) -> None:
        """A second program that continues the same file would tear it. Systems without such locks do without."""
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except (BlockingIOError, FileNotFoundError):
            taken = True
        except OSError:  # a file system that cannot lock
            return
        if taken:
            raise FieldlogError(
                f"another program is fetching into {self.target} now. Nothing was done here: wait for its end"
            )

    @contextmanager
    def _in_words(self) -> Generator[None]:
        try:
            yield
        except FieldlogError:
            raise
        except OSError as error:
            kept = f"{self.size} bytes are kept in {self.path}" if self.size else "Nothing was kept"
            raise FieldlogError(
                f"{self.target} cannot be written: {error.strerror or error}. {kept}. Mend that and repeat the command"
            ) from error
