"""Group 3, settings: values by key, as bytes; types come from the FL settings schema (docs/smp.md#commands)."""

from __future__ import annotations

from typing import Annotated

from fieldlog_protocol.commands.base import Command, Empty, ErrorTexts, Group, Message, Op, blob, string, u32

ERRORS: ErrorTexts = {
    2: "the key is too long",
    3: "there is no such key",
    4: "this key cannot be read",
    5: "the key's owner is not known, or it does not accept this value",
    6: "this key cannot be written",
    7: "this key cannot be deleted",
    8: "saving is not supported",
}

KEY_TOO_LONG = 2
KEY_NOT_FOUND = 3
READ_NOT_SUPPORTED = 4
ROOT_KEY_NOT_FOUND = 5
WRITE_NOT_SUPPORTED = 6
DELETE_NOT_SUPPORTED = 7
SAVE_NOT_SUPPORTED = 8


class SettingReadRequest(Message, frozen=True, kw_only=True):
    """Which key to read."""

    name: Annotated[str, string("the key, parts separated by /")]
    max_size: Annotated[int, u32("longest value wanted", "By")] | None = None


class SettingReadResponse(Message, frozen=True, kw_only=True):
    """The value, as bytes."""

    val: Annotated[bytes, blob("the value")]
    max_size: Annotated[int, u32("set when the device can send no more than this", "By")] | None = None


class SettingWriteRequest(Message, frozen=True, kw_only=True):
    """A new value for a key. `t` is read by devices with the FL settings transaction alone, which take such a write
    only into that transaction: one that comes late, or after a restart, is refused."""

    name: Annotated[str, string("the key, parts separated by /")]
    val: Annotated[bytes, blob("the new value")]
    t: Annotated[int, u32("id of the settings transaction that the write belongs to")] | None = None


class SettingDeleteRequest(Message, frozen=True, kw_only=True):
    """Which key to delete."""

    name: Annotated[str, string("the key, parts separated by /")]


class SettingSaveRequest(Message, frozen=True, kw_only=True):
    """What to save."""

    name: Annotated[str, string("a key or subtree; left out: everything")] | None = None


READ = Command(
    "settings read", Op.READ, Group.SETTINGS, 0, SettingReadRequest, SettingReadResponse, "read a value", (2, 3, 4, 5)
)
WRITE = Command(
    "settings write", Op.WRITE, Group.SETTINGS, 0, SettingWriteRequest, Empty, "write a value", (2, 3, 5, 6)
)
DELETE = Command(
    "settings delete", Op.WRITE, Group.SETTINGS, 1, SettingDeleteRequest, Empty, "delete a stored value", (2, 3, 5, 7)
)
COMMIT = Command("settings commit", Op.WRITE, Group.SETTINGS, 2, Empty, Empty, "put written values into effect", (5, 6))
LOAD = Command("settings load", Op.READ, Group.SETTINGS, 3, Empty, Empty, "take the stored values again")
SAVE = Command(
    "settings save", Op.WRITE, Group.SETTINGS, 3, SettingSaveRequest, Empty, "store the present values", (3, 8)
)

COMMANDS = (READ, WRITE, DELETE, COMMIT, LOAD, SAVE)
