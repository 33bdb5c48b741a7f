"""How fast a log and firmware pass over BLE, paced to connection intervals on the virtual radio.

Rule of this module: what a link carries is the arithmetic of `Pace`, every notification full and no connection event
unused; what a window allows is its messages in the time that one takes. Nothing can beat the smaller of the two.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from shutil import copytree
from urllib.parse import parse_qsl, unquote

from fieldlog_protocol.errors import FieldlogError
from fieldlog_protocol.image import ImageVersion, build_image
from fieldlog_sim.links.ble.pace import Pace
from tools.bench import peers, upload
from tools.bench.clients import Client, Fieldlog, connected
from tools.bench.goodput import FILE, PART, Devices
from tools.bench.links import Direction, Line
from tools.bench.simulator import Simulator, simulator
from tools.bench.stopwatch import Stopwatch
from tools.bench.table import markdown, number, percent, times

MTU = 247
_HEAD = ("client", "kB", "s", "kB/s", "of link", "of reach", "smpclient", "host CPU s")
_SIZES = tuple(part << step for step in range(14, 20) for part in (2, 3))
_LARGEST_IMAGE = 400_000
_LEAST_S = 10.0  # what is asked before the first byte would count for too much
_IMAGE = "image"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class BleLine:
    """One connection: 2M PHY, an MTU of 247, at most six PDUs one way in a connection event."""

    interval_ms: float
    buf_size: int
    buf_count: int = 4

    @property
    def title(self) -> str:
        return f"ble, {self.interval_ms:g} ms, buffers {self.buf_size}x{self.buf_count}"

    @property
    def pace(self) -> Pace:
        return Pace(self.interval_ms / 1000)

    @property
    def arguments(self) -> list[str]:
        """What makes the simulator play it."""
        buffers = f"{self.buf_size}x{self.buf_count}"
        return ["--ble", "0", "--ble-interval", f"{self.interval_ms:g}ms", "--buffers", buffers]

    def message(self, what: str) -> tuple[int, int]:
        """Bytes of the fullest message, and how many of them are the log's or the image's."""
        alike = Line("udp", 0, 0, self.buf_size, self.buf_count)
        if what == _IMAGE:
            return self.buf_size, len(upload.full_piece(alike).data or b"")
        direction: Direction = "get" if what == "get" else "blocks"
        return alike.full_message(direction)

    def limit(self, what: str) -> float:
        """Bytes per second of log or image that the link carries."""
        size, data = self.message(what)
        return self.pace.capacity(MTU) * data / size

    def reach(self, what: str, round_trip_s: float) -> float:
        """The smaller of that and of what the window allows."""
        return min(self.limit(what), (self.buf_count - 1) * self.message(what)[1] / round_trip_s)


def lines(*intervals_ms: float) -> list[BleLine]:
    """With the buffers of a stock Zephyr, and with large ones."""
    return [BleLine(interval_ms, size) for interval_ms in intervals_ms for size in (384, 2048)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation of one client. `size` 0 when it failed."""

    client: str
    what: str
    size: int
    watch: Stopwatch
    failure: str = ""

    @property
    def rate(self) -> float:
        return self.size / self.watch.seconds


def report(line: BleLine, devices: Devices, target_s: float) -> str:
    """The table of one line; the pull takes at least `target_s`, or what it takes to tell."""
    target_s = max(target_s, _LEAST_S)
    round_trips, cells = _measure(line, devices, target_s)
    rates = {(cell.client, cell.what): cell.rate for cell in cells if cell.size}
    rows = [_row(line, cell, round_trips, rates) for cell in cells if cell.size]
    failures = [f"{cell.client} {cell.what} failed: {cell.failure}" for cell in cells if cell.failure]
    one = f"{1000 * round_trips['blocks']:.1f} ms, window {line.buf_count - 1}"
    return "\n".join([f"### {line.title}: one request {one}\n", markdown(_HEAD, rows), *failures, ""])


def _row(
    line: BleLine, cell: Cell, round_trips: dict[str, float], rates: dict[tuple[str, str], float]
) -> tuple[str, ...]:
    log = cell.what != _IMAGE
    other = rates.get((peers.SMPCLIENT, "get" if log else _IMAGE))
    return (
        f"{cell.client} {cell.what}",
        number(cell.size / 1000),
        number(cell.watch.seconds),
        number(cell.rate / 1000),
        percent(cell.rate / line.limit(cell.what)),
        percent(cell.rate / line.reach(cell.what, round_trips["blocks" if log else _IMAGE])),
        times(cell.rate / other if other else None),
        number(cell.watch.cpu_s),
    )


def _measure(line: BleLine, devices: Devices, target_s: float) -> tuple[dict[str, float], list[Cell]]:
    expected = line.reach("blocks", 2 * line.pace.interval_s)
    size = next((size for size in _SIZES if size >= target_s * expected), _SIZES[-1])
    state, content = devices.prepared(size)
    with tempfile.TemporaryDirectory() as folder:
        copied = copytree(state, Path(folder) / "state")
        with simulator(*line.arguments, "--state", copied) as device:
            return _turn(line, device, content, min(_LARGEST_IMAGE, int(target_s * expected)))


def _turn(line: BleLine, device: Simulator, content: bytes, image_size: int) -> tuple[dict[str, float], list[Cell]]:
    with connected(device.url) as client:
        cells = list(_ours(client, content, image_size))
        round_trips = {
            "blocks": client.round_trip_s(),
            _IMAGE: client.image_round_trip_s(upload.full_piece(Line("udp", 0, 0, line.buf_size))),
        }
    with _smpclient(device.url) as client:
        cells += _theirs(client, content, image_size)
    return round_trips, cells


def _ours(client: Fieldlog, content: bytes, image_size: int) -> Iterator[Cell]:
    yield _cell(client.name, "pull", client.pull)
    yield _cell(client.name, "blocks", lambda watch: len(client.blocks(watch)))
    yield _cell(client.name, "get", _fetch(client, FILE, content))
    yield _cell(client.name, _IMAGE, _send(client, image_size))


def _theirs(client: Client, content: bytes, image_size: int) -> Iterator[Cell]:
    part = content[: len(content) // 16]
    yield _cell(client.name, "get", _fetch(client, PART, part))
    yield _cell(client.name, _IMAGE, _send(client, image_size // 4))


def _fetch(client: Client, name: str, content: bytes) -> Callable[[Stopwatch], int]:
    def work(watch: Stopwatch) -> int:
        if client.get(name, watch) != content:
            raise peers.PeerError(f"{client.name} fetched other bytes than the file holds")
        return len(content)

    return work


def _send(client: Client, size: int) -> Callable[[Stopwatch], int]:
    number_of_image = next(_numbers)
    data = build_image(Random(number_of_image).randbytes(size), ImageVersion(2, 0, number_of_image))

    def work(watch: Stopwatch) -> int:
        client.send_image(data, watch)
        return len(data)

    return work


def _cell(client: str, what: str, work: Callable[[Stopwatch], int]) -> Cell:
    watch = Stopwatch()
    try:
        size = work(watch)
    except (FieldlogError, peers.PeerError) as error:
        watch.stop()
        return Cell(client, what, 0, watch, str(error))
    return Cell(client, what, size, watch)


@contextmanager
def _smpclient(url: str) -> Generator[Client]:
    """Its own BLE transport, as it is, on the virtual radio."""
    from smpclient import SMPClient
    from smpclient.transport.ble import SMPBLETransport

    from fieldlog_sim.links.ble.virtual import backend, installed

    logging.getLogger("smpclient").addHandler(logging.NullHandler())  # what matters is raised as well
    name, _, query = url.removeprefix("ble:").partition("?")
    at = dict(parse_qsl(query))["at"]
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            stack.enter_context(installed(*runner.run(stack.enter_async_context(backend({"at": at})))))
            client = SMPClient(SMPBLETransport(), unquote(name), timeout_s=peers.TIMEOUT_S)
            runner.run(client.connect())
            stack.push_async_callback(client.disconnect)
            yield peers.Smpclient(client, runner)
        finally:
            runner.run(stack.aclose())
