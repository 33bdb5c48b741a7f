"""What a transport is: the smallest contract that works.

Rule: a transport moves bytes and knows nothing of what they mean. It says what is wrong with the link in words that
its user understands, because nobody above knows what the link is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fieldlog_protocol.errors import LinkError


class Sink(Protocol):
    """Whoever takes what a transport delivers. Both methods are called in the event loop and must not block."""

    def received(self, data: bytes) -> None:
        """Bytes arrived: any piece of a stream, or one whole datagram."""
        ...

    def lost(self, error: LinkError) -> None:
        """The link is gone; called at most once for each `open`, and never after `close`."""
        ...


class Transport(Protocol):
    """A way to move bytes to one device and back.

    `name` is what sentences call it, such as `/dev/ttyACM0`. `mtu` is the longest piece that a datagram may be, None
    for streams. Opening again after a loss is allowed, and is how a device that restarts is found again.
    """

    @property
    def name(self) -> str: ...

    @property
    def mtu(self) -> int | None: ...

    async def open(self, sink: Sink) -> None:
        """Open or open again; raises DeviceNotFound or LinkError."""
        ...

    def send(self, data: bytes) -> None:
        """Send bytes, or one datagram; what the link cannot take at once waits in a queue."""
        ...

    async def close(self) -> None:
        """Release everything; harmless when nothing is open."""
        ...


@dataclass(frozen=True, slots=True)
class Tuning:
    """What both ends of a link must agree on, as far as a transport can choose it: else None."""

    baud: int | None = None
    port: int | None = None
    """Of UDP."""

    def __str__(self) -> str:
        words = [f"{self.baud} baud" if self.baud else "", f"UDP port {self.port}" if self.port else ""]
        return ", ".join(filter(None, words))

    def adopting(self, wanted: Tuning) -> Tuning:
        """This one with what is wanted, where it has such a thing at all."""
        return Tuning(
            baud=None if self.baud is None else wanted.baud or self.baud,
            port=None if self.port is None else wanted.port or self.port,
        )


@runtime_checkable
class Tunable(Protocol):
    """A transport whose end of the link can be changed to match the device's."""

    @property
    def tuning(self) -> Tuning: ...

    def tune(self, tuning: Tuning) -> None:
        """Use this from the next opening on."""
        ...


@runtime_checkable
class Keeping(Protocol):
    """A transport that keeps something from one opening to the next."""

    async def release(self) -> None:
        """Close, and give that back; harmless when nothing is kept."""
        ...


@runtime_checkable
class Piecewise(Protocol):
    """A transport that carries messages of any length in pieces of its own, each message apart, in order."""

    @property
    def pieces(self) -> bool:
        """Whether it does so at all."""
        ...

    @property
    def piece_size(self) -> int:
        """Bytes in a piece, 0 while that is not known."""
        ...


def piece_of(transport: Transport) -> int:
    """Bytes in a piece of this transport, 0 where there are none."""
    return transport.piece_size if isinstance(transport, Piecewise) and transport.pieces else 0
