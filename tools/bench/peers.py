"""Other people's clients and libraries, behind types of ours. The only module here that knows them.

Rule of this module: a peer is imported when it is used, and absent where it is not installed.
"""

# construct and pandas have no types; the rules that complain of it are silenced in this adapter alone.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.bench.clients import Client
from tools.bench.links import Line
from tools.bench.stopwatch import Stopwatch

if TYPE_CHECKING:
    from mcumgr_toolkit import MCUmgrClient
    from smpclient import SMPClient
    from smpclient.transport import SMPTransport

SMPCLIENT, TOOLKIT = "smpclient", "mcumgr-toolkit"
TIMEOUT_S = 10.0
_WORDS = 120
_INTEGERS = {"<i1": "Int8sl", "<i2": "Int16sl", "<i4": "Int32sl", "<u1": "Int8ul", "<u2": "Int16ul", "<u4": "Int32ul"}

Opener = Callable[[Line, str], AbstractContextManager[Client]]


class PeerError(Exception):
    """What a peer raised, in its words."""


class Smpclient:
    name = SMPCLIENT

    def __init__(self, client: SMPClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def get(self, name: str, watch: Stopwatch) -> bytes:
        with _in_its_words(self.name):
            return self._runner.run(self._download(name, watch))

    def put(self, name: str, data: bytes, watch: Stopwatch) -> None:
        with _in_its_words(self.name):
            self._runner.run(self._upload(name, data, watch))
        watch.stop()

    def send_image(self, data: bytes, watch: Stopwatch) -> None:
        with _in_its_words(self.name):
            self._runner.run(self._send_image(data, watch))
        watch.stop()

    async def _send_image(self, data: bytes, watch: Stopwatch) -> None:
        async for done in self._client.upload(data):
            watch.progress(done)

    async def _download(self, name: str, watch: Stopwatch) -> bytes:
        data = await self._client.download_file(name)
        watch.stop()
        return data

    async def _upload(self, name: str, data: bytes, watch: Stopwatch) -> None:
        async for done in self._client.upload_file(data, name):
            watch.progress(done)


class _Toolkit:
    name = TOOLKIT

    def __init__(self, client: MCUmgrClient) -> None:
        self._client = client

    def get(self, name: str, watch: Stopwatch) -> bytes:
        with _in_its_words(self.name):
            data = self._client.fs_file_download(name, progress=watch.progress)
        watch.stop()
        return data

    def put(self, name: str, data: bytes, watch: Stopwatch) -> None:
        with _in_its_words(self.name):
            self._client.fs_file_upload(name, data, progress=watch.progress)
        watch.stop()

    def send_image(self, data: bytes, watch: Stopwatch) -> None:
        with _in_its_words(self.name):
            self._client.image_upload(data, progress=watch.progress)
        watch.stop()


@contextmanager
def _smpclient(line: Line, address: str) -> Generator[Client]:
    from smpclient import SMPClient

    logging.getLogger("smpclient").addHandler(logging.NullHandler())  # what matters is raised as well
    host, port = _host(line, address)
    with asyncio.Runner() as runner:
        client = SMPClient(_transport(line, port), host, timeout_s=TIMEOUT_S)
        runner.run(client.connect())
        try:
            yield Smpclient(client, runner)
        finally:
            runner.run(client.disconnect())


def _transport(line: Line, port: int) -> SMPTransport:
    from smpclient.transport.serial import SMPSerialRawTransport, SMPSerialTransport
    from smpclient.transport.udp import SMPUDPTransport

    class UdpPort(SMPUDPTransport):
        """The client itself knows SMP's own port only."""

        async def connect(self, address: str, timeout_s: float, port: int = port) -> None:
            await super().connect(address, timeout_s, port)

    if line.kind == "udp":  # it goes by the link alone, not by the device's buffers
        return UdpPort(mtu=min(1500, line.buf_size + 28))
    return SMPSerialRawTransport(mtu=line.buf_size) if line.kind == "raw" else SMPSerialTransport()


@contextmanager
def _toolkit(line: Line, address: str) -> Generator[Client]:
    from mcumgr_toolkit import MCUmgrClient

    timeout_ms = int(TIMEOUT_S * 1000)
    if line.kind == "udp":
        host, port = _host(line, address)
        opened = MCUmgrClient.udp(host, port, timeout_ms)
    elif line.kind == "raw":
        opened = MCUmgrClient.raw_serial(address, timeout_ms=timeout_ms)
    else:
        opened = MCUmgrClient.serial(address, timeout_ms=timeout_ms)
    with opened as client:
        client.use_auto_frame_size()
        yield _Toolkit(client)


def _host(line: Line, address: str) -> tuple[str, int]:
    if line.kind != "udp":
        return address, 0
    host, _, port = address.rpartition(":")
    return host, int(port)


def openers() -> dict[str, Opener]:
    """How to connect with each client that is installed."""
    known: dict[str, tuple[str, Opener]] = {
        SMPCLIENT: ("smpclient", _smpclient),
        TOOLKIT: ("mcumgr_toolkit", _toolkit),
    }
    return {name: opener for name, (module, opener) in known.items() if find_spec(module)}


@contextmanager
def _in_its_words(name: str) -> Generator[None]:
    try:
        yield
    except (RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise PeerError(f"{name}: {str(error)[:_WORDS]}") from error


def construct_seconds(frames: bytes, dtypes: Sequence[str], count: int) -> float:
    """How long construct, compiled, takes to parse so many frames: `Array(n, Struct)`."""
    import construct  # type: ignore[import-untyped]

    fields: list[Any] = [f"c{index}" / getattr(construct, _INTEGERS[dtype]) for index, dtype in enumerate(dtypes)]
    parser = construct.Array(count, construct.Struct(*fields)).compile()
    started = time.perf_counter()
    parser.parse(frames)
    return time.perf_counter() - started


def pandas_reads(csv: Path) -> Callable[[], object]:
    """Reading an exported file with pandas, its times parsed, by the engine and options that it takes by itself."""
    import pandas as pd  # type: ignore[import-untyped]

    def work(rows: int | None = None) -> object:
        return pd.read_csv(csv, parse_dates=["time"], nrows=rows)

    work(2)  # what pandas imports when it is first used is not to be timed
    return work


def pandas_writes(csv: Path, target: Path) -> Stopwatch | None:
    """How long pandas takes to write what an exported file holds, in its own way of writing times, which is its fastest."""
    if find_spec("pandas") is None:
        return None
    import pandas as pd

    frame = pd.read_csv(csv, parse_dates=["time"])
    watch = Stopwatch()
    frame.to_csv(target, index=False)
    watch.stop()
    return watch
