"""What a logger says over BLE before anybody connects: the SMP service, its name, and how it is.

The advertisement itself carries flags and the UUID of the SMP service (docs/smp.md#links), as stock devices do; the scan
response carries manufacturer data and the name. What belongs to fieldlog has no company id of its own: it stands under
0xFFFF, which everybody may use, and begins with "FL". Later versions append bytes and bits, so longer is no error.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from fieldlog_protocol.commands.logger import State
from fieldlog_protocol.errors import ProtocolError, UsageError
from fieldlog_protocol.gatt import SMP_CHARACTERISTIC, SMP_SERVICE
from fieldlog_protocol.layout import Layout

__all__ = [
    "COMPANY",
    "SMP_CHARACTERISTIC",
    "SMP_SERVICE",
    "VERSION",
    "LoggerAdvertisement",
    "advertising_data",
    "decode_manufacturer_data",
    "encode_manufacturer_data",
    "logger_in",
    "product_number",
    "scan_response",
]

COMPANY = 0xFFFF
VERSION = 1

_MAGIC = b"FL"
_STATE_BITS = 7
_CLOCK_SET = 8
_UNKNOWN = 0xFF
_NO_SEQ = 0xFFFF_FFFF
_MOST = 31
_GENERAL_DISCOVERABLE_LE_ONLY = 6
_FLAGS, _UUIDS_128, _SHORTENED_NAME, _COMPLETE_NAME, _MANUFACTURER = 0x01, 0x07, 0x08, 0x09, 0xFF


@dataclass(frozen=True, slots=True)
class LoggerAdvertisement:
    """How a logger is. Percentages are 0 to 100, None where it does not know them.

    `product`: see `product_number`. `fill_percent`: how much of its log is in use, rounded up. `newest_seq`: of the block
    written last, sealed or open; None while nothing was recorded.
    """

    product: int
    state: State | int
    clock_set: bool
    battery_percent: int | None
    fill_percent: int | None
    newest_seq: int | None


@dataclass(frozen=True, slots=True)
class _Raw:
    magic: bytes
    version: int
    product: int
    status: int
    battery: int
    fill: int
    newest: int


_LAYOUT = Layout(
    _Raw,
    [
        ("magic", "bytes:2"),
        ("version", "u8"),
        ("product", "u16"),
        ("status", "u8"),
        ("battery", "u8"),
        ("fill", "u8"),
        ("newest", "u32"),
    ],
    endian="little",
)


def product_number(product: str) -> int:
    """Two bytes that stand for a product id as `info` gives it: CRC-16/XMODEM of its UTF-8."""
    return binascii.crc_hqx(product.encode(), 0)


def encode_manufacturer_data(logger: LoggerAdvertisement) -> bytes:
    """The manufacturer data without its company id; raises UsageError for values out of range."""
    if not 0 <= logger.state <= _STATE_BITS:
        raise UsageError(f"state {int(logger.state)} does not fit an advertisement: 0 to {_STATE_BITS}")
    if logger.newest_seq == _NO_SEQ:
        raise UsageError(f"seq {_NO_SEQ} does not fit an advertisement, where it stands for none")
    return _LAYOUT.build(
        _Raw(
            magic=_MAGIC,
            version=VERSION,
            product=logger.product,
            status=logger.state | (_CLOCK_SET if logger.clock_set else 0),
            battery=_from_percent(logger.battery_percent),
            fill=_from_percent(logger.fill_percent),
            newest=_NO_SEQ if logger.newest_seq is None else logger.newest_seq,
        )
    )


def decode_manufacturer_data(data: bytes) -> LoggerAdvertisement:
    """The way back; raises ProtocolError for what is not a logger's, as anybody may use the company id."""
    if len(data) < _LAYOUT.size:
        raise ProtocolError(f"{len(data)} bytes of manufacturer data, a logger advertises {_LAYOUT.size} or more")
    raw = _LAYOUT.parse(data[: _LAYOUT.size])
    if raw.magic != _MAGIC or not raw.version:
        raise ProtocolError("the manufacturer data is not that of a logger")
    number = raw.status & _STATE_BITS
    return LoggerAdvertisement(
        product=raw.product,
        state=State(number) if number in State.__members__.values() else number,
        clock_set=bool(raw.status & _CLOCK_SET),
        battery_percent=_to_percent(raw.battery),
        fill_percent=_to_percent(raw.fill),
        newest_seq=None if raw.newest == _NO_SEQ else raw.newest,
    )


def logger_in(manufacturer_data: dict[int, bytes]) -> LoggerAdvertisement | None:
    """What a logger says among manufacturer data by company id; None where there is nothing of the kind."""
    try:
        return decode_manufacturer_data(manufacturer_data.get(COMPANY, b""))
    except ProtocolError:
        return None


def advertising_data() -> bytes:
    """The payload of the advertisement: flags and the SMP service."""
    uuid = bytes.fromhex(SMP_SERVICE.replace("-", ""))[::-1]
    return _structure(_FLAGS, bytes([_GENERAL_DISCOVERABLE_LE_ONLY])) + _structure(_UUIDS_128, uuid)


def scan_response(logger: LoggerAdvertisement | None, name: str) -> bytes:
    """The payload of the scan response; a name that does not fit is shortened. Without `logger` there is only the name."""
    own = b"" if logger is None else COMPANY.to_bytes(2, "little") + encode_manufacturer_data(logger)
    before = _structure(_MANUFACTURER, own) if own else b""
    room = _MOST - len(before) - 2
    whole = name.encode()
    short = whole[:room].decode(errors="ignore").encode()
    return before + _structure(_COMPLETE_NAME if short == whole else _SHORTENED_NAME, short)


def _structure(kind: int, value: bytes) -> bytes:
    return bytes([len(value) + 1, kind]) + value


def _from_percent(value: int | None) -> int:
    if value is None:
        return _UNKNOWN
    if not 0 <= value <= 100:
        raise UsageError(f"{value} % does not fit an advertisement: 0 to 100")
    return value


def _to_percent(value: int) -> int | None:
    """Nonsense counts as not known."""
    return value if value <= 100 else None
