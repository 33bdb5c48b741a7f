"""How fast each client moves the same bytes over the same line, and what that costs both ends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from shutil import copytree

from fieldlog_protocol.errors import FieldlogError
from tools.bench import data, peers
from tools.bench.clients import Client, connected
from tools.bench.links import Direction, Line
from tools.bench.simulator import Simulator, simulator
from tools.bench.stopwatch import Stopwatch
from tools.bench.table import markdown, number, percent, span, times

FILE, PART, UPLOADED = "bench.bin", "part.bin", "up.bin"
_PART = 16
_TURNS = 7
_LOG_BYTES_PER_FRAME = 1.75
_SIZES = tuple(1024 << step for step in range(2, 11))
_UNPACED_SIZE = 5 << 19  # beside it, what is stored must fit into the device's 4 MB for files
_UNPACED_STORED = 1 << 20

HEAD = (
    "client",
    "kB",
    "first s",
    "s",
    "kB/s",
    "slowest to fastest",
    "of line",
    "of reach",
    "busy",
    "log share",
    "smpclient",
    "toolkit",
    "host CPU s",
    "device CPU s",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation of one client: all of it but connecting. `size` 0 when it failed."""

    client: str
    direction: Direction
    size: int
    watch: Stopwatch
    device_cpu_s: float | None
    failure: str = ""
    spread: tuple[float, float] | None = None
    """The slowest and the fastest of several turns, bytes per second, of which this is the middle one."""

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.size / self.watch.seconds


@dataclass(slots=True)
class LineResult:
    line: Line
    round_trip_s: float
    cells: list[Cell] = field(default_factory=list[Cell])

    def rate(self, client: str, direction: Direction) -> float | None:
        """A pull is compared with the peers' download of a file."""
        wanted = "put" if direction == "put" else "get"
        found = [cell.rate for cell in self.cells if cell.size and (cell.client, cell.direction) == (client, wanted)]
        return found[0] if found else None

    def reach(self, direction: Direction) -> float | None:
        """Bytes per second that line and window allow towards the host: the slower of the two."""
        return None if direction == "put" or not self.line.baud else self.line.reach(self.round_trip_s, direction)


class Devices:
    """Flash images of devices whose log and file have about the sizes asked for, each made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.prepared = cache(self._prepare)

    def _prepare(self, size: int) -> tuple[Path, bytes]:
        """The image's folder, and the bytes of its log, which are those of its file too."""
        state = self._folder / f"{size}"
        readings = self._folder / f"{size}.csv"
        data.write_replay(data.environment(round(size / _LOG_BYTES_PER_FRAME)), readings)
        with (
            simulator("--udp", "0", "--buffers", "2048x8", "--state", state, "--replay", readings) as device,
            connected(device.url) as client,
        ):
            content = client.blocks(Stopwatch())
            client.put(FILE, content, Stopwatch())
            client.put(PART, content[: len(content) // _PART], Stopwatch())
        return state, content

    @contextmanager
    def device(self, line: Line, size: int) -> Generator[tuple[Simulator, bytes]]:
        """Such a device at the end of `line`, and what its file holds."""
        state, content = self.prepared(size)
        with tempfile.TemporaryDirectory() as folder:
            copied = copytree(state, Path(folder) / "state")
            with simulator(*line.arguments, "--state", copied) as device:
                yield device, content


def measure(line: Line, devices: Devices, target_s: float) -> LineResult:
    """All clients over one line, one after another; a pull takes `target_s` to twice that, storing and blocks a part of that.

    Where nothing paces the line, the machine's other work does: there all take turns, and each one's middle turn counts.
    """
    round_trip_s = None if not line.baud else line.expected_round_trip_s
    wanted = _UNPACED_SIZE if round_trip_s is None else target_s * line.reach(round_trip_s)
    size = next((size for size in _SIZES if size >= wanted), _UNPACED_SIZE)
    with devices.device(line, size) as (device, content):
        turns = [_turn(line, device, content) for _ in range(1 if line.baud else _TURNS)]
    cells = [_middle(same) for same in zip(*(cells for _, cells in turns), strict=True)]
    return LineResult(line, min(round_trip_s for round_trip_s, _ in turns), cells)


def _turn(line: Line, device: Simulator, content: bytes) -> tuple[float, list[Cell]]:
    with connected(device.url) as client:
        round_trip_s = client.round_trip_s()
        cells = [
            _cell(client.name, "pull", device, client.pull),
            _cell(client.name, "blocks", device, lambda watch: len(client.blocks(watch))),
            *_files(client, device, content, line),
        ]
    for opener in peers.openers().values():
        with opener(line, device.address) as peer:
            cells += _files(peer, device, content, line)
    return round_trip_s, cells


def _middle(turns: Sequence[Cell]) -> Cell:
    """The turn in the middle of those that did not fail, and what the others were."""
    ranked = sorted((cell for cell in turns if cell.size), key=lambda cell: cell.rate)
    if len(turns) < 2 or not ranked:
        return turns[0]
    failure = next((cell.failure for cell in turns if cell.failure), "")
    return replace(ranked[len(ranked) // 2], spread=(ranked[0].rate, ranked[-1].rate), failure=failure)


def _files(client: Client, device: Simulator, whole: bytes, line: Line) -> list[Cell]:
    """Both directions. What is only for comparison, or would take a client too long, is done with a part of the bytes."""
    slow = client.name == peers.SMPCLIENT and not line.baud
    contents = {FILE: whole, PART: whole[: len(whole) // _PART]}
    fetched = PART if slow else FILE
    stored = contents[PART] if slow or line.baud else whole[:_UNPACED_STORED]

    def get(watch: Stopwatch) -> int:
        if client.get(fetched, watch) != contents[fetched]:
            raise peers.PeerError(f"{client.name} fetched other bytes than the file holds")
        return len(contents[fetched])

    def put(watch: Stopwatch) -> int:
        client.put(UPLOADED, stored, watch)
        return len(stored)

    return [_cell(client.name, "get", device, get), _cell(client.name, "put", device, put)]


def _cell(client: str, direction: Direction, device: Simulator, work: Callable[[Stopwatch], int]) -> Cell:
    before_s, watch = device.cpu_s(), Stopwatch()
    try:
        size = work(watch)
    except (FieldlogError, peers.PeerError) as error:
        watch.stop()
        return Cell(client, direction, 0, watch, None, str(error))
    after_s = device.cpu_s()
    device_cpu_s = None if before_s is None or after_s is None else after_s - before_s
    return Cell(client, direction, size, watch, device_cpu_s)


def report(result: LineResult) -> str:
    """The table of one line."""
    title = f"{result.line.title}: one request {1000 * result.round_trip_s:.1f} ms, window {result.line.window}"
    rows = [_row(result, cell) for cell in result.cells]
    failures = [f"{cell.client} {cell.direction} failed: {cell.failure}" for cell in result.cells if cell.failure]
    return "\n".join([f"### {title}\n", markdown(HEAD, rows), *failures, ""])


def _row(result: LineResult, cell: Cell) -> Sequence[str]:
    name = f"{cell.client} {cell.direction}"
    if not cell.size:
        return [name, *[""] * (len(HEAD) - 1)]
    return [
        name,
        number(cell.size / 1000),
        number(cell.watch.first_s),
        number(cell.watch.seconds),
        number(cell.rate / 1000),
        span(cell.spread),
        percent(_ratio(cell.rate, result.line.limit(cell.direction))),
        percent(_ratio(cell.rate, result.reach(cell.direction))),
        percent(result.line.busy(cell.watch.link_bytes, cell.watch.seconds)),
        percent(None if not cell.watch.message_bytes else cell.size / cell.watch.message_bytes),
        times(_ratio(cell.rate, result.rate(peers.SMPCLIENT, cell.direction))),
        times(_ratio(cell.rate, result.rate(peers.TOOLKIT, cell.direction))),
        number(cell.watch.cpu_s),
        number(cell.device_cpu_s),
    ]


def _ratio(rate: float, other: float | None) -> float | None:
    return rate / other if other else None
