"""The part of the command line that says how the boot loader was built, and what is wrong with the firmware."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fieldlog_protocol.errors import UsageError
from fieldlog_protocol.image import ImageVersion, PublicKey, parse_public_key
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode

_MODES = {mode.name.lower(): mode for mode in BootMode}
_FAULTS = ("hang", "selftest")


def add_boot_options(parser: argparse.ArgumentParser) -> None:
    """Options of the boot loader."""
    add = parser.add_argument
    add("--boot-mode", choices=sorted(_MODES), default="move", help="how the boot loader updates (default: move)")
    add(
        "--boot-key",
        type=Path,
        action="append",
        default=[],
        metavar="PEM",
        help="the boot loader takes only images signed with this key",
    )
    add("--no-downgrade", action="store_true", help="the boot loader takes no older version")
    add("--security-counter", action="store_true", help="the boot loader keeps the images' security counters")
    add("--images", type=int, choices=(1, 2), default=1, help="number of images, each with two slots (default: 1)")
    add("--recovery", action="store_true", help="start in the boot loader's serial recovery")
    add(
        "--firmware-fault",
        nargs=2,
        action="append",
        default=[],
        metavar=("hang|selftest", "VERSION"),
        help="firmware of this version never comes up, or fails its self test",
    )


def boot_config(words: argparse.Namespace) -> BootConfig:
    """What the options say; UsageError where they make no sense."""
    return BootConfig(
        mode=_MODES[words.boot_mode],
        images=words.images,
        keys=tuple(map(_key, words.boot_key)),
        no_downgrade=words.no_downgrade,
        security_counter=words.security_counter,
        recovery=words.recovery,
        hanging=_faulty("hang", words.firmware_fault),
        failing=_faulty("selftest", words.firmware_fault),
    )


def _key(path: Path) -> PublicKey:
    try:
        return parse_public_key(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--boot-key {path} cannot be read: {error.strerror}") from error


def _faulty(fault: str, given: Sequence[Sequence[str]]) -> frozenset[ImageVersion]:
    for kind, _ in given:
        if kind not in _FAULTS:
            raise UsageError(f"--firmware-fault knows {' and '.join(_FAULTS)}, not {kind!r}")
    return frozenset(ImageVersion.of(version) for kind, version in given if kind == fault)
