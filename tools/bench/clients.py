"""fieldlog's own operations, timed: connecting is not counted, everything behind it is."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Protocol

import fieldlog
from fieldlog import archive as archives
from fieldlog import files, image_upload
from fieldlog.block_reader import chunk_size, read_blocks
from fieldlog.device import Device
from fieldlog.pull import PullProgress, pull
from fieldlog_protocol.commands import image, logger
from fieldlog_protocol.commands.image import ImageUploadRequest
from tools.bench.stopwatch import Stopwatch

_ROUND_TRIPS = 9


class Client(Protocol):
    """A client that is connected. Errors are its own."""

    @property
    def name(self) -> str: ...

    def get(self, name: str, watch: Stopwatch) -> bytes:
        """Fetch a file; the watch is stopped when its last byte is there."""
        ...

    def put(self, name: str, data: bytes, watch: Stopwatch) -> None: ...

    def send_image(self, data: bytes, watch: Stopwatch) -> None:
        """Upload firmware into the slot that does not run, and no more than that."""
        ...


class Fieldlog:
    """fieldlog as its command line uses it, without the command line."""

    name = "fieldlog"

    def __init__(self, device: Device, runner: asyncio.Runner) -> None:
        self._device = device
        self._runner = runner

    def pull(self, watch: Stopwatch) -> int:
        """Read the device out into a new archive, which is thrown away; the size of what was read."""

        def tell(done: PullProgress) -> None:
            watch.progress(done.bytes)

        before = replace(self._device.client.counters)
        with tempfile.TemporaryDirectory() as folder, archives.open(folder) as archive:
            watch.restart()
            result = self._runner.run(pull(self._device, archive, progress=tell))
            archive.flush()
            watch.stop()
        after = self._device.client.counters
        watch.link_bytes = after.received_bytes - before.received_bytes
        watch.message_bytes = after.message_bytes - before.message_bytes
        return result.bytes

    def get(self, name: str, watch: Stopwatch) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "file"
            self._runner.run(files.fetch(self._device, name, target, progress=watch.progress))
            watch.stop()
            return target.read_bytes()

    def put(self, name: str, data: bytes, watch: Stopwatch) -> None:
        self._runner.run(files.store(self._device, data, name, progress=watch.progress))
        watch.stop()

    def send_image(self, data: bytes, watch: Stopwatch) -> None:
        self._runner.run(image_upload.send_image(self._device, data, progress=watch.progress))
        watch.stop()

    def image_round_trip_s(self, message: ImageUploadRequest) -> float:
        """Of one full piece at an offset that the device does not want: the middle one of a few. Nothing is written."""
        times: list[float] = []
        for _ in range(_ROUND_TRIPS):
            started = time.perf_counter()
            self._runner.run(self._device.request(image.UPLOAD, message))
            times.append(time.perf_counter() - started)
        return median(times)

    def blocks(self, watch: Stopwatch) -> bytes:
        """The log's blocks as they travel, end to end: nothing is asked before, nothing is kept."""
        info = self._runner.run(self._device.logger_info())
        watch.restart()
        return self._runner.run(_blocks(self._device, info.first_seq, info.next_seq, watch))

    def round_trip_s(self) -> float:
        """Of one full request for the log, alone on the line: the middle one of a few."""
        return self._runner.run(_round_trip_s(self._device))


@contextmanager
def connected(url: str) -> Generator[Fieldlog]:
    """fieldlog, connected to `url`."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        device = runner.run(stack.enter_async_context(fieldlog.connect(url)))
        try:
            yield Fieldlog(device, runner)
        finally:
            runner.run(stack.aclose())


async def _blocks(device: Device, start: int, stop: int, watch: Stopwatch) -> bytes:
    blocks: list[bytes] = []
    async for batch in read_blocks(device.client, start, stop):
        watch.progress(batch.size)
        blocks += batch.blocks
    watch.stop()  # here: what a runner answers it also writes out, for a message that nobody sees
    return b"".join(blocks)


async def _round_trip_s(device: Device) -> float:
    info = await device.logger_info()
    size = chunk_size(device.client.max_reply, info.next_seq, info.next_seq, info.next_seq)
    request = logger.BlocksRequest(q=info.first_seq, o=0, n=size)
    times: list[float] = []
    for _ in range(_ROUND_TRIPS):
        started = time.perf_counter()
        await device.request(logger.BLOCKS, request)
        times.append(time.perf_counter() - started)
    return median(times)
