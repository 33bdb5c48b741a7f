"""The command table: every SMP command that fieldlog knows, declared once.

    from fieldlog_protocol.commands import os
    answer = await client.request(os.ECHO, os.EchoRequest(d="hi"))   # an EchoResponse, for mypy and pyright too

Rule: a definition here has no behaviour; hosts and devices find what they need by the objects' names or in TABLE.
"""

from __future__ import annotations

from typing import Any

from fieldlog_protocol.commands import basic, enum, fs, image, logger, os, settings, shell, stat
from fieldlog_protocol.commands.base import Command, Empty, Group, Message, Op

_MODULES = (os, image, stat, settings, fs, shell, enum, basic, logger)

TABLE: tuple[Command[Any, Any], ...] = tuple(command for module in _MODULES for command in module.COMMANDS)

GROUP_NAMES: dict[int, str] = {
    Group.OS: "os",
    Group.IMAGE: "image",
    Group.STAT: "stat",
    Group.SETTINGS: "settings",
    4: "log",
    5: "crash",
    6: "split",
    7: "run",
    Group.FS: "fs",
    Group.SHELL: "shell",
    Group.ENUM: "enum",
    Group.TRANSPORT: "transport",
    Group.BASIC: "zephyr basic",
    Group.LOGGER: "fieldlog logger",
}

__all__ = ["GROUP_NAMES", "TABLE", "Command", "Empty", "Group", "Message", "Op"]
