"""Which serial ports there are."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.errors import DeviceNotFound


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A serial port; what USB says of it is None for other kinds."""

    path: str
    description: str | None = None
    vid: int | None = None
    pid: int | None = None
    serial: str | None = None

    @property
    def usb(self) -> str | None:
        """As a URL names it: VID:PID, with the serial number where there is one."""
        if self.vid is None or self.pid is None:
            return None
        return f"{self.vid:04x}:{self.pid:04x}" + (f":{self.serial}" if self.serial else "")


def serial_ports() -> list[SerialPort]:
    """All serial ports, USB ones first, each kind by name."""
    from serial.tools.list_ports import comports

    found = [SerialPort(p.device, _known(p.description), p.vid, p.pid, p.serial_number) for p in comports()]
    return sorted(found, key=lambda port: (port.vid is None, port.path))


def usb_port(vid: int, pid: int, serial: str | None) -> str:
    """The path of the one port with these USB ids; raises DeviceNotFound for none and for several."""
    wanted = f"{vid:04x}:{pid:04x}" + (f":{serial}" if serial else "")
    there = serial_ports()
    found = [port for port in there if (port.vid, port.pid) == (vid, pid) and serial in (None, port.serial)]
    if len(found) == 1:
        return found[0].path
    if found:
        names = ", ".join(port.usb or port.path for port in found)
        raise DeviceNotFound(f"{len(found)} devices are usb:{wanted}: {names}. Add the serial number, or name the port")
    others = ", ".join(f"usb:{port.usb}" for port in there if port.usb) or "none"
    raise DeviceNotFound(f"there is no serial port of USB device {wanted}. USB ports present: {others}. Plug it in")


def _known(text: str | None) -> str | None:
    return None if text in (None, "", "n/a") else text
