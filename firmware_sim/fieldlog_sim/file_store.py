"""Files on flash, by name: written at their end, replaced as a whole, kept exactly as far as they were written.

Each sector in use belongs to one file: a header with the file's id, its name and the sector's place in it, then chunks
with a CRC of their own. A file begins to exist with the header of its first sector and ends when that is zeroed. Ids
only rise, and of two files of one name the later counts. The index is in memory only, rebuilt by a scan at mount; a
torn chunk is ignored and the file goes on in a new sector.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.layout import Layout
from fieldlog_sim.nor_flash import Partition
from fieldlog_sim.store_errors import NoSuchFile, StoreFull

MAX_NAME = 64
_MAGIC = 0x53454C46


@dataclass(frozen=True, slots=True)
class _SectorHeader:
    magic: int
    file_id: int
    index: int
    name_length: int
    name: bytes
    crc: int


@dataclass(frozen=True, slots=True)
class _ChunkHeader:
    """`crc` covers the length and the data."""

    length: int
    crc: int


_SECTOR = Layout(
    _SectorHeader,
    [
        *[("magic", "u32"), ("file_id", "u32"), ("index", "u32")],
        *[("name_length", "u32"), ("name", f"bytes:{MAX_NAME}"), ("crc", "u32")],
    ],
    endian="little",
)
_CHUNK = Layout(_ChunkHeader, [("length", "u16"), ("crc", "u32")], endian="little")


@dataclass(slots=True)
class _File:
    """`starts[i]` is the offset in the file of the chunk whose data lies at `places[i]` of the partition.

    `end` is where the next chunk may begin in the last sector.
    """

    file_id: int
    name: str
    sectors: list[int] = field(default_factory=list[int])
    starts: list[int] = field(default_factory=list[int])
    places: list[int] = field(default_factory=list[int])
    size: int = 0
    end: int = 0

    def add_chunk(self, place: int, length: int) -> None:
        self.starts.append(self.size)
        self.places.append(place)
        self.size += length
        self.end = place + length


class FileStore:
    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._sector_size = partition.sector_size
        self._files: dict[str, _File] = {}
        self._free = set(range(partition.sectors))
        self._last_id = 0
        self._next_sector = 0
        self._mount()

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._files))

    def exists(self, name: str) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        return self._file(name).size

    @property
    def free(self) -> int:
        """Bytes that one append to a new file could take."""
        return len(self._free) * self._sector_payload

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the file, none behind it."""
        file = self._file(name)
        end = min(offset + length, file.size)
        if offset >= end:
            return b""
        first = max(0, bisect_right(file.starts, offset) - 1)
        return b"".join(self._pieces(file, first, offset, end))

    def create(self, name: str) -> None:
        """Begin an empty file; one of the same name is gone from here on."""
        if not 1 <= len(name.encode()) <= MAX_NAME:
            raise UsageError(f"a file name has 1 to {MAX_NAME} bytes, {name[:MAX_NAME]!r} has {len(name.encode())}")
        if not self._free and name in self._files:
            self.delete(name)
        if not self._free:
            raise StoreFull(f"there is no sector left for the file {name}. Nothing was changed. Delete files first")
        self._last_id += 1
        file = _File(self._last_id, name)
        self._add_sector(file)
        former = self._files.get(name)
        self._files[name] = file
        if former:
            self._forget(former)

    def append(self, name: str, data: bytes) -> None:
        """Write at the end. When this returns the data is durable; a power cut during it may keep a part, from its start."""
        file = self._file(name)
        if len(data) > self._room(file):
            raise StoreFull(
                f"{len(data)} bytes more of {name} do not fit the {self._room(file)} left. Nothing was written"
            )
        done = 0
        while done < len(data):
            if self._room_in_sector(file) < 1:
                self._add_sector(file)
            piece = data[done : done + self._room_in_sector(file)]
            self._write_chunk(file, piece)
            done += len(piece)

    def delete(self, name: str) -> None:
        self._forget(self._file(name))
        del self._files[name]

    def erase(self) -> None:
        """Delete every file."""
        for name in self.names():
            self.delete(name)

    def _file(self, name: str) -> _File:
        try:
            return self._files[name]
        except KeyError:
            raise NoSuchFile(f"there is no file {name}") from None

    def _pieces(self, file: _File, first: int, offset: int, end: int) -> Iterator[bytes]:
        for number in range(first, len(file.starts)):
            start = file.starts[number]
            if start >= end:
                return
            stop = file.starts[number + 1] if number + 1 < len(file.starts) else file.size
            skip = max(0, offset - start)
            yield self._partition.read(file.places[number] + skip, min(stop, end) - start - skip)

    @property
    def _sector_payload(self) -> int:
        return self._sector_size - _SECTOR.size - _CHUNK.size

    def _room(self, file: _File) -> int:
        return max(0, self._room_in_sector(file)) + len(self._free) * self._sector_payload

    def _room_in_sector(self, file: _File) -> int:
        """How much data a chunk could still hold there; not above 0 when there is not even room for its header."""
        return (file.sectors[-1] + 1) * self._sector_size - file.end - _CHUNK.size

    def _add_sector(self, file: _File) -> None:
        sector = self._take_free_sector()
        self._partition.erase(sector)
        start = sector * self._sector_size
        self._partition.program(start, _build_sector_header(file.file_id, len(file.sectors), file.name))
        file.sectors.append(sector)
        file.end = start + _SECTOR.size

    def _take_free_sector(self) -> int:
        """The next one around the partition, so that all wear alike."""
        count = self._partition.sectors
        around = ((self._next_sector + step) % count for step in range(count))
        sector = next(sector for sector in around if sector in self._free)
        self._free.remove(sector)
        self._next_sector = (sector + 1) % count
        return sector

    def _write_chunk(self, file: _File, data: bytes) -> None:
        header = _CHUNK.build(_ChunkHeader(len(data), _chunk_crc(data)))
        self._partition.program(file.end, header + data)
        file.add_chunk(file.end + len(header), len(data))

    def _forget(self, file: _File) -> None:
        """End a file; its sectors are erased when they are used again."""
        self._partition.program(file.sectors[0] * self._sector_size, bytes(_SECTOR.size))
        self._free.update(file.sectors)

    def _mount(self) -> None:
        sectors: dict[int, dict[int, int]] = {}
        names: dict[int, str] = {}
        for sector in range(self._partition.sectors):
            header = _parse_sector_header(self._partition.read(sector * self._sector_size, _SECTOR.size))
            if header is not None:
                sectors.setdefault(header.file_id, {})[header.index] = sector
                names[header.file_id] = header.name[: header.name_length].decode()
        for file_id in sorted(sectors):
            if 0 in sectors[file_id]:
                self._mount_file(_File(file_id, names[file_id]), sectors[file_id])
        if sectors:
            self._last_id = max(sectors)
            _, last = max(sectors[self._last_id].items(), key=itemgetter(0))
            self._next_sector = (last + 1) % self._partition.sectors

    def _mount_file(self, file: _File, sectors: dict[int, int]) -> None:
        """Ids come in rising order: a former file of this name was replaced, and power went before it was ended."""
        former = self._files.get(file.name)
        if former:
            self._forget(former)
        for index in range(len(sectors)):
            if index not in sectors:
                break
            file.sectors.append(sectors[index])
            self._mount_chunks(file, sectors[index])
        self._free.difference_update(file.sectors)
        self._files[file.name] = file

    def _mount_chunks(self, file: _File, sector: int) -> None:
        data = self._partition.read(sector * self._sector_size, self._sector_size)
        at = _SECTOR.size
        for length in _chunk_lengths(data, at):
            file.add_chunk(sector * self._sector_size + at + _CHUNK.size, length)
            at += _CHUNK.size + length
        torn = data.count(0xFF, at) != len(data) - at
        file.end = (sector + 1) * self._sector_size if torn else sector * self._sector_size + at


def _build_sector_header(file_id: int, index: int, name: str) -> bytes:
    text = name.encode()
    header = _SectorHeader(_MAGIC, file_id, index, len(text), text.ljust(MAX_NAME, b"\0"), 0)
    body = _SECTOR.build(header)[:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


def _parse_sector_header(data: bytes) -> _SectorHeader | None:
    header = _SECTOR.parse(data)
    valid = header.magic == _MAGIC and header.crc == zlib.crc32(data[:-4])
    return header if valid else None


def _chunk_crc(data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(len(data).to_bytes(2, "little")))


def _chunk_lengths(data: bytes, at: int) -> Iterator[int]:
    """The lengths of the chunks up to the first that is erased, torn or does not fit."""
    while at + _CHUNK.size <= len(data):
        header = _CHUNK.parse(data[at : at + _CHUNK.size])
        at += _CHUNK.size
        chunk = data[at : at + header.length]
        if len(chunk) != header.length or header.crc != _chunk_crc(chunk):
            return
        yield header.length
        at += header.length
