"""Which images a boot loader lets run: hash, signature, security counter, no way back to an older version.

Rule: it says no by raising ImageError with the reason, and it never looks at slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import Image, ImageFlag, PublicKey, verify_hash, verify_signature
from fieldlog_sim.settings_store import SettingsStore

Verify = Callable[[Image], object]


@dataclass(frozen=True, slots=True)
class Policy:
    """`counters`: where the security counters are kept, None for a boot loader that was built without them."""

    verify: Verify = verify_hash
    no_downgrade: bool = False
    counters: SettingsStore | None = None

    def admit(self, image: Image, number: int) -> None:
        """Raise ImageError unless the image may run as image `number`."""
        if ImageFlag.NON_BOOTABLE in image.flags:
            raise ImageError("the image is marked as not bootable")
        self.verify(image)
        least = self._counter(number)
        if self.counters is None:
            return
        counter = image.security_counter
        if counter is None:
            raise ImageError("the image carries no security counter, which this boot loader wants")
        if counter < least:
            raise ImageError(f"the image's security counter is {counter}, and {least} was reached already")

    def admit_update(self, image: Image, running: Image | None) -> None:
        """Raise ImageError if the image is older than the one that it would replace."""
        if self.no_downgrade and running is not None and image.version < running.version:
            raise ImageError(
                f"the image is version {image.version}, older than the {running.version} that it would replace"
            )

    def keep(self, image: Image, number: int) -> None:
        """An image that stays raises the counter to its own."""
        counter = image.security_counter
        if self.counters is not None and counter is not None and counter > self._counter(number):
            self.counters.put(_key(number), counter.to_bytes(4, "little"))

    def _counter(self, number: int) -> int:
        stored = None if self.counters is None else self.counters.get(_key(number))
        return int.from_bytes(stored or b"", "little")


def _key(number: int) -> str:
    return f"counter/{number}"


def signed_with(keys: tuple[PublicKey, ...], factory: frozenset[bytes]) -> Verify:
    """Accept what one of the keys has signed, and what the factory installed, known by its hash."""

    def verify(image: Image) -> None:
        if image.hash in factory:
            verify_hash(image)
            return
        for key in keys[:-1]:
            try:
                verify_signature(image, key)
            except ImageError:
                continue
            return
        verify_signature(image, keys[-1])

    return verify
