"""Text that came from a device, made fit for people's screens.

Rule: what a device sends is data. Control characters, escape sequences, marks that reorder or hide text, and
line ends where none belong become visible; nothing of them reaches a terminal as it is.
"""

from __future__ import annotations

_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


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


def size_text(number: int) -> str:
    """Bytes as one says them: 512 B, 11.5 MB."""
    size, unit = next(((size, unit) for size, unit in _SIZES if number >= size), (1, "B"))
    return f"{number} B" if size == 1 else f"{number / size:.1f} {unit}"


def _shown(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
