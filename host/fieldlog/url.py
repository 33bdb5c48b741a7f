"""Device URLs: which device is meant, and how to reach it.

    /dev/ttyACM0  COM3                      a serial port
    serial:PORT?baud=115200&framing=raw     the same with its settings (framing console or raw)
    usb:VID:PID[:SERIAL]                    the serial port of a USB device, whatever it is called today
    usb:VID:PID:SERIAL?interface=1.2        the same of a device with several ports
    udp:HOST[:1337]  udp:[::1]:1337         a network address
    ble:NAME  ble:ADDRESS?passkey=123456    a BLE device; ?backend= names another radio than this computer's, and
                                            what else follows is for it
    sim:  sim:PROFILE?history=30d&seed=7    a simulated device; what follows ? are options of `fieldlog sim`

All take `?timeout=` (seconds until a device counts as silent), `?window=` (requests under way at once) and `?buffer=`
(largest message in bytes) where the device's own word is wrong or missing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from fieldlog.text import printable
from fieldlog_protocol.errors import DeviceNotFound, UsageError

if TYPE_CHECKING:
    from fieldlog.transports.ports import SerialPort

DEFAULT_UDP_PORT = 1337
DEFAULT_TIMEOUT_S = 6.0
VARIABLE = "FIELDLOG_DEVICE"
_SCHEMES = "serial:, usb:, udp:, ble: or sim:"
RECONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class DeviceUrl:
    """A device URL, taken apart. `target` is the port, host, name or address; `arguments` are the simulator's.

    `backend` and its `options` say which radio is used for BLE, None for this computer's own.
    """

    text: str
    scheme: str
    target: str = ""
    port: int = DEFAULT_UDP_PORT
    usb: tuple[int, int, str | None] = (0, 0, None)
    arguments: tuple[str, ...] = ()
    baud: int | None = None
    framing: str = "console"
    interface: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    window: int | None = None
    buffer: int | None = None
    backend: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    passkey: int | None = None

    @property
    def reconnect_s(self) -> float:
        """How long a command waits for the link to come back by itself: a cable that is unplugged does not."""
        return RECONNECT_S if self.scheme == "ble" else 0.0


def parse(text: str) -> DeviceUrl:
    """Take a device URL apart; raises UsageError that says what would be right."""
    text = text.strip()
    if not text:
        raise UsageError("the device URL is empty: give a port such as /dev/ttyACM0 or COM3, or udp:HOST, or sim:")
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in _PARSERS:
        return _bare(text)
    return _PARSERS[scheme.lower()](text, rest)


def choose(given: str | None) -> DeviceUrl:
    """The device that is meant: the one given, else FIELDLOG_DEVICE, else the only one present."""
    text = given or os.environ.get(VARIABLE)
    if text:
        return parse(text)
    from fieldlog.transports.ports import serial_ports

    return parse(only_port(serial_ports()).path)


def only_port(ports: Sequence[SerialPort]) -> SerialPort:
    """The one port that can be meant. Only USB says that a device is there: a built-in port may have nothing on it."""
    devices = [port for port in ports if port.usb]
    if len(devices) == 1:
        return devices[0]
    if devices:
        raise UsageError(
            f"{len(devices)} devices are present. Choose one with --device or {VARIABLE}:\n{_list(devices)}"
        )
    others = f". There are other ports:\n{_list(ports)}" if ports else ""
    raise DeviceNotFound(
        "no USB device is present. Plug one in, or name one with --device: a serial port, udp:HOST, or sim: for a "
        f"simulated one{others}"
    )


def _list(ports: Sequence[SerialPort]) -> str:
    return "\n".join(printable(f"  {port.path}  {port.description or ''}".rstrip()) for port in ports)


def _bare(text: str) -> DeviceUrl:
    """A port without a scheme: a path or a Windows name."""
    if text.startswith(("/", "./", "../", "~", "\\\\")) or re.fullmatch(r"(?i)com\d+(\?.*)?", text):
        return _serial(text, text)
    meant = next((path for path in (f"./{text}", f"/dev/{text}") if _is_port(path.partition("?")[0])), None)
    if meant is not None:
        raise UsageError(f"{text!r} is a port, and no device URL: write {meant}")
    raise UsageError(f"{text!r} names no device: give a port such as /dev/ttyACM0 or COM3, or a URL with {_SCHEMES}")


def _is_port(path: str) -> bool:
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def _serial(text: str, rest: str) -> DeviceUrl:
    port, query = _split(text, rest)
    if not port:
        raise UsageError(f"{text!r} names no port: write serial:/dev/ttyACM0 or serial:COM3")
    known = _take(text, query, "baud", "framing", *_COMMON)
    return DeviceUrl(text, "serial", os.path.expanduser(port), **known)  # noqa: PTH111 - Path would change \\.\COM names


def _usb(text: str, rest: str) -> DeviceUrl:
    ids, query = _split(text, rest)
    match = re.fullmatch(r"([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})(?::(.+))?", ids)
    if match is None:
        raise UsageError(f"{text!r} is no USB device: write usb:VID:PID or usb:VID:PID:SERIAL, such as usb:2fe3:0100")
    usb = (int(match[1], 16), int(match[2], 16), match[3])
    return DeviceUrl(text, "usb", ids, usb=usb, **_take(text, query, "baud", "framing", "interface", *_COMMON))


def _udp(text: str, rest: str) -> DeviceUrl:
    address, query = _split(text, rest.removeprefix("//"))
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", address)
    port = DEFAULT_UDP_PORT if match is None or match[3] is None else int(match[3])
    if match is None or not 0 < port < 0x10000:
        raise UsageError(f"{text!r} is no address: write udp:HOST or udp:HOST:1337, and IPv6 as udp:[::1]:1337")
    return DeviceUrl(text, "udp", match[1] or match[2], port=port, **_take(text, query, *_COMMON))


def _sim(text: str, rest: str) -> DeviceUrl:
    profile, query = _split(text, rest)
    common = {key: query.pop(key) for key in _COMMON if key in query}
    common |= {key: query[key] for key in ("framing",) if key in query}  # both ends must know it
    arguments = ["--profile", profile] if profile else []
    for key, value in query.items():
        if not re.fullmatch(r"[a-z][a-z-]*", key):
            raise UsageError(f"{text!r}: {key!r} is no option of the simulated device (see `fieldlog sim --help`)")
        arguments += [f"--{key}"] if value == "" else [f"--{key}={value}"]
    return DeviceUrl(text, "sim", profile, arguments=tuple(arguments), **_take(text, common, "framing", *_COMMON))


def _ble(text: str, rest: str) -> DeviceUrl:
    target, query = _split(text, rest)
    if not target.strip():
        raise UsageError(
            f"{text!r} names no device: write ble:NAME or ble:ADDRESS; `fieldlog devices --ble` lists them"
        )
    backend = query.pop("backend", None)
    known = {key: query.pop(key) for key in ("passkey", *_COMMON) if key in query}
    if backend is None:
        _take(text, query, "backend", "passkey", *_COMMON)
    taken = _take(text, known, "passkey", *_COMMON)
    shown = _without(text, "passkey") if "passkey" in known else text
    return DeviceUrl(shown, "ble", unquote(target), backend=backend, options=tuple(query.items()), **taken)


_PARSERS: dict[str, Callable[[str, str], DeviceUrl]] = {
    "serial": _serial,
    "usb": _usb,
    "udp": _udp,
    "sim": _sim,
    "ble": _ble,
}


def _split(text: str, rest: str) -> tuple[str, dict[str, str]]:
    """What stands before the ?, and the options behind it."""
    before, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        pairs = [(part.partition("=")[0], unquote(part.partition("=")[2])) for part in query.split("&") if part]
    options = dict(pairs)
    if len(options) != len(pairs):
        raise UsageError(f"{text!r} gives an option twice")
    return before, options


def _without(text: str, key: str) -> str:
    """The URL without an option: a secret is not shown."""
    before, _, query = text.partition("?")
    return "?".join(
        filter(None, (before, "&".join(part for part in query.split("&") if not part.startswith(f"{key}="))))
    )


def with_passkey(text: str, passkey: int) -> str:
    """A BLE URL with this passkey, others as they are."""
    if not text.strip().lower().startswith("ble:"):
        return text
    text = _without(text, "passkey")
    return f"{text}{'&' if '?' in text else '?'}passkey={passkey:06}"


def with_tuning(url: DeviceUrl, baud: int | None, port: int | None) -> str:
    """The URL of the same device once its rate or its UDP port is another."""
    if url.scheme in ("serial", "usb") and baud is not None:
        text = _without(url.text, "baud")
        return f"{text}{'&' if '?' in text else '?'}baud={baud}"
    if url.scheme == "udp" and port is not None:
        host = f"[{url.target}]" if ":" in url.target else url.target
        query = url.text.partition("?")[2]
        return f"udp:{host}:{port}{'?' if query else ''}{query}"
    return url.text


def _number(text: str, key: str, value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not least <= int(value) <= most:
        raise UsageError(f"{text!r}: {key}={value} must be a whole number from {least} to {most}")
    return int(value)


def _seconds(text: str, key: str, value: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", value, re.ASCII) or not float(value):
        raise UsageError(f"{text!r}: {key}={value} must be a number of seconds above 0")
    return float(value)


def _framing(text: str, _key: str, value: str) -> str:
    if value not in ("console", "raw"):
        raise UsageError(f"{text!r}: framing={value} is unknown; it is console or raw")
    return value


def _interface(text: str, _key: str, value: str) -> str:
    if not re.fullmatch(r"[0-9a-z]{1,3}\.[0-9]{1,3}", value):
        raise UsageError(f"{text!r}: interface={value} is none: see `fieldlog devices`; it is like 1.2")
    return value


def _passkey(text: str, key: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,6}", value, re.ASCII):
        raise UsageError(f"{_without(text, key)!r}: a passkey is a number of at most six digits")
    return int(value)


_OPTIONS: dict[str, tuple[str, Callable[[str, str, str], Any]]] = {
    "baud": ("baud", lambda text, key, value: _number(text, key, value, 50, 50_000_000)),
    "framing": ("framing", _framing),
    "interface": ("interface", _interface),
    "timeout": ("timeout_s", _seconds),
    "window": ("window", lambda text, key, value: _number(text, key, value, 1, 64)),
    "passkey": ("passkey", _passkey),
    "buffer": ("buffer", lambda text, key, value: _number(text, key, value, 64, 65_535)),
}
_COMMON = ("timeout", "window", "buffer")


def _take(text: str, query: dict[str, str], *allowed: str) -> dict[str, Any]:
    for key in query:
        if key not in allowed:
            raise UsageError(f"{text!r}: there is no option {key!r} here; there are {', '.join(allowed)}")
    return {_OPTIONS[key][0]: _OPTIONS[key][1](text, key, value) for key, value in query.items()}


def distinct(urls: Iterable[str | DeviceUrl]) -> Sequence[DeviceUrl]:
    """These URLs, less those that name a port or an address again."""
    found: dict[tuple[object, ...], DeviceUrl] = {}
    for number, url in enumerate(urls):
        parsed = url if isinstance(url, DeviceUrl) else parse(url)
        found.setdefault(_link(number, parsed), parsed)
    return list(found.values())


def _link(number: int, url: DeviceUrl) -> tuple[object, ...]:
    """What two URLs of the same link have in common. Each `sim:` starts a device of its own."""
    if url.scheme == "serial":
        return "serial", os.path.realpath(url.target)
    if url.scheme == "ble":
        return "ble", url.target.casefold(), url.backend, url.options
    return ("sim", number) if url.scheme == "sim" else (url.scheme, url.target, url.port, url.interface)
