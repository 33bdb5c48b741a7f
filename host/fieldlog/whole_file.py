"""Files that are whole or not there: written aside and renamed.

Rule: what is no plain file (a pipe, a device, a name of an open file) is never replaced but written through. A link
stays, and the file that it leads to is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldlog_protocol.errors import FieldlogError, UsageError

_ADVICE = "Check the folder, its permissions and its free space, or name another place"
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
def whole_file(target: Path, advice: str = _ADVICE) -> Generator[Path]:
    """The path to write to; when the block ends without an error it becomes `target`.

    FieldlogError, in a sentence, for what the system refuses: it ends with `advice`, what whoever reads it can do.
    """
    aside: Path | None = None
    try:
        plain = _plain_file(target)
        if plain is None:
            yield target
        else:
            aside = plain.with_name(f".{plain.name}.{os.getpid()}.part")
            yield aside
            aside.replace(plain)
    except FieldlogError:  # those of a link are OSErrors too
        raise
    except OSError as error:
        state = "" if aside is None else " It is as it was."
        raise FieldlogError(f"{target} could not be written: {error.strerror or error}.{state} {advice}") from error
    finally:
        if aside is not None:
            with suppress(OSError):  # its folder may be what is missing
                aside.unlink()


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
