"""Framing: how messages are cut out of what a link delivers. Bytes in, whole messages out, and the other way round.

Rule: a decoder never raises for what arrives. It skips to the next frame, counts what it dropped and holds no more than
one message, however long a stream goes on without a delimiter.
"""

from __future__ import annotations

from typing import Protocol

from fieldlog_protocol.framing.console import ConsoleFraming
from fieldlog_protocol.framing.datagram import DatagramFraming, fragments
from fieldlog_protocol.framing.pieces import PieceFraming
from fieldlog_protocol.framing.raw import RawFraming


class Framing(Protocol):
    """What a session needs of a framing.

    `checked`: whether a check value keeps damaged messages out. `ordered`: whether replies keep the order of their requests.
    `joinable`: whether several frames may be handed to the link as one. `dropped`: frames given up so far.
    """

    checked: bool
    ordered: bool
    joinable: bool
    dropped: int

    @property
    def in_flight_limit(self) -> int | None:
        """How many requests may be under way on this framing at all, None for no limit of its own."""
        ...

    def encode(self, message: bytes) -> bytes:
        """The bytes that carry one message over the link."""
        ...

    def feed(self, data: bytes, now: float) -> list[bytes]:
        """The messages that `data`, arriving at `now` (seconds, any origin), completes."""
        ...

    @property
    def partial(self) -> int:
        """How many bytes of a message have arrived that is not whole yet."""
        ...

    def take_text(self) -> bytes:
        """Console text that arrived between frames since the last call."""
        ...


__all__ = ["ConsoleFraming", "DatagramFraming", "Framing", "PieceFraming", "RawFraming", "fragments"]
