"""Who gets something out of a device over BLE, and what the others are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from bleak.exc import BleakError, BleakGATTProtocolError

from ble_bench import ECHO, ECHOED, Talk, adapter, bench, options
from fieldlog_protocol.gatt import SMP_CHARACTERISTIC
from fieldlog_sim.links.ble.security import Level

MODEL, BATTERY, DEVICE_NAME = (f"0000{number}-0000-1000-8000-00805f9b34fb" for number in ("2a24", "2a19", "2a00"))
INSUFFICIENT_AUTHENTICATION = 5
PASSKEY = 123456


async def right() -> int:
    return PASSKEY


async def wrong() -> int:
    return PASSKEY + 1


async def none() -> None:
    return None


async def gets_nothing(talk: Talk) -> bool:
    """Reads, subscribes, and writes requests blindly."""
    for uuid in (MODEL, BATTERY):
        with pytest.raises(BleakGATTProtocolError) as refused:
            await talk.client.read_gatt_char(uuid)
        assert refused.value.code == INSUFFICIENT_AUTHENTICATION
    with pytest.raises(BleakGATTProtocolError) as refused:
        await talk.subscribe()
    assert refused.value.code == INSUFFICIENT_AUTHENTICATION
    await talk.write(ECHO)
    return await talk.silence(0.1)


@pytest.mark.parametrize("level", [Level.ENCRYPTED, Level.AUTHENTICATED])
async def test_a_stranger_gets_nothing_but_the_name(level: Level) -> None:
    async with bench(options(level=level)) as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        assert await gets_nothing(talk)
        assert on.device.counters.requests == 0
        assert await talk.client.read_gatt_char(DEVICE_NAME) == on.link.advertised_name.encode()


async def test_any_pairing_is_enough_where_encryption_is_wanted() -> None:
    async with (
        bench(options(level=Level.ENCRYPTED)) as on,
        adapter(on.site) as computer,
        computer.connected(on.link) as talk,
    ):
        await talk.client.pair()
        await talk.subscribe()
        assert await talk.ask(ECHO) == ECHOED


async def test_pairing_without_the_passkey_is_not_enough_where_authentication_is_wanted() -> None:
    async with bench(options(level=Level.AUTHENTICATED)) as on, adapter(on.site) as computer:
        async with computer.connected(on.link) as talk:
            await talk.client.pair()
            assert await gets_nothing(talk)
        async with computer.connected(on.link) as talk:  # nor is the bond that came of it
            await talk.client.pair()
            assert await gets_nothing(talk)
            assert on.device.counters.requests == 0
            await talk.client.pair(passkey=right)
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED


async def test_the_passkey_opens_the_device_and_the_bond_opens_it_again() -> None:
    async with bench(options(level=Level.AUTHENTICATED)) as on, adapter(on.site) as computer:
        async with computer.connected(on.link) as talk:
            await talk.client.pair(passkey=right)
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED
        async with computer.connected(on.link) as talk:
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED
            assert await talk.client.read_gatt_char(MODEL) == on.device.product.encode()


@pytest.mark.parametrize("answer", [wrong, none])
async def test_a_wrong_passkey_is_told_and_opens_nothing(answer: object) -> None:
    async with bench(options(level=Level.AUTHENTICATED)) as on, adapter(on.site) as computer:
        async with computer.connected(on.link) as talk:
            with pytest.raises(BleakError, match=r"CONFIRM_VALUE_FAILED|PASSKEY_ENTRY_FAILED"):
                await talk.client.pair(passkey=answer)
            assert await gets_nothing(talk)
        async with computer.connected(on.link) as talk:
            await talk.client.pair(passkey=right)
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED


async def test_a_device_that_has_forgotten_its_bond_says_so_and_can_be_paired_anew() -> None:
    async with bench(options(level=Level.ENCRYPTED)) as on, adapter(on.site) as computer:
        async with computer.connected(on.link) as talk:
            await talk.client.pair()
        await on.link.forget_bonds()
        async with computer.connected(on.link) as talk:
            with pytest.raises(BleakError, match="PIN_OR_KEY_MISSING"):
                await talk.subscribe()
            await talk.client.unpair()
        async with computer.connected(on.link) as talk:
            await talk.client.pair()
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED


async def test_a_device_bonded_with_another_refuses_to_pair() -> None:
    async with (
        bench(options(level=Level.ENCRYPTED, bonds=1)) as on,
        adapter(on.site) as owner,
        adapter(on.site) as stranger,
    ):
        async with owner.connected(on.link) as talk:
            await talk.client.pair()
        async with stranger.connected(on.link) as talk:
            with pytest.raises(BleakError, match="PAIRING_NOT_SUPPORTED"):
                await talk.client.pair()
            assert await gets_nothing(talk)


async def test_an_impostor_with_the_owners_address_and_another_key_is_cut_off(tmp_path: Path) -> None:
    bonds = tmp_path / "bonds.json"
    async with bench(options(level=Level.ENCRYPTED)) as on:
        async with adapter(on.site, bonds=str(bonds)) as owner, owner.connected(on.link) as talk:
            await talk.client.pair()
        text = bonds.read_text()
        key = text.partition('"value": "')[2][:32]
        bonds.write_text(text.replace(key, "00" * 16))
        async with adapter(on.site, bonds=str(bonds)) as impostor, impostor.connected(on.link) as talk:
            with pytest.raises(BleakError):
                await talk.client.read_gatt_char(MODEL)
            await talk.until_lost()
            assert on.device.counters.requests == 0


async def test_bonds_in_a_file_outlive_the_computers_adapter(tmp_path: Path) -> None:
    bonds = tmp_path / "bonds.json"
    async with bench(options(level=Level.AUTHENTICATED)) as on:
        async with adapter(on.site, bonds=str(bonds)) as computer, computer.connected(on.link) as talk:
            await talk.client.pair(passkey=right)
        async with adapter(on.site, bonds=str(bonds)) as computer, computer.connected(on.link) as talk:
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED


async def test_an_adapter_that_pairs_by_itself_needs_no_word() -> None:
    async with (
        bench(options(level=Level.ENCRYPTED)) as on,
        adapter(on.site, pairing="auto") as computer,
        computer.connected(on.link) as talk,
    ):
        await talk.subscribe()
        assert await talk.ask(ECHO) == ECHOED


async def test_what_was_subscribed_ends_with_the_connection() -> None:
    async with bench() as on, adapter(on.site) as computer:
        async with computer.connected(on.link) as talk:
            await talk.subscribe()
        async with computer.connected(on.link) as talk:
            await talk.write(ECHO)
            assert await talk.silence(0.1)
            assert talk.client.services.get_characteristic(SMP_CHARACTERISTIC) is not None
