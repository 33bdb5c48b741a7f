"""BLE: a message comes in notifications, each a piece of it, and ends with the length in its header (SMP.md section 4).

A piece never holds parts of two messages, and all pieces of a message but the last are of one length. That tells where
a notification was lost, doubled or misplaced: what does not go on as expected begins anew if it looks like a beginning.
A device that cuts its messages in another way is understood too, as long as nothing is lost.
"""

from __future__ import annotations

from fieldlog_protocol.wire import HEADER_SIZE, MAX_MESSAGE, message_length

_MAP = range(0xA0, 0xC0)


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
        self._doubtful = False
        self._last = float("-inf")

    def encode(self, message: bytes) -> bytes:
        return message

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
        self._doubtful = self._doubtful or len(data) != min(self._piece, missing)
        if self._doubtful and self._is_beginning(data):
            self._give_up()
            return self._begin(data)
        if len(data) > missing:
            self._give_up()
            return []
        self._buffer += data
        return self._finish() if len(data) == missing else []

    def _begin(self, data: bytes) -> list[bytes]:
        if not self._is_beginning(data):
            self.dropped += 1
            return []
        self._whole = message_length(data) or 0
        if self._whole == len(data):  # as most messages are
            return [data]
        self._buffer += data
        self._piece, self._doubtful = len(data), False
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
        return [message]

    def _give_up(self) -> None:
        self.dropped += 1
        self._buffer.clear()
