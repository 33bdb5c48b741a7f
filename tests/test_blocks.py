"""Pages and wire forms: golden bytes, check values, and blocks found again among damage."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import ENVIRONMENT, encode_series, environment_series, opening, regular_ticks, wires
from fieldlog_protocol.blocks.block import (
    BLOCK_SIZES,
    HEADER,
    MAX_WIRE_LENGTH,
    OVERHEAD,
    TRAILER,
    Block,
    BlockHeader,
    Encoding,
    Flag,
    Kind,
    block_format,
    build_block,
    has_header,
    pad,
    parse_block,
    parse_header,
    unpad,
)
from fieldlog_protocol.blocks.split import BlockSplitter, Damage, scan_image, split_blocks
from fieldlog_protocol.errors import BlockError, UsageError

HEADER_VALUE = BlockHeader(
    format=block_format(Kind.DATA),
    encoding=Encoding.PACKED,
    seq=0x01020304,
    t0=0x0A0B0C0D0E0F,
    utc=1_356_998_400,
    boot_id=0x1122,
    session=0x3344,
    stream=5,
    schema_id=6,
    n_channels=1,
    flags=Flag.GAP | Flag.CLOCK_SET,
    dropped=7,
)
GOLDEN = [
    (
        Block(HEADER_VALUE, 3, 65536, bytes.fromhex("01 64000000 03 220000000000")),
        (
            "4c42 10 01 04030201 0f0e0d0c0b0a0000 0027e250 2211 4433 05 06 01 11 0700 5c4a"
            "0164000000 03 220000000000"
            "0300 0c00 0000010000000000 0e10a20f"
        ),
    ),
    (
        Block(replace(HEADER_VALUE, format=block_format(Kind.EVENT), encoding=Encoding.RAW, flags=0), 1, 0, b""),
        (
            "4c42 12 00 04030201 0f0e0d0c0b0a0000 0027e250 2211 4433 05 06 01 00 0700 4162"
            "0100 0000 0000000000000000 481833bd"
        ),
    ),
]
blocks = st.builds(
    Block,
    st.builds(
        BlockHeader,
        format=st.sampled_from([block_format(kind) for kind in range(16)]),
        encoding=st.integers(0, 255),
        seq=st.integers(0, 2**32 - 1),
        t0=st.integers(0, 2**64 - 1),
        utc=st.integers(0, 2**32 - 1),
        boot_id=st.integers(0, 2**16 - 1),
        session=st.integers(0, 2**16 - 1),
        stream=st.integers(0, 255),
        schema_id=st.integers(0, 255),
        n_channels=st.integers(0, 255),
        flags=st.integers(0, 255),
        dropped=st.integers(0, 2**16 - 1),
    ),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=200),
)


def same(parsed: Block, block: Block) -> bool:
    return replace(parsed, header=replace(parsed.header, check=0)) == block


@pytest.mark.parametrize(("block", "text"), GOLDEN)
def test_golden_bytes_both_ways(block: Block, text: str) -> None:
    wire = bytes.fromhex(text)
    assert build_block(block).hex() == wire.hex()
    assert same(parse_block(wire), block)


@given(block=blocks, size=st.sampled_from(BLOCK_SIZES))
def test_wire_form_and_page_round_trip(block: Block, size: int) -> None:
    wire = build_block(block)
    page = pad(wire, size)
    assert len(page) == size
    assert page[: len(wire) - TRAILER.size] == wire[: -TRAILER.size]
    assert page[-TRAILER.size :] == wire[-TRAILER.size :]
    assert set(page[len(wire) - TRAILER.size : -TRAILER.size]) <= {0xFF}
    assert unpad(page) == wire
    assert same(parse_block(wire), block)
    assert parse_header(page) == parse_block(wire).header


@given(block=blocks, extra=st.binary(min_size=1, max_size=3))
def test_every_shorter_or_longer_form_is_refused(block: Block, extra: bytes) -> None:
    wire = build_block(block)
    for length in range(len(wire)):
        with pytest.raises(BlockError):
            parse_block(wire[:length])
    with pytest.raises(BlockError):
        parse_block(wire + extra)


@given(data=st.binary(max_size=300))
def test_garbage_is_a_block_error_and_nothing_else(data: bytes) -> None:
    for reader in (parse_block, parse_header, unpad):
        with pytest.raises(BlockError):
            reader(data)


def test_every_flipped_bit_of_a_header_is_seen_by_its_own_check() -> None:
    wire = bytes.fromhex(GOLDEN[0][1])
    assert has_header(wire)
    for bit in range(8 * HEADER.size):
        flipped = bytearray(wire)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not has_header(bytes(flipped))
        with pytest.raises(BlockError):
            parse_header(bytes(flipped))


def test_a_block_of_another_version_is_named_as_such() -> None:
    wire = build_block(replace(GOLDEN[0][0], header=replace(HEADER_VALUE, format=2 << 4)))
    with pytest.raises(BlockError, match="format version 2"):
        parse_block(wire)


def test_what_does_not_fit_is_a_usage_error() -> None:
    block = GOLDEN[0][0]
    with pytest.raises(UsageError):
        build_block(replace(block, payload=bytes(4049)))
    with pytest.raises(UsageError):
        build_block(replace(block, header=replace(HEADER_VALUE, seq=2**32)))
    with pytest.raises(UsageError):
        pad(build_block(replace(block, payload=bytes(300))), 256)
    with pytest.raises(UsageError):
        pad(build_block(block), 1000)


def log(count: int = 30) -> list[bytes]:
    ticks = regular_ticks(ENVIRONMENT, 86_400)
    return wires(encode_series(ENVIRONMENT, ticks, environment_series(1)))[:count]


LOG = log()


def spoiled(page: bytes, other: bytes, rng: random.Random) -> bytes:
    """A page as a power cut, a stale page or failing cells leave it."""
    style = rng.randrange(4)
    if style == 0:
        cut = rng.randrange(len(page))
        return page[:cut] + b"\xff" * (len(page) - cut)
    if style == 1:
        cut = rng.randrange(1, len(page))
        return page[:cut] + other[cut:]
    bits = bytearray(page)
    for _ in range(rng.choice((1, 1, 2, 3, 8, 40))):
        position = rng.randrange(len(bits))
        if style == 2:
            bits[position] ^= 1 << rng.randrange(8)
        else:
            bits[position] |= rng.randrange(256)
    return bytes(bits)


def padding_only(page: bytes, changed: bytes) -> bool:
    """Whether nothing but padding differs: such a page still holds its block."""
    used = OVERHEAD - TRAILER.size + int.from_bytes(page[-14:-12], "little")
    return page[:used] == changed[:used] and page[-TRAILER.size :] == changed[-TRAILER.size :]


def run_spoiling(count: int, seed: int) -> None:
    rng = random.Random(seed)
    pages = [pad(wire, 1024) for wire in LOG]
    for number in range(count):
        page, other = rng.sample(pages, 2)
        changed = spoiled(page, other, rng)
        try:
            wire = unpad(changed)
        except BlockError:
            continue
        whole = padding_only(page, changed) or padding_only(other, changed)
        assert whole, f"seed {seed}: spoiled page {number} was accepted"
        assert wire in {unpad(page), unpad(other)}


def test_spoiled_pages_are_never_accepted() -> None:
    run_spoiling(1000, seed=11)


@pytest.mark.faults
def test_spoiled_pages_are_never_accepted_in_the_full_campaign() -> None:
    run_spoiling(20_000, seed=12)


def test_blocks_end_to_end_are_split() -> None:
    split = split_blocks(b"".join(LOG))
    assert split.blocks == LOG
    assert split.consumed == sum(map(len, LOG))
    assert split.damage == []


def test_an_unfinished_block_waits_or_is_damage() -> None:
    buffer = LOG[0] + LOG[1][:-1]
    assert split_blocks(buffer).consumed == len(LOG[0])
    final = split_blocks(buffer, final=True)
    assert final.blocks == [LOG[0]]
    assert final.damage == [Damage(len(LOG[0]), len(LOG[1]) - 1)]


def test_pieces_of_any_size_give_the_same_blocks() -> None:
    data = b"".join(LOG[:6])
    for size in (1, 7, 100, 5000):
        splitter = BlockSplitter()
        found = [block for at in range(0, len(data), size) for block in splitter.feed(data[at : at + size])]
        assert found == LOG[:6]
        assert (splitter.pending, splitter.damaged) == (0, 0)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_damage_in_between_costs_only_what_it_hit(seed: int) -> None:
    rng = random.Random(seed)
    pieces = list(LOG[:12])
    hurt = sorted(rng.sample(range(12), 3))
    for index in hurt:
        block = bytearray(pieces[index])
        style = rng.randrange(3)
        if style == 0:
            block[rng.randrange(len(block))] ^= 1 << rng.randrange(8)
        elif style == 1:
            del block[rng.randrange(len(block)) :]
        else:
            block[rng.randrange(len(block)) :] = rng.randbytes(rng.randrange(3000))
        pieces[index] = bytes(block)
    data = b"".join(pieces)
    whole = [block for index, block in enumerate(LOG[:12]) if index not in hurt or pieces[index] == block]
    split = split_blocks(data, final=True)
    assert split.blocks == whole
    assert sum(map(len, whole)) + sum(damage.length for damage in split.damage) == len(data) == split.consumed
    assert fed(data, rng.choice((13, 50, 700, 4096))) == whole


def fed(data: bytes, size: int) -> list[bytes]:
    splitter = BlockSplitter()
    found: list[bytes] = []
    for at in range(0, len(data), size):
        found += splitter.feed(data[at : at + size])
        assert splitter.pending < MAX_WIRE_LENGTH
    return found + splitter.feed(b"", final=True)


@given(data=st.binary(max_size=2000), size=st.integers(1, 500))
def test_garbage_is_skipped_and_never_hoarded(data: bytes, size: int) -> None:
    assert fed(data, size) == []


def test_many_headers_without_a_block_cost_bounded_work() -> None:
    headers = LOG[0][: HEADER.size] * 4000
    split = split_blocks(headers)
    assert split.blocks == []
    assert len(headers) - split.consumed < MAX_WIRE_LENGTH


def test_a_block_inside_a_block_is_its_payload() -> None:
    inner = build_block(GOLDEN[0][0])
    outer = build_block(replace(GOLDEN[0][0], payload=inner * 3))
    assert split_blocks(outer + inner).blocks == [outer, inner]


def test_a_flash_dump_yields_its_whole_pages() -> None:
    rng = random.Random(5)
    pages = [pad(wire, 1024) for wire in LOG]
    image = bytearray(b"\xff" * 1024 + b"".join(pages) + b"\xff" * 2048)
    image[5 * 1024 + 40] ^= 4
    image[9 * 1024 : 10 * 1024] = rng.randbytes(1024)
    found = dict(scan_image(bytes(image), 1024))
    assert found == {(i + 1) * 1024: wire for i, wire in enumerate(LOG) if i + 1 not in {5, 9}}
    assert has_header(pages[0])
    assert not has_header(pages[0], 1)


def test_openings_default_to_a_data_block_of_this_version() -> None:
    assert (opening().kind, opening().version) == (Kind.DATA, 1)
