"""Group 63, zephyr basic: erase the storage partition (docs/smp.md#commands)."""

from __future__ import annotations

from fieldlog_protocol.commands.base import Command, Empty, ErrorTexts, Group, Op

ERRORS: ErrorTexts = {
    2: "the storage partition could not be opened",
    3: "the layout of the storage partition could not be read",
    4: "the storage partition could not be erased",
}

FLASH_ERASE_FAILED = 4

ERASE_STORAGE = Command(
    "basic erase storage",
    Op.WRITE,
    Group.BASIC,
    0,
    Empty,
    Empty,
    "erase the partition that holds the settings",
    (2, 3, 4),
    service_s=40.0,
)

COMMANDS = (ERASE_STORAGE,)
