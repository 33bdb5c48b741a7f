"""What was meant by a command that there is not: by the word that other programs have for it, else by the nearest name.

Rule of this module: it is loaded when a command was not found, and only then.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SYNONYMS: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        "arm": ("log arm",),
        "check": ("archive check",),
        "diff": ("config diff",),
        "discover": ("devices",),
        "download": ("pull",),
        "erase": ("log erase", "image erase"),
        "events": ("archive events",),
        "fetch": ("pull", "fs get"),
        "files": ("fs",),
        "firmware": ("image", "flash"),
        "get": ("config get", "fs get"),
        "help": ("--help",),
        "import": ("archive import",),
        "list": ("devices", "archive ls"),
        "ls": ("devices", "archive ls"),
        "mark": ("log mark",),
        "merge": ("archive merge",),
        "monitor": ("live",),
        "ping": ("echo",),
        "ports": ("devices",),
        "put": ("fs put",),
        "read": ("pull", "live"),
        "readout": ("pull",),
        "reboot": ("reset",),
        "rebuild": ("archive rebuild",),
        "record": ("log arm",),
        "restart": ("reset",),
        "scan": ("devices",),
        "sessions": ("log sessions", "archive ls"),
        "set": ("config set",),
        "settings": ("config show",),
        "show": ("info", "config show"),
        "simulate": ("sim",),
        "start": ("log arm",),
        "status": ("info", "log status"),
        "stop": ("log stop",),
        "sync": ("clock sync", "pull"),
        "time": ("clock show",),
        "update": ("flash",),
        "upgrade": ("flash",),
        "upload": ("flash", "fs put"),
        "version": ("--version", "info"),
        "watch": ("live",),
    },
    "archive": {
        "add": ("archive import", "archive merge"),
        "export": ("export",),
        "list": ("archive ls",),
        "marks": ("archive events",),
        "plot": ("plot",),
        "pull": ("pull",),
        "show": ("archive ls",),
        "verify": ("archive check",),
    },
    "clock": {
        "get": ("clock show",),
        "set": ("clock sync",),
        "status": ("clock show",),
    },
    "config": {
        "check": ("config diff",),
        "import": ("config apply",),
        "list": ("config show",),
        "ls": ("config show",),
        "read": ("config get",),
        "reset": ("config delete",),
        "unset": ("config delete",),
        "validate": ("config diff",),
        "write": ("config set",),
    },
    "fs": {
        "checksum": ("fs hash",),
        "download": ("fs get",),
        "read": ("fs get",),
        "upload": ("fs put",),
        "write": ("fs put",),
    },
    "image": {
        "delete": ("image erase",),
        "info": ("image list", "image inspect"),
        "ls": ("image list",),
        "show": ("image list", "image inspect"),
        "test": ("flash",),
        "upload": ("flash",),
        "verify": ("image inspect",),
        "write": ("flash",),
    },
    "log": {
        "begin": ("log arm",),
        "clear": ("log erase",),
        "download": ("pull",),
        "end": ("log stop",),
        "events": ("archive events",),
        "info": ("log status",),
        "list": ("log sessions",),
        "ls": ("log sessions",),
        "pull": ("pull",),
        "read": ("pull",),
        "record": ("log arm",),
        "show": ("log status",),
        "start": ("log arm",),
    },
}
"""By group, "" for none: the words that are no commands of it, and the command lines that do what they say."""


def unknown(group: str, name: str, names: Iterable[str]) -> str:
    """The sentence about a command that is not among the `names` of its group."""
    near = difflib.get_close_matches(name, names, n=1)
    meant = SYNONYMS.get(group, {}).get(name.lower()) or [_joined(group, found) for found in near]
    guess = (
        f" Did you mean {' or '.join(map(repr, meant))}?" if meant else f" See `fieldlog {_joined(group, '--help')}`."
    )
    return f"there is no command {_joined(group, name)!r}.{guess}"


def _joined(group: str, name: str) -> str:
    return f"{group} {name}" if group else name
