"""How far a session had come before a restart, by what the log holds of it."""

from __future__ import annotations

from dataclasses import dataclass

from fieldlog_protocol.blocks.block import Block, Kind, parse_block
from fieldlog_protocol.blocks.events import Metadata, SessionStart, decode_events
from fieldlog_protocol.commands.logger import SessionInfo
from fieldlog_sim.log_store import LogStore


@dataclass(slots=True)
class Progress:
    """`announced`: the log says that the session has begun. `ticks`: for how long it recorded. `noted_seq`: where the
    deployment's metadata was noted last, or the session began."""

    noted_seq: int
    frames: int = 0
    ticks: int = 0
    announced: bool = False


def progress_on_flash(store: LogStore, running: SessionInfo) -> Progress:
    """What was sealed of a session; what was open when power went is lost."""
    found = Progress(running.first)
    ends: dict[int, int] = {}
    for seq in range(max(running.first, store.first_seq), store.next_seq):
        wire = store.block(seq)
        block = None if wire is None else parse_block(wire)
        if block is None or block.header.session != running.id:
            continue
        if block.header.kind == Kind.DATA:
            found.frames += block.n_frames
            boot = block.header.boot_id
            ends[boot] = max(ends.get(boot, 0), block.header.t0 + block.span)
        if block.header.kind == Kind.EVENT:
            _note_events(found, block, running.id)
    found.ticks = sum(end - (running.start if boot == running.boot else 0) for boot, end in ends.items())
    return found


def _note_events(found: Progress, block: Block, session: int) -> None:
    for _, event in decode_events(block.payload):
        found.announced |= isinstance(event, SessionStart) and event.id == session
        if isinstance(event, Metadata):
            found.noted_seq = block.header.seq
