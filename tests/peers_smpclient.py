"""smpclient: the asyncio library of Intercreate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from smpclient import SMPClient
from smpclient.generics import SMPRequest, TEr1, TEr2, TRep, success
from smpclient.requests.enumeration_management import CountSupportedGroups, GroupDetails, GroupId, ListSupportedGroups
from smpclient.requests.file_management import (
    FileClose,
    FileHashChecksum,
    FileStatus,
    SupportedFileHashChecksumTypes,
)
from smpclient.requests.image_management import ImageErase, ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import (
    BootloaderInformationRead,
    DateTimeRead,
    DateTimeWrite,
    EchoWrite,
    MCUMgrParametersRead,
    MemoryPoolStatisticsRead,
    OSApplicationInfoRead,
    ResetWrite,
    TaskStatisticsRead,
)
from smpclient.requests.settings_management import (
    CommitSettings,
    DeleteSetting,
    LoadSettings,
    ReadSetting,
    SaveSettings,
    WriteSetting,
)
from smpclient.requests.shell_management import Execute
from smpclient.requests.statistics_management import GroupData, ListOfGroups
from smpclient.requests.zephyr_management import EraseStorage
from smpclient.transport import SMPTransport
from smpclient.transport.ble import SMPBLETransport
from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport
from smpclient.transport.udp import IPV4_UDP_OVERHEAD, SMPUDPTransport

from fieldlog_sim.links.ble.virtual import backend, installed
from peers import FileHash, Peer, Place, Slot

TIMEOUT_S = 10.0
_T = TypeVar("_T")


def _transport(place: Place) -> SMPTransport:
    if place.link == "ble":
        return SMPBLETransport()
    if place.link == "udp":  # it sizes datagrams by the MTU alone, not by the device's buffers
        return SMPUDPTransport(mtu=min(1500, place.buf_size + IPV4_UDP_OVERHEAD))
    return SMPSerialRawTransport(mtu=place.buf_size) if place.link == "raw" else SMPSerialTransport()


async def _virtual_radio(at: str, stack: AsyncExitStack) -> None:
    """The client knows nothing of one, so that it is put under it. Pairing is the operating system's affair there."""
    client, scanner = await stack.enter_async_context(backend({"at": at, "pairing": "auto"}))
    stack.enter_context(installed(client, scanner))


async def _to_the_end(offsets: AsyncIterator[int]) -> None:
    async for _ in offsets:
        pass


class SmpclientPeer(Peer):
    def __init__(self, client: SMPClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    @classmethod
    @contextmanager
    def connect(cls, place: Place) -> Generator[Self]:
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            try:
                if place.link == "ble":
                    runner.run(_virtual_radio(place.at, stack))
                client = SMPClient(_transport(place), place.address, timeout_s=TIMEOUT_S)
                runner.run(client.connect())
                stack.push_async_callback(client.disconnect)
                yield cls(client, runner)
            finally:
                runner.run(stack.aclose())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(work)

    def _ask(self, request: SMPRequest[TRep, TEr1, TEr2]) -> TRep:
        response = self._run(self._client.request(request))
        assert success(response), f"refused: {response}"  # pyright: ignore[reportUnknownArgumentType]
        return response

    def echo(self, text: str) -> str:
        return self._ask(EchoWrite(d=text)).r

    def parameters(self) -> tuple[int, int]:
        found = self._ask(MCUMgrParametersRead())
        return found.buf_size, found.buf_count

    def read_datetime(self) -> datetime:
        return datetime.fromisoformat(self._ask(DateTimeRead()).datetime.partition(".")[0])

    def set_datetime(self, value: datetime) -> None:
        self._ask(DateTimeWrite(datetime=value.isoformat(timespec="seconds")))

    def reset(self) -> None:
        self._ask(ResetWrite())
        if isinstance(
            self._client._transport, SMPBLETransport
        ):  # a restart ends the connection, which it leaves to others
            self._run(self._client.disconnect())
            self._run(self._client.connect())

    def tasks(self) -> set[str]:
        return set(self._ask(TaskStatisticsRead()).tasks)

    def pools(self) -> dict[str, tuple[int, int]]:
        found = self._ask(MemoryPoolStatisticsRead()).model_extra or {}
        return {name: (pool["blksiz"], pool["nblks"]) for name, pool in found.items()}

    def os_info(self, letters: str) -> str:
        return self._ask(OSApplicationInfoRead(format=letters)).output

    def boot_loader(self) -> str:
        return self._ask(BootloaderInformationRead()).bootloader

    def images(self) -> list[Slot]:
        return [
            Slot(
                image.slot,
                image.version,
                bytes(image.hash or b""),
                bool(image.active),
                bool(image.confirmed),
                bool(image.pending),
                bool(image.permanent),
            )
            for image in self._ask(ImageStatesRead()).images
        ]

    def upload_image(self, path: Path) -> None:
        self._run(_to_the_end(self._client.upload(path.read_bytes())))

    def mark_image(self, digest: bytes, *, permanent: bool) -> None:
        self._ask(ImageStatesWrite(hash=digest, confirm=permanent))

    def confirm_image(self) -> None:
        self._ask(ImageStatesWrite(confirm=True))

    def erase_image(self) -> None:
        self._ask(ImageErase(slot=1))

    def upload_file(self, source: Path, name: str) -> None:
        self._run(_to_the_end(self._client.upload_file(source.read_bytes(), name)))

    def download_file(self, name: str, target: Path) -> None:
        target.write_bytes(self._run(self._client.download_file(name)))

    def file_size(self, name: str) -> int:
        return self._ask(FileStatus(name=name)).len

    def file_hash(self, name: str) -> FileHash:
        return self._hash(FileHashChecksum(name=name))

    def file_sha256(self, name: str) -> FileHash:
        return self._hash(FileHashChecksum(name=name, type="sha256"))

    def _hash(self, request: FileHashChecksum) -> FileHash:
        found = self._ask(request)
        output = found.output if isinstance(found.output, bytes) else found.output.to_bytes(4, "big")
        return FileHash(found.type, found.len, output)

    def hash_types(self) -> dict[str, int]:
        return {name: kind.size for name, kind in self._ask(SupportedFileHashChecksumTypes()).types.items()}

    def close_files(self) -> None:
        self._ask(FileClose())

    def read_setting(self, name: str) -> bytes:
        return self._ask(ReadSetting(name=name)).val

    def write_setting(self, name: str, value: bytes) -> None:
        self._ask(WriteSetting(name=name, val=value))

    def delete_setting(self, name: str) -> None:
        self._ask(DeleteSetting(name=name))

    def save_settings(self) -> None:
        self._ask(SaveSettings())

    def load_settings(self) -> None:
        self._ask(LoadSettings())

    def commit_settings(self) -> None:
        self._ask(CommitSettings())

    def statistics_groups(self) -> list[str]:
        return list(self._ask(ListOfGroups()).stat_list)

    def statistics(self, group: str) -> dict[str, int]:
        return dict(self._ask(GroupData(name=group)).fields)

    def shell(self, *words: str) -> str:
        return self._ask(Execute(argv=list(words))).o

    def group_count(self) -> int:
        return self._ask(CountSupportedGroups()).count

    def group_ids(self) -> list[int]:
        return [int(group) for group in self._ask(ListSupportedGroups()).groups]

    def group_at(self, index: int) -> int:
        return int(self._ask(GroupId(index=index)).group)

    def group_names(self, *groups: int) -> dict[int, str]:
        found = self._ask(GroupDetails(groups=groups)).groups
        return {int(group.group): str(group.name) for group in found}

    def erase_storage(self) -> None:
        self._ask(EraseStorage())
