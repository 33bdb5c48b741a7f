"""Raw serial: bare messages, delimited only by the length in their header (docs/smp.md#links).

There is no marker and no CRC, so one torn header would swallow what follows. Silence heals it: bytes that arrive more
than `idle_s` after the last ones begin a new message. A device may take requests back to back; those bear a check value of
their own, since what one of them lost it would take from the next.
"""

from __future__ import annotations

from fieldlog_protocol.seal import is_damaged, sealed
from fieldlog_protocol.wire import HEADER_SIZE, MAX_MESSAGE, message_length

_MAX_OP = 3


class RawFraming:
    """Encoder and incremental decoder.

    `exact`: as Zephyr's raw UART does it, a message with bytes behind it in the same delivery is discarded whole.
    `back_to_back`: requests are sealed, any number of them may be under way, and those whose seal is broken are dropped.
    """

    checked = False
    ordered = True
    joinable = True

    def __init__(
        self,
        max_message: int = MAX_MESSAGE,
        idle_s: float = 0.2,
        *,
        exact: bool = False,
        back_to_back: bool = False,
    ) -> None:
        self.back_to_back = back_to_back
        self.dropped = 0
        self._max_message = max_message
        self._idle_s = idle_s
        self._exact = exact
        self._buffer = bytearray()
        self._deaf = False
        self._last = float("-inf")

    @property
    def in_flight_limit(self) -> int | None:
        return None if self.back_to_back else 1

    def encode(self, message: bytes) -> bytes:
        is_request = not message[0] & 1
        return sealed(message) if self.back_to_back and is_request else message

    @property
    def partial(self) -> int:
        return len(self._buffer)

    def take_text(self) -> bytes:
        return b""

    def feed(self, data: bytes, now: float) -> list[bytes]:
        if not data:
            return []
        if now - self._last > self._idle_s:
            self._resync()
        self._last = now
        if self._deaf:
            return []
        if not self._buffer and self._is_one_message(data):
            return self._whole([data])
        self._buffer += data
        messages: list[bytes] = []
        while not self._deaf and (message := self._next()) is not None:
            messages.append(message)
        if self._exact and messages and (len(messages) > 1 or self._buffer or self._deaf):
            self.dropped += len(messages)
            self._buffer.clear()
            self._deaf = False
            return []
        return self._whole(messages)

    def _whole(self, messages: list[bytes]) -> list[bytes]:
        if not self.back_to_back:
            return messages
        whole = [message for message in messages if not is_damaged(message)]
        self.dropped += len(messages) - len(whole)
        return whole

    def _is_one_message(self, data: bytes) -> bool:
        """As nearly every delivery on a line with one request under way is: it need not go through the buffer."""
        size = len(data)
        return HEADER_SIZE <= size <= self._max_message and data[0] & 7 <= _MAX_OP and message_length(data) == size

    def _next(self) -> bytes | None:
        if self._buffer and self._buffer[0] & 7 > _MAX_OP:
            self._give_up()
            return None
        length = message_length(self._buffer)
        if length is None:
            return None
        if length > self._max_message:
            self._give_up()
            return None
        if len(self._buffer) < max(length, HEADER_SIZE):
            return None
        message = bytes(self._buffer[:length])
        del self._buffer[:length]
        return message

    def _give_up(self) -> None:
        """What follows cannot be told apart until the line has been silent."""
        self.dropped += 1
        self._buffer.clear()
        self._deaf = True

    def _resync(self) -> None:
        if self._buffer:
            self.dropped += 1
            self._buffer.clear()
        self._deaf = False
