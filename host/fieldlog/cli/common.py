"""What all commands share: the options, the device that they mean, and running what is asynchronous."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from fieldlog.cli.output import Output
from fieldlog_protocol.errors import DeviceNotFound, LinkError, UsageError

if TYPE_CHECKING:
    from fieldlog.device import Device
    from fieldlog.url import DeviceUrl

P = ParamSpec("P")
T = TypeVar("T")

ARCHIVE_VARIABLE = "FIELDLOG_ARCHIVE"


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every command takes. `devices` are the URLs given, none for the default one.

    `passkey` is in those URLs already; it is for devices that are found later.
    """

    devices: tuple[str, ...]
    output: Output
    passkey: int | None = None

    @property
    def url(self) -> str | None:
        """The one device of a command that takes one, None for the default; raises UsageError for more."""
        if len(self.devices) > 1:
            raise UsageError(f"this command takes one --device, not {len(self.devices)}")
        return self.devices[0] if self.devices else None

    @asynccontextmanager
    async def connect(self, url: str | DeviceUrl | None = None) -> AsyncGenerator[Device]:
        """The device that is meant. What it printed meanwhile is shown with --verbose."""
        from fieldlog.connection import connect

        async with connect(url or self.url) as device:
            try:
                yield device
            finally:
                self.output.console_text(device.name, device.client.take_text())


_ONE = "The device; see `fieldlog --help`."
_SEVERAL = "A device; see `fieldlog --help`. Again for more."
_CONSOLE = "Also print what the device writes to its console."
_ERRORS = "Tell where an error of fieldlog itself arose."


def options(function: Callable[Concatenate[Common, P], T]) -> Callable[..., T]:
    """Options for a command that talks to a device; it gets them as a `Common` in front."""
    return _options(function, _ONE)


def options_of_many(function: Callable[Concatenate[Common, P], T]) -> Callable[..., T]:
    """The same for a command that takes several devices."""
    return _options(function, _SEVERAL)


def _options(function: Callable[Concatenate[Common, P], T], devices_help: str) -> Callable[..., T]:
    @click.option("--device", "-d", "device", multiple=True, metavar="URL", help=devices_help)
    @click.option(
        "--passkey",
        type=click.IntRange(0, 999_999),
        metavar="DIGITS",
        help="Six digits that a BLE device wants to be paired with.",
    )
    @_output_options(_CONSOLE)
    @functools.wraps(function)
    def wrapped(output: Output, /, *args: P.args, **kwargs: P.kwargs) -> T:
        devices = kwargs.pop("device")
        passkey: Any = kwargs.pop("passkey")
        with _pairing():
            return function(Common(_told(devices, passkey), output, passkey), *args, **kwargs)

    return wrapped


def _told(devices: Any, passkey: Any) -> tuple[str, ...]:
    """The URLs given, with the passkey where they have none of their own; the default one if only that is told."""
    if passkey is None:
        return tuple(devices)
    from fieldlog.url import VARIABLE, parse, with_passkey

    default = os.environ.get(VARIABLE)
    texts = devices or ([default] if default else [])
    return tuple(text if parse(text).passkey is not None else with_passkey(text, passkey) for text in texts)


@contextmanager
def _pairing() -> Generator[None]:
    """Who sits at a terminal is asked for what a device wants to be paired with."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        yield
        return
    from fieldlog.cli.passkey import ask
    from fieldlog.transports.passkeys import ASK_PASSKEY

    token = ASK_PASSKEY.set(ask)
    try:
        yield
    finally:
        ASK_PASSKEY.reset(token)


def output_options(function: Callable[Concatenate[Output, P], T]) -> Callable[..., T]:
    """Options for a command that needs no device; it gets them as an `Output` in front."""
    return _output_options(_ERRORS)(function)


def _output_options(verbose_help: str) -> Callable[[Callable[Concatenate[Output, P], T]], Callable[..., T]]:
    def decorate(function: Callable[Concatenate[Output, P], T]) -> Callable[..., T]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
        @click.option("--quiet", "-q", is_flag=True, help="Print results only.")
        @click.option("--verbose", "-v", is_flag=True, help=verbose_help)
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            flags: dict[str, Any] = {name: kwargs.pop(name) for name in ("as_json", "quiet", "verbose")}
            return function(Output(**flags), *args, **kwargs)

        return wrapped

    return decorate


def present_urls(state: str) -> list[DeviceUrl]:
    """A URL for every port that is present, for --all; raises DeviceNotFound, which ends with `state`, for none."""
    from fieldlog.transports import serial_ports
    from fieldlog.url import parse

    ports = serial_ports()
    if not ports:
        raise DeviceNotFound(f"no serial port is present: plug a device in, or name one with --device. {state}")
    return [parse(port.path) for port in ports]


def archive_option(function: Callable[P, T]) -> Callable[P, T]:
    """`--archive DIR`, handed on as `archive: Path`."""
    return click.option(
        "--archive",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_archive,
        envvar=ARCHIVE_VARIABLE,
        metavar="DIR",
        help=f"Folder of the archive; else {ARCHIVE_VARIABLE}, else the platform's data folder.",
    )(function)


def default_archive() -> Path:
    """Where the archive lives when nobody says otherwise."""
    import platformdirs

    return Path(platformdirs.user_data_dir("fieldlog", appauthor=False)) / "archive"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C cancels it first, so that links are closed and partial files removed."""
    try:
        from fieldlog.cli.cancelling import Cancelling

        return Cancelling().run(work)
    finally:
        work.close()  # where an interrupt came before it began


@dataclass(slots=True)
class Standing:
    """What holds if an interrupt comes now: the work keeps it up to date, so that it says what is certain and what is not."""

    text: str

    @contextmanager
    def told(self) -> Generator[None]:
        """In this block an interrupt is told with it, and so is a link that is lost after it first changed."""
        at_first = self.text
        try:
            with on_interrupt(lambda: self.text):
                yield
        except LinkError as error:  # it stays what it is, with all that it carries
            if self.text != at_first:
                error.args = (f"{str(error).removesuffix('.')}. {self.text[0].upper()}{self.text[1:]}",)
            raise


@contextmanager
def on_interrupt(state: str | Callable[[], str]) -> Generator[None]:
    """Say what state Ctrl-C leaves things in and what to do next; a callable is asked when it happens."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(state if isinstance(state, str) else state()) from interrupt
