"""What a link drives: the device's end of one line. This file holds contracts only.

Time is an argument everywhere, in monotonic seconds, and comes from the line's schedule: it may lie a little before
the moment of the call, never before that of the call before.
"""

from __future__ import annotations

from typing import Protocol


class Port(Protocol):
    """One request at a time, as Zephyr's workqueue has it: `serve` again only after `sent`."""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the host: any piece of the stream, or one whole datagram."""
        ...

    def serve(self, now: float) -> bytes | None:
        """Process one waiting request, or text that waits to be printed, and return the bytes to send; None when
        nothing waits."""
        ...

    def sent(self, now: float) -> None:
        """The bytes of the last `serve` have left the line."""
        ...

    def wake_at(self) -> float | None:
        """When `serve` is wanted though nothing was received; None for never."""
        ...

    def link_up(self) -> None:
        """Somebody listens from now on. It may be said twice."""
        ...

    def link_down(self) -> None:
        """The other end went away: what was half received will not be completed."""
        ...


class Link(Protocol):
    """A place where a host can reach a device. It drives its port until it is closed."""

    @property
    def address(self) -> str:
        """The URL at which `fieldlog` reaches it."""
        ...

    async def run(self) -> None:
        """Serve until `close`. What the port raises comes out of here."""
        ...

    def poke(self) -> None:
        """Ask the port again when it wants to be woken: something outside the link has changed it."""
        ...

    def close(self) -> None: ...
