"""Files to and from a device, against a file store that behaves as Zephyr's does (docs/smp.md#seen-on-zephyr)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fieldlog
from fieldlog import files
from fieldlog_protocol.commands import fs, os
from fieldlog_protocol.errors import (
    FieldlogError,
    LinkError,
    ProtocolError,
    RefusedError,
    UsageError,
    VerificationError,
)
from smp_peer import PARAMS, Answer, Handler, Peer, PtyPeer, Refuse, pty_peer, udp_peer

CHUNK = 300


class Store:
    """One file. Reading fills `chunk` bytes; a first piece is appended unless the file was closed before it."""

    def __init__(self, content: bytes = b"", chunk: int = CHUNK) -> None:
        self.content = content
        self.chunk = chunk
        self.open = False
        self.hashes: dict[str, Any] = {"crc32": {"format": 0, "size": 4}, "sha256": {"format": 1, "size": 32}}

    def handlers(self) -> dict[tuple[int, int, int], Handler]:
        return {
            fs.READ.key: self.read,
            fs.WRITE.key: self.write,
            fs.STATUS.key: lambda _: {"len": len(self.content)},
            fs.HASH.key: self.hash,
            fs.HASH_TYPES.key: lambda _: {"types": self.hashes} if self.hashes else Refuse(8),
            fs.CLOSE.key: self.close,
        }

    def read(self, body: dict[str, Any]) -> Answer:
        offset = body["off"]
        if offset > len(self.content):
            return Refuse(fs.OFFSET_LARGER_THAN_FILE, 8)
        answer: dict[str, Any] = {"off": offset, "data": self.content[offset : offset + self.chunk]}
        return answer | ({"len": len(self.content)} if offset == 0 else {})

    def write(self, body: dict[str, Any]) -> Answer:
        if body["off"] == 0 and not self.open:
            self.content = b""
        elif body["off"] not in (0, len(self.content)):
            return Refuse(fs.OFFSET_NOT_VALID, 8, {"len": len(self.content)})
        self.open = True
        self.content += body["data"]
        return {"off": len(self.content)}

    def close(self, _: dict[str, Any]) -> Answer:
        self.open = False
        return {}

    def hash(self, body: dict[str, Any]) -> Answer:
        if not self.hashes:
            return Refuse(8)
        covered = self.content[: body.get("len", len(self.content))]
        value: int | bytes = zlib.crc32(covered) if body["type"] == "crc32" else hashlib.sha256(covered).digest()
        return {"type": body["type"], "len": len(covered), "output": value}


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("size", [1, 23, CHUNK - 1, CHUNK, CHUNK + 1, 70_000])
async def test_a_file_is_fetched_whole_and_checked(tmp_path: Path, size: int) -> None:
    store = Store(noise(size))
    with pty_peer(store.handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            done = await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == store.content
    assert (done.size, done.announced, done.verified) == (size, size, "sha256")
    assert names(tmp_path) == ["x"]


async def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    store = Store()
    handlers = store.handlers() | {fs.READ.key: lambda _: Refuse(fs.FILE_EMPTY, 8)}
    with pty_peer(handlers) as peer:
        async with fieldlog.connect(peer.path) as device:
            assert (await files.fetch(device, "/lfs/x", tmp_path / "x")).size == 0
    assert (tmp_path / "x").read_bytes() == b""


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4000), st.lists(st.integers(20, 400), min_size=1, max_size=8))
def test_replies_of_any_length_make_the_same_file(size: int, lengths: list[int]) -> None:
    """A device may send less or more than the last time, at every reply."""
    content = noise(size)
    rounds = iter(range(1_000_000))

    class Fickle(Store):
        def read(self, body: dict[str, Any]) -> Answer:
            self.chunk = lengths[next(rounds) % len(lengths)]
            return super().read(body)

    async def work() -> bytes:
        got = bytearray()
        with udp_peer(Fickle(content).handlers()) as peer:
            async with fieldlog.connect(peer.url) as device:
                assert await files.read(device, "x", got.extend) == (size, size)
        return bytes(got)

    assert asyncio.run(work()) == content


async def test_a_download_asks_ahead_and_hardly_twice(tmp_path: Path) -> None:
    store = Store(noise(60_000))
    with pty_peer(store.handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            await files.fetch(device, "/lfs/x", tmp_path / "x")
            assert len(peer.peer.asked(fs.READ)) <= 60_000 / CHUNK + 3


async def test_a_file_that_shrinks_ends_where_it_ends(tmp_path: Path) -> None:
    store = Store(noise(20_000))
    store.hashes = {}

    def shrink(body: dict[str, Any]) -> Answer:
        if body["off"] > 5000:
            store.content = store.content[:7000]
        return store.read(body)

    with pty_peer(store.handlers() | {fs.READ.key: shrink}) as peer:
        async with fieldlog.connect(peer.path) as device:
            done = await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert (done.size, done.announced) == (7000, 20_000)
    assert (tmp_path / "x").read_bytes() == noise(20_000)[:7000]


async def test_a_file_that_grows_is_fetched_as_it_was_announced(tmp_path: Path) -> None:
    store = Store(noise(5000))

    def grow(body: dict[str, Any]) -> Answer:
        answer = store.read(body)
        store.content += b"more"
        return answer

    with pty_peer(store.handlers() | {fs.READ.key: grow}) as peer:
        async with fieldlog.connect(peer.path) as device:
            done = await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert (done.size, done.verified) == (5000, "sha256")
    assert (tmp_path / "x").read_bytes() == noise(5000)


async def test_a_file_that_arrives_changed_is_not_kept(tmp_path: Path) -> None:
    store = Store(noise(5000))

    def spoil(body: dict[str, Any]) -> Answer:
        answer = store.read(body)
        assert isinstance(answer, dict)
        return answer | {"data": bytes(len(answer["data"]))}

    with pty_peer(store.handlers() | {fs.READ.key: spoil}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(VerificationError, match=r"/lfs/x differs.*says its sha256.*Nothing was kept"):
                await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert names(tmp_path) == []


async def test_an_existing_file_is_left_alone_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("precious")
    with pty_peer(Store(b"new").handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(UsageError, match=r"exists already.*--force"):
                await files.fetch(device, "/lfs/x", target)
            assert target.read_text() == "precious"
            await files.fetch(device, "/lfs/x", target, force=True)
    assert target.read_bytes() == b"new"


async def test_a_file_that_appears_while_another_one_is_fetched_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pty_peer(Store(b"new").handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(
                UsageError, match=r"x came to be there meanwhile.*--force.* 3 bytes are kept in .*\.part"
            ):
                await files.fetch(device, "/lfs/x", target, progress=lambda *_: target.write_text("precious") and None)
            assert target.read_text() == "precious"
            done = await files.fetch(device, "/lfs/x", target, force=True)
    assert (done.resumed, names(tmp_path), target.read_bytes()) == (3, ["x"], b"new")


async def test_an_interrupted_fetch_keeps_the_former_file(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("precious")
    store = Store(noise(50_000))
    with pty_peer(store.handlers()) as peer:

        def unplug(body: dict[str, Any]) -> Answer:
            if body["off"] > 10_000:
                peer.unplug()
                return None
            return store.read(body)

        peer.peer.on(fs.READ, unplug)
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(LinkError):
                await files.fetch(device, "/lfs/x", target, force=True)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("size", [1, 200, 70_000])
async def test_a_file_is_stored_whole_and_checked(size: int) -> None:
    store = Store(b"what was there before")
    store.open = True
    with pty_peer(store.handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            done = await files.store(device, noise(size), "/lfs/x")
    assert store.content == noise(size)
    assert done.verified == "sha256"


async def test_pieces_fill_the_devices_buffer_to_the_byte() -> None:
    """Header and CBOR included: one byte more would be dropped in silence."""
    store = Store()
    with pty_peer(store.handlers() | {PARAMS: lambda _: {"buf_size": 512, "buf_count": 4}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            await files.store(device, noise(40_000), "/lfs/x")
        sizes = [_message_size(body) for body in peer.peer.asked(fs.WRITE)]
    assert max(sizes) == 508
    assert min(sizes[:-1]) >= 507


def _message_size(body: dict[str, Any]) -> int:
    from fieldlog_protocol.wire import HEADER_SIZE, encode_body

    return HEADER_SIZE + len(encode_body(fs.FileWriteRequest(**body)))


async def test_a_device_without_hashes_is_taken_at_its_size() -> None:
    store = Store()
    store.hashes = {}
    with pty_peer(store.handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            assert (await files.store(device, noise(900), "/lfs/x")).verified is None


async def test_a_refused_write_ends_it() -> None:
    store = Store()
    handlers = store.handlers() | {fs.WRITE.key: lambda _: Refuse(fs.WRITE_FAILED, 8)}
    with pty_peer(handlers) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(RefusedError, match="could not be written"):
                await files.store(device, noise(9000), "/lfs/x")


async def test_a_link_that_is_lost_in_a_write_leaves_a_file_not_to_be_trusted() -> None:
    store = Store()
    with pty_peer(store.handlers()) as peer:

        def unplug(body: dict[str, Any]) -> Answer:
            if body["off"] > 2000:
                peer.unplug()
                return None
            return store.write(body)

        peer.peer.on(fs.WRITE, unplug)
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(LinkError, match="/lfs/x may be incomplete on the device"):
                await files.store(device, noise(9000), "/lfs/x")


async def test_a_short_line_queue_gets_short_messages() -> None:
    """A stock Zephyr console loses requests longer than two lines from an unpaced host (docs/smp.md#seen-on-zephyr)."""
    store = Store()

    def short_queue(body: dict[str, Any]) -> Answer:
        return None if len(body["data"]) > 180 else store.write(body)

    with pty_peer(store.handlers() | {fs.WRITE.key: short_queue}) as peer:
        async with fieldlog.connect(peer.path) as device:
            await files.store(device, noise(1000), "/lfs/x")
    assert store.content == noise(1000)


def _lossy(peer: Peer, seed: int, loss: float) -> None:
    chance = random.Random(seed)
    # requests for parameters and hashes are not what is tested: only their repetition costs time
    peer.lose = lambda: chance.random() < loss


async def _round_trip(peer: PtyPeer, store: Store, seed: int, size: int) -> None:
    content = noise(size, seed)
    got = bytearray()
    async with fieldlog.connect(f"{peer.path}?timeout=0.35") as device:
        await device.request(os.ECHO, os.EchoRequest(d="learn the round trip"))
        await files.store(device, content, "/lfs/x")
        assert store.content == content, f"seed {seed}: stored wrongly"
        await files.read(device, "/lfs/x", got.extend)
    assert bytes(got) == content, f"seed {seed}: fetched wrongly"


async def _campaign(seeds: range, size: int) -> None:
    for seed in seeds:
        store = Store()
        with pty_peer(store.handlers()) as peer:
            _lossy(peer.peer, seed, 0.03)
            try:
                await _round_trip(peer, store, seed, size)
            except FieldlogError as error:
                raise AssertionError(f"seed {seed}: {error}") from error


async def test_losses_neither_spoil_nor_stop_a_file() -> None:
    await _campaign(range(4), 12_000)


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_losses_neither_spoil_nor_stop_a_file_in_full() -> None:
    await _campaign(range(100, 180), 40_000)


@pytest.mark.parametrize("at", [0, 900])
async def test_a_piece_from_elsewhere_is_an_error(tmp_path: Path, at: int) -> None:
    store = Store(noise(5000))

    def elsewhere(body: dict[str, Any]) -> Answer:
        answer = store.read(body)
        assert isinstance(answer, dict)
        return answer | ({"off": 77} if body["off"] >= at else {})

    with pty_peer(store.handlers() | {fs.READ.key: elsewhere}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError, match="begins at byte 77"):
                await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


async def test_a_file_of_which_nothing_comes_is_not_kept(tmp_path: Path) -> None:
    with pty_peer(Store().handlers() | {fs.READ.key: lambda _: {"off": 0, "len": 1000, "data": b""}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(VerificationError, match="1000 bytes"):
                await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [-1, 5001, 1 << 40])
async def test_a_place_outside_the_file_is_an_error(length: int) -> None:
    store = Store()

    def astray(body: dict[str, Any]) -> Answer:
        return Refuse(fs.OFFSET_NOT_VALID, 8, {"len": length}) if body["off"] else store.write(body)

    with pty_peer(store.handlers() | {fs.WRITE.key: astray}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError, match=str(length)):
                await asyncio.wait_for(files.store(device, noise(5000), "/lfs/x"), 10)


async def test_a_device_that_goes_in_circles_is_no_endless_loop() -> None:
    """It takes piece after piece, and each time wants an earlier one again."""
    store = Store()

    def circle(body: dict[str, Any]) -> Answer:
        if body["off"] > 2000:
            store.content = store.content[:300]
            return Refuse(fs.OFFSET_NOT_VALID, 8, {"len": 300})
        return store.write(body)

    with pty_peer(store.handlers() | {fs.WRITE.key: circle}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError, match="keeps asking"):
                await asyncio.wait_for(files.store(device, noise(5000), "/lfs/x"), 15)
