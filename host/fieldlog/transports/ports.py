"""Which serial ports there are."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.errors import DeviceNotFound


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A serial port; what USB says of it is None for other kinds.

    `interface`: which of the ports of one USB device it is, such as 1.2, where the system tells.
    """

    path: str
    description: str | None = None
    vid: int | None = None
    pid: int | None = None
    serial: str | None = None
    interface: str | None = None

    @property
    def usb(self) -> str | None:
        """As a URL names it: VID:PID, with the serial number where there is one."""
        if self.vid is None or self.pid is None:
            return None
        return f"{self.vid:04x}:{self.pid:04x}" + (f":{self.serial}" if self.serial else "")


def serial_ports() -> list[SerialPort]:
    """All serial ports, USB ones first, each kind by name."""
    from serial.tools.list_ports import comports

    found = [
        SerialPort(p.device, _known(p.description), p.vid, p.pid, p.serial_number, _interface(p.location))
        for p in comports()
    ]
    return sorted(found, key=lambda port: (port.vid is None, port.path))


def usb_port(vid: int, pid: int, serial: str | None, interface: str | None = None) -> str:
    """The path of the one port with these USB ids; raises DeviceNotFound for none and for several.

    `interface` says which one of a device that has several: its boot loader may have one alone.
    """
    wanted = f"{vid:04x}:{pid:04x}" + (f":{serial}" if serial else "")
    there = serial_ports()
    found = [port for port in there if (port.vid, port.pid) == (vid, pid) and serial in (None, port.serial)]
    if len(found) > 1 and interface is not None:
        found = [port for port in found if port.interface == interface] or found
    if len(found) == 1:
        return found[0].path
    if found:
        raise DeviceNotFound(_several(wanted, found, serial))
    others = ", ".join(f"usb:{port.usb}" for port in there if port.usb) or "none"
    raise DeviceNotFound(f"there is no serial port of USB device {wanted}. USB ports present: {others}. Plug it in")


def _several(wanted: str, found: list[SerialPort], serial: str | None) -> str:
    if serial is None:
        names = ", ".join(port.usb or port.path for port in found)
        return f"{len(found)} devices are usb:{wanted}: {names}. Add the serial number, or name the port"
    if any(port.interface is None for port in found):
        names = ", ".join(port.path for port in found)
        return f"{len(found)} ports are usb:{wanted}: {names}. Name the one that is meant"
    names = ", ".join(f"{port.path} is ?interface={port.interface}" for port in found)
    return f"the device usb:{wanted} has {len(found)} ports: {names}. Add that to its URL, or name the port"


def lasting_url(port: SerialPort, there: list[SerialPort]) -> str | None:
    """What names a port by its device, whatever it is called by then; None where nothing does."""
    if port.usb is None or not port.serial:
        return None
    alike = [other for other in there if other.usb == port.usb]
    if port.interface is None or [other.interface for other in alike].count(port.interface) > 1:
        return f"usb:{port.usb}" if len(alike) == 1 else None
    return f"usb:{port.usb}?interface={port.interface}"


def port_url(port: SerialPort, there: list[SerialPort]) -> str:
    """What people call a port: by its USB ids, with its interface where the device has several, else by its path."""
    if port.usb is None:
        return port.path
    alone = [other.usb for other in there].count(port.usb) == 1
    return f"usb:{port.usb}" if alone else lasting_url(port, there) or port.path


def _interface(location: str | None) -> str | None:
    """Of a location such as 1-1.4:1.2 what is behind the colon: the configuration's and the interface's number."""
    return (location or "").partition(":")[2] or None


def _known(text: str | None) -> str | None:
    return None if text in (None, "", "n/a") else text
