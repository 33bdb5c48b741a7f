"""Whether a device's list of images says enough to see how an update ends.

Rule: what could not be judged afterwards is not begun.
"""

from __future__ import annotations

from collections.abc import Sequence

from fieldlog.flash_plan import Part, Survey, running
from fieldlog_protocol.errors import VerificationError

_HASH_LENGTHS = (32, 48, 64)
"""Of SHA-256, SHA-384, SHA-512."""
_UNCHANGED = "The device was not changed"


def check_listing(seen: Survey, parts: Sequence[Part]) -> None:
    """Raise VerificationError if it could not be told from the list whether the images run."""
    if not any(slot.active for slot in seen.slots):
        raise VerificationError(
            "the device does not say which of its images runs, so whether the new one does could not be seen. "
            f"{_UNCHANGED}; see `fieldlog image list`, and update it by a programmer"
        )
    for part in parts:
        _check_hash(seen, part)
        _check_alone(seen, part, parts)


def _check_hash(seen: Survey, part: Part) -> None:
    now = running(seen.slots, part.number)
    if now is None or (now.hash is not None and len(now.hash) in _HASH_LENGTHS):
        return
    shown = "no hash" if now.hash is None else f"a hash of {len(now.hash)} bytes"
    raise VerificationError(
        f"the device lists what it runs with {shown}, and devices know images by their hash: whether the new one runs could "
        f"not be seen. {_UNCHANGED}; see `fieldlog image list`, and update it by a programmer"
    )


def _check_alone(seen: Survey, part: Part, parts: Sequence[Part]) -> None:
    """A hash is all that a device is told when it is to start an image: of two with the same, it takes the first."""
    others = {other.number for other in parts if other.hash == part.hash}
    others |= {slot.image or 0 for slot in seen.slots if slot.hash == part.hash}
    if others - {part.number}:
        number = min(others - {part.number})
        raise VerificationError(
            f"the very same image is meant for image {part.number} and is image {number} too, and devices tell images apart "
            f"by their hash alone. {_UNCHANGED}; build one for each number"
        )
