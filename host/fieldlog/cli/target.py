"""What an interrupt leaves of a file that a command writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_Identity = tuple[int, int, int, int]


def left_of(target: Path | None) -> Callable[[], str]:
    """Answers, whenever it is asked, what has become of `target` since; None: of standard output.

    A file is replaced when it is whole (`fieldlog.whole_file`); what is written through stays the same one.
    """
    if target is None:
        return lambda: "what was written is not all of it"
    before = _identity(target)

    def left() -> str:
        now = _identity(target)
        if now == before:
            return f"nothing was written: {f'there is no {target}' if now is None else f'{target} is as it was'}"
        if now is not None and (before is None or now[:2] != before[:2]):
            return f"{target} is written, all of it"
        return f"what was written to {target} is not all of it"

    return left


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
