"""Reading a stretch of a device's log over the link: many requests under way, blocks out in order.

Rule: positions are (seq, offset) and known before a reply arrives, so the line is kept busy; every reply names the
position it answers. The log changes while it is read: the ring overwrites its oldest blocks, and a block that was open
is sealed between others. Both move what offsets count, so the seq that they count from follows what has been received;
where the bytes do not fit together all the same, the reader starts anew behind the last whole block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import pairwise

from fieldlog.client import Client, Reply
from fieldlog_protocol.blocks.block import MAX_WIRE_LENGTH, parse_header
from fieldlog_protocol.blocks.split import BlockSplitter
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import ProtocolError
from fieldlog_protocol.wire import HEADER_SIZE, encode_body

_WIDEST = 0xFFFF_FFFF
_BLOB_HEAD = 2  # a byte string of 256 or more has 3 bytes before it; the empty one counted below has 1
_MAX_CHUNK = 0xFFFF
_FRUITLESS = 8  # so often may it be begun anew without a whole block between
_MOST_DAMAGE = 2 * MAX_WIRE_LENGTH  # bytes without a whole block in them: no device has so long a block
_WRONG_ANSWERS = 3
_KEPT = "What had arrived is in the archive. Repeat the command; if it stays so, the device's firmware is at fault"


def chunk_size(max_reply: int) -> int:
    """Log bytes that a reply of at most `max_reply` bytes carries, whatever its numbers are."""
    empty = logger.BlocksResponse(q=_WIDEST, o=_WIDEST, f=_WIDEST, d=b"")
    return min(_MAX_CHUNK, max(1, max_reply - HEADER_SIZE - len(encode_body(empty)) - _BLOB_HEAD))


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks in wire form, in the order of the log, and what else a reply told.

    `first_held`: the first seq that the device holds. `size`: bytes of the log that arrived.
    """

    blocks: list[bytes]
    first_held: int
    size: int


@dataclass(slots=True)
class _Base:
    """The block that offsets count from: its seq, and where it begins in the stream that is being read."""

    seq: int
    at: int


async def read_blocks(client: Client, start: int, stop: int) -> AsyncGenerator[Batch]:
    """The sealed blocks with seqs from `start` to before `stop`, as far as the device holds them.

    Seqs that the device does not have are left out, and a few blocks beyond `stop` may come along. Raises what
    `Client.request` does.
    """
    position, tolerant, fruitless = start, False, 0
    while position < stop:
        reader = _Reader(client, position, stop, tolerant=tolerant)
        try:
            async for batch in reader.batches():
                yield batch
        finally:
            reader.abandon()
        if reader.restart_at is None:
            return
        fruitless = 0 if reader.whole and reader.restart_at > position else fruitless + 1
        if fruitless > _FRUITLESS:
            raise ProtocolError(f"{client.name} gives bytes of its log that never become blocks. {_KEPT}")
        # damage that is there at the second look too lies on the device's flash: read on behind it
        tolerant = reader.restart_at <= position
        position = max(position, reader.restart_at)


class _Reader:
    def __init__(self, client: Client, start: int, stop: int, *, tolerant: bool) -> None:
        self._client = client
        self._stop = stop
        self._tolerant = tolerant
        self._base = _Base(start, 0)
        self._requested = 0  # stream position behind the last request
        self._received = 0  # stream position behind the last byte that came in order
        self._under_way: deque[tuple[logger.BlocksRequest, Reply[logger.BlocksResponse]]] = deque()
        self._splitter = BlockSplitter()
        self._unsplit = bytearray()
        self._ended = False
        self._damaged = 0
        self._wrong_answers = 0
        self.whole = False
        self.restart_at: int | None = None
        """The seq from which to start anew, when what offsets count has moved."""

    async def batches(self) -> AsyncGenerator[Batch]:
        self._fill()
        while self._under_way:
            request, reply = self._under_way.popleft()
            answer = await reply
            if (answer.q, answer.o) != (request.q, request.o) or len(answer.d) > request.n:
                self._ask_again(request)
                continue
            if answer.f > request.q:
                self.restart_at = max(answer.f, self._behind)
                return
            yield self._take(answer, request.n)
            self._fill()

    def _ask_again(self, request: logger.BlocksRequest) -> None:
        """A line without a check value may turn one position into another, now and then."""
        self._wrong_answers += 1
        if self._wrong_answers > _WRONG_ANSWERS:
            raise ProtocolError(f"{self._client.name} answers positions of its log that were not asked for. {_KEPT}")
        self._under_way.appendleft((request, self._client.start(logger.BLOCKS, request)))

    @property
    def _behind(self) -> int:
        """The seq behind the last whole block."""
        return self._base.seq + (1 if self.whole else 0)

    def abandon(self) -> None:
        """Take back what is still under way: newest first, or what waits would be sent in the place of what was."""
        while self._under_way:
            self._under_way.pop()[1].cancel()

    def _fill(self) -> None:
        # as many wait as are sent: when several replies arrive together, as many requests leave together
        size = chunk_size(self._client.max_reply)
        while not self._ended and len(self._under_way) < 2 * self._client.window:
            request = logger.BlocksRequest(q=self._base.seq, o=self._requested - self._base.at, n=size)
            self._under_way.append((request, self._client.start(logger.BLOCKS, request)))
            self._requested += size

    def _take(self, answer: logger.BlocksResponse, asked: int) -> Batch:
        self._received += len(answer.d)
        self._ended = len(answer.d) < asked
        self._unsplit += answer.d
        if not self._ended and self._under_way and self._under_way[0][1].done():
            return Batch([], answer.f, len(answer.d))  # replies that arrived together are split together
        blocks = self._splitter.feed(bytes(self._unsplit), final=self._ended)
        self._unsplit.clear()
        if self._splitter.damaged > self._damaged or not self._rising(blocks):
            blocks = self._after_damage(blocks)
        if blocks:
            newest = parse_header(blocks[-1]).seq
            self.whole = True
            self._base = _Base(newest, self._received - self._splitter.pending - len(blocks[-1]))
            self._ended = self._ended or newest >= self._stop - 1
        if self._ended:
            self.abandon()
        return Batch(blocks, answer.f, len(answer.d))

    def _rising(self, blocks: list[bytes]) -> bool:
        """The log is read in order of seq: what goes back or stays is not what was asked for."""
        seqs = [self._behind - 1, *(parse_header(wire).seq for wire in blocks)]
        return all(before < after for before, after in pairwise(seqs))

    def _after_damage(self, blocks: list[bytes]) -> list[bytes]:
        """Bytes that do not fit together: begin anew behind the last whole block before them, unless that was just
        done; then what is found behind them is taken, and the next damage gets a second look again."""
        self._damaged = self._splitter.damaged
        if self._tolerant and self._damaged <= _MOST_DAMAGE and self._rising(blocks):
            self._tolerant = not blocks
            return blocks
        self.restart_at = self._behind
        self._ended = True
        return []
