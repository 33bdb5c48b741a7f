"""Transports: serial ports, UDP, BLE and simulated devices, each loaded when it is first used."""

from __future__ import annotations

from collections.abc import Callable

from fieldlog.transports.base import Sink, Transport
from fieldlog.transports.ports import SerialPort, serial_ports
from fieldlog.url import DeviceUrl


def _serial(url: DeviceUrl) -> Transport:
    from fieldlog.transports.serial import DEFAULT_BAUD, SerialTransport

    return SerialTransport(url.target, url.baud or DEFAULT_BAUD)


def _usb(url: DeviceUrl) -> Transport:
    from fieldlog.transports.ports import usb_port
    from fieldlog.transports.serial import DEFAULT_BAUD, SerialTransport

    vid, pid, serial = url.usb
    return SerialTransport(lambda: usb_port(vid, pid, serial, url.interface), url.baud or DEFAULT_BAUD)


def _udp(url: DeviceUrl) -> Transport:
    from fieldlog.transports.udp import UdpTransport

    return UdpTransport(url.target, url.port)


def _ble(url: DeviceUrl) -> Transport:
    from fieldlog.transports.ble import BleTransport
    from fieldlog.transports.radio import Radio

    return BleTransport(url.target, Radio(url.backend, dict(url.options)), url.passkey)


def _simulated(url: DeviceUrl) -> Transport:
    from fieldlog.transports.simulated import SimulatedTransport
    from fieldlog.url import parse

    return SimulatedTransport(url.arguments, url.text, lambda announced: make(parse(announced)))


_TABLE: dict[str, Callable[[DeviceUrl], Transport]] = {
    "serial": _serial,
    "usb": _usb,
    "udp": _udp,
    "ble": _ble,
    "sim": _simulated,
}


def make(url: DeviceUrl) -> Transport:
    """The transport for a URL; nothing is opened yet."""
    return _TABLE[url.scheme](url)


__all__ = ["SerialPort", "Sink", "Transport", "make", "serial_ports"]
