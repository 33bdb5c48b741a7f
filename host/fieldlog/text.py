"""Text that came from a device, made fit for people's screens.

Rule: what a device sends is data. Control characters, escape sequences, marks that reorder or hide text, and
line ends where none belong become visible; nothing of them reaches a terminal as it is.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """One line: everything that is not a printable character is shown as an escape such as \\x1b or \\u202e."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """Several lines: line ends and tabs keep their meaning, the rest as in `printable`."""
    lines = text.replace("\r\n", "\n").expandtabs(8).split("\n")
    return "\n".join(map(printable, lines))


def count(number: int, noun: str) -> str:
    """A number of things, in the singular where it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shown(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
