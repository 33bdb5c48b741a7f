"""`fieldlog pull`: of one device, of several, of all that are present."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from fieldlog.archive.database import ArchiveError
from fieldlog.archive.ranges import difference
from fieldlog.cli.archive_tiers import derive
from fieldlog.cli.common import Common, archive_option, options_of_many, run
from fieldlog.cli.failure import CONFLICT, FAILED, conflict_text, described, exit_code, sentence
from fieldlog.cli.many import Sources, meant, source_options
from fieldlog.cli.output import OnBoard, json_line
from fieldlog.device import Device
from fieldlog.image_words import next_restart, runs_no_firmware
from fieldlog.logger_info import NoLogger
from fieldlog.pull import PullResult
from fieldlog.pull_many import Readout, Stage, pull_many
from fieldlog.text import count
from fieldlog.url import DeviceUrl
from fieldlog_protocol.errors import (
    DeviceNotFound,
    FieldlogError,
    LinkError,
    ProtocolError,
    RefusedError,
    RequestTimeout,
)

_READ_OR_NOT = suppress(BrokenPipeError)
"""What is printed of a pull does not decide how it ends: loggers are read, and failures count, also where nobody sees."""

_MOST_LINES = 10
_STORED = "is in the archive"


@click.command()
@options_of_many
@source_options
@archive_option
@click.option("--no-seal", is_flag=True, help="Leave blocks that are still open for a later pull.")
@click.option("--no-parquet", is_flag=True, help="Leave the Parquet files of the archive as they are.")
def pull(common: Common, sources: Sources, archive: Path, *, no_seal: bool, no_parquet: bool) -> None:
    """Read loggers out into the archive: only what it lacks. Break it off and repeat it at will.

    Several devices (--device again and again, --all, --ble) are read side by side, and one that fails stops no other. The
    exit code then is the one of what failed, or 1 where several failed in different ways.
    """
    from fieldlog import archive as archives

    devices = meant(common, sources, "Nothing was read")
    watch = _Watch(common, archive, devices.named, many=devices.many)

    async def work() -> None:
        with archives.open(archive, empty=False) as store, common.output.board() as watch.board:
            watch.opened = True
            await pull_many(
                devices.urls, store, seal=not no_seal, told=watch.told, connect=watch.connect, tell=common.output.note
            )

    try:
        run(work())
    except ArchiveError:
        watch.archive_failed = True
        raise
    finally:  # what became of each is told after Ctrl-C and after a failure of the archive too
        with _READ_OR_NOT:
            watch.show()
        if watch.opened and not no_parquet and not watch.archive_failed and archives.exists(archive):
            # after Ctrl-C, and for an earlier pull that was killed: nobody sees by a file that it is behind
            watch.derived(derive(common.output, archive))
    watch.end()


@dataclass(slots=True)
class _Watch:
    """Tells what becomes of the devices: bars and complaints meanwhile, results at their end."""

    common: Common
    archive: Path
    named: frozenset[str]
    """Devices that the user named: of these a failure counts. Of other ports nobody knows what is there."""
    many: bool
    opened: bool = False
    """Whether the archive could be opened."""
    archive_failed: bool = False
    """Whether it could not be written: what its disk has left is not for files that can be made anew from it."""
    board: OnBoard = lambda _what, _done, _total, _note: None
    readouts: list[Readout] = field(default_factory=list[Readout])

    @asynccontextmanager
    async def connect(self, url: DeviceUrl) -> AsyncGenerator[Device]:
        async with self.common.connect(url) as device:
            try:
                yield device
            except NoLogger as error:
                if why := await _without_firmware(device):
                    error.args = (f"{device.name} cannot be read now, as {why}",)
                raise

    def told(self, readout: Readout) -> None:
        if readout.stage is Stage.WAITING:
            self.readouts.append(readout)
            return
        done = readout.progress
        if readout.stage is Stage.READING and done is not None:
            self.board(readout.name, done.bytes, done.total_bytes, count(done.readings, "reading"))
        if readout.over:
            readout.error = _with_state(readout)
            self.archive_failed |= isinstance(readout.error, ArchiveError)
            self.board(readout.name, 0, 0, "")
            if self.many:
                with _READ_OR_NOT:
                    self._tell(readout)

    def _tell(self, readout: Readout) -> None:
        """What is known of one of several devices as soon as its pull is over."""
        output = self.common.output
        if output.as_json:
            with _READ_OR_NOT:
                click.echo(json_line(self._json(readout)))
        if readout.error is None:
            self._warn(readout, f"{readout.name}: ")
            if readout.result is not None and readout.result.open_seqs:
                output.note(f"{readout.name}: {_still_open(readout.result)}")
        elif self._counts(readout):
            output.complain(_of(readout, sentence(readout.error)))
        else:
            output.note(f"left out: {_of(readout, sentence(readout.error))}")

    def show(self) -> None:
        """The results: of several devices as a table."""
        if not self.many or not self.readouts:
            return
        if self.common.output.as_json:
            for readout in self.readouts:
                if not readout.over:
                    click.echo(json_line(self._json(readout)))
            return
        columns = ["device", "name", "readings>", "blocks>", "lost>", "warnings>", "outcome"]
        self.common.output.table(columns, map(self._row, self.readouts))

    def derived(self, warnings: Sequence[str]) -> None:
        """What is to be said of the files that were derived from the readings, of whichever device."""
        for readout in self.readouts:
            if not self.many and readout.result is not None:
                readout.result.warnings += warnings
                return
        for warning in warnings:
            self.common.output.warn(warning)

    def end(self) -> None:
        """The result of a single device, or the exit code of several."""
        if self.many:
            self._end_many()
            return
        (readout,) = self.readouts
        if readout.error is not None and self.common.output.as_json:
            with _READ_OR_NOT:
                self.common.output.complain(sentence(readout.error))
                click.echo(json_line(self._json(readout)))
            raise click.exceptions.Exit(exit_code(readout.error))
        if readout.error is not None:
            raise readout.error
        assert readout.result is not None
        with _READ_OR_NOT:
            self.common.output.result(self._json(readout), lambda: _show(self.common, self.archive, readout.result))
            self._warn(readout, "")
        if readout.result.conflicts:
            raise click.exceptions.Exit(CONFLICT)

    def _end_many(self) -> None:
        codes = {exit_code(readout.error) for readout in self.readouts if readout.error and self._counts(readout)}
        if any(readout.result and readout.result.conflicts for readout in self.readouts):
            codes.add(CONFLICT)
        if codes:
            raise click.exceptions.Exit(codes.pop() if len(codes) == 1 else FAILED)
        if not any(readout.result for readout in self.readouts):
            raise DeviceNotFound(
                f"no logger answered at {count(len(self.readouts), 'port')}, so nothing was read. Check cables and "
                "power, or name a device with --device to see more"
            )

    def _warn(self, readout: Readout, before: str) -> None:
        for warning in _warnings(readout.result):
            self.common.output.warn(before + warning)

    def _counts(self, readout: Readout) -> bool:
        """Whether this failure is one: a port that was not named may well have no logger at its end."""
        absent = isinstance(readout.error, (RequestTimeout, NoLogger)) and readout.progress is None
        return readout.error is not None and not (absent and readout.url.text not in self.named)

    def _outcome(self, readout: Readout) -> str:
        if readout.stage is Stage.SAME:
            return f"same device as {readout.same_as}"
        if readout.stage is Stage.FAILED and not self._counts(readout):
            return "no logger" if isinstance(readout.error, NoLogger) else "no answer"
        if readout.over:
            return str(readout.stage)
        return "not begun" if readout.stage is Stage.WAITING else "interrupted"

    def _row(self, readout: Readout) -> tuple[object, ...]:
        result, progress = readout.result, readout.progress
        outcome = self._outcome(readout)
        if result is not None:
            info, lost = result.info, sum(map(len, result.lost))
            called = info.name or info.serial or info.uid.hex()
            return readout.name, called, result.readings, result.blocks, lost, len(_warnings(result)), outcome
        called = readout.called or readout.name
        if progress is not None:
            return readout.name, called, progress.readings, progress.blocks, None, None, outcome
        return readout.name, called, None, None, None, None, outcome

    def _json(self, readout: Readout) -> dict[str, object]:
        result, progress, error = readout.result, readout.progress, readout.error
        arrived = result or progress
        return {
            "device": readout.name,
            "url": readout.url.text,
            "outcome": self._outcome(readout),
            "uid": result and result.info.uid.hex(),
            "serial": result and result.info.serial,
            "archive": str(self.archive),
            "blocks": arrived.blocks if arrived else 0,
            "readings": arrived.readings if arrived else 0,
            "bytes": arrived.bytes if arrived else 0,
            "lost": [[part.start, part.stop - 1] for part in result.lost] if result else [],
            "open": list(result.open_seqs) if result else [],
            "conflicts": result.conflicts if result else [],
            "sessions": result and result.sessions,
            "clock_error_us": result and result.sync and result.sync.error_us,
            "warnings": _warnings(result),
            "error": error and described(error),
        }


def _with_state(readout: Readout) -> FieldlogError | OSError | None:
    """A link that was lost or answers that make no sense, in the words of a pull: nothing of what arrived is in doubt."""
    error = readout.error
    if readout.progress is None or _STORED in str(error):
        return error
    arrived = f"What had arrived, {count(readout.progress.blocks, 'block')}, {_STORED}. Repeat the command to go on"
    if isinstance(error, RefusedError):
        return RefusedError(error.code, error.group, f"{error}. {arrived}", error.details)
    if isinstance(error, LinkError):
        return type(error)(f"{str(error).partition('. ')[0]}. {arrived}")
    return type(error)(f"{error}. {arrived}") if isinstance(error, ProtocolError) else error


async def _without_firmware(device: Device) -> str | None:
    """A sentence about a boot loader that answers: it has no log, and the firmware that it starts may have one."""
    with suppress(RefusedError, LinkError, ProtocolError):
        slots = await device.images()
        if slots and runs_no_firmware(slots):
            return next_restart(slots)[0]
    return None


def _of(readout: Readout, said: str) -> str:
    """A sentence that says which device it is about."""
    return said if readout.name in said else f"{readout.name}: {said}"


def _warnings(result: PullResult | None) -> Sequence[str]:
    if result is None:
        return ()
    return [*result.warnings, conflict_text(result.conflicts)] if result.conflicts else result.warnings


def _blocks(parts: Sequence[range]) -> list[str]:
    """The blocks of each stretch, or of many stretches all in a few words."""
    if len(parts) > _MOST_LINES:
        first, last = parts[0].start, parts[-1].stop - 1
        return [f"{sum(map(len, parts))} blocks between {first} and {last}, in {len(parts)} stretches"]
    return [f"block {part.start}" if len(part) == 1 else f"blocks {part.start} to {part.stop - 1}" for part in parts]


def _show(common: Common, archive: Path, result: PullResult | None) -> None:
    if result is None:
        return
    info = result.info
    what = info.name or info.serial or info.uid.hex()
    if result.blocks:
        blocks = count(result.blocks, "block")
        readings = count(result.readings, "reading")
        common.output.line(f"{what}: {readings} in {blocks}, now in {archive}")
    elif result.lost or result.unsent:
        common.output.line(f"{what}: nothing new came")
    else:
        common.output.line(f"{what}: nothing new; {archive} is up to date")
    for which in _blocks(difference([*result.lost, *result.given_up], result.unsent)):
        common.output.line(f"no longer on the device: {which}, noted as a gap")
    for which in _blocks(result.unsent):
        common.output.line(f"did not come: {which}; the next pull asks again")
    if result.open_seqs:
        common.output.line(_still_open(result))


def _still_open(result: PullResult) -> str:
    still = "1 block is" if len(result.open_seqs) == 1 else f"{len(result.open_seqs)} blocks are"
    return f"{still} still open: a later pull brings the rest"
