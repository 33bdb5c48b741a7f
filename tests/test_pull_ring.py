"""The pull from a ring that goes on overwriting while it is read: what was lost is told by seq, exactly, and kept."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

import fieldlog.archive
from fieldlog.archive.log import OVERWRITTEN
from fieldlog.connection import connect
from fieldlog.pull import PullResult, pull
from fieldlog_protocol.blocks.block import Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.blocks.events import Mark, TimedEvent, encode_events
from fieldlog_protocol.commands import logger
from smp_peer import Peer, pty_peer

CAPACITY = 40
UID = bytes(range(8))


class Ring:
    """The newest CAPACITY blocks of a log. At every request for blocks the device may write some, and forget as many;
    in `open` is a block that was begun long ago and is sealed some time, between others."""

    def __init__(self, peer: Peer, seed: int, haste: float) -> None:
        self._dice = Random(seed)
        self.haste = haste
        self.written: dict[int, bytes] = {}
        self.held: list[int] = []
        self.next = 0
        self.open: int | None = None
        self.late: set[int] = set()
        self.write(CAPACITY)
        peer.on(logger.INFO, self._info)
        peer.on(logger.SEAL, lambda _: {"next": self.next})
        peer.on(logger.SESSIONS, lambda _: {"n": 0, "s": []})
        peer.on(logger.CLOCK_PROBE, lambda _: {"boot": 1, "rx": 1000, "tx": 1000})
        peer.on(logger.BLOCKS, self._blocks)

    def write(self, count: int) -> None:
        for _ in range(count):
            seq, self.next = self.next, self.next + 1
            if self.open is None and self._dice.random() < 0.05:
                self.open = seq
            else:
                self._seal(seq)

    def _seal(self, seq: int) -> None:
        payload = encode_events([TimedEvent(seq, Mark("x" * self._dice.randrange(1, 400)))])
        header = BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=seq, boot_id=1)
        self.written[seq] = build_block(Block(header, 1, 0, payload))
        self.held = [*self.held, seq][-CAPACITY:]

    def _info(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body.get("p", 0):
            return {"parts": 2, "uid": UID, "log": 7, "block": 512, "serial": "S1"}
        opened = [self.open] if self.open is not None else []
        state = {"first": min(self.held), "next": self.next, "open": opened, "used": 1, "total": 2}
        return {"parts": 2, "boot": 1, "tick": 5, "state": 0, **state}

    def _blocks(self, body: dict[str, Any]) -> dict[str, Any]:
        if self._dice.random() < self.haste:
            self.write(self._dice.randrange(1, 12))
        if self.open is not None and self._dice.random() < 0.1:
            self._seal(self.open)
            self.late.add(self.open)
            self.open = None
        stream = b"".join(self.written[seq] for seq in sorted(self.held) if seq >= body["q"])
        data = stream[body["o"] : body["o"] + body["n"]]
        return {"q": body["q"], "o": body["o"], "f": min(self.held), "d": data}


async def read_out(ring_seed: int, haste: float, folder: Path) -> tuple[Ring, list[PullResult], set[int], list[int]]:
    """Two pulls, the first while the ring turns: the ring, what they told, the seqs held, and those of all gap rows."""
    with pty_peer() as port, fieldlog.archive.open(folder) as archive:
        ring = Ring(port.peer, ring_seed, haste)
        async with connect(f"serial:{port.path}") as device:
            results = [await pull(device, archive)]
            ring.haste = 0.0
            results.append(await pull(device, archive))
        (log,) = archive.logs()
        held = set(range(ring.next)) - {seq for part in log.absent(0, ring.next) for seq in part}
        # behind a block that was open for long and is held still, the first seq held does not tell why others are not
        assert all(gap.reason == OVERWRITTEN or ring.late & set(range(gap.first_seq)) for gap in log.gaps())
        noted = [seq for gap in log.gaps() for seq in range(gap.first_seq, gap.last_seq + 1)]
        assert {row[-1] for row in log.stored_blocks()} <= set(ring.written.values())
    return ring, results, held, noted


@pytest.mark.parametrize("seed", range(20))
async def test_what_the_ring_overwrote_is_told_by_seq_and_all_else_is_there(seed: int, tmp_path: Path) -> None:
    ring, results, held, noted = await read_out(seed, 0.05 + 0.03 * seed, tmp_path)
    told_once = [seq for result in results for part in result.lost for seq in part]
    told, gaps = set(told_once), set(noted)
    pending = set(results[-1].open_seqs)
    assert told == gaps, f"seed {seed}"
    assert held | gaps | pending == set(range(ring.next)), f"seed {seed}: nothing is passed over in silence"
    assert not gaps & set(ring.held), f"seed {seed}: what the device still holds is not lost"
    assert not gaps & (held | pending), f"seed {seed}"
    assert len(told_once) == len(told), f"seed {seed}: no pull tells again what one before told"
    assert len(noted) == len(gaps), f"seed {seed}: each seq stands in one gap"
    if seed > 10:
        assert gaps, f"seed {seed}: the ring was faster than the line"
