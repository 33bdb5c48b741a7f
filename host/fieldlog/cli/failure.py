"""Errors as people and programs see them: a sentence on stderr, an exit code, and an object with --json."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from fieldlog.text import count, printable, printable_lines
from fieldlog_protocol.errors import (
    FieldlogError,
    LinkError,
    ProtocolError,
    RefusedError,
    UsageError,
    VerificationError,
)

if TYPE_CHECKING:
    from fieldlog.cli.signals import Ended
    from fieldlog.config.model import Problem, Problems

FAILED = 1
CONFLICT = 5
"""Where all was stored, and does not go together with what the archive holds: verification failed."""
INTERRUPTED = 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, 2),
    (click.UsageError, 2),
    (LinkError, 3),
    (ProtocolError, 3),
    (RefusedError, 4),
    (VerificationError, 5),
)

_QUOTING = (ProtocolError, RefusedError, VerificationError)


def exit_code(error: Exception) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def output_failed(error: Exception) -> bool:
    """Whether standard output took no more: files that a command writes name themselves in what they raise."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None


def report(as_json: bool, error: Exception) -> None:
    """Say what went wrong; with `as_json` an object goes to stdout too, so that there always is one."""
    from fieldlog.config.model import Problems

    said = sentence(error)
    # these quote devices and files: a line end in them would forge a line of ours
    text = printable(said) if isinstance(error, _QUOTING) else printable_lines(said)
    if as_json and not output_failed(error):
        from fieldlog.cli.output import json_line

        _tell(json_line({"error": described(error)}))
    for line in _listed(error) if isinstance(error, Problems) else [f"error: {text}"]:
        _tell(line, err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"See `{error.ctx.command_path} --help`."
        if hint not in text:
            _tell(hint, err=True)


def _tell(line: str, *, err: bool = False) -> None:
    """For whoever still reads: that nobody does changes nothing about how the command ended."""
    with suppress(BrokenPipeError):
        click.echo(line, err=err)


def conflict_text(seqs: Sequence[int]) -> str:
    """Of blocks that came with other content than the archive holds, by their numbers in order."""
    numbers = "number" if len(seqs) == 1 else "numbers"
    return (
        f"the archive holds other content under the {numbers} of {count(len(seqs), 'block')} (first: {seqs[0]}). Both are "
        "kept, the first is shown: was the device's memory copied or restored?"
    )


def report_interrupt(as_json: bool, state: str, ended: Ended) -> None:
    """Say that Ctrl-C or a signal ended the command and what `state` it left, as of any other end before time."""
    what = f"interrupted by {ended.name}" if ended.name else "interrupted"
    text = f"{what}: {state}" if state else what
    _tell(printable(text), err=True)
    if as_json:
        from fieldlog.cli.output import json_line

        error = {"kind": "Interrupted", "message": text, "exit_code": ended.code(INTERRUPTED)}
        _tell(json_line({"error": error}))


def described(error: Exception) -> dict[str, object]:
    """An error as an object; a refusal carries the device's own code and group, a bad file all that is wrong with it."""
    from fieldlog.config.model import Problems

    found: dict[str, object] = {
        "kind": type(error).__name__,
        "message": sentence(error),
        "exit_code": exit_code(error),
    }
    if isinstance(error, RefusedError):
        found |= {"code": error.code, "group": error.group}
    if isinstance(error, Problems):
        found |= {"file": error.name, "problems": [_problem(problem) for problem in error.problems]}
    return found


def _listed(error: Problems) -> list[str]:
    """A line for each problem, as editors and compilers write them, and what it means."""
    if error.name is None:
        lines = [f"error: {problem.text(None)}" for problem in error.problems]
        return lines if len(lines) == 1 else [*lines, f"error: {count(len(lines), 'problem')}. Nothing was changed"]
    lines = [problem.text(error.name) for problem in error.problems]
    return [*lines, f"error: {count(len(lines), 'problem')} in {printable(error.name)}. Nothing was changed"]


def _problem(problem: Problem) -> dict[str, object]:
    line, column = (None, None) if problem.place is None else (problem.place.line, problem.place.column)
    return {"line": line, "column": column, "message": problem.sentence}


def sentence(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and not isinstance(error, FieldlogError):
        if output_failed(error):
            return (
                f"the output could not be written: {error.strerror}. What the command did before that stays done. Make "
                "room, or send the output elsewhere"
            )
        what = f"{error.filename} cannot be used" if error.filename else "this computer refused"
        return f"{what}: {error.strerror or error}. The command stopped there; what it had done before stays done"
    return str(error)
