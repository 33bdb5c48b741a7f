"""Options that select readings from the archive, shared by export and plot."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from fieldlog.cli.common import archive_option
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.archive.readings import Readings
    from fieldlog.archive.store import Archive

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which readings."""

    archive: Path
    device: str | None
    sessions: tuple[str, ...]
    channels: tuple[str, ...] | None
    start: dt.datetime | None
    end: dt.datetime | None

    def open(self) -> Archive:
        """The archive, for reading only."""
        from fieldlog import archive as archives

        return archives.open(self.archive, writable=False)

    def readings(self, archive: Archive) -> Readings:
        """The selection in an open archive."""
        sessions = [int(text) if text.isdecimal() else text for text in self.sessions]
        return archive.readings(self.device, sessions or None, self.channels, self.start, self.end)


def selection_options(bare_times: str) -> Callable[[Callable[Concatenate[Wanted, P], T]], Callable[..., T]]:
    """Options that say which readings; the command gets them as a `Wanted` in front.

    A time without an offset is meant in the zone of the command's option `tz`, where it has one, and else in UTC:
    `bare_times` tells that in the help.
    """

    def decorate(function: Callable[Concatenate[Wanted, P], T]) -> Callable[..., T]:
        @archive_option
        @click.option("--device", "-d", metavar="NAME", help="Device in the archive: its name, serial number or uid.")
        @click.option(
            "--session", "sessions", multiple=True, metavar="ID", help="Session: its number or label; again for more."
        )
        @click.option("--channels", metavar="A,B", help="Channels, separated by commas; else all.")
        @click.option(
            "--start",
            metavar="TIME",
            help=f"From this time on, such as 2013-07-01 or 2013-07-01T12:00+02:00. {bare_times}",
        )
        @click.option("--end", metavar="TIME", help="Up to before this time.")
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            words = {name: kwargs.pop(name) for name in _NAMES}
            wanted = _wanted(words, _zone(kwargs.get("tz")))
            return function(wanted, *args, **kwargs)

        return wrapped

    return decorate


_NAMES = ("archive", "device", "sessions", "channels", "start", "end")


def _wanted(words: dict[str, Any], tz: dt.tzinfo) -> Wanted:
    channels: str | None = words["channels"]
    return Wanted(
        archive=words["archive"],
        device=words["device"],
        sessions=words["sessions"],
        channels=None if channels is None else tuple(name.strip() for name in channels.split(",")),
        start=_time(words["start"], "--start", tz),
        end=_time(words["end"], "--end", tz),
    )


def _zone(name: object) -> dt.tzinfo:
    if not isinstance(name, str):
        return dt.UTC
    from fieldlog.plot import zone

    return zone(name)


def _time(text: str | None, option: str, tz: dt.tzinfo) -> dt.datetime | None:
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} takes a time such as 2013-07-01T12:00:00+02:00, not {text!r}") from None
    return time if time.tzinfo else time.replace(tzinfo=tz)
