"""Whoever plugs devices in, while `fieldlog provision` prepares them: told what happens, asked what only people know."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from fieldlog.cli.common import Common
from fieldlog.cli.failure import FAILED, described, sentence
from fieldlog.cli.output import json_line
from fieldlog.device import Device
from fieldlog.flash_restart import lasting
from fieldlog.logger_info import LoggerInfo
from fieldlog.provision.fleet import Fleet, Row
from fieldlog.provision.line import Visit
from fieldlog.provision.progress import Progress
from fieldlog.provision.report import COLUMNS, RESULTS, device_json, result, table, write_device, write_table
from fieldlog.text import count, printable
from fieldlog.url import DeviceUrl
from fieldlog_protocol.errors import FieldlogError, UsageError

_ANSWER_SIZE = 1024


@dataclass(slots=True)
class Desk:
    """Talks with them. Nothing else is said while a question stands: it waits until the answer."""

    common: Common
    fleet: Fleet
    progress: Progress
    folder: Path
    unasked: bool
    visits: list[Visit] = field(default_factory=list[Visit])
    _asking: bool = field(default=False, init=False)
    _unsaid: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]], init=False)
    _unwritten: bool = field(default=False, init=False)

    def connect(self, url: DeviceUrl) -> AbstractAsyncContextManager[Device]:
        return self.common.connect(lasting(url))

    def require_answers(self, free: Sequence[Row]) -> None:
        """Refuse to begin with rows that are free where nobody can be asked who shall have them."""
        if free and not self.unasked and not sys.stdin.isatty():
            raise UsageError(
                f"{count(len(free), 'row')} of {self.fleet.path} name no serial and no uid, the first of them in line "
                f"{free[0].line}, and there is no terminal to ask which device gets which. Nothing was changed; --yes gives "
                "them to devices as they come"
            )

    async def ask(self, info: LoggerInfo, row: Row, link: str) -> bool:
        if self.unasked:
            return True
        who = f"{info.serial or info.uid.hex()} at {link}"
        self._asking = True
        said = await _answer(printable(f"Shall {who} be {row.title} (row {row.number})?"))
        self._asking = False
        self._catch_up()
        return said

    def _say(self, say: Callable[[], None]) -> None:
        if self._asking:
            self._unsaid.append(say)
        else:
            say()

    def _catch_up(self) -> None:
        for say in self._unsaid:
            say()
        self._unsaid.clear()

    def leave(self) -> None:
        """Ctrl-C was pressed: what follows begins a line of its own."""
        if sys.stderr.isatty():
            click.echo(err=True)
        self._asking = False
        self._catch_up()

    def tell(self, visit: Visit, step: str) -> None:
        self._say(lambda: self.common.output.note(f"{visit.name}: {step}"))

    def ended(self, visit: Visit) -> None:
        self.visits.append(visit)
        if visit.record is not None and not visit.skipped:
            record = visit.record
            self._write(lambda: write_device(self.folder, record))
        if self.common.output.as_json:
            click.echo(json_line(_visit_json(visit)))
        self._say(lambda: self._tell_end(visit))

    def _write(self, write: Callable[[], object]) -> None:
        """A report that cannot be written stops no device."""
        try:
            write()
        except FieldlogError as error:
            self._unwritten, text = True, str(error)
            self._say(lambda: self.common.output.complain(text))

    def _tell_end(self, visit: Visit) -> None:
        output = self.common.output
        if visit.error is None:
            output.note(f"{visit.name}: {'done already' if visit.skipped else 'done'}")
            return
        for line in sentence(visit.error).splitlines():
            output.complain(line if line.startswith(visit.name) else f"{visit.name}: {line}")

    @property
    def failures(self) -> list[Visit]:
        """Devices whose last visit ended in an error."""
        last = {visit.uid or visit.link: visit for visit in self.visits}
        return [visit for visit in last.values() if visit.error is not None]

    def show(self) -> Path | None:
        """The table of all, on the screen and as a file; None where that cannot be written."""
        rows = table(self.fleet, self.progress)
        paths: list[Path] = []
        self._write(lambda: paths.append(write_table(self.folder, self.fleet.path, rows)))
        if not self.common.output.as_json:
            self.common.output.table([f"{COLUMNS[0]}>", *COLUMNS[1:9]], [row[:9] for row in rows])
        return paths[0] if paths else None

    def end(self, path: Path | None) -> None:
        results = [result(self.progress.of(row)) for row in self.fleet.rows]
        counts = {name: results.count(name) for name in RESULTS}
        output = self.common.output
        if output.as_json:
            data: dict[str, object] = {name.replace(" ", "_"): number for name, number in counts.items()}
            report = None if path is None else str(path)
            click.echo(json_line({"fleet": str(self.fleet.path), "rows": len(results), **data, "report": report}))
        said = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        where = "" if self._unwritten else f". Reports are in {self.folder}"
        output.note(f"{count(len(results), 'row')}: {said}{where}")
        if self.failures or self._unwritten:
            raise click.exceptions.Exit(FAILED)


def _visit_json(visit: Visit) -> dict[str, object]:
    return {
        "device": visit.link,
        "row": None if visit.row is None else visit.row.number,
        "skipped": visit.skipped,
        "error": None if visit.error is None else described(visit.error),
        "provisioned": None if visit.record is None else device_json(visit.record),
    }


async def _answer(question: str) -> bool:
    """What a person answers, while other devices go on. The thread is one that nobody waits for at the end."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bool] = loop.create_future()

    def work() -> None:
        said = _asked(question)
        with suppress(RuntimeError):  # all is over
            loop.call_soon_threadsafe(_answered, answered, said)

    threading.Thread(target=work, daemon=True).start()
    return await answered


def _asked(question: str) -> bool:
    """Asked until it is answered with yes or no; an empty line, and the end of all input, is a no.

    The descriptor is read, and not sys.stdin: a thread that still waits in that when the program ends would crash it.
    """
    while True:
        click.echo(f"{question} [y/N]: ", nl=False, err=True)
        answer = os.read(sys.stdin.fileno(), _ANSWER_SIZE).decode(errors="replace")
        word = answer.strip().lower()
        if not answer or word in ("", "n", "no", "y", "yes"):
            return word in ("y", "yes")


def _answered(future: asyncio.Future[bool], said: bool) -> None:
    if not future.done():
        future.set_result(said)
