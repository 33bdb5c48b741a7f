"""A device's configuration as TOML with comments, for people to review.

Rule: no I/O; what is exported can be applied again and changes nothing. What cannot be set is a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fieldlog.config import toml_text
from fieldlog.config.channels import NamedChannel, named_channels, short_name
from fieldlog.config.present import Entry, Present
from fieldlog.config.template import escaped
from fieldlog.config.values import HEX, Value, allowed, encode
from fieldlog.recording import StreamInfo
from fieldlog.text import printable
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import UsageError

IDENTITY = ("device/name",)
"""Settings that tell a device from others: a file that is made for many must not make them all the same."""


_CALIBRATION = "coefficients of a polynomial of what the sensor says, constant first; [] for none"
_METADATA = "these texts and no others: site, operator, zone, ..."


def export(present: Present, *, changed_only: bool = False) -> str:
    """A TOML file that people can review: each value with what it means and may be.

    `changed_only`: what has its default, channels without calibration and empty tables are left out.
    """
    entries = [entry for entry in present.entries if entry.changed or not changed_only]
    calibrations = list(_calibrations(present.streams, changed_only=changed_only))
    lines = [
        f"# {printable(present.title)}",
        "",
        "[settings]",
        *(line for entry in entries for line in _setting(entry)),
    ]
    if calibrations:
        lines += ["", "[calibration]", f"# {_CALIBRATION}", *calibrations]
    if present.metadata or (present.metadata is not None and not changed_only):
        lines += ["", "[metadata]", f"# {_METADATA}", *(_pair(key, text) for key, text in present.metadata.items())]
    if present.strange_metadata:
        lines += ["", "# [metadata]: what the device keeps there are no texts, so it is not copied"]
    return "\n".join(lines) + "\n"


def _setting(entry: Entry) -> list[str]:
    return ["", *_comments(entry), _assignment(entry)]


def _comments(entry: Entry) -> list[str]:
    setting = entry.setting
    default = [] if entry.default is None else [f"default {_toml(entry.default)}"]
    flags = [words for flag, words in _FLAGS if setting.flags & flag]
    notes = [allowed(setting), *default, *flags, *_reservations(entry)]
    return [f"# {printable(text)}" for text in (setting.text, "; ".join(notes)) if text]


def _reservations(entry: Entry) -> Iterator[str]:
    """Why a setting is not set by the file, where the device does not forbid it anyway."""
    if entry.setting.key in IDENTITY:
        yield "tells this device from others, so it is not copied"
    elif not entry.setting.read_only and not _settable(entry):
        yield "what it has now is none of that, so it is not copied"


def _assignment(entry: Entry) -> str:
    line = f"{toml_text.key(entry.setting.key)} = {_toml(entry.value)}"
    return line if _settable(entry) and entry.setting.key not in IDENTITY else f"# {line}"


def _settable(entry: Entry) -> bool:
    """Whether writing the value would change nothing."""
    try:
        return encode(entry.setting, entry.value) == entry.data
    except UsageError:
        return False


def _toml(value: Value) -> str:
    if isinstance(value, bytes):
        return toml_text.value(HEX + value.hex())
    return toml_text.value(escaped(value) if isinstance(value, str) else value)


def toml_value(value: Value) -> bool | int | float | str:
    """Bytes as hexadecimal digits; all else is as it is."""
    return value.hex() if isinstance(value, bytes) else value


def _calibrations(streams: Sequence[StreamInfo], *, changed_only: bool) -> Iterator[str]:
    for channel in named_channels(streams):
        numbers = channel.channel.calibration
        if channel.channel.calibratable and (numbers or not changed_only):
            yield _calibration(channel, short_name(channel, streams))


def _calibration(channel: NamedChannel, name: str | None) -> str:
    numbers = ", ".join(toml_text.value(number) for number in channel.channel.calibration)
    line = f"{toml_text.key(name or str(channel.key))} = [{numbers}]"
    if name is None:
        return f"# {line} (the device has two channels of this name)"
    return f"{line}  # {printable(channel.channel.unit)}" if channel.channel.unit else line


def _pair(key: str, text: str) -> str:
    return f"{toml_text.key(key)} = {toml_text.value(escaped(text))}"


_FLAGS = (
    (logger.SettingFlag.NEEDS_RESTART, "takes effect after a restart"),
    (logger.SettingFlag.AFFECTS_LINK, "affects the link"),
    (logger.SettingFlag.READ_ONLY, "read only"),
)
