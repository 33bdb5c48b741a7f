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
    with path.open("rb") as file:
        pem = file.read(_LONGEST)
    if len(_KEYS.findall(pem)) > 1:
        raise UsageError(f"{path}: the file holds more than one key. Give a file with the one that is meant")
    try:
        return parse_public_key(pem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
