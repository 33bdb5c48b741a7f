"""Files that are whole or not there: written aside and renamed.

Rule: what is no plain file (a pipe, a device, a link to one) is never replaced but written through.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from fieldlog_protocol.errors import FieldlogError


@contextmanager
def whole_file(target: Path) -> Generator[Path]:
    """The path to write to; when the block ends without an error it becomes `target`.

    FieldlogError, in a sentence, for what the system refuses.
    """
    direct = target.is_symlink() or (target.exists() and not target.is_file())
    aside = target if direct else target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield aside
        if not direct:
            aside.replace(target)
    except FieldlogError:  # those of a link are OSErrors too
        raise
    except OSError as error:
        raise FieldlogError(
            f"{target} could not be written: {error.strerror or error}. Nothing else was changed; check the folder, its "
            "permissions and its free space, or name another place"
        ) from error
    finally:
        if not direct:
            with suppress(OSError):  # its folder may be what is missing
                aside.unlink()
