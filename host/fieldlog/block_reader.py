"""Reading a stretch of a device's log over the link: many requests under way, blocks out in order.

Rule: positions are (seq, offset) and known before a reply arrives, so the line is kept busy; every reply names the
position it answers. The log changes while it is read: the ring overwrites its oldest blocks, and a block that was open
is sealed between others. Both move what offsets count, so the seq that they count from follows what has been received;
where the bytes do not fit together all the same, the reader starts anew behind the last whole block. A reply that is
shorter than asked ends the log only if there is nothing behind it at a second look.

Where the framing allows one request at a time, the device is asked to go on by itself for a while (`Bursts`), and what
is lost then is asked for again by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from fieldlog.block_order import BlockOrder, Numbered
from fieldlog.bursts import Bursts
from fieldlog.client import Client
from fieldlog.reply import Reply, arrival
from fieldlog.stream import Unanswered
from fieldlog_protocol.blocks.block import HEADER, MAX_WIRE_LENGTH
from fieldlog_protocol.blocks.split import BlockSplitter
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import FieldlogError, ProtocolError
from fieldlog_protocol.wire import HEADER_SIZE, encode_body

_WIDEST = 0xFFFF_FFFF
# with the end that a map needs if the device does not tell its length at the beginning
_EMPTY = len(encode_body(logger.BlocksResponse(q=0, o=0, f=0, d=b""))) + 1
_FOLLOWING = len(encode_body(logger.BlocksResponse(q=0, o=0, f=0, d=b"", m=1))) + 1 - _EMPTY
_BLOB_HEAD = 2  # a byte string of 256 or more has 3 bytes before it; the empty one counted has 1
_MAX_CHUNK = 0xFFFF
_FRUITLESS = 8  # so often may it be begun anew without a whole block between
_MOST_DAMAGE = 2 * MAX_WIRE_LENGTH  # bytes without a whole block in them: no device has so long a block
_WRONG_ANSWERS = 3
_TOGETHER_BYTES = 4096  # so much is looked at in one go: more would take longer than the device needs for a reply
_TRIES_ALONE = 6  # of thousands of requests one will be lost four times, and no other one under way shows it
_KEPT = "What had arrived is in the archive. Repeat the command; if it stays so, the device's firmware is at fault"


_SEQ = HEADER.position("seq")


def seq_in(wire: bytes) -> int:
    """The seq of a block in wire form that was found whole."""
    return int(HEADER.values(wire)[_SEQ])


def chunk_size(
    max_reply: int, seq: int = _WIDEST, offset: int = _WIDEST, first_held: int = _WIDEST, following: int = 0
) -> int:
    """Log bytes that a reply of at most `max_reply` bytes carries, beside numbers of at most these lengths."""
    numbers = _width(seq) + _width(offset) + _width(first_held)
    if following:
        numbers += _FOLLOWING + _width(following)
    return min(_MAX_CHUNK, max(1, max_reply - HEADER_SIZE - _EMPTY - numbers - _BLOB_HEAD))


def _width(number: int) -> int:
    """Bytes beyond the first that CBOR needs for a number."""
    return 0 if number < 24 else 1 if number < 0x100 else 2 if number < 0x1_0000 else 4 if number <= _WIDEST else 8


def _is_lost(reply: Reply[logger.BlocksResponse]) -> bool:
    return isinstance(reply.exception(), Unanswered)


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks in wire form with their seqs, in the order of the log, and what else the replies told.

    `first_held`: the first seq that the device holds. `size`: bytes of the log that arrived.
    """

    blocks: list[bytes]
    seqs: list[int]
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
    `Client.request` does, ProtocolError for bytes that are no log, and FieldlogError where the ring is too fast.
    """
    position, tolerant, fruitless, whole_until = start, False, 0, start
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
        whole_until = reader.behind if reader.whole else whole_until
        if fruitless > _FRUITLESS:
            if reader.moved:
                raise _too_fast(client, range(whole_until, reader.restart_at))
            raise ProtocolError(f"{client.name} gives bytes of its log that never become blocks. {_KEPT}")
        # damage that is there at the second look too lies on the device's flash: read on behind it
        tolerant = reader.restart_at <= position
        position = max(position, reader.restart_at)


def _too_fast(client: Client, lost: range) -> FieldlogError:
    return FieldlogError(
        f"{client.name} overwrites its log faster than the link reads it: blocks {lost.start} to {lost.stop - 1} were gone "
        "before they came. What had arrived is in the archive. Stop the logging, or use a faster link, and repeat the "
        "command"
    )


class _Reader:
    def __init__(self, client: Client, start: int, stop: int, *, tolerant: bool) -> None:
        self._client = client
        self._start, self._stop = start, stop
        self._tolerant = tolerant
        self._base = _Base(start, 0)
        self._requested = 0  # stream position behind the last request
        self._received = 0  # stream position behind the last byte that came in order
        self._under_way: deque[tuple[logger.BlocksRequest, Reply[logger.BlocksResponse]]] = deque()
        self._splitter = BlockSplitter()
        self._order = BlockOrder(start, stop)
        self._bursts = Bursts(possible=client.one_at_a_time)
        self._together = 1
        self._awaited = 0  # replies under way that have not come yet
        self._ahead = 1  # how many there shall be
        self._ended = False
        self._short = False  # the last reply was shorter than asked
        self._spoiled = 0
        self._wrong_answers = 0
        self._first_held = 0
        self.moved = False  # the ring has overwritten what offsets counted from
        self.whole = False
        self.restart_at: int | None = None
        """The seq from which to start anew, when what offsets count has moved."""

    async def batches(self) -> AsyncGenerator[Batch]:
        self._fill()
        while self._under_way:
            await arrival(self._under_way, self._together)
            before = self._received
            found = [(seq_in(wire), wire) for wire in self._split(self._arrived())]
            found = self._order.take(found, final=self._ended and not self.moved)
            if self._splitter.damaged + self._order.skipped > self._spoiled:
                found = self._after_damage(found)
            if found:
                self._advance(*found[-1])
            blocks, seqs = [wire for _, wire in found], [seq for seq, _ in found]
            yield Batch(blocks, seqs, self._first_held, self._received - before)
            if self.moved:
                self.restart_at = max(self._first_held, self.behind)
            if self._ended:
                return
            if self._short:
                self._look_again()
            self._fill()

    def _look_again(self) -> None:
        """Seqs are outstanding: whether the log ends here or the device could not give more is asked by itself."""
        self.abandon()
        self._requested = self._received

    def _fill(self) -> None:
        # as many wait as are sent: when several replies arrive together, as many requests leave together
        self._together = min(self._client.together, 1 + _TOGETHER_BYTES // self._client.max_reply)
        bursts, alone = self._bursts.most, 2 * self._client.window + self._together - 1
        self._ahead = 1 if self._short else bursts + 1 if bursts > 1 else alone
        while self._has_room():
            self._ask_on()

    def _answered(self) -> None:
        """Ask for one more at once: to make many requests in one go would take longer than the device does for one."""
        self._awaited -= 1
        most = self._ahead + self._together + self._bursts.most
        if len(self._under_way) < most and self._has_room():
            self._ask_on()

    def _has_room(self) -> bool:
        if self._ended or self._awaited >= self._ahead:
            return False
        # where the next request leaves only when all replies are there, it may as well wait for what they tell of the end
        return not self._under_way or not self._client.one_at_a_time or self._to_come != 0

    def _ask_on(self) -> None:
        room, most = self._bursts.size(self._client.max_reply), self._bursts.most
        base, offset = self._base.seq, self._requested - self._base.at
        # what the ring overwrites meanwhile makes the first seq held grow, but hardly beyond twice the last
        size = chunk_size(room, base, offset + most * room, 2 * self._stop, following=most)
        count = 1 if self._short else self._bursts.count(size, self._to_come)
        if count == 1:
            size = chunk_size(self._client.max_reply, base, offset, 2 * self._stop)
        pieces = [logger.BlocksRequest(q=base, o=offset + index * size, n=size) for index in range(count)]
        self._under_way += zip(pieces, self._ask_row(pieces), strict=True)
        self._requested += count * size

    @property
    def _to_come(self) -> int | None:
        """About how many bytes there are behind those asked for, None while nothing tells how long blocks are."""
        before = self._base.seq - self._start
        if before <= 0:
            return None
        mean = self._base.at / before
        return max(0, int(mean * (self._stop - self._start)) - self._requested)

    def _ask_row(self, pieces: Sequence[logger.BlocksRequest]) -> list[Reply[logger.BlocksResponse]]:
        """Ask for pieces of one size that lie end to end, with one request."""
        first, count = pieces[0], len(pieces)
        if count == 1:
            return [self._ask(first)]

        def place(answer: logger.BlocksResponse) -> int | None:
            index, rest = divmod(answer.o - first.o, first.n)
            return index if answer.q == first.q and not rest and 0 <= index < count else None

        message = logger.BlocksRequest(q=first.q, o=first.o, n=first.n, m=count - 1)
        replies = self._client.start_stream(
            logger.BLOCKS, message, count, place=place, goes_on=lambda answer: answer.m is not None
        )
        for reply in replies:
            reply.then = self._answered
        self._awaited += count
        return replies

    def _ask_lost(self) -> None:
        """What did not come of bursts is asked for again: the first piece alone, since that is repeated until it comes
        or the device is known to be gone; the others in shorter bursts, for one loss may have taken many."""
        lost = [at for at, (_, reply) in enumerate(self._under_way) if reply.done() and _is_lost(reply)]
        self._awaited -= len(lost)
        for row in self._rows(lost):
            pieces = [self._under_way[at][0] for at in row]
            for at, piece, reply in zip(row, pieces, self._ask_row(pieces), strict=True):
                self._under_way[at] = piece, reply

    def _rows(self, lost: list[int]) -> list[list[int]]:
        rows = [lost[:1]]
        for at in lost[1:]:
            before, piece = self._under_way[at - 1][0], self._under_way[at][0]
            follows = (piece.q, piece.o, piece.n) == (before.q, before.o + before.n, before.n)
            joins = len(rows) > 1 and rows[-1][-1] == at - 1 and follows
            if joins and len(rows[-1]) < self._bursts.count(piece.n, len(lost) * piece.n):
                rows[-1].append(at)
            else:
                rows.append([at])
        return rows

    def _arrived(self) -> bytes:
        """The bytes of the replies that have arrived together; they are taken together, too."""
        pieces: list[bytes] = []
        while not self._ended and self._under_way and self._under_way[0][1].done():
            request, reply = self._under_way[0]
            error = reply.exception()
            if pieces and error is not None:
                break  # what came before it counts
            if isinstance(error, Unanswered):
                self._bursts.failed(ended=error.ended)
                self._ask_lost()
                break
            self._under_way.popleft()
            answer = reply.result()
            if (answer.q, answer.o) != (request.q, request.o) or len(answer.d) > request.n:
                self._ask_again(request)
                break
            self._bursts.came(len(answer.d), reply.took_s, by_itself=reply.by_itself)
            self._first_held = answer.f
            self.moved = answer.f > request.q
            if not self.moved:
                pieces.append(answer.d)
            short = len(answer.d) < request.n
            self._ended = self.moved or (self._short and not answer.d)
            self._short = short
            if short:
                break
        data = b"".join(pieces)
        self._received += len(data)
        return data

    def _ask_again(self, request: logger.BlocksRequest) -> None:
        """A line without a check value may turn one position into another, now and then."""
        self._wrong_answers += 1
        if self._wrong_answers > _WRONG_ANSWERS:
            raise ProtocolError(f"{self._client.name} answers positions of its log that were not asked for. {_KEPT}")
        self._under_way.appendleft((request, self._ask(request)))

    def _ask(self, request: logger.BlocksRequest) -> Reply[logger.BlocksResponse]:
        tries = _TRIES_ALONE if self._client.window == 1 else None
        reply = self._client.start(logger.BLOCKS, request, tries=tries)
        reply.then = self._answered
        self._awaited += 1
        return reply

    def _split(self, data: bytes) -> list[bytes]:
        return self._splitter.feed(data, final=self._ended and not self.moved)

    def _advance(self, newest: int, wire: bytes) -> None:
        """Count from the last whole block on: it is the one that the device holds longest."""
        self.whole = True
        self._base = _Base(newest, self._received - self._splitter.pending - self._order.behind - len(wire))
        self._ended = self._ended or newest >= self._stop - 1

    @property
    def behind(self) -> int:
        """The seq behind the last whole block."""
        return self._base.seq + (1 if self.whole else 0)

    def _after_damage(self, found: list[Numbered]) -> list[Numbered]:
        """Bytes that do not fit together: begin anew behind the last whole block before them, unless that was just
        done; then what is found behind them is taken, and the next damage gets a second look again."""
        self._spoiled = self._splitter.damaged + self._order.skipped
        if self._tolerant and self._spoiled <= _MOST_DAMAGE:
            self._tolerant = not found
            return found
        self.restart_at = self.behind
        self._ended = True
        return []

    def abandon(self) -> None:
        """Take back what is still under way: newest first, or what waits would be sent in the place of what was."""
        while self._under_way:
            self._under_way.pop()[1].cancel()
        self._awaited = 0
