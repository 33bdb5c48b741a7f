"""Group 0, os: echo, task and memory statistics, date and time, reset, buffer parameters, information (docs/smp.md#commands)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from fieldlog_protocol.commands.base import (
    Command,
    Empty,
    ErrorTexts,
    Group,
    Message,
    Op,
    about,
    i32,
    number,
    string,
    u8,
    u32,
    u63,
)

ERRORS: ErrorTexts = {
    2: "the format asked for is not valid",
    3: "the query has no answer on this device",
    4: "the device's clock has not been set",
    5: "the device's clock could not be read or written",
    6: "the device got a value that it cannot answer with",
    7: "the heap statistics could not be read",
}

INVALID_FORMAT = 2
QUERY_YIELDS_NO_ANSWER = 3
RTC_NOT_SET = 4
RTC_COMMAND_FAILED = 5


class EchoRequest(Message, frozen=True, kw_only=True):
    """Text for the device to send back."""

    d: Annotated[str, string("the text to send back")]


class EchoResponse(Message, frozen=True, kw_only=True):
    """The same text, from the device."""

    r: Annotated[str, string("the text that arrived")]


class TaskInfo(Message, frozen=True, kw_only=True):
    """One thread of the device's kernel; stack sizes in 4-byte words."""

    prio: Annotated[int, number("priority; lower runs first; from 2^31 on less 2^32", ge=-0x8000_0000, le=0xFFFF_FFFF)]
    tid: Annotated[int, u32("number of the task")]
    state: Annotated[int, u32("state bits of the kernel")]
    stkuse: Annotated[int, u32("stack used so far", "{word}")] | None = None
    stksiz: Annotated[int, u32("size of the stack", "{word}")] | None = None
    cswcnt: Annotated[int, u63("context switches")] | None = None
    runtime: Annotated[int, u63("time run, in ticks of the kernel")] | None = None
    last_checkin: Annotated[int, u63("last check-in with the watchdog, in ticks")] | None = None
    next_checkin: Annotated[int, u63("next check-in due, in ticks")] | None = None


class TaskstatResponse(Message, frozen=True, kw_only=True):
    """All threads by name; those that share one, such as their priority, are told apart by a number behind it."""

    alike: ClassVar[str] = "tasks"
    tasks: Annotated[dict[str, TaskInfo], about("task by name")]


class PoolInfo(Message, frozen=True, kw_only=True):
    """One memory pool; newer Zephyrs tell no size of its blocks."""

    blksiz: Annotated[int, u32("size of a block", "By")] | None = None
    nblks: Annotated[int, u32("blocks in the pool")]
    nfree: Annotated[int, u32("blocks free now")]
    min: Annotated[int, u32("fewest blocks ever free")]


class MpstatResponse(Message, frozen=True, kw_only=True):
    """All memory pools by name: the names are the keys of the reply itself (Zephyr issue 105317). Some Zephyrs have the
    map under `tasks`; Mynewt and newer Zephyrs under `mpools`."""

    whole_map: ClassVar[str] = "pools"
    wrapped_in: ClassVar[tuple[str, ...]] = ("mpools", "tasks")
    pools: Annotated[dict[str, PoolInfo], about("memory pool by name")]


class DatetimeResponse(Message, frozen=True, kw_only=True):
    """The device's date and time."""

    datetime: Annotated[str, string("YYYY-MM-DDTHH:MM:SS with optional fraction; UTC, or local with its zone behind")]


class DatetimeRequest(Message, frozen=True, kw_only=True):
    """A new date and time for the device's clock."""

    datetime: Annotated[str, string("YYYY-MM-DDTHH:MM:SS[.mmm], UTC by convention; 19 to 25 characters", max_length=25)]


class ResetRequest(Message, frozen=True, kw_only=True):
    """Restart; the reply is sent before it happens."""

    # a number, as Zephyr's documentation has it, is not what its code decodes: it counts as not said there
    force: Annotated[bool | int, about("true, or 1: restart even when busy")] | None = None
    boot_mode: Annotated[int, u8("where to restart into; 1 is the boot loader's serial recovery")] | None = None


class ParamsResponse(Message, frozen=True, kw_only=True):
    """The device's message buffers."""

    buf_size: Annotated[int, number("largest whole message, header included", "By", ge=1, le=0xFFFF_FFFF)]
    buf_count: Annotated[int, number("buffers, shared by requests and replies", ge=1, le=0xFFFF_FFFF)]


class OsInfoRequest(Message, frozen=True, kw_only=True):
    """Which information to print."""

    format: Annotated[str, string("letters of s n r v b m p i o as for uname, or a for all; left out: s")] | None = None


class OsInfoResponse(Message, frozen=True, kw_only=True):
    """The information asked for."""

    output: Annotated[str, string("the pieces asked for, separated by blanks")]


class BootloaderRequest(Message, frozen=True, kw_only=True):
    """What to ask of the boot loader."""

    query: Annotated[str, string('left out: its name; "mode": how it updates')] | None = None


class BootloaderResponse(Message, frozen=True, kw_only=True, rename={"no_downgrade": "no-downgrade"}):
    """The boot loader's name, or the answer to the query."""

    bootloader: Annotated[str, string('name, such as "MCUboot"')] | None = None
    mode: Annotated[int, i32("MCUboot's update mode; see BOOTLOADER_MODES")] | None = None
    no_downgrade: Annotated[bool, about("true: the boot loader refuses older versions")] | None = None


BOOTLOADER_MODES: dict[int, str] = {
    -1: "unknown",
    0: "single application",
    1: "swap using scratch",
    2: "overwrite only (no way back)",
    3: "swap without scratch",
    4: "direct XIP without revert",
    5: "direct XIP with revert",
    6: "RAM loader",
    7: "firmware loader",
    8: "single application in RAM",
    9: "swap using offset",
}

ECHO = Command("os echo", Op.WRITE, Group.OS, 0, EchoRequest, EchoResponse, "send a text back")
ECHO_READ = Command(
    "os echo (read)", Op.READ, Group.OS, 0, EchoRequest, EchoResponse, "send a text back, asked as a read"
)
CONSOLE_ECHO = Command(
    "os console echo", Op.READ, Group.OS, 1, Empty, Empty, "whether the console echoes: MCUboot and Mynewt know it"
)
"""Not in the table: it is asked only to tell a boot loader from firmware."""
TASKSTAT = Command("os taskstat", Op.READ, Group.OS, 2, Empty, TaskstatResponse, "state and stack of every task")
MPSTAT = Command("os mpstat", Op.READ, Group.OS, 3, Empty, MpstatResponse, "fill of every memory pool")
DATETIME_READ = Command("os datetime", Op.READ, Group.OS, 4, Empty, DatetimeResponse, "read the clock", (4, 5))
DATETIME_WRITE = Command("os set datetime", Op.WRITE, Group.OS, 4, DatetimeRequest, Empty, "set the clock", (2, 5))
RESET = Command("os reset", Op.WRITE, Group.OS, 5, ResetRequest, Empty, "restart the device", repeatable=False)
PARAMS = Command("os params", Op.READ, Group.OS, 6, Empty, ParamsResponse, "size and number of the message buffers")
INFO = Command("os info", Op.READ, Group.OS, 7, OsInfoRequest, OsInfoResponse, "kernel, board and build", (2,))
BOOTLOADER = Command(
    "os bootloader",
    Op.READ,
    Group.OS,
    8,
    BootloaderRequest,
    BootloaderResponse,
    "name and mode of the boot loader",
    (3,),
)

COMMANDS = (ECHO, ECHO_READ, TASKSTAT, MPSTAT, DATETIME_READ, DATETIME_WRITE, RESET, PARAMS, INFO, BOOTLOADER)
