"""What the device's own ends of its links are set to by its settings.

Rule: no I/O; links ask for it. A device takes it over when its last reply has left, so that the answer to the request
that changes a link still goes out as that came in.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_sim.links.uart import LineSetting
from fieldlog_sim.profiles import BAUD_KEY, PARITY_KEY, UDP_PORT_KEY
from fieldlog_sim.settings_model import NoSuchKey, SettingsModel

UNSET = LineSetting(None)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Of a device without such settings, or of a boot loader: it takes what comes. `udp_port` 0: its usual one."""

    line: LineSetting = UNSET
    udp_port: int = 0

    @classmethod
    def of(cls, settings: SettingsModel) -> LinkSettings:
        """What is in effect now."""
        try:
            baud, parity, port = map(settings.read, (BAUD_KEY, PARITY_KEY, UDP_PORT_KEY))
        except NoSuchKey:
            return cls()
        return cls(LineSetting(_number(baud), parity != b"\0"), _number(port))


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")
