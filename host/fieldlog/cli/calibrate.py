"""`fieldlog calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from fieldlog.calibration import (
    Fit,
    Point,
    checked,
    compose,
    evaluate,
    fit,
    polynomial_text,
    set_calibration,
)
from fieldlog.cli.common import Common, on_interrupt, options, run
from fieldlog.config.channels import NamedChannel, find_channel, named_channels
from fieldlog.config.units import unit_name
from fieldlog.device import Device
from fieldlog.recording import StreamInfo, read_streams
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError, UsageError


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line wants. `coefficients` and `points` are never both there; `as_shown` says whether the points
    were measured with the present calibration, None for not said."""

    coefficients: tuple[float, ...] | None
    points: tuple[Point, ...]
    degree: int | None
    as_shown: bool | None
    dry_run: bool

    @property
    def changes(self) -> bool:
        return self.coefficients is not None or bool(self.points)


@dataclass(frozen=True, slots=True)
class _Done:
    where: NamedChannel
    former: tuple[float, ...]
    coefficients: tuple[float, ...]
    fit: Fit | None


@click.command(context_settings={"ignore_unknown_options": True})
@options
@click.argument("channel", required=False)
@click.argument("coefficients", nargs=-1, metavar="[C0 C1 ...]")
@click.option("--clear", is_flag=True, help="Take the calibration away.")
@click.option(
    "--point", "points", multiple=True, metavar="MEASURED=REFERENCE", help="Find it from such points; repeatable."
)
@click.option(
    "--degree", type=click.IntRange(0, 7), metavar="N", help="Of the polynomial through the points; 0: an offset only."
)
@click.option(
    "--uncalibrated",
    "as_shown",
    flag_value=False,
    type=bool,
    default=None,
    help="The points are as the sensor gave them.",
)
@click.option(
    "--calibrated",
    "as_shown",
    flag_value=True,
    type=bool,
    default=None,
    help="The points are as readings are shown now.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would be, and change nothing.")
def calibrate(common: Common, /, channel: str | None, **words: Any) -> None:
    """Show the calibration of CHANNEL or of all, or set it: coefficients with the constant first, in the channel's unit.

    It holds for what is recorded from then on, in every value that is read; the raw numbers stay as they are.
    """
    asked = _asked(words)
    if channel is None or not asked.changes:
        _require_nothing_else(words)
        _show(common, channel)
        return
    shows = f"`fieldlog calibrate {channel}` shows it"
    may = "nothing was changed" if asked.dry_run else f"the calibration may have been changed or not: {shows}"
    with on_interrupt(may):
        done = run(_work(common, channel, asked))
    common.output.result(_done_json(done, asked), lambda: _show_done(common, done, asked))


def _asked(words: dict[str, Any]) -> _Asked:
    numbers = tuple(map(_coefficient, words["coefficients"]))
    points = tuple(map(_point, words["points"]))
    ways = [bool(numbers), bool(points), words["clear"]]
    if sum(ways) > 1:
        raise UsageError("give one of coefficients, --point and --clear. Nothing was changed")
    if not points and (words["degree"] is not None or words["as_shown"] is not None):
        raise UsageError("--degree, --calibrated and --uncalibrated say how points are meant: give --point")
    coefficients = numbers if numbers or words["clear"] else None
    return _Asked(coefficients, points, words["degree"], words["as_shown"], words["dry_run"])


def _require_nothing_else(words: dict[str, Any]) -> None:
    if words["points"] or words["clear"]:
        raise UsageError("name the channel that is meant, such as `fieldlog calibrate temperature --clear`")
    if words["dry_run"]:
        raise UsageError("--dry-run goes with coefficients, --point or --clear")


def _coefficient(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        what = "option" if text.startswith("-") else "coefficient"
        raise UsageError(f"{text!r} is no {what}: give numbers such as 0.12 1.0004, the constant first") from None


def _point(text: str) -> Point:
    measured, equals, reference = text.partition("=")
    try:
        if equals:
            return Point(float(measured), float(reference))
    except ValueError:
        pass
    raise UsageError(f"{text!r} is no reference point: write MEASURED=REFERENCE, such as 20.31=20.05")


async def _work(common: Common, name: str, asked: _Asked) -> _Done:
    async with common.connect() as device:
        where = find_channel(name, await _streams(device))
        former = where.channel.calibration
        found = fit(asked.points, asked.degree) if asked.points else None
        wanted = (asked.coefficients or ()) if found is None else _wanted(found, where, asked)
        wanted = checked(where, wanted) if asked.dry_run else await set_calibration(device, where, wanted)
        return _Done(where, former, wanted, found)


def _wanted(found: Fit, where: NamedChannel, asked: _Asked) -> tuple[float, ...]:
    former = where.channel.calibration
    if not former:
        return found.coefficients
    if asked.as_shown is None:
        raise UsageError(
            f"{where.key} is calibrated already ({polynomial_text(former)}), so say how the points were measured: "
            "--calibrated, as readings are shown now, or --uncalibrated, as the sensor gave them. Nothing was changed"
        )
    return compose(found.coefficients, former) if asked.as_shown else found.coefficients


async def _streams(device: Device) -> Sequence[StreamInfo]:
    if not await device.has_logger():
        text = f"{device.name} keeps no calibrations, as it has no fieldlog logger group. Nothing was changed"
        raise RefusedError(Rc.NOT_SUPPORTED, None, text)
    return await read_streams(device)


def _show(common: Common, name: str | None) -> None:
    async def work() -> Sequence[NamedChannel]:
        async with common.connect() as device:
            streams = await _streams(device)
            return list(named_channels(streams)) if name is None else [find_channel(name, streams)]

    channels = run(work())
    rows = [(str(one.key), unit_name(one.channel.unit), polynomial_text(one.channel.calibration)) for one in channels]
    data = {"channels": [_channel_json(one) | {"coefficients": one.channel.calibration} for one in channels]}
    common.output.result(data, lambda: common.output.table(["channel", "unit", "calibration"], rows))


def _show_done(common: Common, done: _Done, asked: _Asked) -> None:
    output, unit = common.output, unit_name(done.where.channel.unit)
    if done.fit is not None:
        rows = [
            (
                f"{point.measured:g}",
                f"{point.reference:g}",
                f"{round(point.reference + left, 9):.6g}",
                f"{round(left, 9):+.3g}",
            )
            for point, left in zip(asked.points, done.fit.residuals, strict=True)
        ]
        output.table(["measured>", "reference>", "calibrated>", "residual>"], rows)
    output.fields(
        [
            ("channel", str(done.where.key)),
            ("was", polynomial_text(done.former)),
            ("would be" if asked.dry_run else "is", polynomial_text(done.coefficients)),
            ("residuals", None if done.fit is None else f"{round(done.fit.rms, 9):.3g} {unit} rms".replace("  ", " ")),
        ]
    )
    if not asked.dry_run:
        output.note("it holds for what is recorded from now on; earlier readings keep theirs")


def _channel_json(where: NamedChannel) -> dict[str, object]:
    return {"stream": where.key.stream, "channel": where.channel.name, "unit": where.channel.unit}


def _done_json(done: _Done, asked: _Asked) -> dict[str, object]:
    points = None
    if done.fit is not None:
        points = [
            {
                "measured": point.measured,
                "reference": point.reference,
                "calibrated": evaluate(done.fit.coefficients, point.measured),
                "residual": left,
            }
            for point, left in zip(asked.points, done.fit.residuals, strict=True)
        ]
    return _channel_json(done.where) | {
        "written": not asked.dry_run,
        "former": done.former,
        "coefficients": done.coefficients,
        "points": points,
        "rms_residual": None if done.fit is None else done.fit.rms,
    }
