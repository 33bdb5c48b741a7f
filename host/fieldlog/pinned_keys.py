"""Keys that devices' firmware must be signed with, remembered on this computer once somebody said so.

Rule: a key is only ever kept because it was asked for. A file of pins that cannot be read stops an update: to go on
without it would be to trust in silence.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import FieldlogError
from fieldlog_protocol.image import PublicKey, parse_public_key

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Pin:
    """What firmware of one device must be: signed with `key`, its security counter at least `security_counter`."""

    key: PublicKey
    security_counter: int | None = None


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The pins in a file, by the identity of the device: the uid of a logger, else the name of its link."""

    path: Path

    def find(self, identity: str) -> Pin | None:
        """The pin of a device, None if it has none; raises FieldlogError for a file that makes no sense."""
        entry = self._read().get(identity)
        return None if entry is None else self._pin(entry)

    def all(self) -> dict[str, Pin]:
        """Every pin, by the identity of its device; raises FieldlogError for a file that makes no sense."""
        return {identity: self._pin(entry) for identity, entry in sorted(self._read().items())}

    def identities(self) -> tuple[str, ...]:
        """The devices that have a pin, however damaged it is; raises FieldlogError for a file that makes no sense."""
        return tuple(self._read())

    def _pin(self, entry: dict[str, Any]) -> Pin:
        try:
            counter = entry["security_counter"]
            if counter is not None and not isinstance(counter, int):
                raise ValueError
            return Pin(parse_public_key(entry["key"].encode()), counter)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise self._damaged() from None

    def names_loggers(self) -> bool:
        """Whether any logger has a pin; raises FieldlogError for a file that makes no sense."""
        return any(identity.startswith("uid:") for identity in self._read())

    def keep(self, identity: str, pin: Pin) -> None:
        """Remember a device's key, in place of any that it had."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FieldlogError(
                f"the key cannot be remembered: {self.path.parent} cannot be made ({error.strerror}). The device is not "
                "concerned; make room for that folder and repeat with --pin-key"
            ) from error
        with self._alone():
            entries = self._read()
            entries[identity] = {"key": pin.key.pem, "security_counter": pin.security_counter}
            self._write(entries)

    def forget(self, identity: str) -> None:
        """Remember no key of a device any more; harmless where none was."""
        if identity not in self._read():
            return
        with self._alone():
            entries = self._read()
            entries.pop(identity, None)
            self._write(entries)

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        with whole_file(self.path) as aside:
            text = json.dumps({"format": _FORMAT, "devices": entries}, indent=1)
            aside.write_text(text + "\n", encoding="utf-8")

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Others that pin a key in the same moment wait. Systems without such locks do without."""
        try:
            import fcntl
        except ImportError:
            yield
            return
        with self._lock_file() as lock:
            with suppress(OSError):  # a file system that cannot lock
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
            yield

    def _lock_file(self) -> BinaryIO:
        path = self.path.with_name(f".{self.path.name}.lock")
        try:
            return path.open("ab")
        except OSError as error:
            raise FieldlogError(
                f"the key cannot be remembered: {path} cannot be written ({error.strerror}). The device is not concerned; see "
                "to the permissions of that folder and repeat with --pin-key"
            ) from error

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError):
            raise self._damaged() from None
        try:
            content: Any = json.loads(text)
        except ValueError:
            raise self._damaged() from None
        devices: Any = cast("dict[str, Any]", content).get("devices") if isinstance(content, dict) else None
        if not isinstance(devices, dict):
            raise self._damaged()
        return cast("dict[str, dict[str, Any]]", devices)

    def _damaged(self) -> FieldlogError:
        return FieldlogError(
            f"the pinned keys in {self.path} cannot be read, so whether this device has one is not known. The device was "
            "not changed; restore that file, or remove it and pin the keys again"
        )


def default_pins() -> PinnedKeys:
    """Those of this user."""
    import platformdirs

    return PinnedKeys(Path(platformdirs.user_config_dir("fieldlog", appauthor=False)) / "pinned-keys.json")
