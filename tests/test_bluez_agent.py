"""The agent that gives BlueZ passkeys, on a bus of the test's own, where BlueZ is played by the test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest

if sys.platform != "linux" or shutil.which("dbus-daemon") is None:
    pytest.skip("needs Linux and dbus-daemon", allow_module_level=True)

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method

from fieldlog.transports.bluez_agent import answering

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>"""


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system bus that only this test knows."""
    config = tmp_path / "bus.conf"
    config.write_text(CONFIG.format(path=tmp_path / "bus"))
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"], stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", daemon.stdout.readline().strip())
    yield
    daemon.terminate()
    daemon.wait(10)
    daemon.stdout.close()


Nothing = Annotated[None, DBusSignature("")]


class Manager(ServiceInterface):
    """BlueZ's, as far as agents go."""

    def __init__(self) -> None:
        super().__init__("org.bluez.AgentManager1")
        self.registered: list[tuple[str, str]] = []
        self.default: list[str] = []

    @dbus_method("RegisterAgent")
    def register(self, path: DBusObjectPath, capability: DBusStr) -> Nothing:
        self.registered.append((path, capability))

    @dbus_method("RequestDefaultAgent")
    def make_default(self, path: DBusObjectPath) -> Nothing:
        self.default.append(path)


async def ask(bluez: MessageBus, owner: str, path: str) -> Message:
    request = Message(owner, path, "org.bluez.Agent1", "RequestPasskey", signature="o", body=["/org/bluez/hci0/dev_1"])
    reply = await bluez.call(request)
    assert reply is not None
    return reply


@pytest.mark.parametrize("passkey", [42, None])
async def test_bluez_is_given_the_passkey_or_told_that_nobody_knows_it(bus: None, passkey: int | None) -> None:
    manager = Manager()
    bluez = await MessageBus(bus_type=BusType.SYSTEM).connect()
    bluez.export("/org/bluez", manager)
    await bluez.request_name("org.bluez")

    async def answer() -> int | None:
        return passkey

    senders: list[str] = []
    bluez.add_message_handler(
        lambda message: senders.append(message.sender or "") if message.member == "RegisterAgent" else None
    )
    async with answering(answer):
        ((path, capability),) = manager.registered
        assert (capability, manager.default) == ("KeyboardOnly", [path])
        reply = await ask(bluez, senders[0], path)
        if passkey is None:
            assert (reply.message_type, reply.error_name) == (MessageType.ERROR, "org.bluez.Error.Rejected")
        else:
            assert reply.body == [42]
    assert (await ask(bluez, senders[0], path)).message_type is MessageType.ERROR  # it is gone with its connection
    bluez.disconnect()
    await bluez.wait_for_disconnect()


async def test_without_bluez_others_may_answer(bus: None) -> None:
    async def answer() -> int | None:
        raise AssertionError

    async with answering(answer):
        pass


async def test_without_a_bus_others_may_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all")

    async def answer() -> int | None:
        raise AssertionError

    async with answering(answer):
        pass
