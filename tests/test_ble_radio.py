"""The virtual radio and the peripheral on it, as bleak sees them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakBluetoothNotAvailableError, BleakError, BleakGATTProtocolError

from ble_bench import ECHO, ECHOED, PATIENCE_S, RESET, Talk, adapter, bench, options
from fieldlog_protocol.advertising import decode_manufacturer_data
from fieldlog_protocol.gatt import SMP_CHARACTERISTIC, SMP_SERVICE
from fieldlog_sim.faults import Faults
from fieldlog_sim.links.ble.pace import Pace
from fieldlog_sim.links.ble.virtual import backend
from fieldlog_sim.profiles import NAME_KEY
from simulator import simulator

MODEL, BATTERY, DEVICE_NAME = (f"0000{number}-0000-1000-8000-00805f9b34fb" for number in ("2a24", "2a19", "2a00"))


async def test_a_scan_alone_tells_how_a_device_is() -> None:
    async with bench() as on, adapter(on.site) as computer:
        found, manufacturer, services = await computer.scan(on.link)
        said = decode_manufacturer_data(manufacturer[0xFFFF])
        assert (found.name, services) == (on.device.identity.serial, [SMP_SERVICE])
        assert (said.clock_set, said.battery_percent) == (False, 100)


async def test_advertisements_are_kept_current() -> None:
    async with bench() as on, adapter(on.site) as computer:
        await computer.scan(on.link)
        on.device.settings.write(NAME_KEY, b"pump 7")
        on.device.set_clock(time.time_ns() // 1000, 0, "test")
        on.link.poke()
        async with asyncio.timeout(5):
            while (await computer.scan(on.link))[0].name != "pump 7":
                pass
        assert decode_manufacturer_data((await computer.scan(on.link))[1][0xFFFF]).clock_set


async def test_a_passive_scan_hears_no_scan_responses() -> None:
    async with bench() as on, adapter(on.site) as computer:
        active = await BleakScanner.discover(0.2, return_adv=True, backend=computer.scanner_class)
        passive = await BleakScanner.discover(
            0.2, return_adv=True, backend=computer.scanner_class, scanning_mode="passive"
        )
        said = {mode: found[on.link.bluetooth_address][1] for mode, found in (("active", active), ("passive", passive))}
        assert said["active"].local_name == on.link.advertised_name
        assert (said["passive"].local_name, said["passive"].service_uuids) == (None, [SMP_SERVICE])


async def test_requests_and_replies_longer_than_the_mtu_are_cut_and_whole_again() -> None:
    text = b"x" * 600
    request = bytes.fromhex("0a00026000000000") + b"\xa1\x61\x64\x79\x02\x58" + text
    request = request[:2] + (len(request) - 8).to_bytes(2, "big") + request[4:]
    async with bench() as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        await talk.subscribe()
        assert text in await talk.ask(request)
        assert [len(piece) for piece in talk.notifications[:-1]] == [244] * 2


async def test_what_is_too_long_for_a_write_command_is_refused() -> None:
    async with bench() as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        with pytest.raises(BleakError, match="MTU of 247"):
            await talk.client.write_gatt_char(SMP_CHARACTERISTIC, bytes(245), response=False)


async def test_attributes_are_read_and_written_as_they_allow() -> None:
    async with bench() as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        assert await talk.client.read_gatt_char(MODEL) == on.device.product.encode()
        assert await talk.client.read_gatt_char(BATTERY) == bytes([100])
        with pytest.raises(BleakGATTProtocolError) as read:
            await talk.client.read_gatt_char(SMP_CHARACTERISTIC)
        with pytest.raises(BleakGATTProtocolError) as written:
            await talk.client.write_gatt_char(MODEL, b"other", response=True)
        assert (read.value.code, written.value.code) == (2, 3)


async def test_a_restart_ends_the_connection_after_its_reply_and_the_device_comes_back() -> None:
    async with bench() as on, adapter(on.site) as computer:
        before = on.device.boot_id
        async with computer.connected(on.link) as talk:
            await talk.subscribe()
            assert (await talk.ask(RESET))[8:] in (b"\xa0", b"\xbf\xff")
            began = time.monotonic()
            await talk.until_lost()
            assert 0.5 < time.monotonic() - began < 3.0  # the supervision timeout: nobody says goodbye
        async with computer.connected(on.link) as talk:
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED
        assert on.device.boot_id == before + 1


async def test_a_short_silence_of_the_air_delays_and_loses_nothing() -> None:
    async with bench() as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        await talk.subscribe()
        on.radio.go_out_of_range()
        await talk.write(ECHO)
        assert await talk.silence(0.2)
        on.radio.come_back()
        assert await talk.reply() == ECHOED
        assert talk.client.is_connected


async def test_a_device_out_of_range_is_lost_by_the_supervision_timeout_and_found_again() -> None:
    async with bench() as on, adapter(on.site) as computer:
        async with computer.connected(on.link) as talk:
            await on.link.lose_link()
            await talk.until_lost()
        async with computer.connected(on.link) as talk:
            await talk.subscribe()
            assert await talk.ask(ECHO) == ECHOED


async def test_a_connection_that_is_given_up_is_withdrawn() -> None:
    async with bench() as on, adapter(on.site) as computer:
        found = await computer.find(on.link)
        on.radio.go_out_of_range()
        with pytest.raises(TimeoutError):
            await BleakClient(found, backend=computer.client_class, timeout=0.2).connect()
        on.radio.come_back()
        async with computer.connected(on.link) as talk:
            assert talk.client.is_connected


async def test_a_device_that_ends_each_connection_at_once_is_told_and_nothing_hangs() -> None:
    async with bench() as on, adapter(on.site) as computer:
        found = await computer.find(on.link)
        endings: list[asyncio.Task[None]] = []
        device = on.link._device
        assert device is not None
        device.on(device.EVENT_CONNECTION, lambda made: endings.append(asyncio.create_task(made.disconnect())))
        for _ in range(3):
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(BleakError):
                    async with BleakClient(found, backend=computer.client_class) as client:
                        await client.read_gatt_char(MODEL)
        await asyncio.gather(*endings, return_exceptions=True)
        assert len(endings) == 3


async def test_one_central_at_a_time_and_the_next_one_when_it_has_gone() -> None:
    async with bench() as on, adapter(on.site) as one, adapter(on.site) as other:
        found = await other.find(on.link)
        async with one.connected(on.link):
            with pytest.raises(TimeoutError):
                await BleakClient(found, backend=other.client_class, timeout=0.3).connect()
        async with other.connected(on.link) as talk:
            assert talk.client.is_connected


async def test_a_central_whose_process_dies_leaves_the_device_free() -> None:
    async with bench() as on, adapter(on.site) as survivor:
        async with adapter(on.site) as victim:
            await BleakClient(await victim.find(on.link), backend=victim.client_class).connect()
        async with survivor.connected(on.link) as talk:
            assert talk.client.is_connected


async def test_the_mtu_may_be_smaller_the_next_time() -> None:
    async with bench() as on, adapter(on.site) as computer:
        sizes: list[int] = []
        for mtu in (247, 23):
            on.link.limit_mtu(mtu)
            async with computer.connected(on.link) as talk:
                await talk.subscribe()
                assert await talk.ask(ECHO) == ECHOED
                characteristic = talk.client.services.get_characteristic(SMP_CHARACTERISTIC)
                assert characteristic is not None
                sizes.append(characteristic.max_write_without_response_size)
        assert sizes == [244, 20]


async def test_ten_devices_talk_at_once() -> None:
    async with bench(count=10) as on, adapter(on.site) as computer:

        async def talk_to(index: int) -> bytes:
            async with computer.connected(on.links[index]) as talk:
                await talk.subscribe()
                for _ in range(20):
                    await talk.ask(ECHO)
                return bytes(await talk.client.read_gatt_char(DEVICE_NAME))

        names = await asyncio.gather(*(talk_to(index) for index in range(10)))
        assert [name.decode() for name in names] == [link.advertised_name for link in on.links]


async def test_an_echo_takes_two_connection_events_and_a_new_interval_changes_that() -> None:
    async with bench(options(Pace(0.05))) as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        await talk.subscribe()
        slow = await _median_s(talk, 5)
        await on.link.ask_for_interval(0.0075)
        fast = await _median_s(talk, 9)
        assert 0.05 < slow < 0.15
        assert fast < 0.05


async def test_lost_and_doubled_notifications_are_what_the_seed_says() -> None:
    heard: list[list[bytes]] = []
    for _ in range(2):
        async with (
            bench(faults=Faults(seed=3, loss=0.3, duplicate=0.3)) as on,
            adapter(on.site) as computer,
            computer.connected(on.link) as talk,
        ):
            await talk.subscribe()
            for _ in range(30):
                await talk.write(ECHO)
            await talk.silence(0.3)
            heard.append(list(talk.notifications))
    assert heard[0] == heard[1]
    assert 5 < len(heard[0]) < 40


async def test_a_scan_whose_end_is_answered_too_late_leaves_the_adapter_whole() -> None:
    async with bench() as on, adapter(on.site) as computer:
        found = await computer.find(on.link)
        central = computer.scanner_class.central.device
        scanner = BleakScanner(backend=computer.scanner_class)
        await scanner.start()
        patience_s, central.command_timeout = central.command_timeout, 0
        with pytest.raises(BleakError, match="stop scanning"):
            await scanner.stop()
        central.command_timeout = patience_s
        async with asyncio.timeout(PATIENCE_S):
            async with BleakClient(found, backend=computer.client_class):  # the late answer is none to this
                pass
            assert (await computer.find(on.link)).address == found.address


async def test_a_radio_that_is_not_there_is_no_bluetooth() -> None:
    async with bench() as on:
        at = on.site.at
    with pytest.raises(BleakBluetoothNotAvailableError):
        async with backend({"at": at}):
            pass


async def test_a_radio_that_goes_away_takes_connections_with_it() -> None:
    async with bench() as on, adapter(on.site) as computer, computer.connected(on.link) as talk:
        on.site.close()
        await talk.until_lost()
        with pytest.raises(BleakBluetoothNotAvailableError):
            await BleakScanner.discover(0.1, backend=computer.scanner_class)


async def test_the_backend_says_which_options_it_takes() -> None:
    with pytest.raises(ValueError, match=r"at=HOST:PORT.* not speed"):
        async with backend({"at": "127.0.0.1:1", "speed": "high"}):
            pass


def test_a_port_that_is_taken_is_said_in_one_sentence(tmp_path: Path) -> None:
    with simulator("--ble", "0") as first:
        taken = first.url.partition("at=")[2].rpartition(":")[2]
        with (
            pytest.raises(AssertionError, match=f"virtual radio cannot be at TCP 127.0.0.1:{taken}"),
            simulator("--ble", taken),
        ):
            pass


def test_each_device_of_a_process_has_its_own_url() -> None:
    with simulator("--ble", "tcp-server:127.0.0.1:0", "--count", "3", links=3) as three:
        names = {url.partition("?")[0] for url in three.urls}
        radios = {url.partition("?")[2] for url in three.urls}
        assert (len(names), len(radios)) == (3, 1)


async def _median_s(talk: Talk, times: int) -> float:
    took: list[float] = []
    for _ in range(times):
        began = time.monotonic()
        await talk.ask(ECHO)
        took.append(time.monotonic() - began)
    return sorted(took)[times // 2]
