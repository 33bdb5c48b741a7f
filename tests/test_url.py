"""Device URLs: what they mean, and that a wrong one is told what would be right."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.transports.ports import SerialPort
from fieldlog.url import choose, distinct, only_port, parse, with_passkey, with_tuning
from fieldlog_protocol.errors import DeviceNotFound, UsageError


@pytest.mark.parametrize(
    ("text", "scheme", "target"),
    [
        ("/dev/ttyACM0", "serial", "/dev/ttyACM0"),
        ("COM3", "serial", "COM3"),
        ("com12", "serial", "com12"),
        (r"\\.\COM10", "serial", r"\\.\COM10"),
        ("serial:/dev/ttyUSB1", "serial", "/dev/ttyUSB1"),
        ("serial:COM3?framing=raw", "serial", "COM3"),
        ("udp:logger.local", "udp", "logger.local"),
        ("udp://10.0.0.7:99", "udp", "10.0.0.7"),
        ("udp:[fe80::1%eth0]:1337", "udp", "fe80::1%eth0"),
        ("sim:", "sim", ""),
        ("sim:smp-server", "sim", "smp-server"),
    ],
)
def test_a_url_names_its_target(text: str, scheme: str, target: str) -> None:
    url = parse(text)
    assert (url.scheme, url.target) == (scheme, target)


def test_options_are_taken_with_their_types() -> None:
    url = parse("serial:/dev/ttyS1?baud=1000000&framing=raw&timeout=2.5&window=3&buffer=2048")
    assert (url.baud, url.framing, url.timeout_s, url.window, url.buffer) == (1_000_000, "raw", 2.5, 3, 2048)


def test_a_bare_port_takes_options_too() -> None:
    url = parse("/dev/ttyACM0?timeout=1")
    assert (url.target, url.timeout_s) == ("/dev/ttyACM0", 1.0)


def test_usb_ids_are_hexadecimal_and_the_serial_number_may_hold_colons() -> None:
    assert parse("usb:2FE3:0100").usb == (0x2FE3, 0x0100, None)
    assert parse("usb:10c4:ea60:A:B").usb == (0x10C4, 0xEA60, "A:B")


def test_udp_ports_default_to_smp() -> None:
    assert parse("udp:[::1]").port == 1337
    assert parse("udp:host:5000").port == 5000


def test_options_of_the_simulator_become_its_command_line() -> None:
    url = parse("sim:logger?history=30d&framing=raw&timeout=9&until-x")
    assert url.arguments == ("--profile", "logger", "--history=30d", "--framing=raw", "--until-x")
    assert (url.framing, url.timeout_s) == ("raw", 9.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("no-such-port", "names no device"),
        ("http://x", "names no device"),
        ("serial:", "names no port"),
        ("usb:xyz", "usb:VID:PID"),
        ("usb:12345:1", "usb:VID:PID"),
        ("udp:", "udp:HOST"),
        ("udp:host:0", "udp:HOST"),
        ("udp:host:99999", "udp:HOST"),
        ("udp:::1", "udp:[::1]"),
        ("udp:host?baud=9600", "no option 'baud'"),
        ("serial:COM3?baud=fast", "whole number"),
        ("serial:COM3?framing=cobs", "console or raw"),
        ("serial:COM3?timeout=0", "seconds above 0"),
        ("serial:COM3?window=0", "from 1 to 64"),
        ("serial:COM3?baud=1&baud=2", "twice"),
        ("sim:?--state=x", "no option of the simulated device"),
        ("ble:", "ble:NAME"),
        ("ble:hut?passkey=12a", "six digits"),
        ("ble:hut?passkey=1234567", "six digits"),
        ("ble:hut?at=127.0.0.1:1", "no option 'at'"),
        ("ble:hut?backend=virtual&window=0", "from 1 to 64"),
    ],
)
def test_a_wrong_url_is_told_what_is_right(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        parse(text)


@pytest.mark.skipif(os.name == "nt", reason="ports of POSIX")
def test_a_port_in_this_folder_is_told_how_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dev1").symlink_to("/dev/tty")
    (tmp_path / "dev2").write_text("no port")
    for text, says in (
        ("dev1", "'dev1' is a port, and no device URL: write ./dev1"),
        ("dev1?baud=9600", "write ./dev1?baud=9600"),
        ("dev2", "'dev2' names no device: give a port such as /dev/ttyACM0"),
        ("tty", "write /dev/tty"),
    ):
        with pytest.raises(UsageError, match=re.escape(says)):
            parse(text)
    assert parse("./dev1").target == "./dev1"
    assert parse("../hut/dev1?timeout=1").target == "../hut/dev1"


@given(
    st.one_of(
        st.text(),
        st.sampled_from(["serial:", "usb:", "udp:", "sim:", "ble:"]).flatmap(lambda s: st.text().map(s.__add__)),
    )
)
def test_any_text_is_a_url_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse(text).text == text.strip() or "passkey=" in text


def test_a_ble_device_has_a_name_or_an_address() -> None:
    assert parse("ble:hut 3").target == "hut 3"
    assert parse("ble:hut%3F").target == "hut?"
    url = parse("ble:F0:0D:00:00:00:01?window=2&passkey=012345")
    assert (url.target, url.window, url.passkey, url.backend) == ("F0:0D:00:00:00:01", 2, 12345, None)


def test_what_follows_a_ble_backend_is_for_it() -> None:
    url = parse("ble:hut?backend=virtual&at=127.0.0.1:4000&timeout=9&bonds=b.json")
    assert (url.backend, url.timeout_s) == ("virtual", 9.0)
    assert dict(url.options) == {"at": "127.0.0.1:4000", "bonds": "b.json"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ble:hut?passkey=123456", "ble:hut"),
        ("ble:hut?passkey=123456&window=2", "ble:hut?window=2"),
        ("ble:hut?window=2&passkey=123456", "ble:hut?window=2"),
    ],
)
def test_a_passkey_is_not_shown(text: str, shown: str) -> None:
    assert parse(text).text == shown
    assert parse(text).passkey == 123456


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("ble:hut", "ble:hut?passkey=000042"),
        ("ble:hut?window=2", "ble:hut?window=2&passkey=000042"),
        ("ble:hut?passkey=1", "ble:hut?passkey=000042"),
        ("udp:hut", "udp:hut"),
    ],
)
def test_a_passkey_is_given_to_ble_devices_alone(text: str, becomes: str) -> None:
    assert with_passkey(text, 42) == becomes


def test_only_a_link_over_the_air_is_waited_for() -> None:
    assert parse("ble:hut").reconnect_s > 0
    assert parse("udp:hut").reconnect_s == parse("/dev/ttyACM0").reconnect_s == 0


def test_ble_urls_of_one_device_and_radio_are_one() -> None:
    texts = ["ble:hut", "ble:HUT", "ble:hut?backend=virtual&at=a:1", "ble:hut?backend=virtual&at=b:1"]
    assert [url.text for url in distinct(texts)] == [texts[0], *texts[2:]]


_USB = SerialPort("/dev/ttyACM0", "Nordic", 0x1915, 0x520F, "C0FFEE")
_BUILT_IN = SerialPort("/dev/ttyS0")


def test_the_only_usb_device_is_meant() -> None:
    assert only_port([_USB, _BUILT_IN]) == _USB


def test_a_built_in_port_is_offered_and_not_taken() -> None:
    with pytest.raises(DeviceNotFound, match=r"(?s)no USB device.*/dev/ttyS0") as caught:
        only_port([_BUILT_IN])
    assert "--device" in str(caught.value)


def test_several_devices_are_listed() -> None:
    other = SerialPort("/dev/ttyACM1", "evil\x1b[31m\nname", 0x1915, 0x520F)
    with pytest.raises(UsageError, match=r"2 devices.*\n.*/dev/ttyACM0  Nordic\n.*/dev/ttyACM1") as caught:
        only_port([_USB, other])
    assert "\x1b" not in str(caught.value)
    assert "\\nname" in str(caught.value)


def test_the_environment_names_the_device_unless_an_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_DEVICE", "udp:from-environment")
    assert choose(None).target == "from-environment"
    assert choose("udp:from-option").target == "from-option"


@pytest.mark.parametrize(
    ("text", "baud", "port", "after"),
    [
        ("/dev/ttyACM0", 57_600, None, "/dev/ttyACM0?baud=57600"),
        ("serial:COM3?baud=9600&framing=raw", 57_600, None, "serial:COM3?framing=raw&baud=57600"),
        ("udp:10.0.0.7", None, 1400, "udp:10.0.0.7:1400"),
        ("udp:[fe80::1]:1338?timeout=2", None, 1400, "udp:[fe80::1]:1400?timeout=2"),
        ("ble:Attic", 57_600, 1400, "ble:Attic"),
    ],
)
def test_the_url_of_a_device_whose_link_has_changed(text: str, baud: int | None, port: int | None, after: str) -> None:
    assert with_tuning(parse(text), baud, port) == after
    assert parse(after)
