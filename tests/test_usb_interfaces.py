"""Devices with several serial ports on one USB serial number: debug probes, double CDC."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import serial.tools.list_ports

from fieldlog.flash_restart import lasting
from fieldlog.transports.ports import SerialPort, lasting_url, port_url, serial_ports, usb_port
from fieldlog.url import distinct, parse
from fieldlog_protocol.errors import DeviceNotFound, UsageError

FIRST = SerialPort("/dev/ttyACM0", None, 0x1366, 0x105, "77", "1.0")
SECOND = SerialPort("/dev/ttyACM1", None, 0x1366, 0x105, "77", "1.2")
OTHER = SerialPort("/dev/ttyACM2", None, 0x1366, 0x105, "78", "1.0")


def present(monkeypatch: pytest.MonkeyPatch, ports: Sequence[SerialPort]) -> None:
    for module in ("fieldlog.transports.ports", "fieldlog.flash_restart"):
        monkeypatch.setattr(f"{module}.serial_ports", lambda: list(ports))


def opened(url: str) -> str:
    found = lasting(parse(url))
    return found.target if found.scheme == "serial" else usb_port(*found.usb, found.interface)


def renamed(port: SerialPort, path: str) -> SerialPort:
    return SerialPort(path, None, port.vid, port.pid, port.serial, port.interface)


def test_a_port_that_was_named_is_found_again_beside_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, [FIRST, SECOND, OTHER])
    assert [opened(port.path) for port in (FIRST, SECOND, OTHER)] == ["/dev/ttyACM0", "/dev/ttyACM1", "/dev/ttyACM2"]
    url = lasting(parse("/dev/ttyACM1"))
    present(monkeypatch, [renamed(SECOND, "/dev/ttyACM0"), renamed(FIRST, "/dev/ttyACM9"), OTHER])
    assert usb_port(*url.usb, url.interface) == "/dev/ttyACM0"


def test_a_boot_loader_may_have_one_port_where_the_firmware_has_two(monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, [FIRST, SECOND])
    url = lasting(parse("/dev/ttyACM1"))
    present(monkeypatch, [renamed(FIRST, "/dev/ttyACM5"), OTHER])
    assert usb_port(*url.usb, url.interface) == "/dev/ttyACM5"


def test_ports_that_nothing_tells_apart_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = [SerialPort(path, None, 0x403, 0x6010, "FT1") for path in ("/dev/cu.1", "/dev/cu.2")]
    present(monkeypatch, twins)
    assert [opened(port.path) for port in twins] == ["/dev/cu.1", "/dev/cu.2"]
    assert [port_url(port, twins) for port in twins] == ["/dev/cu.1", "/dev/cu.2"]
    with pytest.raises(DeviceNotFound, match=r"2 ports are usb:0403:6010:FT1.*Name the one"):
        usb_port(0x403, 0x6010, "FT1")


def test_urls_of_several_ports_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [FIRST, SECOND, OTHER]
    present(monkeypatch, there)
    names = ["usb:1366:0105:77?interface=1.0", "usb:1366:0105:77?interface=1.2", "usb:1366:0105:78"]
    assert [port_url(port, there) for port in there] == names
    assert len(distinct(names)) == 3
    assert lasting_url(OTHER, there) == "usb:1366:0105:78?interface=1.0"
    with pytest.raises(DeviceNotFound, match=r"has 2 ports: /dev/ttyACM0 is \?interface=1\.0"):
        usb_port(0x1366, 0x105, "77")
    with pytest.raises(UsageError, match="interface=second is none"):
        parse("usb:1366:0105:77?interface=second")


def test_the_interface_is_read_off_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def port(device: str, location: str | None) -> SimpleNamespace:
        return SimpleNamespace(device=device, description="n/a", vid=1, pid=2, serial_number="3", location=location)

    found = [port("a", "1-1.4:1.2"), port("b", "1-1.4"), port("c", None), port("d", "1-1:x.2")]
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: found)
    assert [known.interface for known in serial_ports()] == ["1.2", None, None, "x.2"]
