"""What kinds of device the simulator plays, and the settings that a logger has."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fieldlog_protocol.commands.logger import SettingFlag, SettingInfo, SettingType

SERIAL_KEY = "device/serial"
NAME_KEY = "device/name"
MAX_AGE_KEY = "log/max_age"
BAUD_KEY = "serial/baud"
PARITY_KEY = "serial/parity"
UDP_PORT_KEY = "udp/port"


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of device. `indefinite`: replies are written as Zephyr writes them."""

    name: str
    product: str
    hardware: str
    has_logger: bool
    indefinite: bool
    settings: tuple[SettingInfo, ...]


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _f32(value: float) -> bytes:
    return struct.pack("<f", value)


def _u32_setting(key: str, unit: str, limits: tuple[int, int], default: int, text: str) -> SettingInfo:
    low, high = limits
    return SettingInfo(k=key, t=SettingType.U32, u=unit, lo=low, hi=high, d=_u32(default), x=text)


def _f32_setting(key: str, unit: str, limits: tuple[float, float], default: float, text: str) -> SettingInfo:
    low, high = limits
    return SettingInfo(k=key, t=SettingType.F32, u=unit, lo=low, hi=high, d=_f32(default), x=text)


_PARITIES = ("none", "even", "odd")
_OVERSAMPLING = ("off", "2x", "4x", "8x", "16x")

LOGGER_SETTINGS = (
    SettingInfo(
        k=SERIAL_KEY,
        t=SettingType.TEXT,
        lo=0,
        hi=32,
        d=b"",
        f=SettingFlag.READ_ONLY,
        x="serial number given by the maker",
    ),
    SettingInfo(
        k=NAME_KEY, t=SettingType.TEXT, lo=0, hi=32, d=b"", x="name given by its owner, shown by info and scans"
    ),
    _u32_setting(MAX_AGE_KEY, "s", (0, 604_800), 86_400, "seal an open block after this time; 0: only when it is full"),
    SettingInfo(k="log/led", t=SettingType.BOOL, d=b"\1", x="blink at every sample"),
    _f32_setting("alarm/high", "Cel", (-60, 120), 60.0, "temperature above which the alarm is raised"),
    _f32_setting("alarm/low", "Cel", (-60, 120), -30.0, "temperature below which the alarm is raised"),
    SettingInfo(
        k="sensor/oversampling",
        t=SettingType.CHOICE,
        d=b"\2",
        x="readings averaged into one",
        nc=len(_OVERSAMPLING),
        ch=_OVERSAMPLING,
    ),
    SettingInfo(
        k="sensor/trim",
        t=SettingType.I32,
        u="Pa",
        lo=-5000,
        hi=5000,
        step=10,
        d=struct.pack("<i", 0),
        x="added to the pressure",
    ),
    SettingInfo(
        k="sensor/key",
        t=SettingType.BYTES,
        lo=0,
        hi=16,
        d=b"",
        f=SettingFlag.NEEDS_RESTART,
        x="unlocks the external probe",
    ),
    SettingInfo(
        k="clock/epoch",
        t=SettingType.I64,
        u="s",
        lo=-(2**53),
        hi=2**53,
        d=struct.pack("<q", 0),
        x="zero of the owner's own time scale",
    ),
    SettingInfo(
        k=BAUD_KEY,
        t=SettingType.U32,
        u="Bd",
        lo=1200,
        hi=3_000_000,
        d=_u32(115_200),
        f=SettingFlag.AFFECTS_LINK,
        x="rate of the serial port",
    ),
    SettingInfo(
        k=PARITY_KEY,
        t=SettingType.CHOICE,
        d=b"\0",
        f=SettingFlag.AFFECTS_LINK,
        x="parity of the serial port",
        nc=len(_PARITIES),
        ch=_PARITIES,
    ),
    SettingInfo(
        k=UDP_PORT_KEY,
        t=SettingType.U32,
        u="{port}",
        lo=0,
        hi=65_535,
        d=_u32(0),
        f=SettingFlag.AFFECTS_LINK,
        x="UDP port where requests are taken; 0: the usual one",
    ),
)

# A stock Zephyr application registers a few keys of its own and tells nobody their types.
STOCK_SETTINGS = (
    SettingInfo(k="app/interval", t=SettingType.U32, d=_u32(1000)),
    SettingInfo(k="app/label", t=SettingType.TEXT, lo=0, hi=64, d=b"stock"),
    SettingInfo(k="app/flags", t=SettingType.BYTES, lo=0, hi=64, d=b"\0"),
)

PROFILES = {
    "logger": Profile("logger", "fieldlog-sim", "sim-a1", True, False, LOGGER_SETTINGS),
    "smp-server": Profile("smp-server", "smp-svr", "native-sim", False, True, STOCK_SETTINGS),
}
