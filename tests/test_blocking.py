"""fieldlog without async: the same device, called as anything else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import fieldlog.blocking
from fieldlog import files
from fieldlog_protocol.commands import fs
from fieldlog_protocol.errors import DeviceNotFound, LinkError, RefusedError
from smp_peer import ECHO, Refuse, pty_peer


def test_methods_return_and_raise_as_they_would_in_async() -> None:
    with pty_peer({fs.STATUS.key: lambda _: Refuse(3, 8)}) as peer, fieldlog.blocking.connect(peer.path) as device:
        assert device.echo("hi") == "hi"
        assert device.name == peer.path
        assert device.client.window == 3
        with pytest.raises(RefusedError, match="no such file"):
            device.call(files.size, "/lfs/x")


def test_functions_that_take_a_device_can_be_called(tmp_path: Path) -> None:
    content = b"x" * 1000

    def read(body: dict[str, int]) -> dict[str, object]:
        return {"off": body["off"], "data": content[body["off"] :][:200], "len": len(content)}

    with pty_peer({fs.READ.key: read}) as peer, fieldlog.blocking.connect(peer.path) as device:
        device.call(files.fetch, "/lfs/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content


def test_nothing_is_left_running() -> None:
    before = threading.active_count()
    with pty_peer() as peer:
        with fieldlog.blocking.connect(peer.path) as device:
            device.echo("x")
        with pytest.raises(DeviceNotFound), fieldlog.blocking.connect("/dev/ttyNONE9"):
            pass
    assert threading.active_count() == before


def test_unplugging_is_raised_where_the_caller_waits() -> None:
    with pty_peer() as peer, fieldlog.blocking.connect(peer.path) as device:
        peer.peer.handlers[ECHO] = lambda _: peer.unplug()
        with pytest.raises(LinkError, match="was lost"):
            device.echo("x")
