"""Why nobody answers: what came back instead of an answer says which cable, speed or setting to look at."""

from __future__ import annotations

from typing import Any

from fieldlog.text import printable
from fieldlog_protocol.commands import Command
from fieldlog_protocol.errors import RequestTimeout
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, PieceFraming, RawFraming

_MOSTLY = 0.85
_QUOTED = 60


def timed_out(name: str, command: Command[Any, Any], when: str, *, wireless: bool) -> RequestTimeout:
    """The error of a device that has answered before and did not answer this, `when` it should have."""
    state = "" if command.repeatable else " Whether the device carried it out is not known."
    where = "is near" if wireless else "that its cable is plugged in"
    return RequestTimeout(
        f"{name} did not answer {command.name!r} {when}.{state} "
        f"Check that it still has power and {where}, then repeat the command"
    )


def explain_silence(name: str, waited_s: float, seen: bytes, damaged: int, framing: Framing | None = None) -> str:
    """The sentence for a device that never answered; `seen` is the first of what arrived, `damaged` counts frames.

    `framing` is the one that was tried: on a serial line the other one may be right.
    """
    start = f"nobody answered on {name} within {waited_s:.0f} s"
    other = _other_framing(framing)
    if isinstance(framing, PieceFraming):
        return (
            f"{start}, though the link is up{', and what came makes no sense' if seen else ''}. Switch the device off and on, "
            "and check that its firmware serves SMP over BLE"
        )
    if not seen:
        return f"{start}: nothing at all was received. {_what_to_check(other)}"
    if isinstance(framing, DatagramFraming):
        return (
            f"{start} in SMP, though something came from there ({len(seen)}{'+' if len(seen) > 255 else ''} bytes). "
            "Another program listens at that port: check the address and the port"
        )
    tries = "try ?baud= with the device's own" + (f", or {other}" if other else "")
    if damaged:
        return f"{start}, though message frames arrived, damaged. Something else uses the line, or its speed differs: {tries}"
    text = seen.decode(errors="replace")
    if sum(map(_is_text, text)) >= _MOSTLY * len(text):
        quoted = printable(text.strip()[:_QUOTED])
        return (
            f"{start} in SMP; what arrived is text: '{quoted}'. If the device was just starting, repeat the command, or give "
            "it longer, such as ?timeout=20. Else it prints a console here and serves no SMP: enable it in the firmware (for "
            "Zephyr CONFIG_MCUMGR), or name the port that carries it"
        )
    return (
        f"{start}; what arrived makes no sense ({len(seen)}{'+' if len(seen) > 255 else ''} bytes, "
        f"first {seen[:8].hex(' ')}). The speed or the framing is likely wrong: {tries}"
    )


def _what_to_check(other: str) -> str:
    hint = (
        f". A device of another baud rate or framing stays silent too: try {other}, or ?baud= with its own"
        if other
        else ""
    )
    return (
        "Check that the device has power, that this is the right port, and that its firmware speaks SMP here; a device "
        f"in its boot loader may need a reset{hint}"
    )


def _other_framing(framing: Framing | None) -> str:
    """The option that tries the other framing of a serial line; none for datagrams, which frame themselves."""
    if isinstance(framing, ConsoleFraming):
        return "?framing=raw"
    return "?framing=console" if isinstance(framing, RawFraming) else ""


def _is_text(character: str) -> bool:
    return (character.isprintable() and character != "\ufffd") or character in "\r\n\t\x1b"
