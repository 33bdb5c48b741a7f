"""Keys that sign firmware, read from the files that imgtool writes. Only the public half of one is ever kept."""

from __future__ import annotations

import re
from pathlib import Path

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.image import PublicKey, parse_public_key

_LONGEST = 64 * 1024
_KEYS = re.compile(rb"-----BEGIN [A-Z ]*KEY-----")


def load_key(path: Path) -> PublicKey:
    """The public half of the key in a PEM file; raises UsageError, which names the file, and OSError."""
    if path.exists() and not path.is_file():  # a pipe may never give a byte, and a device never end
        raise UsageError(f"{path}: a pipe, a device or a folder is no key file. Save the key in a file first")
    with path.open("rb") as file:
        pem = file.read(_LONGEST)
    if len(_KEYS.findall(pem)) > 1:
        raise UsageError(f"{path}: the file holds more than one key. Give a file with the one that is meant")
    try:
        return parse_public_key(pem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
