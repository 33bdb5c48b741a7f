"""How fast each client uploads firmware over the same line: the same number of bytes into the same slot.

Rule of this module: a limit is arithmetic on the wire format, the same for every client. Every upload is of an image that
the device has never seen, so that nobody is spared anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random

from fieldlog.transfer import room
from fieldlog_protocol.commands.image import ImageUploadRequest
from fieldlog_protocol.errors import FieldlogError
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.image import ImageVersion, build_image
from fieldlog_protocol.wire import HEADER_SIZE, encode_body
from tools.bench import peers
from tools.bench.clients import Client, connected
from tools.bench.links import CONSOLE_OVERHEAD, Line
from tools.bench.simulator import Simulator, simulator
from tools.bench.stopwatch import Stopwatch
from tools.bench.table import markdown, number, percent, span, times

HEAD = ("client", "kB", "s", "kB/s", "slowest to fastest", "of line", "of reach", "smpclient", "toolkit", "host CPU s")
_LARGEST, _LEAST = 480_000, 16_000
_TURNS = 7
_FAR_OFFSET = 0x1_0000
_BITS_PER_BYTE = 10
_WRITE_UNIT = 8
_numbers = count()


@dataclass(frozen=True, slots=True)
class Cell:
    """One upload of one client. `size` 0 when it failed."""

    client: str
    size: int
    watch: Stopwatch
    failure: str = ""
    spread: tuple[float, float] | None = None
    """The slowest and the fastest of several turns, bytes per second, of which this is the middle one."""

    @property
    def rate(self) -> float:
        """Bytes per second."""
        return self.size / self.watch.seconds


def full_piece(line: Line) -> ImageUploadRequest:
    """The largest piece that the line's buffers take, of whole units of flash."""
    size = room(line.buf_size - CONSOLE_OVERHEAD, ImageUploadRequest(off=_FAR_OFFSET, data=b""))
    return ImageUploadRequest(off=_FAR_OFFSET, data=bytes(size - size % _WRITE_UNIT))


def limit(line: Line) -> float | None:
    """Bytes per second of the image when the line to the device never rests; None where it is not paced."""
    if not line.baud:
        return None
    piece = full_piece(line)
    size = HEADER_SIZE + len(encode_body(piece))
    on_wire = len(ConsoleFraming().encode(bytes(size))) if line.kind == "console" else size
    return len(piece.data or b"") / on_wire * line.baud / _BITS_PER_BYTE


def measure(line: Line, target_s: float) -> tuple[float, list[Cell]]:
    """The time of one full piece there and back, and a cell for each client; the middle one of several turns where nothing
    paces."""
    paced = limit(line)
    size = _LARGEST if paced is None else max(_LEAST, min(_LARGEST, round(paced * target_s)))
    with simulator(*line.arguments) as device:
        turns = [list(_turn(line, device, size)) for _ in range(1 if line.baud else _TURNS)]
        with connected(device.url) as client:
            round_trip_s = client.image_round_trip_s(full_piece(line))
    return round_trip_s, [_middle(same) for same in zip(*turns, strict=True)]


def _turn(line: Line, device: Simulator, size: int) -> Iterator[Cell]:
    with connected(device.url) as client:
        yield _cell(client, size)
    for opener in peers.openers().values():
        with opener(line, device.address) as peer:
            yield _cell(peer, size)


def _cell(client: Client, size: int) -> Cell:
    number_of_image = next(_numbers)
    data = build_image(Random(number_of_image).randbytes(size), ImageVersion(2, 0, number_of_image))
    work: Callable[[Stopwatch], None] = partial(client.send_image, data)
    watch = Stopwatch()
    try:
        work(watch)
    except (FieldlogError, peers.PeerError) as error:
        watch.stop()
        return Cell(client.name, 0, watch, str(error))
    return Cell(client.name, len(data), watch)


def _middle(turns: Sequence[Cell]) -> Cell:
    """The turn in the middle of those that did not fail, and what the others were."""
    ranked = sorted((cell for cell in turns if cell.size), key=lambda cell: cell.rate)
    if len(turns) < 2 or not ranked:
        return turns[0]
    failure = next((cell.failure for cell in turns if cell.failure), "")
    return replace(ranked[len(ranked) // 2], spread=(ranked[0].rate, ranked[-1].rate), failure=failure)


def report(line: Line, target_s: float) -> str:
    """The table of one line."""
    round_trip_s, cells = measure(line, target_s)
    rates = {cell.client: cell.rate for cell in cells if cell.size}
    most = limit(line)
    windowed = line.window * len(full_piece(line).data or b"") / round_trip_s
    reach = None if most is None else min(windowed, most)
    rows = [
        [
            cell.client,
            number(cell.size / 1000),
            number(cell.watch.seconds),
            number(cell.rate / 1000),
            span(cell.spread),
            percent(_ratio(cell.rate, most)),
            percent(_ratio(cell.rate, reach)),
            times(_ratio(cell.rate, rates.get(peers.SMPCLIENT))),
            times(_ratio(cell.rate, rates.get(peers.TOOLKIT))),
            number(cell.watch.cpu_s),
        ]
        for cell in cells
    ]
    failures = [f"{cell.client} failed: {cell.failure}" for cell in cells if cell.failure]
    title = f"{line.title}: one piece {1000 * round_trip_s:.1f} ms, window {line.window}"
    return "\n".join([f"### {title}\n", markdown(HEAD, rows), *failures, ""])


def _ratio(rate: float, other: float | None) -> float | None:
    return rate / other if other else None
