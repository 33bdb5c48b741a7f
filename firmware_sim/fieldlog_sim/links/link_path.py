"""The symbolic link by which a pty is found: where it may stand, and whose it is.

Rule of this module: while a simulator lives, its link is no other's; what is neither a link to a terminal nor to nothing
is never touched. A file beside the link bears the lock. The system lets go of it with the process, however that ends, so
that a link whose lock is free is stale: it may point at somebody else's terminal by now.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from fieldlog_protocol.errors import FieldlogError, UsageError


class LinkPath:
    """`claim` before anything else; it may be said twice, as may `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = path.with_name(f".{path.name}.lock")
        self._lock: int | None = None

    def __str__(self) -> str:
        return str(self.path)

    def claim(self) -> None:
        """Make the path this process's own, and remove a stale link. UsageError where it cannot be one, FieldlogError
        where it is another simulator's."""
        if self._lock is not None:
            return
        self._require_ours()
        try:
            self._lock = _locked(self._lock_path)
        except BlockingIOError as error:
            raise FieldlogError(
                f"{self.path} is the link of a simulator that is running. Nothing was changed; stop it or give another path."
            ) from error
        except OSError as error:
            raise self._cannot_be_made(error) from error
        with suppress(OSError):
            if self.path.is_symlink():
                self.path.unlink()

    def point_to(self, target: str) -> None:
        """At once or not at all."""
        self._require_ours()
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            aside.symlink_to(target)
            aside.replace(self.path)
        except OSError as error:
            raise self._cannot_be_made(error) from error
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)

    def clear(self, target: str) -> None:
        """Remove the link if it still points to `target`."""
        with suppress(OSError):
            if self.path.readlink() == Path(target):
                self.path.unlink()

    def release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):  # while it is still locked: whoever opened it meanwhile looks again
                self._lock_path.unlink()
            os.close(lock)

    def _require_ours(self) -> None:
        if self.path.is_symlink():
            former = self.path.readlink()
            if self.path.exists() and not str(former).startswith("/dev/"):
                raise UsageError(
                    f"{self.path} is a link to {former}, which is no terminal. Nothing was changed; give another path."
                )
        elif self.path.exists():
            raise UsageError(f"{self.path} exists and is not a symbolic link. Nothing was changed; give another path.")

    def _cannot_be_made(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path} cannot be made a link to the pty: {error.strerror}. Give another path.")


def _locked(path: Path) -> int:
    """A descriptor that holds the lock of the file at `path`; BlockingIOError when another has it."""
    import fcntl

    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, path):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # its former owner removed it after we had opened it


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
