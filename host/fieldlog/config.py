"""The settings of a device: typed where it describes them (FL settings schema), bytes where it does not.

Rule: everything is checked before the first value is written.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fieldlog import toml_text
from fieldlog.client import Reply
from fieldlog.device import Device
from fieldlog.setting_values import (
    MAX_CHOICES,
    Setting,
    Value,
    allowed,
    decode,
    encode,
    parse_raw,
    parse_words,
    setting_of,
)
from fieldlog.text import printable
from fieldlog_protocol.commands import Group, logger, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, UsageError

Schema = dict[str, Setting]

MAX_SETTINGS = 4096
"""More than any device has: beyond it a description is taken for one that never ends."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting and its present value. `default` is None where the device names none."""

    setting: Setting
    value: Value
    default: Value | None

    @property
    def changed(self) -> bool:
        return self.default is not None and self.value != self.default


async def schema(device: Device) -> Schema:
    """The settings that the device describes, in its order; raises NoLogger where it describes none."""
    await device.need_logger()
    found: Schema = {}
    while True:
        page = await _page(device, len(found))
        for info in page.s:
            if info.k in found:
                raise ProtocolError(f"the device describes its setting {info.k!r} twice")
            found[info.k] = setting_of(info, await _choices(device, len(found), info))
        if len(found) >= page.n:
            return found
        if not page.s:
            raise ProtocolError(f"the device announces {page.n} settings and describes only {len(found)}")


async def _page(device: Device, position: int, choice: int = 0) -> logger.SchemaResponse:
    page = await device.request(logger.SCHEMA, logger.SchemaRequest(i=position, c=choice or None))
    if page.i != position:
        raise ProtocolError(f"the device was asked for its setting at position {position} and described {page.i}")
    if page.n > MAX_SETTINGS:
        raise ProtocolError(f"the device announces {page.n} settings, and fieldlog reads no more than {MAX_SETTINGS}")
    return page


async def _choices(device: Device, position: int, info: logger.SettingInfo) -> tuple[str, ...]:
    """All choices of a setting: pages go on while there are fewer than announced."""
    choices = list(info.ch or ())
    announced = max(info.nc or 0, len(choices))
    if announced > MAX_CHOICES:
        raise ProtocolError(
            f"the device announces {announced} choices of {info.k!r}, and one byte can name {MAX_CHOICES}"
        )
    while len(choices) < announced:
        page = await _page(device, position, len(choices))
        more = page.s[0].ch if page.s and page.s[0].k == info.k else None
        if not more or len(choices) + len(more) > announced:
            raise ProtocolError(
                f"the device announces {announced} choices of {info.k!r} and names {len(choices) + len(more or ())}"
            )
        choices += more
    return tuple(choices)


async def read(device: Device, known: Schema, keys: Iterable[str] | None = None) -> list[Entry]:
    """Present values of the settings named, or of all; raises UsageError for a key that is not in the schema."""
    wanted = [find(known, key) for key in keys] if keys is not None else list(known.values())
    replies = [_read(device, setting.key) for setting in wanted]
    try:
        return [_entry(setting, (await reply).val) for setting, reply in zip(wanted, replies, strict=True)]
    finally:
        for reply in replies:
            reply.cancel()


def _read(device: Device, key: str) -> Reply[settings.SettingReadResponse]:
    return device.client.start(settings.READ, settings.SettingReadRequest(name=key))


def _entry(setting: Setting, data: bytes) -> Entry:
    default = None if setting.default is None else decode(setting, setting.default)
    return Entry(setting, decode(setting, data), default)


def find(known: Schema, key: str) -> Setting:
    """The setting of that key; an unknown one raises UsageError that suggests the nearest."""
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "`fieldlog config show` lists them"
    raise UsageError(f"the device has no setting {key!r}. {hint}")


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


async def write(device: Device, values: Mapping[str, bytes]) -> bool:
    """Write, commit and save values; False when the device cannot save, so that a restart brings the former ones back."""
    for key, value in values.items():
        await device.write_setting(key, value)
    await _supported(device.commit_settings())
    return await _supported(device.save_settings())


async def _supported(request: Awaitable[None]) -> bool:
    """Whether the device has such a command at all."""
    try:
        await request
    except RefusedError as error:
        if (error.group, error.code) not in _NOT_SUPPORTED:
            raise
        return False
    return True


_NOT_SUPPORTED = ((None, Rc.NOT_SUPPORTED), (Group.SETTINGS, settings.SAVE_NOT_SUPPORTED))


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
