"""The BLE transport over a fake of bleak's backend: messages in pieces, reconnects, pairing, and what is told when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
)

from ble_fake import FakeAir, FakeDevice
from ble_host import connected, make_impatient, refusal
from fieldlog import scanning
from fieldlog.transports import radio
from fieldlog.transports.ble import BleTransport
from fieldlog.url import parse
from fieldlog_protocol.errors import DeviceNotFound, LinkError, RequestTimeout, UsageError
from smp_peer import PARAMS, Refuse


@dataclass
class Catcher:
    """A sink that keeps what it gets."""

    data: list[bytes] = field(default_factory=list[bytes])
    errors: list[LinkError] = field(default_factory=list[LinkError])

    def received(self, data: bytes) -> None:
        self.data.append(data)

    def lost(self, error: LinkError) -> None:
        self.errors.append(error)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


@pytest.mark.parametrize("target", ["hut", "HUT", "F0:0D:00:00:00:01", "f0:0d:00:00:00:01"])
async def test_a_device_is_found_by_name_and_by_address(target: str) -> None:
    device = FakeDevice()
    async with connected(FakeAir([FakeDevice("barn", "F0:0D:00:00:00:02"), device]), target) as found:
        assert await found.echo("hello") == "hello"
        assert found.name == f"ble:{target}"
    assert device.connections == 1


@pytest.mark.parametrize("mtu", [23, 65, 185, 247, 517])
async def test_messages_go_out_in_pieces_that_fit_and_never_interleave(mtu: int) -> None:
    device = FakeDevice(mtus=[mtu])
    texts = [f"{number} {'x' * 200}" for number in range(20)]
    async with connected(FakeAir([device])) as found:
        assert await asyncio.gather(*map(found.echo, texts)) == texts  # three at a time
    assert max(map(len, device.writes)) <= mtu - 3
    assert device.peer._session.dropped == 0


async def test_the_size_of_writes_is_read_anew_after_each_connect() -> None:
    """BlueZ says 244 at first and 20 after a reconnect."""
    device = FakeDevice(mtus=[247, 23])
    async with connected(FakeAir([device])) as found:
        await found.echo("x" * 200)
        assert max(map(len, device.writes)) > 200
        device.writes.clear()
        await found.reopen()
        assert await found.echo("y" * 200) == "y" * 200
    assert max(map(len, device.writes)) == 20


async def test_a_device_without_write_commands_is_written_with_responses() -> None:
    device = FakeDevice(properties=("write", "notify"))
    async with connected(FakeAir([device])) as found:
        await found.echo("hello")
    assert device.answered
    assert all(device.answered)


async def test_a_lost_link_is_told_once_and_opens_again_with_the_same_adapter() -> None:
    device, sink = FakeDevice(), Catcher()
    air = FakeAir([device])
    transport = BleTransport("hut", air.radio())
    await transport.open(sink)
    device.drop()
    device.drop()
    transport.send(b"into the void")
    (error,) = sink.errors
    assert "ble:hut was lost" in str(error)
    await transport.open(sink)
    await transport.release()
    assert len(sink.errors) == 1
    assert (device.connections, air.opened, air.closed) == (2, 1, 1)


async def test_late_word_of_a_former_connection_changes_nothing() -> None:
    device = FakeDevice()
    async with connected(FakeAir([device])) as found:
        former = device.client
        assert former is not None
        await found.reopen()
        assert former._disconnected_callback is not None
        former._disconnected_callback()
        assert await found.echo("hello") == "hello"


async def test_a_request_under_way_fails_at_once_when_the_link_is_lost() -> None:
    device = FakeDevice()
    async with connected(FakeAir([device])) as found:
        arrived = asyncio.Event()

        def swallow(_: list[bytes]) -> list[bytes]:
            arrived.set()
            return []

        device.distort = swallow
        asked = asyncio.create_task(found.echo("anybody?"))
        await arrived.wait()
        device.drop()
        with pytest.raises(LinkError, match="was lost"):
            async with asyncio.timeout(0.2):
                await asked


async def test_a_write_that_fails_is_a_lost_link() -> None:
    device = FakeDevice()
    async with connected(FakeAir([device])) as found:
        device.write_errors.append(BleakError("Disconnected"))
        with pytest.raises(LinkError, match="broke off while sending: Disconnected"):
            await found.echo("hello")


async def test_connecting_is_tried_again() -> None:
    device = FakeDevice(connect_errors=[BleakError("le-connection-abort-by-local"), TimeoutError()])
    async with connected(FakeAir([device])) as found:
        assert await found.echo("hello") == "hello"


async def test_a_link_that_is_lost_while_it_opens_is_opened_again() -> None:
    device = FakeDevice(subscribe_errors=[BleakError("disconnected"), TimeoutError()])
    async with connected(FakeAir([device])) as found:
        assert await found.echo("hello") == "hello"
    assert device.connections == 3


async def test_a_silent_device_is_told_within_the_stated_time() -> None:
    device = FakeDevice(silent=True)
    with pytest.raises(RequestTimeout, match="nobody answered on ble:hut within 0 s, though the link is up"):
        async with connected(FakeAir([device]), timeout_s=0.3):
            pass
    assert device.client is None


def once(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[list[bytes]], list[bytes]]:
    """Distorts the first message of several pieces."""
    done: list[bool] = []

    def distort(pieces: list[bytes]) -> list[bytes]:
        if done or len(pieces) < 3:
            return pieces
        done.append(True)
        return change(pieces)

    return distort


@pytest.mark.parametrize(
    "change",
    [
        lambda pieces: pieces[1:],
        lambda pieces: pieces[:1] + pieces[2:],
        lambda pieces: pieces[:-1],
        lambda pieces: [pieces[0], *pieces],
        lambda pieces: [*pieces[:2], pieces[1], *pieces[2:]],
        lambda pieces: [pieces[1], pieces[0], *pieces[2:]],
        lambda pieces: [],
    ],
)
async def test_a_lost_doubled_or_misplaced_notification_is_got_over(
    change: Callable[[list[bytes]], list[bytes]],
) -> None:
    device = FakeDevice(mtus=[65])
    async with connected(FakeAir([device])) as found:
        device.distort = once(change)
        texts = [f"{number}" * 150 for number in range(10)]
        async with asyncio.timeout(5):
            assert await asyncio.gather(*map(found.echo, texts)) == texts


# which device


async def test_a_device_that_is_not_heard_is_told_with_those_that_are() -> None:
    air = FakeAir([FakeDevice("barn"), FakeDevice("lamp", "F0:0D:00:00:00:02", has_smp=False)])
    error = await refusal(air)
    assert isinstance(error, DeviceNotFound)
    assert "ble:hut was not heard within 1 s. Heard instead: barn; a device goes by another name" in str(error)


@pytest.mark.parametrize("ending", [{"stop_error": BleakError("stop scanning")}, {"hangs": True}])
async def test_who_was_heard_is_found_even_if_the_scan_does_not_end_well(ending: dict[str, Any]) -> None:
    async with connected(FakeAir([FakeDevice()], **ending)) as found:
        assert await found.echo("you") == "you"
    heard = await radio.scan(FakeAir([FakeDevice()], **ending).radio(), 0.05)
    assert [one.name for one in heard] == ["hut"]


@pytest.mark.parametrize(
    ("ending", "says"),
    [({"stop_error": BleakError("stop scanning")}, "stop scanning"), ({"hangs": True}, "did not answer in time")],
)
async def test_a_scan_that_hears_nobody_and_does_not_end_well_is_told(ending: dict[str, Any], says: str) -> None:
    error = await refusal(FakeAir([], **ending))
    assert "this computer could not listen for ble:hut: " in str(error)
    assert says in str(error)


async def test_each_url_of_a_scan_leads_to_the_device_that_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    last = "F0:0D:00:00:00:0"
    names = ["hut", "barn", "Barn", f"{last}1", "", " 50% & more?"]
    air = FakeAir([FakeDevice(name, f"{last}{number}") for number, name in enumerate(names, 1)])
    heard = await radio.scan(air.radio(), 0.05)

    async def scanned(*_: object) -> list[radio.Heard]:
        return heard

    monkeypatch.setattr(radio, "scan", scanned)
    found = await scanning.scan("fake", {})
    assert len(found) == len(names)
    for one in found:
        async with connected(air, parse(one.url).target):
            assert air.find(one.address).client is not None, one


async def test_a_name_of_which_only_the_beginning_is_heard_leads_to_its_address() -> None:
    air = FakeAir([FakeDevice("North slope o"), FakeDevice("barn", "F0:0D:00:00:00:02")])
    error = str(await refusal(air, "north slope of the hut"))
    assert "Heard instead: North slope o, barn; the air holds only the beginning of a long name" in error
    assert "If F0:0D:00:00:00:01 is meant, name it by this address" in error


async def test_an_adapter_that_went_away_and_came_back_is_opened_anew() -> None:
    air = FakeAir([FakeDevice()])
    async with connected(air) as found:
        air.error = BleakBluetoothNotAvailableError("pulled out", _REASON.NO_BLUETOOTH)
        with pytest.raises(DeviceNotFound):
            await found.reopen()
        air.error = None
        await found.reopen()
        assert await found.echo("you") == "you"
    assert (air.opened, air.closed) == (2, 2)


async def test_a_name_that_is_heard_forges_no_line() -> None:
    error = await refusal(FakeAir([FakeDevice("barn\nerror: \x1b[2Jall is lost")]))
    assert "Heard instead: barn\\nerror: \\x1b[2Jall is lost; a device" in str(error)
    error = await refusal(FakeAir([]), "barn\nerror: all is lost")
    assert str(error).startswith("ble:barn\\nerror: all is lost was not heard")


async def test_two_devices_of_one_name_are_never_guessed_between() -> None:
    air = FakeAir([FakeDevice(), FakeDevice(address="F0:0D:00:00:00:02")])
    error = await refusal(air)
    assert "2 devices are called ble:hut: F0:0D:00:00:00:01, F0:0D:00:00:00:02. Nothing was done" in str(error)
    assert [device.connections for device in air.devices] == [0, 0]
    async with connected(air, "F0:0D:00:00:00:02") as found:
        await found.echo("you")
    assert [device.connections for device in air.devices] == [0, 1]


async def test_a_namesake_that_comes_later_is_not_taken_for_the_device() -> None:
    device, namesake = FakeDevice(), FakeDevice(address="F0:0D:00:00:00:02", advertises=False)
    air = FakeAir([namesake, device])
    async with connected(air) as found:
        namesake.advertises, device.advertises = True, False
        reopened = asyncio.create_task(found.reopen())
        await namesake.heard.wait()
        device.begin_to_advertise()
        await reopened
    assert (device.connections, namesake.connections) == (2, 0)


async def test_a_device_that_got_another_name_meanwhile_is_found_again() -> None:
    device = FakeDevice()
    async with connected(FakeAir([device])) as found:
        device.name = "barn"
        await found.reopen()
        assert await found.echo("you") == "you"
    assert device.connections == 2


@pytest.mark.parametrize("properties", [("notify",), ("write-without-response",), ("read", "notify")])
async def test_a_service_that_cannot_be_written_to_or_does_not_notify_is_none(properties: tuple[str, ...]) -> None:
    assert "ble:hut has no SMP service" in str(await refusal(FakeAir([FakeDevice(properties=properties)])))


async def test_a_device_without_the_service_is_told() -> None:
    assert "ble:hut has no SMP service" in str(await refusal(FakeAir([FakeDevice(has_smp=False)])))


# the adapter

_REASON = BleakBluetoothNotAvailableReason


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BleakBluetoothNotAvailableError("no", _REASON.NO_BLUETOOTH), "no Bluetooth adapter"),
        (BleakBluetoothNotAvailableError("no", _REASON.POWERED_OFF), "Bluetooth is switched off"),
        (BleakBluetoothNotAvailableError("no", _REASON.DENIED_BY_USER), "no permission to use Bluetooth"),
        (BleakBluetoothNotAvailableError("no", _REASON.UNKNOWN), "cannot be used here: no"),
        (BleakDBusError("org.bluez.Error.NotReady", ["Resource Not Ready"]), "Bluetooth is switched off"),
        (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", ["Rejected"]), "no permission to use Bluetooth"),
        (BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["no"]), "no Bluetooth service running"),
        (FileNotFoundError(2, "No such file or directory"), "no Bluetooth service running"),
        (PermissionError(13, "Permission denied"), "no permission to use Bluetooth"),
    ],
)
async def test_what_is_wrong_with_the_adapter_is_told(error: Exception, says: str) -> None:
    found = await refusal(FakeAir([FakeDevice()], error))
    assert isinstance(found, DeviceNotFound)
    assert says in str(found)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BleakDeviceNotFoundError("x", "no"), "went out of range"),
        (TimeoutError(), "was heard but did not answer while connecting"),
        (BleakError("le-connection-abort-by-local"), "broke off while connecting: le-connection-abort-by-local"),
        (BleakError("encryption failed: PIN_OR_KEY_MISSING_ERROR"), "no longer share a key"),
    ],
)
async def test_a_connection_that_does_not_come_about_is_explained(error: Exception, says: str) -> None:
    found = await refusal(FakeAir([FakeDevice(connect_errors=[error] * 3)]))
    assert says in str(found)


async def test_a_backend_that_is_not_installed_is_told() -> None:
    with pytest.raises(UsageError, match="there is no BLE backend 'nope'; installed: "):
        await BleTransport("hut", radio.Radio("nope")).open(Catcher())


# how long messages are


@pytest.mark.parametrize(
    ("buffer", "mtu", "longest"),
    [
        (384, 247, 384),  # the window is what bounds such a device: each byte of it counts
        (975, 247, 975),
        (976, 247, 976),
        (2048, 247, 1952),  # eight pieces, where a ninth would be nearly empty
        (2048, 23, 2040),
        (2048, 517, 2048),
        (2100, 517, 2048),
    ],
)
async def test_long_messages_end_with_a_whole_piece(buffer: int, mtu: int, longest: int) -> None:
    device = FakeDevice(mtus=[mtu])
    device.peer.handlers[PARAMS] = lambda _: {"buf_size": buffer, "buf_count": 4}
    async with connected(FakeAir([device])) as found:
        assert (found.client.max_request, found.client.max_reply) == (longest, longest)
        assert found.client.window == 3


@pytest.mark.parametrize(("mtu", "longest"), [(23, 89), (247, 244)])
async def test_a_device_that_tells_no_buffers_gets_one_piece_at_a_time(mtu: int, longest: int) -> None:
    device = FakeDevice(mtus=[mtu])
    device.peer.handlers[PARAMS] = lambda _: Refuse(8)
    async with connected(FakeAir([device])) as found:
        assert (found.client.max_request, found.client.window) == (longest, 1)
