"""The command line of the simulator: words in, a checked `Options` out."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fieldlog_protocol import __version__
from fieldlog_protocol.durations import parse_duration_us
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.ble_options import BleOptions, add_ble_options, ble_options
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_options import add_boot_options, boot_config
from fieldlog_sim.faults import Faults
from fieldlog_sim.port import Buffers
from fieldlog_sim.profiles import PROFILES, Profile

_DATA = Path(__file__).parent / "data"
_BUFFERS = re.compile(r"(\d+)x(\d+)", re.ASCII)
SAMPLES = {"newark": "newark-2013-hourly-weather.csv"}


_FAULTS = {
    "loss": "frame or datagram is lost",
    "corrupt": "frame is damaged; a damaged datagram is lost, as UDP's checksum has it",
    "duplicate": "frame or datagram comes twice",
    "delay": "frame or datagram is late",
    "disconnect": "reply takes the link away with it for a while",
}
MOST_PPM = 100_000.0  # the worst RC oscillator is better


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `pty` is None for none, "" for one without a path of its own."""

    profile: Profile
    pty: str | None
    udp: tuple[str, int] | None
    ble: BleOptions | None
    count: int
    framing: str
    baud: int | None
    latency_s: float
    buffers: Buffers
    faults: Faults
    seed: int | None
    """None: 0, but for the id of a new log, which is then drawn anew."""
    state: Path | None
    history_us: int
    time_scale: float
    replay: Path | None
    replay_period_us: int | None
    replay_units: dict[str, str]
    clock_ppm: float
    rc_clock: bool
    battery_mah: float | None
    power_cut_after: int | None
    json: bool
    until_eof: bool
    boot: BootConfig


def parse_options(arguments: list[str] | None) -> Options:
    """The options in `arguments`, default the command line; ends the program with code 2 where they make no sense."""
    parser = _parser()
    words = parser.parse_args(arguments)
    try:
        return _options(words)
    except UsageError as error:
        parser.error(str(error))


def _options(words: argparse.Namespace) -> Options:
    udp = _udp(words.udp, words.count) if words.udp is not None else None
    ble = ble_options(words)
    if words.replay is not None and words.history is not None:
        raise UsageError("--replay brings its own history: leave --history out")
    return Options(
        profile=PROFILES[words.profile],
        pty="" if words.pty is None and udp is None and ble is None else words.pty,
        udp=udp,
        ble=ble,
        count=words.count,
        framing=words.framing,
        baud=words.baud or None,
        latency_s=parse_duration_us(words.latency) / 1e6,
        buffers=Buffers(*parse_buffers(words.buffers), back_to_back=PROFILES[words.profile].has_logger),
        faults=Faults(
            seed=words.seed or 0,
            loss=words.loss,
            corrupt=words.corrupt,
            duplicate=words.duplicate,
            delay=words.delay,
            disconnect=words.disconnect,
        ),
        seed=words.seed,
        state=words.state,
        history_us=0 if words.history is None else _history(words.history),
        time_scale=words.time_scale,
        replay=None if words.replay is None else _replay_file(words.replay),
        replay_period_us=None if words.replay_period is None else parse_duration_us(words.replay_period),
        replay_units=dict(map(_unit, words.replay_unit)),
        clock_ppm=words.clock_ppm,
        rc_clock=words.clock == "rc",
        battery_mah=words.battery_mah,
        power_cut_after=words.power_cut_after,
        json=words.json,
        until_eof=words.until_eof,
        boot=boot_config(words),
    )


def _replay_file(path: Path) -> Path:
    """A file, or one of the sample files that come with the simulator, by its name."""
    sample = SAMPLES.get(str(path))
    return path if sample is None or path.exists() else _DATA / sample


def parse_buffers(text: str) -> tuple[int, int]:
    """Size and number of message buffers in "384x4"."""
    match = _BUFFERS.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} does not tell buffers: write size and number, such as 384x4")
    size, count = int(match[1]), int(match[2])
    if not 64 <= size <= 65_535 or not 2 <= count <= 255:  # a request and its reply each take one
        raise UsageError(f"{text!r}: a buffer has 64 to 65535 bytes, and there are 2 to 255 of them")
    return size, count


def _udp(text: str, count: int) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 0xFFFF:
        raise UsageError(f"--udp takes [HOST:]PORT, not {text!r}")
    if int(port) and int(port) + count - 1 > 0xFFFF:
        raise UsageError(f"--udp {text} leaves no port numbers for {count} devices")
    return host.strip("[]") or "127.0.0.1", int(port)


def _history(text: str) -> int:
    history_us = parse_duration_us(text)
    if history_us > time.time_ns() // 1000:
        raise UsageError(f"--history {text} begins before 1970, which no device can tell")
    return history_us


def _unit(text: str) -> tuple[str, str]:
    name, separator, unit = text.partition("=")
    if not separator or not name:
        raise UsageError(f"--replay-unit takes COLUMN=UNIT, not {text!r}")
    return name, unit


def _number(kind: type[int] | type[float], least: float, most: float, words: str) -> Callable[[str], Any]:
    """A type for argparse that says what would be right."""

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"give {words}, not {text!r}")
        return value

    return parse


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as the other commands do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message.rstrip('.')}. Nothing was started; see `{self.prog} --help`.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fieldlog sim",
        description="Simulated devices on a pseudo-terminal, UDP or BLE, in the foreground.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    positive = _number(int, 1, math.inf, "a whole number of 1 or more")
    probability = _number(float, 0, 1, "a probability from 0 to 1")
    add("--version", action="version", version=f"fieldlog {__version__}")
    add("--profile", choices=sorted(PROFILES), default="logger", help="kind of device (default: logger)")
    add("--pty", nargs="?", const="", metavar="PATH", help="serve on a pty; PATH becomes a link to it, removed at exit")
    add("--udp", metavar="[HOST:]PORT", help="serve on UDP; port 0 takes any free one")
    add_ble_options(parser)
    add("--count", type=positive, default=1, metavar="N", help="number of devices; PATH and PORT are then numbered")
    add("--framing", choices=("console", "raw"), default="console", help="framing on the pty (default: console)")
    add(
        "--baud",
        type=_number(int, 0, math.inf, "a baud rate, or 0"),
        default=0,
        metavar="N",
        help="pace the pty to a baud rate; 0: as fast as it goes",
    )
    add("--latency", default="0ms", metavar="TIME", help="delivery delay of replies, such as 16ms")
    add("--buffers", default="384x4", metavar="SIZExCOUNT", help="message buffers (default: 384x4)")
    for fault, what in _FAULTS.items():
        add(f"--{fault}", type=probability, default=0.0, metavar="P", help=f"probability that a {what}")
    add(
        "--seed",
        type=int,
        metavar="N",
        help="seed of everything that is random; without it 0, and a new log id each time",
    )
    add("--state", type=Path, metavar="DIR", help="keep the flash images here; without it nothing is kept")
    add("--history", metavar="TIME", help="fill the log of a new device with this much of the past, such as 30d")
    add(
        "--time-scale",
        type=_number(float, 1e-3, 1e6, "a factor from 0.001 to a million"),
        default=1.0,
        metavar="X",
        help="let time pass X times as fast",
    )
    add(
        "--replay",
        type=Path,
        metavar="FILE.csv",
        help="replay the readings of a CSV file, or of the sample `newark`, instead of simulated sensors",
    )
    add("--replay-period", metavar="TIME", help="time between rows of a CSV file without a time column")
    add("--replay-unit", action="append", default=[], metavar="COLUMN=UNIT", help="unit of a column of the CSV file")
    add(
        "--clock-ppm",
        type=_number(float, -MOST_PPM, MOST_PPM, f"parts per million, at most {MOST_PPM:.0f}"),
        default=0.0,
        metavar="PPM",
        help="error of the devices' clocks",
    )
    add(
        "--clock",
        choices=("crystal", "rc"),
        default="crystal",
        help="what the devices say that their clock is: rc may be off by 5 %% (default: crystal)",
    )
    add(
        "--battery-mah",
        type=_number(float, 1e-3, 1e6, "what a battery may hold, from 0.001 to a million mA h"),
        metavar="N",
        help="what the devices' batteries hold at the start; flat when that is drawn. Without it they are changed in time",
    )
    add("--power-cut-after", type=positive, metavar="N", help="cut power at the N-th flash operation after start")
    add_boot_options(parser)
    add("--json", action="store_true", help="print one JSON object a link when ready")
    add("--until-eof", action="store_true", help="stop when standard input ends")
    return parser
