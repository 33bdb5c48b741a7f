"""The log on flash: the ring, what is read out of it, and every loss of power on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import opening
from fieldlog_protocol.blocks.block import Block, BlockHeader, build_block, pad, parse_header
from fieldlog_protocol.blocks.split import scan_image, split_blocks
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.log_pages import LogPages
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.nor_flash import NorFlash, Partition, PowerCut
from fieldlog_sim.store_errors import StoreFull

SECTOR = 4096


def log_partition(sectors: int, seed: int = 0) -> Partition:
    """A log that does not begin where its chip begins."""
    flash = NorFlash((sectors + 3) * SECTOR, seed=seed)
    return Partition(flash, 2 * SECTOR, sectors * SECTOR)


def page(seq: int, fill: random.Random, size: int = 1024) -> bytes:
    payload = fill.randbytes(fill.choice((0, 100, size - 48, fill.randrange(size - 48))))
    return pad(build_block(Block(opening(seq), 1, 0, payload)), size)


def append(store: LogStore, fill: random.Random, seq: int | None = None) -> bytes:
    """Open and seal a block at once, or seal the one of this seq; its wire form."""
    block = page(store.open_seq() if seq is None else seq, fill, store.block_size)
    store.append(block)
    return next(wire for _, wire in scan_image(block, store.block_size))


class Model:
    """What a log should hold, kept in the order of sealing."""

    def __init__(self, store: LogStore, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.sealed: list[tuple[int, bytes]] = []

    def step(self) -> None:
        """Open blocks, or seal any open one; never let one lag more than it may."""
        late = [seq for seq in self.store.open_seqs if self.store.next_seq - seq >= self.store.pages.max_lag]
        if late or (self.store.open_seqs and self.rng.random() < 0.6):
            seq = late[0] if late else self.rng.choice(self.store.open_seqs)
            self.sealed.append((seq, append(self.store, self.rng, seq)))
        else:
            self.store.open_seq()

    def held(self) -> list[tuple[int, bytes]]:
        """What is still held, after proof that it is the newest part of what was sealed."""
        held = [(seq, wire) for seq, wire in self.sealed if self.store.block(seq) is not None]
        assert held == self.sealed[len(self.sealed) - len(held) :]
        assert all(self.store.block(seq) == wire for seq, wire in held)
        pages = self.store.pages
        assert len(held) >= min(len(self.sealed), pages.count - 2 * pages.per_sector)
        return held


@given(
    seed=st.integers(0, 2**32),
    sectors=st.sampled_from([4, 5, 8, 13]),
    size=st.sampled_from([512, 1024, 4096]),
    steps=st.integers(0, 400),
)
@settings(deadline=None, max_examples=60)
def test_any_mixture_of_open_blocks_survives_mounting_again(seed: int, sectors: int, size: int, steps: int) -> None:
    partition = log_partition(sectors)
    model = Model(LogStore(partition, size), seed)
    for _ in range(steps):
        model.step()
    held = model.held()
    again = LogStore(partition, size)
    assert all(again.block(seq) == wire for seq, wire in held)
    assert again.first_seq == min((seq for seq, _ in held), default=again.next_seq)
    assert again.bytes_used == len(held) * size <= again.bytes_total + SECTOR
    assert again.next_seq == max((seq for seq, _ in model.sealed), default=-1) + 1
    assert read_all(again, 0) == b"".join(wire for _, wire in sorted(held))
    model.store = again
    for _ in range(30):
        model.step()
    model.held()


def read_all(store: LogStore, seq: int, length: int = 777) -> bytes:
    pieces: list[bytes] = []
    while piece := store.read_stream(seq, sum(map(len, pieces)), length)[0]:
        pieces.append(piece)
    return b"".join(pieces)


@given(seed=st.integers(0, 2**32), data=st.data())
@settings(deadline=None, max_examples=40)
def test_any_window_of_the_stream_is_what_is_held_in_order_of_seq(seed: int, data: st.DataObject) -> None:
    model = Model(LogStore(log_partition(6)), seed)
    for _ in range(60):
        model.step()
    for _ in range(20):
        seq, offset, length = data.draw(st.tuples(st.integers(0, 45), st.integers(0, 30_000), st.integers(1, 5000)))
        whole = b"".join(wire for number, wire in sorted(model.held()) if number >= seq)
        assert model.store.read_stream(seq, offset, length) == (whole[offset : offset + length], model.store.first_seq)
        model.step()


def test_a_slow_block_is_read_by_its_seq_and_moves_nothing_behind_it() -> None:
    store, fill = LogStore(log_partition(8)), random.Random(1)
    slow = store.open_seq()
    fast = [append(store, fill) for _ in range(5)]
    before, _ = store.read_stream(0, 0, 100_000)
    assert split_blocks(before).blocks == fast
    sealed = append(store, fill, slow)
    after, first = store.read_stream(0, 0, 100_000)
    assert after == sealed + before
    assert store.read_stream(slow, 0, len(sealed))[0] == sealed
    assert store.read_stream(1, 0, 100_000)[0] == before
    assert first == slow == 0


def test_an_empty_log() -> None:
    store = LogStore(log_partition(4))
    assert (store.first_seq, store.next_seq, store.open_seqs, store.bytes_used) == (0, 0, (), 0)
    assert store.read_stream(0, 0, 100) == (b"", 0)
    assert store.block(0) is None
    assert store.open_seq() == 0
    assert (store.first_seq, store.next_seq, store.open_seqs) == (0, 1, (0,))


def test_the_ring_overwrites_the_oldest_and_says_so() -> None:
    store, fill = LogStore(log_partition(4)), random.Random(2)
    wires = [append(store, fill) for _ in range(100)]
    assert store.first_seq >= 100 - 16
    assert store.block(store.first_seq - 1) is None
    data, first = store.read_stream(0, 0, 100_000)
    assert split_blocks(data).blocks == wires[first:]


def test_a_full_log_keeps_what_was_not_released() -> None:
    partition = log_partition(4)
    store, fill = LogStore(partition, wrap=False), random.Random(3)
    wires = [append(store, fill) for _ in range(16)]
    assert not store.has_room(1)
    for mounted in (store, LogStore(partition, wrap=False)):
        with pytest.raises(StoreFull, match="kept"):
            append(mounted, fill)
        assert [mounted.block(seq) for seq in range(16)] == wires
    store = LogStore(partition, wrap=False, released=3)
    assert not store.has_room(1)
    store.released = 9
    assert store.has_room(8)
    assert not store.has_room(9)
    wires += [append(store, fill) for _ in range(8)]
    assert not store.has_room(1)
    with pytest.raises(StoreFull):
        append(store, fill)
    again = LogStore(partition, wrap=False, released=9)
    assert [again.block(seq) for seq in range(8, 24)] == wires[8:]
    again.wrap = True
    append(again, fill)
    assert again.block(23) == wires[23]


def test_only_blocks_that_were_opened_can_be_appended() -> None:
    store, fill = LogStore(log_partition(4)), random.Random(4)
    append(store, fill)
    for seq in (0, 1, 7):
        with pytest.raises(UsageError, match="not one that was opened"):
            store.append(page(seq, fill))
    with pytest.raises(UsageError):
        LogStore(log_partition(3))
    with pytest.raises(UsageError):
        LogStore(log_partition(4), 3000)


def test_wear_is_spread_over_all_sectors() -> None:
    partition = log_partition(5)
    store, fill = LogStore(partition), random.Random(5)
    for _ in range(20 * 30):
        append(store, fill)
    wear = partition.flash.wear[2:7]
    assert max(wear) - min(wear) <= 1


class CountedReads(LogPages):
    def __init__(self, partition: Partition, block_size: int) -> None:
        super().__init__(partition, block_size)
        self.reads = 0

    def header(self, page: int) -> BlockHeader | None:
        self.reads += 1
        return super().header(page)


@pytest.mark.parametrize("blocks", [50, 4000, 4100, 7000])
def test_the_newest_end_is_found_with_few_reads(blocks: int) -> None:
    partition = log_partition(1024)
    store, fill = LogStore(partition), random.Random(6)
    for _ in range(blocks):
        append(store, fill)
    pages = CountedReads(partition, 1024)
    assert pages.tail() == (blocks - 1) // 4 % 1024
    assert pages.reads < 60


def campaign_step(store: LogStore, rng: random.Random, sealed: list[tuple[int, bytes]]) -> None:
    """One block opened and one sealed, noted only once the store says that it is safe."""
    store.open_seq()
    seq = rng.choice(store.open_seqs[:3])
    if store.next_seq - store.open_seqs[0] >= store.pages.max_lag:
        seq = store.open_seqs[0]
    block = page(seq, rng)
    sealed.append((seq, block))
    store.append(block)


def run_until_cut(partition: Partition, cut: int, seed: int, sealed: list[tuple[int, bytes]], steps: int) -> bool:
    """Whether the power was cut: then the last block of `sealed` may be there or not."""
    rng = random.Random(seed)
    partition.flash.cut_after = cut
    try:
        store = LogStore(partition)
        for _ in range(steps):
            campaign_step(store, rng, sealed)
    except PowerCut:
        return True
    finally:
        partition.flash.power_on()
    return False


def check_mounted(partition: Partition, sealed: list[tuple[int, bytes]], torn: int, note: str) -> None:
    """All that was sealed is there but what the ring needed, nothing else is, and seq goes on behind it."""
    store = LogStore(partition)
    wires = {seq: next(wire for _, wire in scan_image(block, 1024)) for seq, block in sealed}
    found = {parse_header(wire).seq: wire for wire in split_blocks(read_all(store, 0), final=True).blocks}
    assert found.items() <= wires.items(), f"{note}: a block that was never sealed"
    certain = sealed if not torn else sealed[:-1]
    room = store.pages.count - 2 * store.pages.per_sector - torn
    lost = [seq for seq, _ in certain[max(0, len(certain) - room) :] if seq not in found]
    assert not lost, f"{note}: sealed blocks {lost} are gone"
    assert store.next_seq > max((seq for seq, _ in certain), default=-1), f"{note}: a seq would come twice"
    assert store.next_seq > max(found, default=-1)


def one_cut(cut: int, steps: int = 150) -> bool:
    partition = log_partition(8, seed=cut)
    sealed: list[tuple[int, bytes]] = []
    was_cut = run_until_cut(partition, cut, 7, sealed, steps)
    check_mounted(partition, sealed, int(was_cut), f"cut at operation {cut}")
    if was_cut and LogStore(partition).block(sealed[-1][0]) is None:
        sealed.pop()
    assert not run_until_cut(partition, 10**9, cut, sealed, 40)
    check_mounted(partition, sealed, 0 if not was_cut else 1, f"after the cut at operation {cut}")
    return was_cut


def operations(steps: int = 150) -> int:
    partition = log_partition(8)
    run_until_cut(partition, 10**9, 7, [], steps)
    return partition.flash.operations


def test_power_cut_at_some_operations_of_a_recording() -> None:
    total = operations()
    assert total > 300
    for cut in sorted(random.Random(8).sample(range(1, total + 1), 60)):
        assert one_cut(cut)


@pytest.mark.faults
def test_power_cut_at_every_operation_of_a_recording(record_property: Callable[[str, object], None]) -> None:
    total = operations()
    for cut in range(1, total + 1):
        assert one_cut(cut)
    record_property("cuts", total)


def run_many_cuts(seed: int, cuts: int) -> None:
    """Cut after cut on one log; the seed decides where each one falls."""
    rng = random.Random(seed)
    partition = log_partition(16, seed=seed)
    sealed: list[tuple[int, bytes]] = []
    for number in range(cuts):
        run_until_cut(partition, rng.randrange(1, 60), rng.randrange(2**32), sealed, 1000)
        check_mounted(partition, sealed, min(number + 1, 20), f"seed {seed}, cut {number}")
        if LogStore(partition).block(sealed[-1][0]) is None:
            sealed.pop()


def test_power_cuts_one_after_the_other() -> None:
    run_many_cuts(seed=9, cuts=30)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_power_cuts_one_after_the_other_in_the_full_campaign(seed: int) -> None:
    run_many_cuts(seed=100 + seed, cuts=40)


def filled(seed: int = 0, blocks: int = 45) -> Partition:
    partition = log_partition(6, seed=seed)
    store, fill = LogStore(partition), random.Random(10)
    for _ in range(blocks):
        append(store, fill)
    return partition


@pytest.mark.parametrize("blocks", [0, 1, 3, 4, 20, 45, 200])
def test_erasing_begins_anew_behind_the_seq_reached(blocks: int) -> None:
    partition = filled(blocks=blocks)
    store, fill = LogStore(partition), random.Random(11)
    witness = page(store.open_seq(), fill)
    store.erase_all(witness)
    for mounted in (store, LogStore(partition)):
        assert mounted.first_seq == blocks
        assert mounted.next_seq == blocks + 1
        assert mounted.bytes_used == 1024
    assert sum(1 for _ in scan_image(partition.read(0, partition.size), 1024)) == 1
    append(store, fill)
    assert LogStore(partition).next_seq == blocks + 2


def test_power_cut_at_every_operation_of_an_erase() -> None:
    clean = filled()
    before = clean.flash.operations
    store = LogStore(clean)
    store.erase_all(page(store.open_seq(), random.Random(11)))
    total = clean.flash.operations - before
    assert total >= 6
    for seed in range(6 * total):
        cut = seed % total + 1
        partition = filled(seed=seed)
        partition.flash.cut_after = cut
        store = LogStore(partition)
        with pytest.raises(PowerCut):
            store.erase_all(page(store.open_seq(), random.Random(11)))
        partition.flash.power_on()
        again = LogStore(partition)
        assert again.next_seq >= 45, f"cut at operation {cut}: seqs would come twice"
        held = [parse_header(wire).seq for wire in split_blocks(read_all(again, 0), final=True).blocks]
        assert held == sorted(held)
        assert all(seq <= 45 for seq in held)
        witness = page(again.open_seq(), random.Random(12))
        again.erase_all(witness)
        assert LogStore(partition).bytes_used == 1024


@pytest.mark.parametrize("blocks", [5, 8, 13, 30])
def test_a_log_of_mostly_torn_pages_is_still_mounted(blocks: int) -> None:
    """So few seqs to a sector that the search by halves goes wrong; what lies behind its answer gives it away."""
    partition, fill = log_partition(8), random.Random(14)
    wires: list[bytes] = []
    for _ in range(blocks):
        wires.append(append(LogStore(partition), fill))
        for _ in range(3):
            head = LogStore(partition)._head
            if head % 4:
                partition.program(head * 1024, b"torn")
    store = LogStore(partition)
    assert store.next_seq == blocks
    assert [store.block(seq) for seq in range(max(0, blocks - 6), blocks)] == wires[-6:]


def test_a_header_alone_is_no_block() -> None:
    partition = log_partition(4)
    store, fill = LogStore(partition), random.Random(13)
    append(store, fill)
    partition.program(1024, page(1, fill)[:600])
    again = LogStore(partition)
    assert again.block(1) is None
    assert again.next_seq == 2
    wire = append(again, fill)
    assert partition.read(2048, 32) == wire[:32]
    assert replace(parse_header(wire), check=0).seq == 2
