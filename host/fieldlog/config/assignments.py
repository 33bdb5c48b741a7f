"""`KEY=VALUE` words of a command line.

Rule: no I/O; everything is checked before the first value is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from fieldlog.config.raw import parse_raw
from fieldlog.config.schema import Schema, find
from fieldlog.config.values import encode, parse_words
from fieldlog_protocol.errors import UsageError


def plan(known: Schema | None, assignments: Sequence[str]) -> dict[str, bytes]:
    """The bytes to write for `KEY=VALUE` words; without a schema the values say their type themselves."""
    planned: dict[str, bytes] = {}
    for assignment in assignments:
        key, separator, words = assignment.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"{assignment!r} is no assignment: write KEY=VALUE")
        planned[key.strip()] = _value(known, key.strip(), words.strip())
    return planned


def _value(known: Schema | None, key: str, words: str) -> bytes:
    if known is None:
        return parse_raw(words)
    setting = find(known, key)
    return encode(setting, parse_words(setting, words))
