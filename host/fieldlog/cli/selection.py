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
from fieldlog.local_times import no_time
from fieldlog.text import count
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
    devices: tuple[str, ...]
    sessions: tuple[str, ...]
    channels: tuple[str, ...] | None
    start: dt.datetime | None
    end: dt.datetime | None
    since_us: int | None = None
    all_devices: bool = False

    def open(self) -> Archive:
        """The archive, for reading only."""
        from fieldlog import archive as archives

        return archives.open(self.archive, writable=False)

    def readings(self, archive: Archive) -> Readings:
        """The selection in an open archive."""
        sessions = [int(text) if text.isdecimal() else text for text in self.sessions]
        names = self._names(archive) or None
        wanted = archive.readings(names, sessions or None, self.channels, self.start, self.end)
        if self.since_us is None:
            return wanted
        start = self._since(archive, wanted, self.since_us)
        return archive.readings(names, sessions or None, self.channels, start, self.end)

    def _names(self, archive: Archive) -> list[str]:
        if not self.all_devices:
            return list(self.devices)
        return list(dict.fromkeys(log.info().uid for log in archive.logs()))

    def _since(self, archive: Archive, wanted: Readings, since_us: int) -> dt.datetime:
        """So long before the newest reading of what is wanted."""
        from fieldlog.pictures import find

        newest_us = find(archive, wanted).last_us
        if not newest_us and (untimed := wanted.untimed()):
            raise UsageError(
                "--since counts back from the newest reading, and the time of none is known "
                f"({count(untimed, 'reading')} without). Nothing was read; leave it out to have them"
            )
        return _EPOCH + dt.timedelta(microseconds=max(0, newest_us - since_us))


def selection_options(bare_times: str) -> Callable[[Callable[Concatenate[Wanted, P], T]], Callable[..., T]]:
    """Options that say which readings; the command gets them as a `Wanted` in front.

    A time without an offset is meant in the zone of the command's option `tz`, where it has one, and else in UTC:
    `bare_times` tells that in the help.
    """

    def decorate(function: Callable[Concatenate[Wanted, P], T]) -> Callable[..., T]:
        @archive_option
        @click.option(
            "--device",
            "-d",
            "devices",
            multiple=True,
            metavar="NAME",
            help="Device in the archive: its name, serial number or uid; again for more.",
        )
        @click.option("--all", "all_devices", is_flag=True, help="Every device in the archive.")
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
        @click.option(
            "--since", metavar="DURATION", help="The last so much of the readings there are, such as 7d or 12h."
        )
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            words = {name: kwargs.pop(name) for name in _NAMES}
            wanted = _wanted(words, _zone(kwargs.get("tz")))
            return function(wanted, *args, **kwargs)

        return wrapped

    return decorate


_NAMES = ("archive", "devices", "all_devices", "sessions", "channels", "start", "end", "since")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _wanted(words: dict[str, Any], tz: dt.tzinfo) -> Wanted:
    channels: str | None = words["channels"]
    if words["all_devices"] and words["devices"]:
        raise UsageError("--all takes every device, and --device some. Nothing was read; give one of them")
    if words["since"] is not None and words["start"] is not None:
        raise UsageError("--since and --start both say where to begin. Nothing was read; give one of them")
    return Wanted(
        archive=words["archive"],
        devices=words["devices"],
        sessions=words["sessions"],
        channels=None if channels is None else tuple(name.strip() for name in channels.split(",")),
        start=_time(words["start"], "--start", tz),
        end=_time(words["end"], "--end", tz),
        since_us=None if words["since"] is None else _duration_us(words["since"], "--since"),
        all_devices=words["all_devices"],
    )


def _zone(name: object) -> dt.tzinfo:
    if not isinstance(name, str):
        return dt.UTC
    from fieldlog.plot import zone

    return zone(name)


def _duration_us(text: str, option: str) -> int:
    from fieldlog_protocol.durations import parse_duration_us

    try:
        return parse_duration_us(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None


def _time(text: str | None, option: str, tz: dt.tzinfo) -> dt.datetime | None:
    if text is None:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise no_time(option, text) from None
    return time if time.tzinfo else time.replace(tzinfo=tz)
