"""Other people's clients move files to and from the simulated device."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from random import Random

import pytest

from peers import FileHash, Peer
from peers_suite import SETUPS, proves

LARGE = 100_000
NAME = "/lfs/peer.bin"


def content(size: int) -> bytes:
    return Random(size).randbytes(size)


def put(peer: Peer, folder: Path, data: bytes, name: str = NAME) -> None:
    source = folder / "source.bin"
    source.write_bytes(data)
    peer.upload_file(source, name)


def fetch(peer: Peer, folder: Path, name: str = NAME) -> bytes:
    target = folder / "target.bin"
    peer.download_file(name, target)
    return target.read_bytes()


@proves("file upload", "file download", "file status", on=SETUPS)
@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_file_comes_back_as_it_went(peer: Peer, tmp_path: Path, size: int) -> None:
    data = content(size)
    put(peer, tmp_path, data)
    assert peer.file_size(NAME) == size
    assert fetch(peer, tmp_path) == data


@proves("file upload", "file download")
def test_a_file_uploaded_again_is_replaced(peer: Peer, tmp_path: Path) -> None:
    """None of these clients closes a file when it is done."""
    put(peer, tmp_path, content(900))
    put(peer, tmp_path, b"short")
    put(peer, tmp_path, content(700))
    assert fetch(peer, tmp_path) == content(700)


@proves("close files", "file upload", "file download")
def test_a_closed_file_is_whole(peer: Peer, tmp_path: Path) -> None:
    put(peer, tmp_path, content(500))
    peer.close_files()
    assert fetch(peer, tmp_path) == content(500)


@proves("file hash", "file upload")
def test_the_device_hashes_with_crc32_unless_told(peer: Peer, tmp_path: Path) -> None:
    data = content(5000)
    put(peer, tmp_path, data)
    assert peer.file_hash(NAME) == FileHash("crc32", len(data), zlib.crc32(data).to_bytes(4, "big"))


@proves("file sha256", "file upload")
def test_the_device_hashes_with_sha256(peer: Peer, tmp_path: Path) -> None:
    data = content(5001)
    put(peer, tmp_path, data)
    assert peer.file_sha256(NAME) == FileHash("sha256", len(data), hashlib.sha256(data).digest())


@proves("hash types")
def test_the_kinds_of_hash_are_told(peer: Peer) -> None:
    assert peer.hash_types() == {"crc32": 4, "sha256": 32}
