"""Blocks cut out of a stream that comes in pieces: the same ones as when all of it is looked at at once."""

from __future__ import annotations

from random import Random

import pytest

from fieldlog_protocol.blocks.block import MAX_WIRE_LENGTH, Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.blocks.split import BlockSplitter, split_blocks


def stream(dice: Random) -> bytes:
    """Blocks end to end, some of them with what looks like the beginning or the end of another in them."""
    payloads = [dice.randbytes(dice.randrange(600)) for _ in range(30)]
    payloads[3] = b"LB" * 200
    payloads[7] = build_block(Block(BlockHeader(format=block_format(Kind.EVENT), seq=7, t0=0, boot_id=1), 0, 0, b"in"))
    headers = [BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=0, boot_id=1) for seq in range(30)]
    return b"".join(build_block(Block(header, 1, 0, body)) for header, body in zip(headers, payloads, strict=True))


def spoil(data: bytes, dice: Random, times: int) -> bytes:
    spoiled = bytearray(data)
    for _ in range(times):
        at = dice.randrange(len(spoiled))
        kind = dice.randrange(3)
        if kind == 0:
            spoiled[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del spoiled[at : at + dice.randrange(300)]
        else:
            spoiled[at:at] = dice.randbytes(dice.randrange(2 * MAX_WIRE_LENGTH))
    return bytes(spoiled)


def in_pieces(data: bytes, dice: Random) -> tuple[list[bytes], int]:
    splitter, blocks, at = BlockSplitter(), list[bytes](), 0
    while at < len(data):
        size = dice.randrange(1, 3000)
        blocks += splitter.feed(data[at : at + size])
        assert splitter.pending < MAX_WIRE_LENGTH, "what is kept back is bounded"
        at += size
    return blocks + splitter.feed(b"", final=True), splitter.damaged


@pytest.mark.parametrize("seed", range(60))
def test_pieces_make_no_difference(seed: int) -> None:
    dice = Random(seed)
    data = spoil(stream(dice), dice, seed % 5)
    whole = split_blocks(data, final=True)
    blocks, damaged = in_pieces(data, dice)
    assert blocks == whole.blocks, f"seed {seed}"
    assert damaged == sum(part.length for part in whole.damage) == len(data) - sum(map(len, blocks)), f"seed {seed}"


def test_a_whole_block_is_there_at_once_and_not_when_the_next_one_comes() -> None:
    splitter = BlockSplitter()
    data = stream(Random(0))
    assert len(splitter.feed(data)) == 30
    assert splitter.pending == 0
