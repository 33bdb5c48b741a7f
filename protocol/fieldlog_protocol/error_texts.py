"""The text of every error code a device may answer: of the protocol itself, and of each group (docs/smp.md#errors)."""

from __future__ import annotations

from enum import IntEnum

from fieldlog_protocol.commands import GROUP_NAMES, basic, enum, fs, image, logger, os, settings, shell, stat
from fieldlog_protocol.commands.base import ErrorTexts, Group


class Rc(IntEnum):
    """Codes of the protocol itself, common to all groups."""

    OK = 0
    UNKNOWN = 1
    NO_MEMORY = 2
    INVALID = 3
    TIMEOUT = 4
    NO_ENTRY = 5
    BAD_STATE = 6
    MESSAGE_SIZE = 7
    NOT_SUPPORTED = 8
    CORRUPT = 9
    BUSY = 10
    ACCESS_DENIED = 11
    TOO_OLD = 12
    TOO_NEW = 13


RC_TEXTS: ErrorTexts = {
    0: "no error",
    1: "an error that the device does not explain",
    2: "the device has no buffer or memory left",
    3: "the device found the request malformed or a value in it not valid",
    4: "something on the device took too long",
    5: "there is no such thing on the device",
    6: "the device is not in a state that allows this",
    7: "the answer does not fit the device's buffer",
    8: "the device does not support this command",
    9: "data on the device is corrupt",
    10: "the device is busy",
    11: "the device denies access",
    12: "the device no longer speaks this version of the protocol",
    13: "the device does not yet speak this version of the protocol",
}

TRANSPORT_TEXTS: ErrorTexts = {
    2: "the transport lacks the functions that a bridge needs",
    3: "the transport lacks the functions that tell about bridges",
    4: "there is no such transport",
    5: "the transport does not have this mode",
    6: "all contexts of the transport are in use",
    7: "the request names a transport and all of them at once",
    8: "the transports are not bridged",
    9: "a transport cannot be bridged to itself",
    10: "the incoming transport cannot be bridged",
    11: "the outgoing transport cannot be bridged",
    12: "the incoming transport is bridged already",
    13: "the outgoing transport is bridged already",
    14: "a parameter of the connection is missing",
    15: "a parameter of the connection is not valid",
    16: "a parameter of the connection is not supported",
    17: "the connection failed",
}

GROUP_TEXTS: dict[int, ErrorTexts] = {
    Group.OS: os.ERRORS,
    Group.IMAGE: image.ERRORS,
    Group.STAT: stat.ERRORS,
    Group.SETTINGS: settings.ERRORS,
    Group.FS: fs.ERRORS,
    Group.SHELL: shell.ERRORS,
    Group.ENUM: enum.ERRORS,
    Group.TRANSPORT: TRANSPORT_TEXTS,
    Group.BASIC: basic.ERRORS,
    Group.LOGGER: logger.ERRORS,
}

_COMMON: ErrorTexts = {0: "no error", 1: "an error that the device does not explain"}


def error_text(code: int, group: int | None) -> str:
    """The sentence for an error: of the protocol itself when `group` is None. Unknown codes are named by number."""
    if group is None:
        known = RC_TEXTS.get(code)
        return (
            f"{known} (rc {code})" if known else f"error {code}, which only the device's maker can explain (rc {code})"
        )
    name = GROUP_NAMES.get(group, f"group {group}")
    known = _COMMON.get(code) or GROUP_TEXTS.get(group, {}).get(code) or f"error {code} of group {group}"
    return f"{known} ({name} error {code})"
