"""`fieldlog archive ls`: which devices were read, and what they recorded when."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldlog.cli.common import archive_option, output_options
from fieldlog.cli.output import Output

if TYPE_CHECKING:
    from fieldlog.archive.records import Session
    from fieldlog.archive.source import Source

_DEVICES = ["device", "serial", "uid", "product", "blocks>", "sessions>", "gaps>", "last read (UTC)"]
_SESSIONS = [
    "device",
    "session>",
    "label",
    "first reading (UTC)",
    "last reading (UTC)",
    "readings>",
    "times",
    "deployment",
]

_UNITS = ((86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms"), (1, "us"))


@click.command()
@output_options
@archive_option
@click.option(
    "--device", "-d", metavar="NAME", help="Device in the archive: its name, serial number or uid. Else all devices."
)
def ls(output: Output, archive: Path, device: str | None) -> None:
    """List the devices, their sessions, and what is held of them."""
    from fieldlog import archive as archives

    with archives.open(archive, writable=False) as store:
        sources = store.sources(None if device is None else store.select(device))
        devices = [_device(source) for source in sources]
        sessions = [item for source in sources for item in _sessions(source)]
        size = store.path.stat().st_size
    data = {"archive": str(archive), "size_bytes": size, "devices": devices, "recorded": sessions}

    def show() -> None:
        output.table(_DEVICES, map(_shown_device, devices))
        if sessions:
            output.line("")
            output.table(_SESSIONS, map(_shown, sessions))

    output.result(data, show)


def _device(source: Source) -> dict[str, object]:
    """One log of a device: what was recorded since its memory was last formatted."""
    log, info, held = source.log, source.info, source.log.held()
    lost = log.lost()
    return {
        "device": info.name,
        "serial": info.serial,
        "uid": info.uid,
        "product": info.product,
        "firmware": info.firmware,
        "log_id": info.log_id,
        "blocks": len(held) - sum(map(len, source.absent)),
        "sessions": len(log.sessions()),
        "gaps": len(lost),
        "lost": [[part.start, part.stop - 1] for part in lost],
        "conflicts": len(log.conflicting()),
        "last_read": _iso(max((pull.finished_us or 0 for pull in log.pulls()), default=0) or None),
    }


def _sessions(source: Source) -> list[dict[str, object]]:
    from fieldlog.archive.accuracy import accuracies

    recorded = {item.session: item for item in source.log.recorded()}
    accuracy = accuracies(source)
    found: list[dict[str, object]] = []
    for session in source.log.sessions():
        held, times = recorded.get(session.id), accuracy.get(session.id)
        found.append(
            _named(source, session)
            | {
                "first_reading": held and _time(source, held.boot_id, held.t0),
                "last_reading": held and _time(source, held.last_boot_id, held.last_tick),
                "readings": held.frames if held else 0,
                "time_error_us": times and times.error_us,
                "time_quality": times and times.quality.name.lower(),
                "ended_by": session.reason or None,
                "metadata": session.metadata,
            }
        )
    return found


def _named(source: Source, session: Session) -> dict[str, object]:
    info = source.info
    return {
        "device": info.name,
        "uid": info.uid,
        "log_id": info.log_id,
        "session": session.id,
        "label": session.label,
    }


def _shown_device(item: dict[str, object]) -> list[object]:
    keys = [name.rstrip(">") for name in _DEVICES[:-1]]
    return [*(item[key] for key in keys), _plain(item["last_read"])]


def _plain(time: object) -> str:
    """A time of a column that says in its head that it is UTC."""
    return str(time or "").replace("T", " ").removesuffix("+00:00")


def _shown(item: dict[str, object]) -> list[object]:
    metadata = item["metadata"]
    assert isinstance(metadata, dict)
    texts = [f"{name}: {text}" for name, text in sorted(metadata.items())]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    times = [_plain(item[name]) for name in ("first_reading", "last_reading")]
    sure = known(item["time_quality"], item["time_error_us"])
    return [item["device"], item["session"], item["label"], *times, item["readings"], sure, ", ".join(texts)]


def known(quality: object, error_us: object) -> str:
    """How well times are known: ±17 min, interpolated."""
    if not isinstance(error_us, int):
        return str(quality or "")
    return f"±{_rounded_up(error_us)}, {quality}"


def _rounded_up(error_us: int) -> str:
    """Two digits of it, in a unit that people use, and never less than it is."""
    size, unit = next((size, unit) for size, unit in _UNITS if error_us >= 2 * size or size == 1)
    step = 10 ** max(0, len(str(error_us // size)) - 2) * size
    least = step if error_us >= 10 * size else max(1, size // 10)
    return f"{-(-error_us // least) * least / size:g} {unit}"


def _time(source: Source, boot_id: int, tick: int) -> str | None:
    """The UTC of a tick, None where it is not known."""
    import numpy as np

    utc_us = int(source.clock.utc(boot_id, np.array([tick], dtype=np.int64)).utc_us[0])
    return _iso(utc_us)


def _iso(utc_us: int | None) -> str | None:
    from fieldlog.datetimes import utc_of

    time = None if utc_us is None else utc_of(utc_us)
    return None if time is None else time.astimezone(dt.UTC).isoformat(timespec="seconds")
