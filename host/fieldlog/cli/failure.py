"""Errors as people and programs see them: a sentence on stderr, an exit code, and an object with --json."""

from __future__ import annotations

import click

from fieldlog.text import printable_lines
from fieldlog_protocol.errors import (
    FieldlogError,
    LinkError,
    ProtocolError,
    RefusedError,
    UsageError,
    VerificationError,
)

FAILED = 1
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, 2),
    (click.UsageError, 2),
    (LinkError, 3),
    (ProtocolError, 3),
    (RefusedError, 4),
    (VerificationError, 5),
)


def exit_code(error: Exception) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def report(as_json: bool, error: Exception) -> None:
    """Say what went wrong; with `as_json` an object goes to stdout too, so that there always is one."""
    text = printable_lines(sentence(error))
    if as_json:
        from fieldlog.cli.output import json_line

        click.echo(json_line({"error": described(error)}))
    click.echo(f"error: {text}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"See `{error.ctx.command_path} --help`.", err=True)


def described(error: Exception) -> dict[str, object]:
    """An error as an object; a refusal carries the device's own code and group."""
    found: dict[str, object] = {
        "kind": type(error).__name__,
        "message": sentence(error),
        "exit_code": exit_code(error),
    }
    if isinstance(error, RefusedError):
        found |= {"code": error.code, "group": error.group}
    return found


def sentence(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and not isinstance(error, FieldlogError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return str(error)
