"""Devices that other people's clients left half updated are understood by `fieldlog flash`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

import fieldlog
from fieldlog.firmware_package import load_package
from fieldlog.flash import Flashed, Outcome, flash
from fieldlog_protocol.image import parse_image
from flash_bench import firmware
from peers import Peer, Place
from peers_smpclient import SmpclientPeer
from peers_smpmgr import Shell, SmpmgrPeer
from peers_toolkit import ToolkitPeer
from simulator import simulator

pytestmark = pytest.mark.timeout(200)


@contextmanager
def _smpmgr(place: Place) -> Generator[Peer]:
    with closing(Shell()) as shell:
        yield SmpmgrPeer(place, shell)


CLIENTS: dict[str, Callable[[Place], AbstractContextManager[Peer]]] = {
    "smpclient": SmpclientPeer.connect,
    "mcumgr-toolkit": ToolkitPeer.connect,
    "smpmgr": _smpmgr,
}
NEW, OTHER = firmware("2.0.0", 9000), firmware("1.5.0", 9000)
LEFT = ("uploaded", "marked", "on trial")
_USUAL = (("smpclient", "uploaded"), ("mcumgr-toolkit", "on trial"), ("smpmgr", "marked"))
WITH_OWN = [
    pytest.param(client, how, marks=() if (client, how) in _USUAL else pytest.mark.faults)
    for client in CLIENTS
    for how in LEFT
]


def leave(client: str, place: Place, file: Path, how: str) -> None:
    """Go so far with the client, and no further."""
    with CLIENTS[client](place) as peer:
        peer.upload_image(file)
        if how != "uploaded":
            peer.mark_image(parse_image(file.read_bytes()).hash or b"", permanent=False)
        if how == "on trial":
            peer.reset()


def install(url: str, file: Path) -> Flashed:
    async def work() -> Flashed:
        async with fieldlog.connect(url) as device:
            return await flash(device, load_package(file))

    return asyncio.run(work())


@pytest.mark.parametrize(("client", "how"), WITH_OWN)
def test_what_a_client_has_begun_is_finished(client: str, how: str, tmp_path: Path) -> None:
    file = tmp_path / "new.bin"
    file.write_bytes(NEW)
    with simulator() as device:
        leave(client, Place("pty", device.port, 384), file, how)
        done = install(device.url, file)
        assert (done.outcome, done.sent, done.version) == (Outcome.CONFIRMED, 0, "2.0.0")


@pytest.mark.faults
@pytest.mark.parametrize("how", LEFT)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_has_begun_with_other_firmware_gives_way(client: str, how: str, tmp_path: Path) -> None:
    file, other = tmp_path / "new.bin", tmp_path / "other.bin"
    file.write_bytes(NEW)
    other.write_bytes(OTHER)
    with simulator() as device:
        leave(client, Place("pty", device.port, 384), other, how)
        done = install(device.url, file)
    assert (done.outcome, done.sent, done.version) == (Outcome.CONFIRMED, len(NEW), "2.0.0")


@pytest.mark.faults
@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_has_updated_needs_nothing(client: str, tmp_path: Path) -> None:
    file = tmp_path / "new.bin"
    file.write_bytes(NEW)
    with simulator() as device:
        place = Place("pty", device.port, 384)
        with CLIENTS[client](place) as peer:
            peer.upload_image(file)
            peer.mark_image(parse_image(NEW).hash or b"", permanent=True)
            peer.reset()
        assert install(device.url, file).outcome is Outcome.ALREADY
