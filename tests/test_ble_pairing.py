"""Pairing over a fake of bleak's backend: what devices want, what people answer, and what is told when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from bleak.exc import (
    BleakDBusError,
    BleakError,
    BleakGATTProtocolError,
)

from ble_fake import FakeAir, FakeDevice
from ble_host import connected, make_impatient, refusal
from fieldlog.transports import ble
from fieldlog.transports.passkeys import ASK_PASSKEY
from fieldlog_protocol.errors import NotPaired


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


Ask = Callable[[], Awaitable[int | None]]


def wants(passkey: int | None) -> Callable[[Ask], Awaitable[None]]:
    """A device that pairs with this passkey, or with none."""

    async def pair(ask: Ask) -> None:
        if passkey is None:
            return
        given = await ask()
        if given is None:
            raise BleakError("pair: PASSKEY_ENTRY_FAILED")
        if given != passkey:
            raise BleakError("pair: CONFIRM_VALUE_FAILED_ERROR")

    return pair


async def test_a_device_that_wants_it_is_paired() -> None:
    device = FakeDevice(pairing=wants(None))
    async with connected(FakeAir([device])) as found:
        assert await found.echo("hello") == "hello"
        await found.reopen()
        assert await found.echo("again") == "again"
    assert device.paired


async def test_the_passkey_is_taken_from_the_url_and_nobody_is_asked() -> None:
    device = FakeDevice(pairing=wants(42))
    async with connected(FakeAir([device]), passkey=42) as found:
        assert await found.echo("hello") == "hello"


async def test_who_sits_at_the_terminal_is_asked_for_the_passkey() -> None:
    asked: list[str] = []

    async def ask(name: str) -> int | None:
        asked.append(name)
        return 42

    token = ASK_PASSKEY.set(ask)
    try:
        async with connected(FakeAir([FakeDevice(pairing=wants(42))])) as found:
            assert await found.echo("hello") == "hello"
    finally:
        ASK_PASSKEY.reset(token)
    assert asked == ["ble:hut"]


@pytest.mark.parametrize(
    ("passkey", "says"), [(None, "wants a passkey, and none was given"), (43, "did not accept the passkey")]
)
async def test_a_wrong_passkey_gets_nothing_and_is_told(passkey: int | None, says: str) -> None:
    device = FakeDevice(pairing=wants(42))
    error = await refusal(FakeAir([device]), passkey=passkey)
    assert isinstance(error, NotPaired)
    assert says in str(error)
    assert "Nothing was sent" in str(error)
    assert device.writes == []


def fails(error: Exception) -> Callable[[Ask], Awaitable[None]]:
    async def pair(_: Ask) -> None:
        raise error

    return pair


async def never(_: Ask) -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("pairing", "says", "final"),
    [
        (
            fails(BleakError("pair: PAIRING_NOT_SUPPORTED_ERROR")),
            "refused to pair: it may be paired with another computer",
            True,
        ),
        (fails(BleakDBusError("org.bluez.Error.AuthenticationFailed", ["x"])), "pairing with ble:hut failed", True),
        (fails(BleakError("pair: PIN_OR_KEY_MISSING_ERROR")), "no longer share a key", True),
        (fails(BleakError("disconnected")), "pairing with ble:hut failed: disconnected", False),
        (never, "did not finish pairing in time", True),
    ],
)
async def test_a_pairing_that_fails_is_explained(
    pairing: Callable[[Ask], Awaitable[None]], says: str, final: bool
) -> None:
    device = FakeDevice(pairing=pairing)
    error = await refusal(FakeAir([device]))
    assert isinstance(error, NotPaired) == final
    assert says in str(error)
    assert device.writes == []


async def test_a_pairing_that_is_not_enough_is_explained() -> None:
    device = FakeDevice(pairing=wants(None), subscribe_errors=[BleakGATTProtocolError(5), BleakGATTProtocolError(5)])
    assert "this one's pairing is not enough" in str(await refusal(FakeAir([device])))


async def test_a_system_that_hangs_in_want_of_an_agent_is_not_waited_for_without_end() -> None:
    device = FakeDevice(subscribe_errors=[TimeoutError() for _ in range(ble.TRIES)])
    assert "waits to be paired" in str(await refusal(FakeAir([device])))
