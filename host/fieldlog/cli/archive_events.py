"""`fieldlog archive events`: what devices wrote down of themselves, such as marks and restarts, and when that was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldlog.cli.archive_list import known
from fieldlog.cli.common import archive_option, output_options
from fieldlog.cli.output import Output
from fieldlog_protocol.blocks.events import (
    Battery,
    Boot,
    ClockSync,
    ConfigChange,
    Event,
    Mark,
    SessionStart,
    SessionStop,
    UnknownEvent,
)

if TYPE_CHECKING:
    from fieldlog.archive.records import LoggedEvent
    from fieldlog.archive.source import Source

_COLUMNS = ["device", "time (UTC)", "known", "session>", "event", "text"]
_KINDS: dict[type[Event], tuple[str, Callable[[Any], str]]] = {
    Boot: ("restart", lambda event: ", firmware ".join(filter(None, (event.reason, event.firmware)))),
    SessionStart: ("session begins", attrgetter("label")),
    SessionStop: ("session ends", attrgetter("reason")),
    Mark: ("mark", attrgetter("text")),
    ConfigChange: ("settings changed", attrgetter("key")),
    ClockSync: ("clock compared", attrgetter("source")),
    Battery: ("battery", lambda event: f"{event.millivolts / 1000:.3f} V"),
    UnknownEvent: ("unknown", lambda event: f"kind {event.kind}"),
}
"""What is listed, and what is said of it. The deployment's metadata is in `archive ls`."""


@click.command()
@output_options
@archive_option
@click.option(
    "--device", "-d", metavar="NAME", help="Device in the archive: its name, serial number or uid. Else all devices."
)
def events(output: Output, archive: Path, device: str | None) -> None:
    """List what devices wrote down: marks, restarts, sessions, clock comparisons.

    In the order in which they happened on each device, with times as good as they are known by now.
    """
    from fieldlog import archive as archives

    with archives.open(archive, writable=False) as store:
        wanted = None if device is None else {log.key for log in store.select(device)}
        found = [
            item for source in store.sources() if wanted is None or source.log.key in wanted for item in _events(source)
        ]
    output.result(
        {"archive": str(archive), "events": found},
        lambda: output.table(_COLUMNS, map(_shown, found)),
    )


def _events(source: Source) -> Iterator[dict[str, object]]:
    for logged in source.log.events():
        if type(logged.event) in _KINDS:
            yield _named(source, logged) | _timed(source, logged)


def _named(source: Source, logged: LoggedEvent) -> dict[str, object]:
    kind, text = _KINDS[type(logged.event)]
    return {
        "device": source.info.name,
        "uid": source.info.uid,
        "log_id": source.info.log_id,
        "session": _session(logged),
        "event": kind,
        "text": text(logged.event),
    }


def _session(logged: LoggedEvent) -> int | None:
    """That which it begins or ends, else that during which it happened."""
    event = logged.event
    return event.id if isinstance(event, (SessionStart, SessionStop)) else logged.session or None


def _timed(source: Source, logged: LoggedEvent) -> dict[str, object]:
    import numpy as np

    from fieldlog.clock_model import UNBOUNDED, Quality
    from fieldlog.datetimes import utc_of

    times = source.clock.utc(logged.boot_id, np.array([logged.tick], np.int64))
    time, error_us = utc_of(int(times.utc_us[0])), int(times.error_us[0])
    return {
        "time": time and time.astimezone(dt.UTC).isoformat(timespec="milliseconds"),
        "time_error_us": None if error_us == UNBOUNDED else error_us,
        "time_quality": Quality(int(times.quality[0])).name.lower(),
        "boot_id": logged.boot_id,
        "tick": logged.tick,
    }


def _shown(item: dict[str, object]) -> list[object]:
    time = str(item["time"] or "").replace("T", " ").removesuffix("+00:00")
    sure = known(item["time_quality"], item["time_error_us"])
    return [item["device"], time, sure, item["session"], item["event"], item["text"]]
