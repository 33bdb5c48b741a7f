"""A device's configuration as TOML with comments, for people to review.

Rule: no I/O; what is exported can be applied again and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from fieldlog.config import toml_text
from fieldlog.config.present import Entry
from fieldlog.config.values import Value, allowed
from fieldlog.text import printable
from fieldlog_protocol.commands import logger


def export(entries: Iterable[Entry], title: str, *, changed_only: bool = False) -> str:
    """A TOML file that people can review: each value with what it means and may be."""
    lines = [f"# {printable(title)}", "", "[settings]"]
    for entry in entries:
        if changed_only and not entry.changed:
            continue
        lines += ["", *_comments(entry), _assignment(entry)]
    return "\n".join(lines) + "\n"


def _comments(entry: Entry) -> list[str]:
    setting = entry.setting
    default = [] if entry.default is None else [f"default {toml_text.value(toml_value(entry.default))}"]
    notes = [allowed(setting), *default, *(words for flag, words in _FLAGS if setting.flags & flag)]
    return [f"# {printable(text)}" for text in (setting.text, "; ".join(notes)) if text]


def _assignment(entry: Entry) -> str:
    line = f"{toml_text.key(entry.setting.key)} = {toml_text.value(toml_value(entry.value))}"
    return f"# {line}" if entry.setting.read_only else line


def toml_value(value: Value) -> bool | int | float | str:
    """Bytes as hexadecimal digits; all else is as it is."""
    return value.hex() if isinstance(value, bytes) else value


_FLAGS = (
    (logger.SettingFlag.NEEDS_RESTART, "takes effect after a restart"),
    (logger.SettingFlag.AFFECTS_LINK, "affects the link"),
    (logger.SettingFlag.READ_ONLY, "read only"),
)
