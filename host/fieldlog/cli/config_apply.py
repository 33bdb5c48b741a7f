"""`fieldlog config apply`: give one device or many what a file says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import click

from fieldlog.cli.common import Common, on_interrupt, options_of_many, run
from fieldlog.cli.config_raw import schema_option
from fieldlog.cli.config_time import seconds, timeout_option
from fieldlog.cli.config_words import link_text, show_plan, show_plans
from fieldlog.cli.failure import FAILED, described, exit_code, sentence
from fieldlog.cli.many import Sources, meant, source_options
from fieldlog.cli.output import OnProgress, json_line
from fieldlog.cli.signals import asked
from fieldlog.config.apply import WAIT_S
from fieldlog.config.document import Document, read_file
from fieldlog.config.many import Candidate, Stage, Watch, apply_many, unheard_of
from fieldlog.config.plan_words import plan_json, plan_lines
from fieldlog.config.schema import Schema
from fieldlog.config.schema_cache import default_cache
from fieldlog.config.template import unused_sections
from fieldlog.device import Device
from fieldlog.logger_info import NoLogger
from fieldlog.text import count
from fieldlog.url import DeviceUrl
from fieldlog_protocol.errors import DeviceNotFound, FieldlogError, RequestTimeout, UsageError


@click.command(name="apply")
@options_of_many
@source_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check all and show what would change; write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@timeout_option
@click.option(
    "--wait",
    default=f"{WAIT_S}s",
    show_default=True,
    metavar="TIME",
    help="How long to wait for a change that another host has open on a device.",
)
@schema_option
def apply_command(
    common: Common,
    sources: Sources,
    file: Path,
    *,
    dry_run: bool,
    yes: bool,
    timeout: str,
    wait: str,
    own: Schema | None,
) -> None:
    """Give devices what FILE says: all of it, or nothing.

    All of FILE is checked first, then what would change is shown and asked for. Several devices (--device again and
    again, --all, --ble) are done side by side, and one that fails stops no other.
    """
    timeout_s, wait_s = seconds("--timeout", timeout, 1), seconds("--wait", wait, 0)
    document = read_file(file)
    devices = meant(common, sources, "Nothing was changed")
    show = _Show(common, file, document, devices.named, many=devices.many, dry_run=dry_run, yes=yes)

    async def work() -> None:
        with common.output.progress("devices", "device") as show.progress:
            await apply_many(
                document,
                devices.urls,
                show.review,
                cache=default_cache(),
                timeout_s=timeout_s,
                wait_s=wait_s,
                watch=Watch(show.told, show.say),
                connect=show.connect,
                own=own,
            )

    try:
        with on_interrupt(lambda: _left(show.candidates, timeout_s)):
            run(work())
    finally:
        show.table()
    show.end()


def _left(candidates: Sequence[Candidate], timeout_s: int) -> str:
    """What an interrupt leaves behind."""
    done = sum(candidate.stage is Stage.APPLIED for candidate in candidates)
    under_way = sum(candidate.stage is Stage.APPLYING for candidate in candidates)
    if not under_way and not done:
        return "nothing was changed"
    holding = [f"{count(done, 'device')} had been given the new values"] if done else []
    if under_way:
        holding.append(
            f"{count(under_way, 'device')} at work: the former values are back within {timeout_s} s, or all the new ones hold"
        )
    return f"{', '.join(holding)}. Repeat the command to go on"


@dataclass(slots=True)
class _Show:
    """Tells what becomes of the devices, and asks."""

    common: Common
    file: Path
    document: Document
    named: frozenset[str]
    """Devices that the user named: of these a failure counts. Of other ports nobody knows what is there."""
    many: bool
    dry_run: bool
    yes: bool
    progress: OnProgress = lambda _done, _total: None
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    _applying: int = 0

    def connect(self, url: DeviceUrl) -> AbstractAsyncContextManager[Device]:
        return self.common.connect(url)

    # meanwhile

    def told(self, candidate: Candidate) -> None:
        if candidate.stage is Stage.WAITING:
            self.candidates.append(candidate)
            return
        self._advance(candidate)
        if candidate.over and self.many and candidate.stage is not Stage.WRONG:
            self._tell(candidate)

    def _advance(self, candidate: Candidate) -> None:
        if self._applying:
            left = sum(not other.over for other in self.candidates)
            self.progress(self._applying - left, self._applying)
        elif candidate.over or candidate.stage is Stage.PLANNED:
            waiting = sum(other.stage in (Stage.WAITING, Stage.COMPARING) for other in self.candidates)
            self.progress(len(self.candidates) - waiting, len(self.candidates))

    def _tell(self, candidate: Candidate) -> None:
        """What became of one of several devices, as soon as it is over."""
        if self.common.output.as_json:
            click.echo(json_line(self._json(candidate)))
        if candidate.error is not None:
            said = _of(candidate, sentence(candidate.error))
            if self._counts(candidate):
                self.common.output.complain(said)
            else:
                self.common.output.note(f"left out: {said}")
        self._remarks(candidate, f"{candidate.title}: ")

    def say(self, candidate: Candidate, text: str) -> None:
        self.common.output.note(f"{candidate.title}: {text}" if self.many else text)

    # between comparing and writing

    def review(self, candidates: Sequence[Candidate]) -> bool:
        """Show all plans; whether they shall be carried out."""
        if not self.common.output.as_json:
            self._show_plans(candidates)
        known = [candidate.identity for candidate in candidates if candidate.identity is not None]
        if known:
            for section in unused_sections(self.document, known):
                self.common.output.note(f"{self.file}: the section {section!r} holds for none of these devices")
                for problem in unheard_of(self.document, section, candidates):
                    self.common.output.note(problem.text(str(self.file)))
        changing = [candidate for candidate in candidates if candidate.stage is Stage.PLANNED]
        if not changing or self.dry_run:
            return False
        if not self.yes:
            self._ask(changing)
        self._applying = len(changing)
        return True

    def _show_plans(self, candidates: Sequence[Candidate]) -> None:
        plans = [(each.title, each.plan) for each in candidates if each.plan is not None and not each.plan.empty]
        if self.many:
            show_plans(self.common.output, plans)
        elif plans:
            show_plan(self.common.output, plans[0][1])

    def _ask(self, changing: Sequence[Candidate]) -> None:
        which = "this" if not self.many else f"this to {count(len(changing), 'device')}"
        if not sys.stdin.isatty():
            raise UsageError("nothing was changed: nobody is there to be asked. Add --yes to apply it all the same")
        agreed = asked(f"Apply {which}?", "nothing was changed")
        if not agreed:
            raise FieldlogError("nothing was changed")

    # at the end

    def table(self) -> None:
        """What became of several devices."""
        if not self.many or not any(candidate.stage is not Stage.WAITING for candidate in self.candidates):
            return
        if self.common.output.as_json:
            for candidate in self.candidates:
                if not candidate.over or candidate.stage is Stage.WRONG:
                    click.echo(json_line(self._json(candidate)))
            return
        columns = ["device", "name", "changes>", "outcome"]
        self.common.output.table(columns, map(self._row, self.candidates))

    def end(self) -> None:
        """The result of a single device, or the exit code of several."""
        if self.many:
            self._end_many()
            return
        (candidate,) = self.candidates
        if candidate.error is not None:
            raise candidate.error
        self.common.output.result(self._json(candidate), lambda: self._show_one(candidate))
        self._remarks(candidate, "")

    def _show_one(self, candidate: Candidate) -> None:
        words = {
            Stage.UNCHANGED: f"no change: the device has all that {self.file} says",
            Stage.APPLIED: "applied: the device holds all of it, as was read back",
            Stage.PLANNED: "nothing was changed",
        }
        self.common.output.note(words[candidate.stage])

    def _end_many(self) -> None:
        codes = {exit_code(each.error) for each in self.candidates if each.error and self._counts(each)}
        if codes:
            raise click.exceptions.Exit(codes.pop() if len(codes) == 1 else FAILED)
        if all(candidate.error is not None for candidate in self.candidates):
            raise DeviceNotFound(
                f"no logger answered at {count(len(self.candidates), 'port')}, so nothing was changed. Check cables and "
                "power, or name a device with --device to see more"
            )

    def _remarks(self, candidate: Candidate, before: str) -> None:
        applied = candidate.applied
        if applied is None:
            return
        for text in applied.notes:
            self.common.output.note(before + text)
        if applied.link:
            self.common.output.note(before + link_text(applied, candidate.url))
        if not applied.kept:
            self.common.output.warn(
                f"{before}this device cannot store settings on request: a restart may bring the former values back"
            )

    def _counts(self, candidate: Candidate) -> bool:
        """Whether this failure is one: a port that was not named may well have no logger at its end."""
        absent = isinstance(candidate.error, (RequestTimeout, NoLogger)) and candidate.identity is None
        return candidate.error is not None and not (absent and candidate.url.text not in self.named)

    def _outcome(self, candidate: Candidate) -> str:
        if candidate.stage is Stage.SAME:
            return f"same device as {candidate.same_as}"
        if candidate.stage is Stage.FAILED and not self._counts(candidate):
            return "no logger" if isinstance(candidate.error, NoLogger) else "no answer"
        if candidate.stage is Stage.PLANNED and self.dry_run:
            return "would change"
        if candidate.over or candidate.stage is Stage.PLANNED:
            return str(candidate.stage)
        return "not begun" if candidate.stage is Stage.WAITING else "interrupted"

    def _row(self, candidate: Candidate) -> tuple[object, ...]:
        name = None if candidate.identity is None else candidate.title
        changes = None if candidate.plan is None else len(plan_lines(candidate.plan))
        return candidate.name, name, changes, self._outcome(candidate)

    def _json(self, candidate: Candidate) -> dict[str, object]:
        who, applied = candidate.identity, candidate.applied
        return {
            "device": candidate.name,
            "url": candidate.url.text,
            "file": str(self.file),
            "outcome": self._outcome(candidate),
            "uid": who and who.uid,
            "serial": who and who.serial,
            "changes": [] if candidate.plan is None else plan_json(candidate.plan),
            "kept": applied and applied.kept,
            "link": applied and applied.link,
            "notes": list(applied.notes) if applied else [],
            "error": candidate.error and described(candidate.error),
        }


def _of(candidate: Candidate, said: str) -> str:
    """A sentence that says which device it is about."""
    return said if candidate.name in said else f"{candidate.name}: {said}"
