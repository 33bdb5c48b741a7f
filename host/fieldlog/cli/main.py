"""`fieldlog`: the group of all commands, each loaded when it is called, and the one place where errors become exit codes.

Exit codes: 0 done, 1 failed, 2 usage, 3 no device or link lost, 4 the device refused, 5 verification failed,
130 interrupted, 143 and 129 likewise by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress

import click

from fieldlog.cli.failure import FAILED, INTERRUPTED, exit_code, report, report_interrupt
from fieldlog.cli.signals import Ended, leave_with
from fieldlog.text import printable_lines
from fieldlog_protocol import __version__
from fieldlog_protocol.errors import FieldlogError

COMMANDS: dict[str, tuple[str, str]] = {
    "devices": ("devices:devices", "List serial ports, or BLE devices and how they are."),
    "info": ("info:info", "Show what a device is and does."),
    "identify": ("info:identify", "Make a logger blink, to find it among others."),
    "selftest": ("info:selftest", "Let a logger test its sensors, battery and flash."),
    "reset": ("basic:reset", "Restart a device."),
    "echo": ("basic:echo", "Send a text to a device and back, to test the link."),
    "stats": ("basic:stats", "Show a device's counters, tasks or memory."),
    "shell": ("basic:shell", "Run a command of a device's shell."),
    "fs": ("fs:fs", "Fetch, store and check files on a device."),
    "flash": ("flash:flash", "Install firmware: upload, test, restart, confirm."),
    "image": ("image:image", "Look at firmware slots, files and pinned keys."),
    "config": ("config:config", "Show and change a device's settings."),
    "calibrate": ("calibrate:calibrate", "Show and set the calibration of a logger's channels."),
    "provision": ("provision:provision", "Prepare many devices from one file."),
    "clock": ("clock:clock", "Show and set a device's clock."),
    "log": ("log:log", "Arm, stop and watch a logger."),
    "pull": ("pull:pull", "Read a logger out into the archive."),
    "archive": ("archive:archive", "Look after the archive of readings."),
    "export": ("export:export", "Write readings from the archive to files."),
    "plot": ("plot:plot", "Plot readings from the archive."),
    "live": ("live:live", "Show the newest readings while a logger records."),
    "sim": ("sim:sim", "Run simulated devices."),
    "demo": ("demo:demo", "Show all of it with a simulated logger."),
}
"""Command: where it is (module:attribute in this package) and what help says of it."""

_WHEN_INTERRUPTED = {
    "pull": "what has arrived is in the archive. Repeat the command to go on",
    "reset": "the device may have restarted or not",
    "shell": "the device may have run it or not",
}
"""What Ctrl-C leaves behind, for commands that have but one answer; others raise theirs (`common.on_interrupt`)."""

LIBRARIES = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""How libraries are asked to behave in commands. numpy's linear algebra would start a thread a core, which spin for work that
no command has; Parquet's writer would take 20 MB more from an allocator of its own, and a twentieth more time."""
_COMPLETION = "_FIELDLOG_COMPLETE"
"""Set by the shell when it asks for completions: click's own protocol."""


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to print its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"fieldlog.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing:  # a shell asks for completions
            return super().resolve_command(ctx, args)
        if args and _is_unknown(args[0], COMMANDS):
            raise _no_command("", args[0], COMMANDS, ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if name and isinstance(command, click.Group) and rest and _is_unknown(rest[0], command.commands):
            raise _no_command(name, rest[0], command.commands, click.Context(command, ctx, name))
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _is_unknown(word: str, names: Collection[str]) -> bool:
    return word not in names and not word.startswith("-")


def _no_command(group: str, name: str, names: Collection[str], context: click.Context) -> click.UsageError:
    from fieldlog.cli.meant import unknown

    return click.UsageError(unknown(group, name, names), context)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fieldlog %(version)s")
def cli() -> None:
    """Flash, configure, read out and plot embedded sensor loggers, over serial, BLE and UDP.

    The device is --device, else FIELDLOG_DEVICE, else the only one present: a port such as /dev/ttyACM0 or COM3,
    usb:VID:PID, ble:NAME, udp:HOST, or sim: for a simulated one.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    os.environ.update({name: value for name, value in LIBRARIES.items() if name not in os.environ})
    if _COMPLETION in os.environ:
        cli.main(prog_name="fieldlog")
    words = sys.argv[1:] if arguments is None else list(arguments)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    ended = Ended()
    code: int | None = None
    try:
        ended.heed()
        code = invoke(words, ended)
        leave_with(code)
    except KeyboardInterrupt:  # another one, while it said what the first had done
        code = ended.code(INTERRUPTED) if code is None else code
        leave_with(code)
    sys.exit(code)


def invoke(words: Sequence[str], ended: Ended | None = None) -> int:
    """Run a command line; the exit code. `ended` knows of the signals that interrupted it."""
    ended = ended or Ended()
    code = _told(words, ended)
    return ended.code(code) if code == INTERRUPTED else code


def _told(words: Sequence[str], ended: Ended) -> int:
    """And what went wrong is told, as far as the output takes it."""
    code: int | None = None
    try:
        code = _invoke(words, ended)
        sys.stdout.flush()
    except BrokenPipeError as broken:
        return _unread(broken, ended) if code is None else code
    except OSError as error:
        with suppress(OSError):  # stderr may be what failed
            report("--json" in words, error)
        return INTERRUPTED if ended.number else exit_code(error)  # a terminal that is gone takes no words
    finally:
        _drop_output()
    return code


def _unread(broken: BrokenPipeError, ended: Ended) -> int:
    """The code of a command that nobody reads any more: 0, as they have seen enough, unless something else ended it."""
    before: BaseException | None = broken
    while isinstance(before, BrokenPipeError):
        before = before.__context__
    if ended.number or isinstance(before, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    return exit_code(before) if isinstance(before, FieldlogError | click.ClickException | OSError) else 0


def _invoke(words: Sequence[str], ended: Ended) -> int:
    try:
        with cli.make_context("fieldlog", list(words)) as context:  # click's own main would hide errors of the output
            cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, click.Abort) as interrupt:
        report_interrupt("--json" in words, str(interrupt) or _WHEN_INTERRUPTED.get(words[0], ""), ended)
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (FieldlogError, click.ClickException) as error:
        report("--json" in words, error)
        return exit_code(error)
    except OSError:
        raise  # `invoke` has words for these
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, whatever was overlooked
        return _bug(words, error)
    return 0


def _bug(words: Sequence[str], error: Exception) -> int:
    """An error that nobody foresaw, most often in what a device or a file says."""
    if {"--verbose", "-v"} & set(words):
        import traceback

        click.echo(printable_lines("".join(traceback.format_exception(error))), err=True)
    what = " ".join(f"{type(error).__name__}: {str(error)[:200]}".split())
    report("--json" in words, FieldlogError(f"fieldlog has a bug: {what}. {_AFTER_A_BUG}"))
    return FAILED


_AFTER_A_BUG = (
    "How far the command came is not known: look before you repeat it. Please report this with what --verbose prints"
)


def _replace_closed_streams() -> None:
    """What whoever started the program has closed leads nowhere; else the next file that is opened would be in its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _drop_output() -> None:
    """Let the interpreter's last flush go nowhere where it would fail, rather than complain of it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
