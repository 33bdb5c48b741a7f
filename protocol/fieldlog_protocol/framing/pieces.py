"""BLE: a message comes in notifications, each a piece of it, and ends with the length in its header (docs/smp.md#links).

A piece never holds parts of two messages, and all pieces of a message but the last are of one length. That tells where
a notification was lost, doubled or misplaced: what does not go on as expected begins anew if it looks like a beginning,
and else the message is given up. A device that has always cut its messages in another way is understood too, as long as
nothing is lost. What no length tells is that whole pieces in the midst of messages have changed places.
"""

from __future__ import annotations

from fieldlog_protocol.wire import HEADER_SIZE, MAX_MESSAGE, message_length

_MAP = range(0xA0, 0xC0)
_EVEN = 3
"""So many pieces tell that a device cuts evenly; two it could have cut anywhere."""
_MOST_UNEVEN = 3
"""So many messages in a row that were given up for their cut tell that it does not."""


class PieceFraming:
    """Encoder and incremental decoder. Each piece has the check value of the radio, a message of several has none.

    `idle_s`: a piece that comes so late may be that of another message.
    """

    in_flight_limit: int | None = None
    checked = False
    ordered = True
    joinable = False

    def __init__(self, max_message: int = MAX_MESSAGE, idle_s: float = 0.25) -> None:
        self.dropped = 0
        self._max_message = max_message
        self._idle_s = idle_s
        self._buffer = bytearray()
        self._whole = 0
        self._piece = 0
        self._pieces = 0
        self._uneven = False
        self._cuts_evenly = False
        self._given_up = 0
        self._doubtful = False
        self._last = float("-inf")

    def encode(self, message: bytes) -> bytes:
        return message

    @property
    def partial(self) -> int:
        return len(self._buffer)

    def take_text(self) -> bytes:
        return b""

    def feed(self, data: bytes, now: float) -> list[bytes]:
        if not data:
            return []
        self._doubtful = self._doubtful or now - self._last > self._idle_s
        self._last = now
        if not self._buffer:
            return self._begin(data)
        missing = self._whole - len(self._buffer)
        uneven = len(data) != min(self._piece, missing)
        self._doubtful, self._uneven = self._doubtful or uneven, self._uneven or uneven
        if self._doubtful and self._is_beginning(data):
            self._give_up()
            return self._begin(data)
        if len(data) > missing or (uneven and self._cuts_evenly):
            self._give_up()
            self._notice_cut(uneven=True)
            return []
        self._buffer += data
        self._pieces += 1
        return self._finish() if len(data) == missing else []

    def _begin(self, data: bytes) -> list[bytes]:
        if not self._is_beginning(data):
            self.dropped += 1
            return []
        self._whole = message_length(data) or 0
        if self._whole == len(data):  # as most messages are
            return [data]
        self._buffer += data
        self._piece, self._pieces = len(data), 1
        self._doubtful = self._uneven = False
        return []

    def _is_beginning(self, data: bytes) -> bool:
        """Whether a piece can hold the header of an SMP message, and no more than the message."""
        if len(data) < HEADER_SIZE or data[0] & 0b1111_0100 or data[1]:
            return False
        if len(data) > HEADER_SIZE and data[HEADER_SIZE] not in _MAP:
            return False
        return len(data) <= (message_length(data) or 0) <= self._max_message

    def _finish(self) -> list[bytes]:
        message = bytes(self._buffer)
        self._buffer.clear()
        if not self._uneven:
            self._notice_cut(uneven=False)
        return [message]

    def _notice_cut(self, *, uneven: bool) -> None:
        """How this device cuts its messages, as far as the last one tells."""
        self._given_up = self._given_up + 1 if uneven else 0
        if self._given_up >= _MOST_UNEVEN:
            self._cuts_evenly = False
        elif not uneven and self._pieces >= _EVEN:
            self._cuts_evenly = True

    def _give_up(self) -> None:
        self.dropped += 1
        self._buffer.clear()
