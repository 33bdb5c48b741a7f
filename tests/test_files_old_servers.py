"""Files on servers older than Zephyr's present one, as mynewt-mcumgr and Zephyr's first releases have them."""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import fieldlog
from fieldlog import files
from fieldlog_protocol.commands import fs
from fieldlog_protocol.errors import ProtocolError, RefusedError, VerificationError
from smp_peer import Answer, Handler, Peer, PtyPeer, Refuse, pty_peer

CONTENT = random.Random(5).randbytes(9_000)


class OldStore:
    """One file. It tells no size but with its first bytes, closes nothing and hashes nothing; a piece at a wrong offset
    is refused by the number of the protocol, with the right one beside it, and so is any when all has arrived."""

    def __init__(self) -> None:
        self.content = b""
        self.length: int | None = None

    def handlers(self) -> dict[tuple[int, int, int], Handler]:
        return {fs.READ.key: self.read, fs.WRITE.key: self.write}

    def peer(self) -> AbstractContextManager[PtyPeer]:
        return pty_peer(self.handlers())

    def read(self, body: dict[str, Any]) -> Answer:
        offset = body["off"]
        answer: dict[str, Any] = {"rc": 0, "off": offset, "data": self.content[offset : offset + 200]}
        return answer | ({"len": len(self.content)} if offset == 0 else {})

    def write(self, body: dict[str, Any]) -> Answer:
        offset = body["off"]
        if offset == 0:
            self.content, self.length = b"", body["len"]
        elif self.length is None:
            return Refuse(3)
        elif offset != len(self.content):
            return Refuse(3, details={"off": len(self.content)})
        self.content += body["data"]
        if len(self.content) == self.length:
            self.length = None
        return {"rc": 0, "off": len(self.content)}


def losing(nth: int, *, reply: bool) -> Callable[[Peer], None]:
    """Lose the nth request for a write, or the reply to it."""

    def set_up(peer: Peer) -> None:
        write, asked = peer.handlers[fs.WRITE.key], 0

        def lossy(body: dict[str, Any]) -> Answer | list[Answer]:
            nonlocal asked
            asked += 1
            if asked != nth:
                return write(body)
            if reply:
                write(body)
            return None

        peer.on(fs.WRITE, lossy)

    return set_up


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_file_is_stored_where_its_size_cannot_be_asked_for() -> None:
    store = OldStore()
    with store.peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            done = await files.store(device, CONTENT, "/lfs/x")
    assert store.content == CONTENT
    assert (done.size, done.verified) == (len(CONTENT), None)


async def test_the_size_is_told_where_it_comes_with_the_first_bytes() -> None:
    store = OldStore()
    store.content = CONTENT
    with store.peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            assert await files.size(device, "/lfs/x") == len(CONTENT)
            peer.peer.on(fs.READ, lambda _: Refuse(5))
            with pytest.raises(RefusedError, match="no such thing"):
                await files.size(device, "/lfs/x")
            peer.peer.on(fs.READ, lambda _: Refuse(fs.FILE_EMPTY, 8))
            assert await files.size(device, "/lfs/x") == 0
            del peer.peer.handlers[fs.READ.key]
            with pytest.raises(RefusedError, match="fs status"):
                await files.size(device, "/lfs/x")


async def test_a_file_whose_size_nothing_tells_is_not_fetched_in_part(tmp_path: Path) -> None:
    with OldStore().peer() as peer:
        peer.peer.on(fs.READ, lambda _: {"off": 0, "data": CONTENT[:200]})
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError, match="how long /lfs/x is"):
                await files.fetch(device, "/lfs/x", tmp_path / "x")
    assert names(tmp_path) == []


async def test_the_size_is_compared_where_the_first_bytes_tell_it() -> None:
    store = OldStore()
    with store.peer() as peer:
        read = {"rc": 0, "off": 0, "data": CONTENT[:200], "len": 8_000}
        peer.peer.on(fs.READ, lambda _: read)
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(VerificationError, match="8000 bytes"):
                await files.store(device, CONTENT, "/lfs/x")


@pytest.mark.parametrize("answer", [Refuse(8), {"off": 0, "data": CONTENT[:200]}], ids=["not read", "no size"])
async def test_a_file_is_stored_where_nothing_tells_its_size(answer: Answer) -> None:
    store = OldStore()
    with store.peer() as peer:
        peer.peer.on(fs.READ, lambda _: answer)
        async with fieldlog.connect(peer.path) as device:
            assert (await files.store(device, CONTENT, "/lfs/x")).verified is None
    assert store.content == CONTENT


async def test_a_file_that_is_not_there_when_it_was_stored_is_an_error() -> None:
    with OldStore().peer() as peer:
        peer.peer.on(fs.READ, lambda _: Refuse(1))
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(RefusedError):
                await files.store(device, CONTENT, "/lfs/x")


@pytest.mark.parametrize("reply", [False, True], ids=["request", "reply"])
async def test_a_lost_message_does_not_end_it(reply: bool) -> None:
    store = OldStore()
    with store.peer() as peer:
        losing(12, reply=reply)(peer.peer)
        async with fieldlog.connect(f"{peer.path}?timeout=0.5") as device:
            await files.store(device, CONTENT, "/lfs/x")
    assert store.content == CONTENT


async def test_nor_do_the_last_replies_when_all_has_arrived() -> None:
    store = OldStore()

    def silent_at_the_end(body: dict[str, Any]) -> Answer:
        answer = store.write(body)
        return None if body["off"] > 8_500 and not isinstance(answer, Refuse) else answer

    with store.peer() as peer:
        peer.peer.on(fs.WRITE, silent_at_the_end)
        async with fieldlog.connect(f"{peer.path}?timeout=0.5") as device:
            await files.store(device, CONTENT, "/lfs/x")
    assert store.content == CONTENT


@pytest.mark.parametrize("kinds", [("sha256",), ("sha256", "crc32"), ("crc32",)], ids=" ".join)
@pytest.mark.parametrize("code", [1, 3])
async def test_a_server_that_hashes_and_cannot_say_how_is_tried(
    tmp_path: Path, kinds: tuple[str, ...], code: int
) -> None:
    """Zephyr 3.1 has the hash and not the command that names its kinds; in SMP v1 it tells no reason for a refusal."""
    store = OldStore()

    def digest(body: dict[str, Any]) -> Answer:
        if body["type"] not in kinds:
            return Refuse(code)
        covered = store.content[: body.get("len")]
        output = hashlib.sha256(covered).digest() if body["type"] == "sha256" else zlib.crc32(covered)
        return {"rc": 0, "type": body["type"], "len": len(covered), "output": output}

    with store.peer() as peer:
        peer.peer.on(fs.HASH, digest)
        async with fieldlog.connect(peer.path) as device:
            assert (await files.store(device, CONTENT, "/lfs/x")).verified == kinds[0]
            assert (await files.fetch(device, "/lfs/x", tmp_path / "x")).verified == kinds[0]
            store.content = b""
            assert (await files.fetch(device, "/lfs/x", tmp_path / "x", force=True)).verified is None


async def test_a_server_that_hashes_all_or_nothing_counts_as_one_that_does_not(tmp_path: Path) -> None:
    store = OldStore()
    store.content = CONTENT
    with store.peer() as peer:
        peer.peer.on(fs.HASH, lambda body: {"type": body["type"], "len": len(CONTENT), "output": bytes(32)})
        async with fieldlog.connect(peer.path) as device:
            assert (await files.fetch(device, "/lfs/x", tmp_path / "x")).verified is None


async def test_a_server_that_forgot_the_upload_is_told() -> None:
    store = OldStore()
    with store.peer() as peer:

        def forget(body: dict[str, Any]) -> Answer:
            if body["off"] > 4_000:
                store.length = None
            return store.write(body)

        peer.peer.on(fs.WRITE, forget)
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(RefusedError, match="malformed"):
                await files.store(device, CONTENT, "/lfs/x")
