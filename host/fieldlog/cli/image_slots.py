"""A firmware slot as `info` and `image list` show it."""

from __future__ import annotations

from collections.abc import Mapping

from fieldlog_protocol.commands.image import ImageSlot

_FLAGS = ("active", "confirmed", "pending", "permanent", "bootable")


def slot_json(slot: ImageSlot) -> Mapping[str, object]:
    flags = {flag: bool(getattr(slot, flag)) for flag in _FLAGS}
    return {"image": slot.image or 0, "slot": slot.slot, "version": slot.version, "hash": slot.hash} | flags


def slot_flags(slot: Mapping[str, object]) -> list[str]:
    """The flags that are set; bootable says nothing that is not expected."""
    return [flag for flag in _FLAGS[:-1] if slot[flag]]
