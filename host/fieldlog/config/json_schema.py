"""A JSON Schema of the configuration file of one kind of device: editors complete and check the file by it.

Rule: no I/O. It refuses nothing that a file may say; what it cannot express, the check before applying tells. Patterns are regular expressions as ECMAScript has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from fieldlog.config.channels import NamedChannel, named_channels, short_name
from fieldlog.config.model import ChannelKey
from fieldlog.config.target import Target
from fieldlog.config.template import BUILT_IN, DEVICES, TABLES
from fieldlog.config.units import compound_pattern, escaped, measuring_alike
from fieldlog.config.values import HEX, SWITCH_WORDS, Setting, allowed, decode
from fieldlog.recording import StreamInfo
from fieldlog_protocol.blocks.schema import MAX_COEFFICIENTS
from fieldlog_protocol.commands.logger import LABEL_MAX, SettingFlag, SettingType
from fieldlog_protocol.errors import ProtocolError

Json = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The draft that editors of TOML know."""

_NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?"
_BARE = r"[-+]?(0[xXoObB][0-9a-fA-F_]+|(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d[\d_]*)?)"
"""Without a unit it is read as programs write numbers."""
_DURATION = rf"^\s*{_NUMBER}\s*(us|µs|ms|s|min|h|d|w)\s*$"
_PERIOD = rf"^\s*{_NUMBER}\s*(us|µs|ms|s|min|h|d|w|[kK]?[hH][zZ])\s*$"
_VARIABLE: Json = {"type": "string", "pattern": r"\$\{"}
"""A text with a variable in it may become anything."""

_MOST_BYTES_A_CHARACTER = 4
_FLAGS = (
    (SettingFlag.NEEDS_RESTART, "takes effect after a restart"),
    (SettingFlag.AFFECTS_LINK, "affects the link"),
)


def json_schema(target: Target, title: str) -> Json:
    """The schema of a file for devices like this one."""
    tables = {
        "settings": _table("Settings of the device.", _settings(target.schema.values())),
        "calibration": _table(
            "Coefficients by channel, constant first; [] takes a calibration away.", _channels(target)
        ),
        "metadata": _metadata(),
        "log": _table("What `fieldlog log arm --from` takes.", _log(target.streams)),
        "variables": _variables(),
    }
    references: Json = {name: {"$ref": f"#/definitions/{name}"} for name in TABLES}
    section = _table("Tables that hold for these devices only.", references)
    sections: Json = {
        "type": "object",
        "description": "Sections by serial number, uid or label; * and ? stand for any characters. Later ones win.",
        "additionalProperties": section,
    }
    whole = _table("", {**references, DEVICES: sections})
    return {"$schema": _DRAFT, "title": title, **whole, "definitions": tables}


def _table(text: str, properties: Mapping[str, Json]) -> Json:
    described: Json = {"description": text} if text else {}
    return {"type": "object", **described, "properties": dict(properties), "additionalProperties": False}


def _settings(settings: Iterable[Setting]) -> dict[str, Json]:
    return {setting.key: _setting(setting) for setting in settings if not setting.read_only}


def _setting(setting: Setting) -> Json:
    found = _one_of(*_forms(setting), description=_description(setting))
    with suppress(ProtocolError):
        value = None if setting.default is None else decode(setting, setting.default)
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            found["default"] = HEX + value.hex() if isinstance(value, bytes) else value
    return found


def _description(setting: Setting) -> str:
    notes = [allowed(setting), *(words for flag, words in _FLAGS if setting.flags & flag)]
    return ". ".join(part for part in (setting.text, "; ".join(notes)) if part)


def _forms(setting: Setting) -> list[Json]:
    """The ways to write a value."""
    kind = setting.type
    if kind is SettingType.BOOL:
        return [{"type": "boolean"}, {"type": "string", "pattern": _any_case(SWITCH_WORDS)}]
    if kind is SettingType.CHOICE:
        return [{"enum": list(setting.choices)}]
    if kind is SettingType.TEXT:
        return [{"type": "string", **_lengths(setting)}]
    if kind is SettingType.BYTES:
        return [{"type": "string", "pattern": rf"^\s*({HEX})?\s*([0-9a-fA-F]{{2}}\s*){_times(setting)}$"}]
    return [_number(setting), {"type": "string", "pattern": _quantity(setting)}]


def _number(setting: Setting) -> Json:
    whole = setting.type is not SettingType.F32
    found: Json = {"type": "integer" if whole else "number"}
    if setting.low is not None:
        found["minimum"] = setting.low
    if setting.high is not None:
        found["maximum"] = setting.high
    if whole and setting.step and (setting.low or 0) % setting.step == 0:
        found["multipleOf"] = setting.step
    return found


def _quantity(setting: Setting) -> str:
    """A number with one of the units that fit, or several of a duration, or alone. What a unit is that is made of others is
    left to the check."""
    if not setting.unit:
        return rf"^\s*{_BARE}\s*$"
    single = "|".join(map(escaped, sorted(measuring_alike(setting.unit), key=len, reverse=True)))
    unit = f"({single}|{compound_pattern()})"
    return rf"^\s*({_BARE}|({_NUMBER}\s*{unit}\s*)+)\s*$"


def _lengths(setting: Setting) -> Json:
    """Devices count bytes and editors characters: only what is wrong in any case is refused."""
    found: Json = {}
    if setting.low:
        found["minLength"] = -(-int(setting.low) // _MOST_BYTES_A_CHARACTER)
    if setting.high is not None:
        found["maxLength"] = int(setting.high)
    return found


def _times(setting: Setting) -> str:
    return f"{{{int(setting.low or 0)},{'' if setting.high is None else int(setting.high)}}}"


def _channels(target: Target) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for known in named_channels(target.streams):
        if known.channel.calibratable or target.calibrates:
            names = dict.fromkeys([short_name(known, target.streams) or str(known.key), str(known.key)])
            found |= {name: _coefficients(known) for name in names}
    return found


def _coefficients(known: NamedChannel) -> Json:
    unit = f" in {known.channel.unit}" if known.channel.unit else ""
    return {
        "type": "array",
        "items": _one_of({"type": "number"}),
        "maxItems": MAX_COEFFICIENTS if known.channel.calibratable else 0,
        "description": f"{_spoken(known.key)}{unit}",
    }


def _spoken(key: ChannelKey) -> str:
    return f"{key.channel} of {key.stream}"


def _metadata() -> Json:
    texts = {
        "deployment": "What this deployment is called.",
        "site": "Where the device stands.",
        "operator": "Who looks after it.",
        "zone": "Its time zone by IANA name, such as Europe/Berlin.",
    }
    return {
        "type": "object",
        "description": "Texts that travel with the readings. Where this table stands, the device has these and no others.",
        "properties": {name: {"type": "string", "description": text} for name, text in texts.items()},
        "additionalProperties": {"type": "string"},
    }


def _log(streams: Iterable[StreamInfo]) -> dict[str, Json]:
    names = "|".join(escaped(stream.name) for stream in streams)
    stream: Json = {"type": "string", "pattern": rf"^\s*({names})\s*(=[\s\S]*)?$"}
    duration: Json = {"type": "string", "pattern": _DURATION}
    threshold: Json = {"type": "string", "pattern": "^.+=.+$"}
    flag: Json = {"type": "boolean"}
    fields: dict[str, tuple[Json, str]] = {
        "label": ({"type": "string", "maxLength": LABEL_MAX}, "Label of the session."),
        "streams": (
            {"type": "array", "items": _one_of(stream)},
            "Streams to record, as NAME or NAME=PERIOD; else all.",
        ),
        "period": ({"type": "string", "pattern": _PERIOD}, "Sampling period of streams named without one."),
        "at": ({"type": "string"}, "Begin at this time, in the deployment's zone or UTC if it has no offset."),
        "after": (duration, "Begin after a while."),
        "above": (threshold, "Begin with the first reading at or above: temperature=30 Cel."),
        "below": (threshold, "Begin with the first reading at or below."),
        "on-button": (flag, "Begin when the device's button is pressed."),
        "until": ({"type": "string"}, "End before this time."),
        "for": (duration, "End after so much time of recording."),
        "frames": (
            {"type": ["integer", "string"], "minimum": 1, "pattern": r"^\d+$"},
            "End after so many frames of all streams.",
        ),
        "wrap": (flag, "When the log is full, overwrite the oldest; else recording stops."),
    }
    return {name: _described(form, text) for name, (form, text) in fields.items()}


def _described(form: Json, text: str) -> Json:
    """Whatever is no text and no number cannot be a variable."""
    plain = form["type"] in ("boolean", "array")
    return {**form, "description": text} if plain else _one_of(form, description=text)


def _variables() -> Json:
    return {
        "type": "object",
        "description": f"What ${{name}} stands for in texts, beside {', '.join(BUILT_IN)}.",
        "propertyNames": {"not": {"enum": list(BUILT_IN)}},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }


def _one_of(*forms: Json, **more: object) -> Json:
    return {**more, "anyOf": [*forms, _VARIABLE]}


def _any_case(words: Iterable[str]) -> str:
    letters = ("".join(f"[{char.upper()}{char}]" if char.isalpha() else char for char in word) for word in words)
    return rf"^\s*({'|'.join(letters)})\s*$"
