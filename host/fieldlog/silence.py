"""Why nobody answers: what came back instead of an answer says which cable, speed or setting to look at."""

from __future__ import annotations

from fieldlog.text import printable

_MOSTLY = 0.85
_QUOTED = 60


def explain_silence(name: str, waited_s: float, seen: bytes, damaged: int) -> str:
    """The sentence for a device that never answered; `seen` is the first of what arrived, `damaged` counts frames."""
    start = f"nobody answered on {name} within {waited_s:.0f} s"
    if not seen:
        return (
            f"{start}: nothing at all was received. Check that the device has power, that this is the right port, and "
            "that its firmware speaks SMP here; a device in its boot loader may need a reset"
        )
    if damaged:
        return (
            f"{start}, though message frames arrived, damaged. Something else uses the line, or its speed differs: "
            "try ?baud= with the device's own, or ?framing=raw"
        )
    text = seen.decode(errors="replace")
    if sum(map(_is_text, text)) >= _MOSTLY * len(text):
        quoted = printable(text.strip()[:_QUOTED])
        return (
            f"{start} in SMP; what arrived is text: '{quoted}'. The device prints a console here but serves no SMP: "
            "enable it in the firmware (for Zephyr CONFIG_MCUMGR), or name the port that carries it"
        )
    return (
        f"{start}; what arrived makes no sense ({len(seen)}{'+' if len(seen) > 255 else ''} bytes, "
        f"first {seen[:8].hex(' ')}). The speed or the framing is likely wrong: try ?baud= with the device's own, or "
        "?framing=raw"
    )


def _is_text(character: str) -> bool:
    return (character.isprintable() and character != "\ufffd") or character in "\r\n\t\x1b"
