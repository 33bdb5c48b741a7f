"""Group 9, shell: a command line of the device's shell (docs/smp.md#commands)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from fieldlog_protocol.commands.base import Command, ErrorTexts, Group, Message, Op, about, i32, string

ERRORS: ErrorTexts = {2: "the command line is too long", 3: "the command line is empty"}

COMMAND_TOO_LONG = 2
EMPTY_COMMAND = 3


class ShellRequest(Message, frozen=True, kw_only=True):
    """A command line, split into words."""

    argv: Annotated[tuple[str, ...], about("the words of the command line")]


class ShellResponse(Message, frozen=True, kw_only=True):
    """What the command printed and returned."""

    result: ClassVar[str] = "ret"
    any_text: ClassVar[bool] = True
    o: Annotated[str, string("the output")]
    ret: Annotated[int, i32("the return value; 0 is success")]


EXECUTE = Command(
    "shell execute",
    Op.WRITE,
    Group.SHELL,
    0,
    ShellRequest,
    ShellResponse,
    "run a shell command",
    (2, 3),
    repeatable=False,
    service_s=10.0,
)

COMMANDS = (EXECUTE,)
