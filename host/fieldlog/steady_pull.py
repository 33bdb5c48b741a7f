"""A pull over a link that may break: it is opened again, and the pull goes on where it was.

Rule: where it was is in the archive, so a pull that goes on is one like any other. It goes on with the same logger only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fieldlog.archive.store import Archive
from fieldlog.device import Device
from fieldlog.pull import Progress, PullProgress, PullResult, pull
from fieldlog.steady_link import OtherDevice, SteadyLink, say_nothing
from fieldlog_protocol.errors import LinkError, NotPaired

_MOST_BREAKS = 4
"""So often in a row may the link break without a block having come in between."""
_NOTHING = PullProgress(bytes=0, total_bytes=0, blocks=0, total_blocks=0, readings=0, uid="")


async def pull_steadily(
    device: Device,
    archive: Archive,
    reconnect_s: float,
    *,
    seal: bool = True,
    progress: Progress | None = None,
    tell: Callable[[str], None] = say_nothing,
) -> PullResult:
    """`pull`; a link that breaks is opened again, each time for at most `reconnect_s`, 0 for not at all.

    `tell` is called with a loss, in words. Raises what `pull` raises, and OtherDevice if another logger answers then.
    """
    work = _Work(device, archive, seal, progress)
    link = SteadyLink(device, reconnect_s, tell=tell)
    breaks = 0
    while True:
        before = work.arrived.blocks
        try:
            return await work.pull()
        except NotPaired:
            raise
        except LinkError as error:
            breaks = 1 if work.arrived.blocks > before else breaks + 1
            if not reconnect_s or breaks > _MOST_BREAKS:
                raise
            await link.reconnect(error)


@dataclass(slots=True)
class _Work:
    """`arrived` counts all that came, over all breaks."""

    device: Device
    archive: Archive
    seal: bool
    progress: Progress | None
    arrived: PullProgress = _NOTHING

    async def pull(self) -> PullResult:
        before = self.arrived
        if before.uid:
            await self._require_same(before.uid)

        def progressed(now: PullProgress) -> None:
            self.arrived = _sum(before, now)
            if self.progress is not None:
                self.progress(self.arrived)

        result = await pull(self.device, self.archive, seal=self.seal, progress=progressed)
        result.bytes += before.bytes
        result.blocks += before.blocks
        result.readings += before.readings
        return result

    async def _require_same(self, uid: str) -> None:
        found = (await self.device.logger_info()).uid.hex()
        if found != uid:
            raise OtherDevice(
                f"another logger is at {self.device.name} now: {found} instead of {uid}. Nothing of it was "
                "read; what had arrived of the first one is in the archive"
            )


def _sum(before: PullProgress, now: PullProgress) -> PullProgress:
    return replace(
        now,
        bytes=before.bytes + now.bytes,
        total_bytes=before.bytes + now.total_bytes,
        blocks=before.blocks + now.blocks,
        total_blocks=before.blocks + now.total_blocks,
        readings=before.readings + now.readings,
    )
