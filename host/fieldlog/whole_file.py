"""Files that are whole or not there: written aside and renamed.

Rule: what is no plain file (a pipe, a device, a name of an open file) is never replaced but written through. A link
stays, and the file that it leads to is replaced. Several programs may write one file at once: each does so aside, for
itself, and the last to end wins, or the first where nothing shall be replaced.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldlog_protocol.errors import FieldlogError, UsageError

_ADVICE = "Check the folder, its permissions and its free space, or name another place"
_WRITERS = 100
"""More at once than one file will have."""
_LINKS = 40
"""As many as systems follow."""
_OPEN_FILES = (Path("/proc"), Path("/dev/fd"))
"""Where systems name files that are open already; /dev/stdout is a link to there."""


def check_target(target: Path, *, force: bool) -> None:
    """Raise UsageError rather than replace a file that nobody said may be replaced, and FieldlogError where there is no
    folder for it: before the work, not after."""
    if target.exists() and not force:
        raise UsageError(
            f"{target} exists already and was left alone. Add --force to replace it, or choose another name"
        )
    if not target.is_symlink() and not target.parent.is_dir():
        raise FieldlogError(
            f"{target} could not be written: there is no folder {target.parent}. Nothing was done; make it, or name another "
            "place"
        )


@contextmanager
def whole_file(target: Path, advice: str = _ADVICE, *, force: bool = True) -> Generator[Path]:
    """The path to write to; when the block ends without an error it becomes `target`, with `force` in place of what is there.

    FieldlogError, in a sentence, for what the system refuses: it ends with `advice`, what whoever reads it can do. UsageError
    for a file that came to be there meanwhile.
    """
    plain: Path | None = None
    try:
        plain = _plain_file(target)
        if plain is None:
            yield target
        else:
            with _aside(plain) as aside:
                yield aside
                put(aside, plain, force=force, target=target)
    except FieldlogError:  # those of a link are OSErrors too
        raise
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _is_stdout(target):
            raise  # whoever read it has read enough, as of any output
        state = "" if plain is None else " It is as it was."
        raise FieldlogError(f"{target} could not be written: {error.strerror or error}.{state} {advice}") from error


def put(whole: Path, plain: Path, *, force: bool, target: Path) -> None:
    """Give a file that is whole the name `plain`, which `target` leads to; UsageError, without `force`, where there is one
    by now."""
    if not force:
        try:
            os.link(whole, plain)  # in one step with the look whether there is one
        except FileExistsError:
            raise UsageError(_appeared(target)) from None
        except OSError:  # a file system without such links
            if plain.exists():
                raise UsageError(_appeared(target)) from None
        else:
            whole.unlink()
            return
    whole.replace(plain)


def _appeared(target: Path) -> str:
    return f"{target} came to be there meanwhile and was left alone. Add --force to replace it, or choose another name"


@contextmanager
def _aside(plain: Path) -> Generator[Path]:
    """A place beside a file, for this call alone, in a folder of its own. Nothing of it is left but by a program that is
    killed, and what that leaves the next call takes over."""
    folder, lock = _folder_beside(plain)
    try:
        yield folder / plain.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)  # behind that: who gets it now sees that the folder is gone


def _folder_beside(plain: Path) -> tuple[Path, int | None]:
    """A folder in which nobody writes, and what locks it."""
    for number in range(1, _WRITERS):
        folder = plain.with_name(f".{plain.name}.{number}.part")
        is_new = not folder.exists()
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            lock = _locked(folder)
        except OSError:
            if is_new:
                with suppress(OSError):
                    folder.rmdir()
            break
        if lock is not None:
            for left in folder.iterdir():
                with suppress(OSError):
                    left.unlink()
            return folder, lock
    folder = plain.with_name(f".{plain.name}.{os.getpid()}-{threading.get_ident()}.part")
    folder.mkdir(exist_ok=True)
    return folder, None


def _locked(folder: Path) -> int | None:
    """The lock of a folder, None where another call has it; OSError where there are no such locks."""
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from None
    lock = None
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()) and os.access(folder, os.W_OK | os.X_OK):
            held, lock = lock, None
            return held
    except (BlockingIOError, FileNotFoundError, NotADirectoryError):
        pass  # in use, or gone with the end of such a use; one of another user's is of no use either
    finally:
        if lock is not None:
            os.close(lock)
    return None


def _is_stdout(target: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(target.stat(), os.fstat(1))
    return False


def _plain_file(target: Path) -> Path | None:
    """The file that a target is or shall become, with all links followed; None for what is written through."""
    path = target
    for _ in range(_LINKS):
        if any(path.absolute().is_relative_to(folder) for folder in _OPEN_FILES):
            return None
        if not path.is_symlink():
            return None if path.exists() and not path.is_file() else path
        path = path.parent / path.readlink()
    return None  # a link to itself: the system says so
