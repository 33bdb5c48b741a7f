"""Group os: what a Zephyr kernel answers, in the numbers of the simulated one."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fieldlog_protocol.commands import Empty, Group, os
from fieldlog_protocol.error_texts import Rc
from fieldlog_sim.boot_recovery import BOOT_MODE_RECOVERY
from fieldlog_sim.device import Device
from fieldlog_sim.device_clock import MAX_UTC_S
from fieldlog_sim.dispatch import Dispatcher, Refusal

_BOOT_MODES = (None, 0, BOOT_MODE_RECOVERY)
_KERNEL = {
    "s": "fieldlog-sim",
    "r": "1.0",
    "v": "1.0.0",
    "b": "2026-01-01T00:00:00",
    "m": "sim",
    "p": "sim",
    "i": "fieldlog_sim",
    "o": "fieldlog",
}
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|[+-]\d\d:?\d\d)?")


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""
    handlers = _Os(device, dispatcher)
    dispatcher.on(os.ECHO, handlers.echo)
    dispatcher.on(os.ECHO_READ, handlers.echo)
    dispatcher.on(os.TASKSTAT, handlers.taskstat)
    dispatcher.on(os.MPSTAT, handlers.mpstat)
    dispatcher.on(os.DATETIME_READ, handlers.datetime_read)
    dispatcher.on(os.DATETIME_WRITE, handlers.datetime_write)
    dispatcher.on(os.RESET, handlers.reset)
    dispatcher.on(os.PARAMS, handlers.params)
    dispatcher.on(os.INFO, handlers.info)
    dispatcher.on(os.BOOTLOADER, handlers.bootloader)


class _Os:
    def __init__(self, device: Device, dispatcher: Dispatcher) -> None:
        self._device = device
        self._dispatcher = dispatcher

    def echo(self, request: os.EchoRequest) -> os.EchoResponse:
        return os.EchoResponse(r=request.d)

    def taskstat(self, _: Empty) -> os.TaskstatResponse:
        runtime = self._device.clock.tick
        tasks = {
            "main": os.TaskInfo(prio=0, tid=0, state=2, stkuse=310, stksiz=512, cswcnt=420, runtime=runtime // 100),
            "idle": os.TaskInfo(prio=15, tid=1, state=0, stkuse=24, stksiz=64, cswcnt=9000, runtime=runtime),
            "mcumgr smp": os.TaskInfo(prio=3, tid=2, state=2, stkuse=402, stksiz=512, cswcnt=77, runtime=runtime // 50),
        }
        return os.TaskstatResponse(tasks=tasks)

    def mpstat(self, _: Empty) -> os.MpstatResponse:
        buffers = self._device.config.buffers
        free = buffers.count - 1  # this request holds one
        return os.MpstatResponse(
            pools={"smp": os.PoolInfo(blksiz=buffers.size, nblks=buffers.count, nfree=free, min=0)}
        )

    def datetime_read(self, _: Empty) -> os.DatetimeResponse:
        utc_us = self._device.clock.believed_utc_us
        if utc_us is None:
            raise Refusal(os.RTC_NOT_SET, Group.OS)
        whole = datetime.fromtimestamp(utc_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return os.DatetimeResponse(datetime=f"{whole}.{utc_us // 1000 % 1000}")  # unpadded: docs/smp.md#commands

    def datetime_write(self, request: os.DatetimeRequest) -> Empty:
        found = _DATETIME.fullmatch(request.datetime)
        try:
            parsed = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") if found else None
        except ValueError:
            parsed = None
        if found is None or parsed is None or not 0 <= parsed.timestamp() <= MAX_UTC_S:
            raise Refusal(Rc.INVALID)
        milliseconds = int((found[3] or "0")[:3])
        self._device.set_clock(int(parsed.timestamp()) * 1_000_000 + milliseconds * 1000, 1_000_000, "datetime")
        return Empty()

    def reset(self, request: os.ResetRequest) -> Empty:
        if request.boot_mode not in _BOOT_MODES:
            raise Refusal(Rc.INVALID)
        self._device.restart_after_reply(recovery=request.boot_mode == BOOT_MODE_RECOVERY)
        return Empty()

    def params(self, _: Empty) -> os.ParamsResponse:
        buffers = self._device.config.buffers
        return os.ParamsResponse(buf_size=buffers.size, buf_count=buffers.count)

    def info(self, request: os.OsInfoRequest) -> os.OsInfoResponse:
        wanted = request.format or "s"
        known = _KERNEL | {"n": self._device.identity.name or "fieldlog", "r": self._device.firmware_version}
        if wanted == "a":
            wanted = "snrvbmpio"
        if any(letter not in known for letter in wanted):
            raise Refusal(os.INVALID_FORMAT, Group.OS)
        return os.OsInfoResponse(output=" ".join(known[letter] for letter in "snrvbmpio" if letter in wanted))

    def bootloader(self, request: os.BootloaderRequest) -> os.BootloaderResponse:
        if request.query is None:
            return os.BootloaderResponse(bootloader="MCUboot")
        if request.query == "mode":
            no_downgrade = self._device.config.boot.no_downgrade or None
            return os.BootloaderResponse(mode=self._device.boot_loader.mode, no_downgrade=no_downgrade)
        raise Refusal(os.QUERY_YIELDS_NO_ANSWER, Group.OS)
