"""The words of the command line that are about BLE: whether, where, how fast and for whom. They need no Bluetooth."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

from fieldlog_protocol.durations import parse_duration_us
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.links.ble.pace import Pace

LEVELS = ("none", "encrypted", "authenticated")
_PHYS = {"1m": 1, "2m": 2}
_PLACE = re.compile(r"(?:tcp-server:(?P<host>[^:]+|\[[^]]+\]):)?(?P<port>\d{1,5})", re.ASCII)
_CONTROLLER = re.compile(r"(?!tcp-server)[a-z][a-z-]*:.+|vhci", re.ASCII)
_LEAST_MTU, _MOST_MTU = 23, 517
_MOST_BONDS = 255


@dataclass(frozen=True, slots=True)
class BleOptions:
    """`host` and `port` are where the virtual radio is; `hardware`, if not empty, is a controller that bumble opens.
    `level` is an index of LEVELS; `passkey` None: one that follows from the device's uid."""

    host: str
    port: int
    hardware: str
    pace: Pace | None
    mtu: int
    level: int
    passkey: int | None
    bonds: int


def add_ble_options(parser: argparse.ArgumentParser) -> None:
    """What `ble_options` reads."""
    add = parser.add_argument
    add(
        "--ble",
        metavar="SPEC",
        help="serve on BLE: [tcp-server:HOST:]PORT is a virtual radio (port 0 takes any free one), usb:0, hci-socket:0 "
        "and others of bumble are real ones",
    )
    add("--ble-interval", metavar="TIME", help="pace the virtual radio to this connection interval, 7.5ms to 4s")
    add("--ble-phy", choices=sorted(_PHYS), default="2m", help="PHY that it is paced to (default: 2m)")
    add("--ble-pdus", type=int, default=6, metavar="N", help="most packets one way in a connection event (default: 6)")
    add("--ble-mtu", type=int, default=247, metavar="N", help="largest ATT_MTU of the devices (default: 247)")
    add(
        "--ble-security",
        choices=LEVELS,
        default="none",
        help="what a central needs: nothing, a pairing, or one with the passkey (default: none)",
    )
    add("--ble-passkey", metavar="N", help="six digits that the devices show (default: follows from the serial number)")
    add(
        "--ble-bonds",
        type=int,
        default=_MOST_BONDS,
        metavar="N",
        help="centrals a device remembers, others are refused",
    )


def ble_options(words: argparse.Namespace) -> BleOptions | None:
    """What the words ask for, None without --ble; UsageError where they make no sense."""
    if words.ble is None:
        return None
    found = _PLACE.fullmatch(words.ble)
    if found is None and not _CONTROLLER.fullmatch(words.ble):
        raise UsageError(f"--ble takes PORT, tcp-server:HOST:PORT or a controller such as usb:0, not {words.ble!r}")
    if found is not None and int(found["port"]) > 0xFFFF:
        raise UsageError(f"--ble {words.ble}: there is no such port")
    if found is None and words.count > 1:
        raise UsageError(f"--ble {words.ble} is one controller, and no place for {words.count} devices")
    return BleOptions(
        host="" if found is None else (found["host"] or "127.0.0.1").strip("[]"),
        port=0 if found is None else int(found["port"]),
        hardware=words.ble if found is None else "",
        pace=_pace(words),
        mtu=_between("--ble-mtu", words.ble_mtu, _LEAST_MTU, _MOST_MTU),
        level=LEVELS.index(words.ble_security),
        passkey=None if words.ble_passkey is None else _passkey(words.ble_passkey),
        bonds=_between("--ble-bonds", words.ble_bonds, 1, _MOST_BONDS),
    )


def _pace(words: argparse.Namespace) -> Pace | None:
    if words.ble_interval is None:
        return None
    return Pace(parse_duration_us(words.ble_interval) / 1e6, words.ble_pdus, _PHYS[words.ble_phy])


def _between(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise UsageError(f"{name} is {least} to {most}, not {value}")
    return value


def _passkey(text: str) -> int:
    if not re.fullmatch(r"\d{6}", text, re.ASCII):
        raise UsageError(f"--ble-passkey takes six digits, not {text!r}")
    return int(text)
