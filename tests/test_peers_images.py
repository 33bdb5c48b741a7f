"""Other people's clients update the firmware of the simulated device, with images of imgtool's and of ours."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from mcumgr_toolkit import mcuboot_get_image_info

from fieldlog_protocol.image import ImageVersion, build_image
from peers import Peer, Slot
from peers_suite import SETUPS, proves

BODY_SIZE = 9000
HEADER_SIZE = 512


@dataclass(frozen=True, slots=True)
class Firmware:
    """An image file, and what a client that is not ours reads in it."""

    path: Path
    version: str
    hash: bytes


def _imgtool(*arguments: str | Path) -> None:
    command = [str(Path(sys.executable).with_name("imgtool")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _by_imgtool(path: Path, body: bytes, version: str) -> None:
    source = path.with_suffix(".body")
    source.write_bytes(body)
    shape = ["-H", str(HEADER_SIZE), "--pad-header", "-S", "0x80000", "--align", "4"]
    _imgtool("sign", "-v", version, *shape, source, path)


def _by_fieldlog(path: Path, body: bytes, version: str) -> None:
    path.write_bytes(build_image(body, ImageVersion.of(version)))


MAKERS = {"imgtool": _by_imgtool, "fieldlog": _by_fieldlog}


class Armoury:
    """A few images of each maker, made when first needed; imgtool has found all of them sound."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, int], Firmware] = {}

    def unlike(self, peer: Peer, maker: str) -> Firmware:
        """An image that neither slot of the device holds."""
        present = {slot.hash for slot in peer.images()}
        return next(image for image in (self._image(maker, number) for number in range(3)) if image.hash not in present)

    def _image(self, maker: str, number: int) -> Firmware:
        if (maker, number) not in self._made:
            path = self._folder / f"{maker}-{number}.bin"
            MAKERS[maker](path, Random(f"{maker} {number}").randbytes(BODY_SIZE), f"2.3.{number}")
            _imgtool("verify", path)
            info = mcuboot_get_image_info(path.read_bytes())
            self._made[maker, number] = Firmware(path, info.version, info.hash)
        return self._made[maker, number]


@pytest.fixture(scope="module")
def armoury(tmp_path_factory: pytest.TempPathFactory) -> Armoury:
    return Armoury(tmp_path_factory.mktemp("firmware"))


def in_slot(peer: Peer, number: int) -> Slot:
    found = [slot for slot in peer.images() if slot.slot == number]
    assert found, f"nothing in slot {number}"
    return found[0]


def running(peer: Peer) -> Slot:
    slot = in_slot(peer, 0)
    assert slot.active
    return slot


UPDATE = ("image list", "image upload", "image test", "reset", "image revert", "image confirm")


@proves(*UPDATE, on=SETUPS)
def test_an_image_is_tried_reverted_tried_again_and_kept(peer: Peer, armoury: Armoury) -> None:
    assert_tried_reverted_and_kept(peer, "fieldlog", armoury)


@proves(*UPDATE, on=["smp-server"])
def test_so_is_one_of_imgtool(peer: Peer, armoury: Armoury) -> None:
    assert_tried_reverted_and_kept(peer, "imgtool", armoury)


@pytest.mark.faults
@proves(*UPDATE, on=[name for name in SETUPS if name != "smp-server"])
def test_so_is_one_of_imgtool_on_every_device_over_every_link(peer: Peer, armoury: Armoury) -> None:
    assert_tried_reverted_and_kept(peer, "imgtool", armoury)


def assert_tried_reverted_and_kept(peer: Peer, maker: str, armoury: Armoury) -> None:
    before, new = running(peer), armoury.unlike(peer, maker)
    peer.upload_image(new.path)
    assert (in_slot(peer, 1).version, in_slot(peer, 1).hash) == (new.version, new.hash)

    peer.mark_image(new.hash, permanent=False)
    assert (in_slot(peer, 1).pending, in_slot(peer, 1).permanent) == (True, False)
    peer.reset()
    assert (running(peer).hash, running(peer).confirmed) == (new.hash, False)
    peer.reset()
    assert (running(peer).hash, running(peer).confirmed) == (before.hash, True)

    peer.mark_image(new.hash, permanent=False)
    peer.reset()
    peer.confirm_image()
    peer.reset()
    assert (running(peer).version, running(peer).hash, running(peer).confirmed) == (new.version, new.hash, True)


@proves("image permanent", "image upload", "reset")
def test_an_image_marked_for_good_needs_no_confirmation(peer: Peer, armoury: Armoury) -> None:
    new = armoury.unlike(peer, "fieldlog")
    peer.upload_image(new.path)
    peer.mark_image(new.hash, permanent=True)
    assert in_slot(peer, 1).permanent
    peer.reset()
    peer.reset()
    assert (running(peer).hash, running(peer).confirmed) == (new.hash, True)


@proves("image erase", "image upload")
def test_an_erased_slot_holds_no_image(peer: Peer, armoury: Armoury) -> None:
    new = armoury.unlike(peer, "fieldlog")
    peer.upload_image(new.path)
    assert in_slot(peer, 1).hash == new.hash
    peer.erase_image()
    assert [slot.slot for slot in peer.images()] == [0]


@proves("slot info")
def test_both_slots_have_a_size(peer: Peer) -> None:
    sizes = peer.slot_sizes()
    assert sizes.keys() == {0, 1}
    assert min(sizes.values()) >= 128 * 1024


@proves("upgrade command")
def test_the_clients_own_upgrade_ends_with_the_new_image(peer: Peer, armoury: Armoury) -> None:
    tried = armoury.unlike(peer, "imgtool")
    peer.upgrade(tried.path, permanent=False)
    assert (running(peer).hash, running(peer).confirmed) == (tried.hash, False)
    peer.confirm_image()

    kept = armoury.unlike(peer, "fieldlog")
    peer.upgrade(kept.path, permanent=True)
    assert (running(peer).hash, running(peer).confirmed) == (kept.hash, True)
