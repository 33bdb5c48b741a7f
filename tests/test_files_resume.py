"""Fetching a file that is broken off, or that is not what it was: what is kept, what is not, and what is said."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import fieldlog
from fieldlog import files
from fieldlog.cli.main import invoke
from fieldlog.files import Transferred
from fieldlog.partial import partials
from fieldlog_protocol.commands import fs
from fieldlog_protocol.errors import FieldlogError, LinkError, ProtocolError, RefusedError, VerificationError
from smp_peer import Answer, PtyPeer, Refuse, pty_peer, udp_peer
from test_files import CHUNK, Store, names, noise

NAME = "/lfs/x"
HASHED, BARE = True, False
CLI = [sys.executable, "-m", "fieldlog.cli", "fs", "get"]


def store_of(content: bytes, hashed: bool) -> Store:
    store = Store(content)
    if not hashed:
        store.hashes = {}
    return store


async def fetch(peer: PtyPeer, target: Path) -> Transferred:
    async with fieldlog.connect(peer.path) as device:
        return await files.fetch(device, NAME, target)


async def break_off(peer: PtyPeer, store: Store, target: Path, at: int = 10_000) -> int:
    """Fetch until the device answers no more at a byte; how many bytes are kept."""

    class Enough(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done >= at:
            raise Enough

    async with fieldlog.connect(peer.path) as device:
        with suppress(Enough):
            await files.fetch(device, NAME, target, progress=stop)
    peer.peer.log.clear()
    (partial,) = partials(target)
    kept = partial.stat().st_size
    assert kept >= at
    assert partial.read_bytes() == store.content[:kept]
    return kept


def offsets(peer: PtyPeer) -> list[int]:
    return [body["off"] for body in peer.peer.asked(fs.READ)]


@pytest.mark.parametrize("hashed", [HASHED, BARE])
async def test_the_next_call_goes_on_where_the_last_one_ended(tmp_path: Path, hashed: bool) -> None:
    store = store_of(noise(30_000), hashed)
    with pty_peer(store.handlers()) as peer:
        kept = await break_off(peer, store, tmp_path / "x")
        done = await fetch(peer, tmp_path / "x")
        read_again = [offset for offset in offsets(peer) if 0 < offset <= kept - CHUNK]
    assert (tmp_path / "x").read_bytes() == store.content
    assert (done.resumed, done.dropped, done.size) == (kept, False, 30_000)
    assert read_again == []
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("hashed", [HASHED, BARE])
async def test_a_file_that_is_all_there_need_only_be_checked(tmp_path: Path, hashed: bool) -> None:
    store = store_of(noise(30_000), hashed)
    with pty_peer(store.handlers()) as peer:
        await break_off(peer, store, tmp_path / "x", at=30_000)
        await fetch(peer, tmp_path / "x")
        assert len(offsets(peer)) <= 3
    assert (tmp_path / "x").read_bytes() == store.content


async def test_a_link_that_is_lost_leaves_what_had_arrived_and_says_so(tmp_path: Path) -> None:
    store = Store(noise(30_000))
    with pty_peer(store.handlers()) as peer:

        def unplug(body: dict[str, Any]) -> Answer:
            if body["off"] > 10_000:
                peer.unplug()
                return None
            return store.read(body)

        peer.peer.on(fs.READ, unplug)
        with pytest.raises(LinkError, match=r"of 30000 bytes are kept in .*x\.[0-9a-f]{8}\.part: repeat the command"):
            await fetch(peer, tmp_path / "x")
    with pty_peer(store.handlers()) as peer:
        assert (await fetch(peer, tmp_path / "x")).resumed > 9000
    assert (tmp_path / "x").read_bytes() == store.content


def replaced(content: bytes) -> bytes:
    return noise(len(content), seed=2)


def rewritten_after_its_head(content: bytes) -> bytes:
    return content[:CHUNK] + noise(len(content), seed=2)[CHUNK:]


def cut(content: bytes) -> bytes:
    return content[:5000]


@pytest.mark.parametrize("hashed", [HASHED, BARE])
@pytest.mark.parametrize("change", [replaced, rewritten_after_its_head, cut])
async def test_what_is_no_longer_how_the_file_begins_is_not_continued(
    tmp_path: Path, hashed: bool, change: Callable[[bytes], bytes]
) -> None:
    store = store_of(noise(30_000), hashed)
    with pty_peer(store.handlers()) as peer:
        await break_off(peer, store, tmp_path / "x")
        store.content = change(store.content)
        done = await fetch(peer, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == store.content
    assert (done.resumed, done.dropped) == (0, True)
    assert names(tmp_path) == ["x"]


async def test_one_changed_byte_is_found_where_there_is_a_hash(tmp_path: Path) -> None:
    store = Store(noise(30_000))
    with pty_peer(store.handlers()) as peer:
        await break_off(peer, store, tmp_path / "x")
        store.content = store.content[:5000] + bytes([store.content[5000] ^ 1]) + store.content[5001:]
        await fetch(peer, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == store.content


@pytest.mark.parametrize("hashed", [HASHED, BARE])
async def test_a_file_that_grew_since_is_fetched_to_its_new_end(tmp_path: Path, hashed: bool) -> None:
    store = store_of(noise(30_000), hashed)
    with pty_peer(store.handlers()) as peer:
        kept = await break_off(peer, store, tmp_path / "x")
        store.content += noise(5000, seed=3)
        done = await fetch(peer, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == store.content
    assert (done.resumed, done.size) == (kept, 35_000)


async def test_without_a_hash_one_devices_file_is_never_continued_from_anothers(tmp_path: Path) -> None:
    """They may begin and end alike."""
    ends = bytes(2 * CHUNK)
    mine, other = (store_of(ends + noise(10_000, seed) + ends, BARE) for seed in (1, 2))
    with pty_peer(mine.handlers()) as one, pty_peer(other.handlers()) as two:
        await break_off(one, mine, tmp_path / "x", at=10_000 + 3 * CHUNK)
        assert (await fetch(two, tmp_path / "x")).resumed == 0
    assert (tmp_path / "x").read_bytes() == other.content


async def test_two_files_into_one_target_are_kept_apart(tmp_path: Path) -> None:
    store = Store(noise(30_000))
    with pty_peer(store.handlers()) as peer:
        await break_off(peer, store, tmp_path / "x")
        async with fieldlog.connect(peer.path) as device:
            assert (await files.fetch(device, "/lfs/other", tmp_path / "x")).resumed == 0
    assert len(partials(tmp_path / "x")) == 1


@contextmanager
def little_disk(room: int) -> Generator[None]:
    """No file may grow beyond so many bytes: the disk is full after that."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_one_sentence_and_with_room_it_goes_on(tmp_path: Path) -> None:
    store = Store(noise(50_000))
    with pty_peer(store.handlers()) as peer:
        with little_disk(1000), pytest.raises(FieldlogError, match=r"x cannot be written: .*\. 1000 bytes are kept in"):
            await fetch(peer, tmp_path / "x")
        assert not (tmp_path / "x").exists()
        assert (await fetch(peer, tmp_path / "x")).resumed == 1000
    assert (tmp_path / "x").read_bytes() == store.content


async def test_nothing_is_left_where_nothing_arrived(tmp_path: Path) -> None:
    peer = pty_peer(Store(noise(5000)).handlers())
    with peer as port, little_disk(0), pytest.raises(FieldlogError, match="Nothing was kept"):
        await fetch(port, tmp_path / "x")
    assert names(tmp_path) == []


async def test_two_programs_do_not_write_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    store = Store(noise(30_000))
    with pty_peer(store.handlers()) as one, udp_peer(store.handlers()) as two:
        said: list[str] = []

        async def meanwhile() -> None:
            async with fieldlog.connect(two.url) as device:
                with pytest.raises(FieldlogError, match="another program is fetching into") as refused:
                    await files.fetch(device, NAME, tmp_path / "x")
                said.append(str(refused.value))

        async with fieldlog.connect(one.path) as device:
            beginning = asyncio.Event()
            task = asyncio.create_task(
                files.fetch(device, NAME, tmp_path / "x", progress=lambda _done, _total: beginning.set())
            )
            await beginning.wait()
            one.peer.lose = lambda: not said  # it goes on when the other has been turned away
            await meanwhile()
            await task
    assert (tmp_path / "x").read_bytes() == store.content


# a file that changes while it is fetched


@pytest.mark.parametrize("hashed", [HASHED, BARE])
async def test_a_file_that_is_replaced_while_it_is_fetched_is_told(tmp_path: Path, hashed: bool) -> None:
    """As by a logger that begins a new file of the same name: an old beginning and a new end make no file."""
    store = store_of(noise(30_000), hashed)

    def rotate(body: dict[str, Any]) -> Answer:
        if body["off"] > 10_000:
            store.content = noise(25_000, seed=2)
        return store.read(body)

    with pty_peer(store.handlers()) as peer:
        peer.peer.on(fs.READ, rotate)
        with pytest.raises(VerificationError, match="Nothing was kept"):
            await fetch(peer, tmp_path / "x")
    assert names(tmp_path) == []


async def test_a_file_that_is_emptied_while_it_is_fetched_is_told(tmp_path: Path) -> None:
    store = store_of(noise(30_000), BARE)

    def empty(body: dict[str, Any]) -> Answer:
        if body["off"] > 10_000:
            store.content = store.content[:40]
        return store.read(body)

    with pty_peer(store.handlers()) as peer:
        peer.peer.on(fs.READ, empty)
        with pytest.raises(VerificationError, match="had 30000 bytes and has 40 now: it was replaced"):
            await fetch(peer, tmp_path / "x")
    assert names(tmp_path) == []


async def test_a_device_that_stops_in_the_middle_of_a_file_is_told(tmp_path: Path) -> None:
    store = Store(noise(30_000))

    def stop(body: dict[str, Any]) -> Answer:
        return {"off": body["off"], "data": b""} if body["off"] > 10_000 else store.read(body)

    with pty_peer(store.handlers()) as peer:
        peer.peer.on(fs.READ, stop)
        with pytest.raises(ProtocolError, match=r"sends nothing of /lfs/x at byte \d+ of 30000\. \d+ of 30000 .* kept"):
            await fetch(peer, tmp_path / "x")


async def test_a_file_that_is_removed_while_it_is_fetched_is_told_with_what_is_kept(tmp_path: Path) -> None:
    store = Store(noise(30_000))

    def remove(body: dict[str, Any]) -> Answer:
        return Refuse(fs.NOT_FOUND, 8) if body["off"] > 10_000 else store.read(body)

    with pty_peer(store.handlers()) as peer:
        peer.peer.on(fs.READ, remove)
        with pytest.raises(RefusedError, match=r"of 30000 bytes are kept in .*x\.[0-9a-f]{8}\.part: repeat") as refused:
            await fetch(peer, tmp_path / "x")
        assert (refused.value.code, refused.value.group) == (fs.NOT_FOUND, 8)
        peer.peer.on(fs.READ, lambda _: Refuse(fs.NOT_FOUND, 8))
        with pytest.raises(RefusedError, match=r"\d+ bytes of an earlier call are kept in .*\.part$"):
            await fetch(peer, tmp_path / "x")
        with pytest.raises(RefusedError, match=r"no such file \(.*\)$"):
            await fetch(peer, tmp_path / "y")
        peer.peer.on(fs.READ, store.read)
        assert (await fetch(peer, tmp_path / "x")).resumed > 9000
    assert (tmp_path / "x").read_bytes() == store.content


async def test_a_file_without_end_is_fetched_as_far_as_it_was_announced(tmp_path: Path) -> None:
    """It grows faster than anybody could read."""
    store = Store(noise(3000))

    def grow(body: dict[str, Any]) -> Answer:
        answer = store.read(body)
        store.content += noise(3000, len(store.content))
        return answer

    with pty_peer(store.handlers()) as peer:
        peer.peer.on(fs.READ, grow)
        done = await asyncio.wait_for(fetch(peer, tmp_path / "x"), 20)
        assert max(offsets(peer)) < 3000
    assert (done.size, done.announced, done.verified) == (3000, 3000, "sha256")
    assert done.now > 3000
    assert (tmp_path / "x").read_bytes() == store.content[:3000]


# the command


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_command_tells_what_was_there_and_that_it_grew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(noise(30_000))
    with pty_peer(store.handlers()) as peer:
        kept = asyncio.run(break_off(peer, store, tmp_path / "x"))

        def grow(body: dict[str, Any]) -> Answer:
            answer = store.read(body)
            store.content += b"more" if body["off"] > 20_000 else b""
            return answer

        peer.peer.on(fs.READ, grow)
        assert invoke(["fs", "get", NAME, "-d", peer.path]) == 0
        peer.peer.on(fs.READ, store.read)
        out, err = capsys.readouterr()
        assert out.startswith("x: 30000 bytes, sha256 agrees")
        assert f"{kept} bytes of it were here" in err
        assert "has grown to" in err
        assert invoke(["fs", "get", NAME, "-d", peer.path, "--force", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["size"], found["announced"], found["resumed"]) == (len(store.content),) * 2 + (0,)


def test_the_command_compares_what_there_is_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file has no hash, whatever the device offers; it is as empty here as there."""
    store = Store()
    with pty_peer(store.handlers() | {fs.READ.key: lambda _: Refuse(fs.FILE_EMPTY, 8)}) as peer:
        assert invoke(["fs", "get", NAME, "-d", peer.path]) == 0
    assert capsys.readouterr().out == "x: 0 bytes, as empty as on the device\n"
    store = store_of(noise(100), BARE)
    with pty_peer(store.handlers()) as peer:
        assert invoke(["fs", "get", NAME, "-d", peer.path, "--force"]) == 0
    assert "100 bytes, not checked: the device offers no hash" in capsys.readouterr().out


def test_an_interrupt_tells_what_is_kept(tmp_path: Path) -> None:
    store = Store(noise(30_000))
    with pty_peer(store.handlers()) as peer:
        peer.peer.on(fs.READ, lambda body: None if body["off"] > 10_000 else store.read(body))
        child = subprocess.Popen([*CLI, NAME, "-d", peer.path], stderr=subprocess.PIPE, text=True)
        while not any(offset > 10_000 for offset in offsets(peer)):
            assert child.poll() is None
            peer.peer.asked_something.wait(0.1)
            peer.peer.asked_something.clear()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    (partial,) = partials(tmp_path / "x")
    assert child.returncode == 130
    assert f"interrupted: {partial.stat().st_size} bytes of {NAME} are kept in {partial.name}. Repeat" in err
