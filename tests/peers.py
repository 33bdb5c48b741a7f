"""What other people's SMP clients are asked to do, in words common to all of them.

Rule: nothing here or in an adapter speaks SMP. An adapter turns a method into that client's own call; a method which it
does not override is one that its client does not offer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is. `link` is pty, raw, udp or ble; `address` a port's path, an IP address (SMP's own port 1337) or that
    of a device on the virtual radio at `at`."""

    link: str
    address: str
    buf_size: int
    at: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """One line of the image list."""

    slot: int
    version: str
    hash: bytes
    active: bool
    confirmed: bool
    pending: bool
    permanent: bool


@dataclass(frozen=True, slots=True)
class FileHash:
    """What the device says a file's hash is; `output` as the client hands it over, big endian where it was a number."""

    type: str
    length: int
    output: bytes


class Peer:
    """One client, connected to one device."""

    def echo(self, text: str) -> str:
        raise NotImplementedError

    def parameters(self) -> tuple[int, int]:
        """Size and number of the device's buffers."""
        raise NotImplementedError

    def read_datetime(self) -> datetime:
        """The device's clock, to the second."""
        raise NotImplementedError

    def set_datetime(self, value: datetime) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def tasks(self) -> set[str]:
        """Names of the tasks."""
        raise NotImplementedError

    def pools(self) -> dict[str, tuple[int, int]]:
        """Size and number of the blocks of each memory pool."""
        raise NotImplementedError

    def os_info(self, letters: str) -> str:
        raise NotImplementedError

    def boot_loader(self) -> str:
        raise NotImplementedError

    def images(self) -> list[Slot]:
        raise NotImplementedError

    def upload_image(self, path: Path) -> None:
        raise NotImplementedError

    def mark_image(self, digest: bytes, *, permanent: bool) -> None:
        """Let the image of this hash run at the next boot, on trial or for good."""
        raise NotImplementedError

    def confirm_image(self) -> None:
        """Keep the image that runs."""
        raise NotImplementedError

    def erase_image(self) -> None:
        raise NotImplementedError

    def slot_sizes(self) -> dict[int, int]:
        raise NotImplementedError

    def upgrade(self, path: Path, *, permanent: bool) -> None:
        """The client's own way from a file to a device that runs it."""
        raise NotImplementedError

    def upload_file(self, source: Path, name: str) -> None:
        raise NotImplementedError

    def download_file(self, name: str, target: Path) -> None:
        raise NotImplementedError

    def file_size(self, name: str) -> int:
        raise NotImplementedError

    def file_hash(self, name: str) -> FileHash:
        """With the device's own choice of kind."""
        raise NotImplementedError

    def file_sha256(self, name: str) -> FileHash:
        raise NotImplementedError

    def hash_types(self) -> dict[str, int]:
        """Kinds of hash and their sizes."""
        raise NotImplementedError

    def close_files(self) -> None:
        raise NotImplementedError

    def read_setting(self, name: str) -> bytes:
        raise NotImplementedError

    def write_setting(self, name: str, value: bytes) -> None:
        raise NotImplementedError

    def delete_setting(self, name: str) -> None:
        raise NotImplementedError

    def save_settings(self) -> None:
        raise NotImplementedError

    def load_settings(self) -> None:
        raise NotImplementedError

    def commit_settings(self) -> None:
        raise NotImplementedError

    def statistics_groups(self) -> list[str]:
        raise NotImplementedError

    def statistics(self, group: str) -> dict[str, int]:
        raise NotImplementedError

    def shell(self, *words: str) -> str:
        raise NotImplementedError

    def group_count(self) -> int:
        raise NotImplementedError

    def group_ids(self) -> list[int]:
        raise NotImplementedError

    def group_at(self, index: int) -> int:
        raise NotImplementedError

    def group_names(self, *groups: int) -> dict[int, str]:
        raise NotImplementedError

    def erase_storage(self) -> None:
        raise NotImplementedError


# What is proved, and the methods that a client must have for it.
CAPABILITIES = {
    "echo": ("echo",),
    "parameters": ("parameters",),
    "datetime": ("read_datetime", "set_datetime"),
    "reset": ("reset",),
    "task statistics": ("tasks",),
    "memory pools": ("pools",),
    "os info": ("os_info",),
    "boot loader info": ("boot_loader",),
    "image list": ("images",),
    "image upload": ("images", "upload_image"),
    "image test": ("images", "mark_image", "reset"),
    "image revert": ("images", "mark_image", "reset"),
    "image confirm": ("images", "confirm_image", "reset"),
    "image permanent": ("images", "mark_image", "reset"),
    "image erase": ("images", "erase_image"),
    "slot info": ("slot_sizes",),
    "upgrade command": ("upgrade",),
    "file upload": ("upload_file",),
    "file download": ("download_file",),
    "file status": ("file_size",),
    "file hash": ("file_hash",),
    "file sha256": ("file_sha256",),
    "hash types": ("hash_types",),
    "close files": ("close_files",),
    "settings read": ("read_setting",),
    "settings write": ("write_setting",),
    "settings save": ("save_settings",),
    "settings load": ("load_settings",),
    "settings commit": ("commit_settings",),
    "settings delete": ("delete_setting",),
    "erase storage": ("erase_storage",),
    "statistics list": ("statistics_groups",),
    "statistics data": ("statistics",),
    "shell": ("shell",),
    "group count": ("group_count",),
    "group list": ("group_ids",),
    "group by index": ("group_at",),
    "group details": ("group_names",),
}


def offers(client: type[Peer], capability: str) -> bool:
    """Whether a client has what a capability takes."""
    return all(getattr(client, name) is not getattr(Peer, name) for name in CAPABILITIES[capability])
