"""UDP: one datagram is one message, whole; and the cutting of messages into pieces for BLE (docs/smp.md#links)."""

from __future__ import annotations

from fieldlog_protocol.wire import HEADER_SIZE, MAX_MESSAGE, message_length


class DatagramFraming:
    """Datagrams keep their bounds, may be lost and may overtake each other. `max_message`: longest one accepted."""

    in_flight_limit: int | None = None
    checked = True
    ordered = False
    joinable = False

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self.dropped = 0
        self._max_message = max_message

    def encode(self, message: bytes) -> bytes:
        return message

    @property
    def partial(self) -> int:
        return 0

    def take_text(self) -> bytes:
        return b""

    def feed(self, data: bytes, now: float) -> list[bytes]:  # noqa: ARG002 - a datagram is whole or not there
        length = message_length(data)
        if length is None or not max(length, HEADER_SIZE) <= len(data) <= self._max_message:
            self.dropped += 1
            return []
        return [data]


def fragments(message: bytes, size: int) -> list[bytes]:
    """The pieces of at most `size` bytes in which a message is written to a BLE characteristic, in order.

    `size` is ATT_MTU - 3 or less. The receiver rebuilds the message from the length in its header, so pieces of two
    messages must not interleave.
    """
    return [message[at : at + size] for at in range(0, len(message), size)]
