"""A device, as its user sees it: one method for each thing it can do.

Rule: no wire and no bytes here; every method is one request, or as many as its answer takes. Errors are those of
`Client.start`. What a device sends as text is data: show it through `fieldlog.text`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from fieldlog.client import Client, Reply
from fieldlog.datetimes import from_device, to_device
from fieldlog.image_words import list_refused, mark_refused
from fieldlog.logger_info import LoggerInfo, NoLogger, merge
from fieldlog.transports.base import Tuning
from fieldlog_protocol.commands import (
    Command,
    Empty,
    Group,
    Message,
    basic,
    enum,
    image,
    logger,
    os,
    settings,
    shell,
    stat,
)
from fieldlog_protocol.commands.base import Req, Rsp
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, UsageError
from fieldlog_protocol.wire import HEADER_SIZE, encode_body

_USUAL_PARTS = 2
"""So many parts of a logger's description are asked for at once; a device may have fewer, or more."""
_CONSOLE_OVERHEAD = 4
"""What the length and the check value of a message take of a buffer (docs/smp.md#buffers)."""
_SLOW_TRIES = 2
"""What may take most of a minute is not asked for as often as what takes no time."""


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


class Device:
    """What answers at the end of a link."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._has_logger: bool | None = None

    @property
    def name(self) -> str:
        """The link's name, such as /dev/ttyACM0."""
        return self.client.name

    async def request(self, command: Command[Req, Rsp], message: Req) -> Rsp:
        """Any command of the table."""
        return await self.client.request(command, message)

    @property
    def _longest_request(self) -> int | None:
        """In bytes, None where the device has not told. Over BLE whoever sends much sends less, for whole pieces alone."""
        told = self.client.params
        if told is None:
            return None
        at_most = self.client.max_request
        return max(at_most, told.buf_size - _CONSOLE_OVERHEAD) if self.client.ordered else at_most

    def require_fits(self, message: Message) -> None:
        """Raise UsageError for a request that is longer than the device has said it takes: it would drop it in silence."""
        size = HEADER_SIZE + len(encode_body(message))
        limit = self._longest_request
        if limit is not None and size > limit:
            raise UsageError(
                f"this makes a request of {size} bytes, and {self.name} takes no more than {limit}. It was not sent: say less, "
                "or give its firmware larger buffers"
            )

    async def reopen(self, tuning: Tuning | None = None) -> None:
        """Open the link again, to a device that may have changed meanwhile; `tuning` for one whose end has."""
        self._has_logger = None
        await self.client.reopen(tuning)

    # os

    async def echo(self, text: str) -> str:
        message = os.EchoRequest(d=text)
        self.require_fits(message)
        return (await self.client.request(os.ECHO, message)).r

    async def params(self) -> os.ParamsResponse:
        """Size and number of the device's message buffers."""
        return await self.client.request(os.PARAMS, Empty())

    async def datetime(self) -> dt.datetime:
        """The device's clock, taken as UTC; refused with os error 4 while it has not been set."""
        return from_device((await self.client.request(os.DATETIME_READ, Empty())).datetime)

    async def set_datetime(self, time: dt.datetime) -> None:
        """Set the device's clock to an aware time, to the second: not every device takes fractions."""
        await self.client.request(os.DATETIME_WRITE, os.DatetimeRequest(datetime=to_device(time)))

    async def reset(self, *, force: bool = False, boot_mode: int | None = None) -> None:
        """Restart. The device answers first; the link may vanish soon after (`reopen`)."""
        await self.client.request(os.RESET, os.ResetRequest(force=True if force else None, boot_mode=boot_mode))

    async def os_info(self, format: str = "a") -> str:
        return (await self.client.request(os.INFO, os.OsInfoRequest(format=format))).output

    async def bootloader(self, query: str | None = None) -> os.BootloaderResponse:
        """The boot loader's name; with query "mode", how it updates."""
        return await self.client.request(os.BOOTLOADER, os.BootloaderRequest(query=query))

    async def tasks(self) -> dict[str, os.TaskInfo]:
        """The kernel's tasks. Priorities below 0 may come without their sign (CONFIG_MCUMGR_GRP_OS_TASKSTAT_SIGNED_PRIORITY)."""
        found = (await self.client.request(os.TASKSTAT, Empty())).tasks
        return {name: replace(task, prio=_signed(task.prio)) for name, task in found.items()}

    async def memory_pools(self) -> dict[str, os.PoolInfo]:
        return (await self.client.request(os.MPSTAT, Empty())).pools

    # image

    async def images(self) -> tuple[image.ImageSlot, ...]:
        """The slots that hold an image."""
        try:
            return (await self.client.request(image.STATE_READ, Empty())).images
        except RefusedError as error:
            raise list_refused(error) from error

    async def set_image(self, hash: bytes | None, *, confirm: bool) -> tuple[image.ImageSlot, ...]:
        """Mark an image for one test (`confirm` false) or for good; without hash, confirm the running one."""
        message = image.ImageStateRequest(hash=hash, confirm=confirm)
        try:
            return (await self.client.request(image.STATE_WRITE, message)).images
        except RefusedError as error:
            raise mark_refused(error) from error

    async def erase_image(self, slot: int | None = None) -> None:
        """Erase a slot; without one, that which does not run."""
        await self.client.request(image.ERASE, image.ImageEraseRequest(slot=slot), tries=_SLOW_TRIES)

    async def slots(self) -> tuple[image.ImageSlots, ...]:
        """Sizes of all slots; older devices refuse it (rc 8)."""
        return (await self.client.request(image.SLOT_INFO, Empty())).images

    # stat, shell, enum, storage

    async def stat_names(self) -> tuple[str, ...]:
        return (await self.client.request(stat.LIST, Empty())).stat_list

    async def stats(self, name: str) -> dict[str, int]:
        """The counters of one statistics group."""
        return (await self.client.request(stat.DATA, stat.StatRequest(name=name))).fields

    async def shell(self, words: Sequence[str]) -> shell.ShellResponse:
        """Run a line of the device's shell."""
        message = shell.ShellRequest(argv=tuple(words))
        self.require_fits(message)
        return await self.client.request(shell.EXECUTE, message)

    async def groups(self) -> tuple[int, ...]:
        """Ids of the groups that the device serves."""
        return (await self.client.request(enum.LIST, Empty())).groups

    async def erase_storage(self) -> None:
        """Erase the partition that holds the settings."""
        await self.client.request(basic.ERASE_STORAGE, Empty())

    # settings

    async def read_setting(self, key: str) -> bytes:
        return (await self.client.request(settings.READ, settings.SettingReadRequest(name=key))).val

    async def write_setting(self, key: str, value: bytes) -> None:
        """Give a setting a new value; it is kept over a restart only after `save_settings`."""
        message = settings.SettingWriteRequest(name=key, val=value)
        self.require_fits(message)
        await self.client.request(settings.WRITE, message)

    async def delete_setting(self, key: str) -> None:
        await self.client.request(settings.DELETE, settings.SettingDeleteRequest(name=key))

    async def commit_settings(self) -> None:
        """Put written values into effect."""
        await self.client.request(settings.COMMIT, Empty())

    async def load_settings(self) -> None:
        """Take the stored values again."""
        await self.client.request(settings.LOAD, Empty())

    async def save_settings(self, key: str | None = None) -> None:
        """Store the present values: of one key or subtree, or all."""
        await self.client.request(settings.SAVE, settings.SettingSaveRequest(name=key))

    # logger

    async def has_logger(self) -> bool:
        """Whether the device has the FL group; asked once for each opening."""
        if self._has_logger is None:
            with suppress(NoLogger):
                await self._said(self._ask_part(0))
        return bool(self._has_logger)

    async def see_how_requests_follow(self) -> None:
        """Before much is sent: loggers say whether they take requests back to back. Who says nothing of it that makes sense
        is asked one by one."""
        if self.client.one_at_a_time:
            with suppress(RefusedError, ProtocolError):
                await self.has_logger()

    async def need_logger(self) -> None:
        """Raise NoLogger, which says what works instead, unless the device has the FL group."""
        if not await self.has_logger():
            raise NoLogger(self.name)

    async def logger_info(self) -> LoggerInfo:
        """What the logger is and does now, all parts merged; raises NoLogger."""
        return await self.ask_logger_info()

    def ask_logger_info(self) -> Awaitable[LoggerInfo]:
        """`logger_info`, with its requests on their way when this returns: what is asked next comes behind them."""
        return self._merged([] if self._has_logger is False else [self._ask_part(part) for part in range(_USUAL_PARTS)])

    async def _merged(self, asked: list[Reply[logger.InfoResponse]]) -> LoggerInfo:
        try:
            if not asked:
                raise NoLogger(self.name)
            first = await self._said(asked[0])
            asked += [self._ask_part(part) for part in range(_USUAL_PARTS, first.parts)]
            return merge([first, *[await self._said(part) for part in asked[1 : first.parts]]])
        finally:
            for part in asked:
                part.cancel()

    def _ask_part(self, part: int) -> Reply[logger.InfoResponse]:
        return self.client.start(logger.INFO, logger.InfoRequest(p=part or None))

    async def _said(self, part: Reply[logger.InfoResponse]) -> logger.InfoResponse:
        try:
            answer = await part
        except RefusedError as error:
            # old servers say rc 1 or 5 of groups that they do not know
            if error.group == Group.LOGGER or error.code not in (Rc.NOT_SUPPORTED, Rc.NO_ENTRY, Rc.UNKNOWN):
                raise
            if self.client.checked:  # else it may have been asked for another group by the time it was asked
                self._has_logger = False
            raise NoLogger(self.name) from error
        self._has_logger = True
        if answer.caps is not None:  # else it is another part of what a logger says of itself
            self.client.back_to_back = bool(answer.caps & logger.Capability.BACK_TO_BACK)
        return answer

    async def identify(self, seconds: int | None = None) -> None:
        """Blink, so that a person finds the device."""
        await self.need_logger()
        await self.client.request(logger.IDENTIFY, logger.IdentifyRequest(s=seconds))
