"""The host's side of a firmware update, against a boot loader that keeps two slots and can be told to misbehave."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

import fieldlog
from fieldlog.firmware_package import parse_package
from fieldlog.flash import Flashed, FlashOptions, Outcome, flash, send_image
from fieldlog_protocol.commands import image, os
from fieldlog_protocol.errors import (
    FieldlogError,
    ImageError,
    LinkError,
    RefusedError,
    VerificationError,
)
from fieldlog_protocol.image import ImageVersion, build_image, parse_image
from smp_peer import PARAMS, Answer, Handler, PtyPeer, Refuse, pty_peer


def firmware(version: str, size: int = 3000) -> bytes:
    return build_image(random.Random(version).randbytes(size), ImageVersion.of(version))


class Loader:
    """Two slots as MCUboot and Zephyr treat them; `accept` says whether a restart swaps."""

    def __init__(self, running: bytes) -> None:
        self.primary = running
        self.secondary = b""
        self.incoming = bytearray()
        self.sha = b""
        self.length = 0
        self.pending = self.permanent = False
        self.confirmed = True
        self.accept = True
        self.restarts = 0

    def handlers(self) -> dict[tuple[int, int, int], Handler]:
        return {
            PARAMS: lambda _: {"buf_size": 512, "buf_count": 4},
            image.STATE_READ.key: self.state,
            image.STATE_WRITE.key: self.mark,
            image.UPLOAD.key: self.upload,
            image.SLOT_INFO.key: lambda _: {
                "images": [{"image": 0, "slots": [{"slot": 0, "size": 90_000}, {"slot": 1, "size": 90_000}]}]
            },
            os.RESET.key: self.reset,
        }

    def state(self, _: dict[str, Any]) -> Answer:
        flags = {"active": True, "confirmed": self.confirmed}
        slots = [self._slot(0, self.primary) | flags]
        if self.secondary:
            slots.append(self._slot(1, self.secondary) | {"pending": self.pending, "permanent": self.permanent})
        return {"images": slots}

    def _slot(self, number: int, data: bytes) -> dict[str, Any]:
        found = parse_image(data)
        return {"slot": number, "version": found.version.dotted, "hash": found.hash, "bootable": True}

    def mark(self, body: dict[str, Any]) -> Answer:
        if "hash" not in body:
            self.confirmed = True
        elif self.secondary and body["hash"] == parse_image(self.secondary).hash:
            self.pending, self.permanent = True, body["confirm"]
        else:
            return Refuse(image.HASH_NOT_FOUND, 1)
        return self.state({})

    def upload(self, body: dict[str, Any]) -> Answer:
        if body["off"] == 0 and (body["sha"] != self.sha or not self.incoming):
            self.sha, self.length = body["sha"], body["len"]
            self.incoming = bytearray(body["data"])
        elif body["off"] == len(self.incoming) and body["off"]:
            self.incoming += body["data"]
        if len(self.incoming) < self.length or not self.length:
            return {"off": len(self.incoming)}
        self.secondary = bytes(self.incoming)
        return {"off": self.length, "match": hashlib.sha256(self.secondary).digest() == self.sha}

    def forget(self) -> None:
        """As after a restart in mid-upload."""
        self.incoming.clear()
        self.sha, self.length = b"", 0

    def reset(self, _: dict[str, Any]) -> Answer:
        self.restarts += 1
        self.forget()
        if self.pending and self.accept:
            self.primary, self.secondary = self.secondary, self.primary
            self.confirmed = self.permanent
        self.pending = self.permanent = False
        return {}


async def install(peer: PtyPeer, data: bytes, options: FlashOptions | None = None) -> tuple[Flashed, list[str]]:
    said: list[str] = []
    async with fieldlog.connect(f"{peer.path}?timeout=0.7") as device:
        done = await flash(device, parse_package(data, "fw.bin"), options, tell=said.append)
    return done, said


async def test_an_update_ends_confirmed() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        done, said = await install(peer, firmware("2.0.0+7", 50_000))
    assert (done.outcome, done.version, done.before) == (Outcome.CONFIRMED, "2.0.0.7", "1.0.0")
    assert loader.primary == firmware("2.0.0+7", 50_000)
    assert loader.confirmed
    assert said == ["uploading 2.0.0.7 (50072 bytes)", "marked for a test", "restarting", "confirmed"]


async def test_what_runs_already_is_left_alone() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        done, _ = await install(peer, firmware("1.0.0"))
        assert not peer.peer.asked(image.UPLOAD)
    assert (done.outcome, loader.restarts) == (Outcome.ALREADY, 0)


async def test_what_runs_on_trial_is_only_confirmed() -> None:
    loader = Loader(firmware("1.0.0"))
    loader.confirmed = False
    with pty_peer(loader.handlers()) as peer:
        done, _ = await install(peer, firmware("1.0.0"))
    assert (done.outcome, loader.restarts, loader.confirmed) == (Outcome.CONFIRMED, 0, True)


async def test_what_lies_in_the_other_slot_is_not_sent_again() -> None:
    loader = Loader(firmware("1.0.0"))
    loader.secondary = firmware("2.0.0")
    with pty_peer(loader.handlers()) as peer:
        done, _ = await install(peer, firmware("2.0.0"))
        assert not peer.peer.asked(image.UPLOAD)
    assert done.version == "2.0.0"


async def test_without_confirming_the_trial_goes_on() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        done, _ = await install(peer, firmware("2.0.0"), FlashOptions(confirm=False))
    assert (done.outcome, loader.confirmed) == (Outcome.TESTING, False)


async def test_for_good_needs_no_confirming() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        done, _ = await install(peer, firmware("2.0.0"), FlashOptions(permanent=True))
        assert [body.get("confirm") for body in peer.peer.asked(image.STATE_WRITE)] == [True]
    assert (done.outcome, loader.confirmed) == (Outcome.CONFIRMED, True)


async def test_an_image_that_the_boot_loader_refuses_is_explained() -> None:
    loader = Loader(firmware("1.0.0"))
    loader.accept = False
    refused = pytest.raises(VerificationError, match=r"still runs 1\.0\.0.*did not accept.*works as before")
    with pty_peer(loader.handlers()) as peer, refused:
        await install(peer, firmware("2.0.0"))


async def test_a_device_that_stays_away_is_given_up() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        peer.peer.on(os.RESET, lambda body: [loader.reset(body), _mute(peer)][0])
        with pytest.raises(LinkError, match=r"did not come back within 1 s.*next restart brings the old one back"):
            await install(peer, firmware("2.0.0"), FlashOptions(return_s=1))


def _mute(peer: PtyPeer) -> None:
    peer.peer.on(image.STATE_READ, lambda _: None)
    peer.peer.handlers[PARAMS] = lambda _: None


async def test_a_device_that_does_not_restart_is_told_apart() -> None:
    loader = Loader(firmware("1.0.0"))
    still_there = pytest.raises(LinkError, match="did not restart within 1 s")
    with pty_peer(loader.handlers() | {os.RESET.key: lambda _: {}}) as peer, still_there:
        await install(peer, firmware("2.0.0"), FlashOptions(return_s=1))


async def test_a_boot_loader_without_states_just_runs_the_newest() -> None:
    """Direct XIP without revert has no such command (docs/smp.md#images)."""
    loader = Loader(firmware("1.0.0"))

    def newest(body: dict[str, Any]) -> Answer:
        loader.pending = loader.permanent = True
        return loader.reset(body)

    handlers = loader.handlers() | {image.STATE_WRITE.key: lambda _: Refuse(8), os.RESET.key: newest}
    with pty_peer(handlers) as peer:
        loader.pending = True
        done, _ = await install(peer, firmware("2.0.0"))
    assert (done.outcome, done.version) == (Outcome.CONFIRMED, "2.0.0")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a firmware image"),
        (b"\x7fELF" + bytes(100), "not an MCUboot image"),
        (firmware("2.0.0")[:2000], "truncated"),
        (firmware("2.0.0").replace(firmware("2.0.0")[500:504], b"oops"), "damaged"),
    ],
)
async def test_a_bad_file_is_refused_before_anything_is_sent(data: bytes, says: str) -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        with pytest.raises(ImageError, match=says):
            await install(peer, data)
        assert [key for key, _ in peer.peer.log] == [PARAMS]


async def test_an_image_too_large_for_the_slot_is_refused_before_anything_is_sent() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers()) as peer:
        with pytest.raises(VerificationError, match="slot takes 90000"):
            await install(peer, firmware("2.0.0", 95_000))
        assert not peer.peer.asked(image.UPLOAD)


async def test_a_device_that_refuses_says_why() -> None:
    loader = Loader(firmware("1.0.0"))
    handlers = loader.handlers() | {image.UPLOAD.key: lambda _: Refuse(image.NO_FREE_SLOT, 1)}
    with pty_peer(handlers) as peer, pytest.raises(RefusedError, match="no free slot"):
        await install(peer, firmware("2.0.0"))


# the upload


async def test_a_broken_upload_goes_on_where_it_stopped() -> None:
    loader, new = Loader(firmware("1.0.0")), firmware("2.0.0", 20_000)
    loader.sha, loader.length = hashlib.sha256(new).digest(), len(new)
    loader.incoming = bytearray(new[:12_345])
    with pty_peer(loader.handlers()) as peer:
        async with fieldlog.connect(peer.path) as device:
            await send_image(device, new)
        offsets = [body["off"] for body in peer.peer.asked(image.UPLOAD)]
    assert loader.secondary == new
    assert offsets[:2] == [0, 12_345]


async def test_a_device_that_forgets_gets_it_all_again_with_its_hash() -> None:
    loader, new = Loader(firmware("1.0.0")), firmware("2.0.0", 20_000)
    forgotten = iter([True])

    def forgetful(body: dict[str, Any]) -> Answer:
        if body["off"] > 10_000 and next(forgotten, False):
            loader.forget()
        return loader.upload(body)

    with pty_peer(loader.handlers() | {image.UPLOAD.key: forgetful}) as peer:
        async with fieldlog.connect(peer.path) as device:
            await send_image(device, new)
        firsts = [body for body in peer.peer.asked(image.UPLOAD) if body["off"] == 0]
    assert loader.secondary == new
    assert len(firsts) == 2
    assert {(body["len"], body["sha"]) for body in firsts} == {(len(new), hashlib.sha256(new).digest())}


async def test_a_wrong_sum_at_the_end_is_told() -> None:
    loader, new = Loader(firmware("1.0.0")), firmware("2.0.0")

    def mismatch(body: dict[str, Any]) -> Answer:
        answer = loader.upload(body)
        assert isinstance(answer, dict)
        return answer | ({"match": False} if "match" in answer else {})

    with pty_peer(loader.handlers() | {image.UPLOAD.key: mismatch}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(VerificationError, match=r"differs from the image file.*still runs"):
                await send_image(device, new)


async def test_a_device_that_never_takes_a_piece_is_an_error_and_no_endless_loop() -> None:
    loader = Loader(firmware("1.0.0"))
    with pty_peer(loader.handlers() | {image.UPLOAD.key: lambda _: {"off": 0}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(FieldlogError, match="does not get beyond byte 0"):
                await send_image(device, firmware("2.0.0"))


async def _lossy_uploads(seeds: range, size: int) -> None:
    for seed in seeds:
        loader, new = Loader(firmware("1.0.0")), firmware(f"2.0.{seed}", size)
        chance = random.Random(seed)
        lost = {offset for offset in range(size) if chance.random() < 0.03}

        def lossy(body: dict[str, Any], lost: set[int] = lost, loader: Loader = loader) -> Answer:
            if body["off"] and body["off"] in lost:  # an erase that is lost costs 40 s
                lost.discard(body["off"])
                return None
            answer = loader.upload(body)
            return None if body["off"] and _once(lost, body["off"] + 1) else answer

        with pty_peer(loader.handlers() | {image.UPLOAD.key: lossy}) as peer:
            async with fieldlog.connect(f"{peer.path}?timeout=0.7") as device:
                await send_image(device, new)
        assert loader.secondary == new, f"seed {seed}"


def _once(lost: set[int], number: int) -> bool:
    found = number in lost
    lost.discard(number)
    return found


async def test_losses_neither_spoil_nor_stop_an_upload() -> None:
    await _lossy_uploads(range(5), 20_000)


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_losses_neither_spoil_nor_stop_an_upload_in_full() -> None:
    await _lossy_uploads(range(100, 200), 80_000)


async def test_a_lost_answer_to_the_restart_is_no_lost_update() -> None:
    loader = Loader(firmware("1.0.0"))

    def silent(body: dict[str, Any]) -> Answer:
        loader.reset(body)
        return None

    with pty_peer(loader.handlers() | {os.RESET.key: silent}) as peer:
        done, _ = await install(peer, firmware("1.1.0"))
    assert (done.outcome, done.version) == (Outcome.CONFIRMED, "1.1.0")
    assert loader.restarts == 1
