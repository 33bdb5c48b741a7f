"""mcumgr-toolkit: Finomnis' client in Rust, through its Python bindings."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from mcumgr_toolkit import FileChecksum, MCUmgrClient

from peers import FileHash, Peer, Place, Slot

TIMEOUT_MS = 10_000


def _client(place: Place) -> MCUmgrClient:
    if place.link == "udp":
        return MCUmgrClient.udp(place.address, timeout_ms=TIMEOUT_MS)
    opened = MCUmgrClient.raw_serial if place.link == "raw" else MCUmgrClient.serial
    return opened(place.address, timeout_ms=TIMEOUT_MS)


def _file_hash(found: FileChecksum) -> FileHash:
    return FileHash(found.type, found.length, bytes(found.output))


class ToolkitPeer(Peer):
    def __init__(self, client: MCUmgrClient) -> None:
        self._client = client

    @classmethod
    @contextmanager
    def connect(cls, place: Place) -> Generator[Self]:
        with _client(place) as client:
            client.use_auto_frame_size()
            yield cls(client)

    def echo(self, text: str) -> str:
        return self._client.os_echo(text)

    def parameters(self) -> tuple[int, int]:
        found = self._client.os_mcumgr_parameters()
        return found.buf_size, found.buf_count

    def read_datetime(self) -> datetime:
        return self._client.os_get_datetime().replace(microsecond=0)

    def set_datetime(self, value: datetime) -> None:
        self._client.os_set_datetime(value)

    def reset(self) -> None:
        self._client.os_system_reset()

    def tasks(self) -> set[str]:
        return set(self._client.os_task_statistics())

    def pools(self) -> dict[str, tuple[int, int]]:
        found = self._client.os_memory_pool_statistics()
        return {name: (pool.blksiz, pool.nblks) for name, pool in found.items()}

    def os_info(self, letters: str) -> str:
        return self._client.os_application_info(letters)

    def boot_loader(self) -> str:
        return str(self._client.os_bootloader_info()["name"])

    def images(self) -> list[Slot]:
        return [
            Slot(
                image.slot,
                image.version,
                bytes(image.hash or b""),
                image.active,
                image.confirmed,
                image.pending,
                image.permanent,
            )
            for image in self._client.image_get_state()
        ]

    def upload_image(self, path: Path) -> None:
        self._client.image_upload(path.read_bytes())

    def mark_image(self, digest: bytes, *, permanent: bool) -> None:
        self._client.image_set_state(digest, permanent)

    def confirm_image(self) -> None:
        self._client.image_set_state(None, True)

    def erase_image(self) -> None:
        self._client.image_erase()

    def slot_sizes(self) -> dict[int, int]:
        return {slot.slot: slot.size for image in self._client.image_slot_info() for slot in image.slots}

    def upgrade(self, path: Path, *, permanent: bool) -> None:
        self._client.firmware_update(path.read_bytes(), force_confirm=permanent)

    def upload_file(self, source: Path, name: str) -> None:
        self._client.fs_file_upload(name, source.read_bytes())

    def download_file(self, name: str, target: Path) -> None:
        target.write_bytes(self._client.fs_file_download(name))

    def file_size(self, name: str) -> int:
        return self._client.fs_file_status(name).length

    def file_hash(self, name: str) -> FileHash:
        return _file_hash(self._client.fs_file_checksum(name))

    def file_sha256(self, name: str) -> FileHash:
        return _file_hash(self._client.fs_file_checksum(name, "sha256"))

    def hash_types(self) -> dict[str, int]:
        return {name: kind.size for name, kind in self._client.fs_supported_checksum_types().items()}

    def close_files(self) -> None:
        self._client.fs_file_close()

    def read_setting(self, name: str) -> bytes:
        return bytes(self._client.settings_read(name))

    def write_setting(self, name: str, value: bytes) -> None:
        self._client.settings_write(name, value)

    def delete_setting(self, name: str) -> None:
        self._client.settings_delete(name)

    def save_settings(self) -> None:
        self._client.settings_save()

    def load_settings(self) -> None:
        self._client.settings_load()

    def commit_settings(self) -> None:
        self._client.settings_commit()

    def statistics_groups(self) -> list[str]:
        return self._client.stats_list_groups()

    def statistics(self, group: str) -> dict[str, int]:
        return self._client.stats_get_group_data(group)

    def shell(self, *words: str) -> str:
        return self._client.shell_execute(words)

    def group_count(self) -> int:
        return self._client.enum_get_group_count()

    def group_ids(self) -> list[int]:
        return self._client.enum_get_group_ids()

    def group_at(self, index: int) -> int:
        return self._client.enum_get_group_id(index)

    def group_names(self, *groups: int) -> dict[int, str]:
        return {group.group: str(group.name) for group in self._client.enum_get_group_details(groups)}

    def erase_storage(self) -> None:
        self._client.zephyr_erase_storage()
