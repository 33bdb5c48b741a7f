"""Slow streams: what was taken is on flash, whatever happens to the power next; a cut costs one reading at most."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import encode_series, opening, regular_ticks, stream_of
from fieldlog_protocol.blocks.block import (
    HEADER,
    TICK_HZ,
    TRAILER,
    Block,
    Encoding,
    Kind,
    build_block,
    pad,
    parse_block,
    parse_header,
)
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.rawc import RESOLUTION, check_value, recover
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Schema, Stream
from fieldlog_protocol.blocks.split import scan_image, split_blocks
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.log_store import LogStore
from fieldlog_sim.nor_flash import NorFlash, Partition, PowerCut
from fieldlog_sim.recorder import Recorder

PERIOD_S = 600
SOIL = Stream(2, "soil", PERIOD_S * 1_000_000, (Channel("moisture", "%", ChannelType.U16, exponent=-1),))
NOISE = Stream(1, "noise", 1_000_000, (Channel("level", "1", ChannelType.I32),))
SCHEMA = Schema(b"\x01" * 8, 77, "1.0.0", "logger", 5, (NOISE, SOIL))


# -- the encoding


def test_the_check_value_is_that_of_the_specification() -> None:
    assert check_value(b"123456789") == 0xDF
    assert check_value(bytes.fromhex("00000000")) == 0x12
    assert 0xFF not in {check_value(number.to_bytes(2, "big")) for number in range(65536)}


def rawc_block() -> Block:
    stream = stream_of([ChannelType.I16], period_us=60_000_000)
    ticks = regular_ticks(stream, 3)
    columns = [np.array([1, -2, 300], np.int16)]
    (block,) = encode_series(stream, ticks, columns, 256, BlockEncoder(stream, 256, Encoding.RAWC))
    frames = decode_frames([build_block(block)], stream)
    assert (frames.ticks.tolist(), frames.columns[0].tolist()) == (ticks.tolist(), [1, -2, 300])
    return block


def test_golden_payload() -> None:
    block = rawc_block()
    body = [bytes.fromhex(text) for text in ("00000000 0100", "00f00000 feff", "00e00100 2c01")]
    assert block.payload == b"\x07\x00" + b"".join(frame + bytes([check_value(frame)]) for frame in body)
    assert (block.n_frames, block.span, block.header.n_channels) == (3, 2 * 60 * TICK_HZ, 2)


@given(
    types=st.lists(st.sampled_from(list(ChannelType)), min_size=1, max_size=6),
    count=st.integers(1, 200),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=40)
def test_round_trip_frame_by_frame_and_in_bulk(types: list[ChannelType], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = stream_of(types, period_us=PERIOD_S * 1_000_000)
    columns = [rng.integers(0, 2, count).astype(type_.dtype) for type_ in types]
    ticks = regular_ticks(stream, count) + rng.integers(0, 100, count)
    blocks = encode_series(stream, ticks, columns, 256, BlockEncoder(stream, 256, Encoding.RAWC))
    frames = decode_frames([build_block(block) for block in blocks], stream)
    assert np.abs(frames.ticks - ticks).max() < RESOLUTION
    assert [column.tolist() for column in frames.columns] == [column.tolist() for column in columns]
    encoder = BlockEncoder(stream, 256, Encoding.RAWC)
    first = next(
        n for n in range(count + 1) if n == count or not encoder.push(int(ticks[n]), [c[n].item() for c in columns])
    )
    assert encoder.seal(opening()) == blocks[0]
    assert first == blocks[0].n_frames


def test_an_unsealed_page_is_read_up_to_its_last_whole_frame() -> None:
    block = rawc_block()
    page = pad(build_block(block), 256)
    end = HEADER.size + len(block.payload)
    for stop in range(end + 1):
        found = recover(page[:stop] + b"\xff" * (256 - stop))
        whole = max(0, stop - HEADER.size - 2) // 7
        if whole == 0:
            assert found is None
            continue
        assert found is not None
        assert (found.n_frames, found.payload) == (whole, block.payload[: 2 + 7 * whole])
        assert found.span == (whole - 1) * 60 * TICK_HZ
        again = parse_block(build_block(found))
        assert again.header == parse_header(page)
    assert recover(page[: -TRAILER.size] + b"\xff" * TRAILER.size) == block
    assert dict(scan_image(page[: -TRAILER.size] + b"\xff" * TRAILER.size, 256)) == {0: build_block(block)}


@given(data=st.binary(min_size=256, max_size=256), width=st.integers(0, 65535))
def test_what_stands_in_a_page_is_read_or_not_but_never_an_error(data: bytes, width: int) -> None:
    wire = build_block(rawc_block())
    page = wire[: HEADER.size] + width.to_bytes(2, "little") + data[HEADER.size + 2 :]
    found = recover(page)
    assert found is None or len(build_block(found)) <= 256
    assert recover(data) is None


def test_other_pages_are_not_recovered() -> None:
    stream = stream_of([ChannelType.I16])
    (block,) = encode_series(stream, regular_ticks(stream, 3), [np.arange(3, dtype=np.int16)])
    assert recover(pad(build_block(block), 256)) is None
    event = replace(rawc_block().header, format=1 << 4 | Kind.EVENT)
    assert recover(pad(build_block(replace(rawc_block(), header=event)), 256)) is None


# -- on flash


class Facts:
    low_battery = False

    def __init__(self, boot_id: int) -> None:
        self.boot_id = boot_id

    def utc_at(self, tick: int) -> int:
        return 0


@dataclass
class Life:
    """A device that takes a slow reading every ten minutes beside fast ones, until its power goes."""

    sectors: int
    seed: int
    taken: list[int] = field(default_factory=list[int])
    sealed: dict[int, bytes] = field(default_factory=dict[int, bytes])
    boots: int = 0

    def __post_init__(self) -> None:
        self.flash = NorFlash(self.sectors * 4096, seed=self.seed)
        self.partition = Partition(self.flash, 0, self.sectors * 4096)
        self.dice = random.Random(self.seed)

    def boot(self) -> Recorder:
        self.boots += 1
        return Recorder(LogStore(self.partition), SCHEMA, Facts(self.boots), session=1)

    def live(self, readings: int) -> Recorder:
        recorder = self.boot()
        if self.boots == 1:
            recorder.begin(1, "", 0)
        for number in range(readings):
            tick = number * PERIOD_S * TICK_HZ
            recorder.record_many(2, np.array([tick]), [np.array([len(self.taken)])])
            self.taken.append(len(self.taken))
            if self.dice.random() < 0.5:
                noise = [self.dice.randrange(-(2**31), 2**31) for _ in range(200)]
                recorder.record_many(1, tick + np.arange(1, 201) * TICK_HZ, [np.array(noise)])
            if self.dice.random() < 0.02:
                recorder.seal()
            if number % 8 == 0:
                self.look(recorder.store)
        recorder.seal()
        self.look(recorder.store)
        return recorder

    def mount_with_a_cut(self) -> None:
        """Power goes once more where a mount programs first, if it does."""
        self.flash.power_on()
        self.flash.cut_after = 1
        with suppress(PowerCut):
            LogStore(self.partition)
        self.flash.power_on()

    def look(self, store: LogStore) -> None:
        """What is sealed stays what it is, to the byte."""
        data, _ = store.read_stream(0, 0, 1 << 30)
        for wire in split_blocks(data, final=True).blocks:
            assert self.sealed.setdefault(parse_header(wire).seq, wire) == wire, "a seq has come twice"

    def slow(self) -> Frames:
        data, _ = LogStore(self.partition).read_stream(0, 0, 1 << 30)
        headers = [(parse_header(wire), wire) for wire in split_blocks(data, final=True).blocks]
        return decode_frames([w for h, w in headers if h.kind == Kind.DATA and h.stream == SOIL.id], SOIL)

    def check(self) -> None:
        """All slow readings that were taken are there; of the one that was being taken either all or nothing."""
        found = self.slow().columns[0].tolist()
        assert found == list(range(found[0], found[0] + len(found))) if found else not self.taken
        if self.sectors >= 64 and found:
            assert found[0] == 0
        assert len(self.taken) <= (found[-1] + 1 if found else 0) <= len(self.taken) + 1
        self.taken = list(range(found[-1] + 1 if found else 0))


def cut_life(sectors: int, cuts: list[int], seed: int, readings: int = 60) -> None:
    """Power goes after so many operations of each boot, the mount included; then a life in peace."""
    life = Life(sectors, seed)
    try:
        for cut in cuts:
            life.flash.power_on()
            life.flash.cut_after = cut
            try:
                life.live(readings)
            except PowerCut:
                life.mount_with_a_cut()
                life.check()
            life.flash.power_on()
            life.look(LogStore(life.partition))
        life.live(readings)
        life.check()
        assert LogStore(life.partition).open_seqs == ()
    except Exception as error:
        error.add_note(f"{sectors} sectors, power cut after {cuts} operations, seed {seed}")
        raise


def operations(sectors: int, seed: int) -> int:
    life = Life(sectors, seed)
    life.live(60)
    life.check()
    return life.flash.operations


@pytest.mark.parametrize("sectors", [64, 6])
def test_a_power_cut_costs_no_reading_that_was_taken(sectors: int) -> None:
    dice = random.Random(sectors)
    for seed in range(12):
        cuts = [dice.randint(1, operations(sectors, seed)), *(dice.randint(1, 30) for _ in range(dice.randrange(4)))]
        cut_life(sectors, cuts, seed)


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sectors", [64, 6])
def test_a_power_cut_at_every_operation_costs_no_reading_that_was_taken(
    sectors: int, record_property: Callable[[str, object], None]
) -> None:
    count = operations(sectors, 1)
    for cut in range(1, count + 1):
        cut_life(sectors, [cut], cut)
        cut_life(sectors, [cut, 1 + cut % 5, 1 + cut % 3], cut)
    record_property("counted", f"slow stream: power cut at {count} operations, 0 readings lost")


def test_what_is_being_filled_is_open_until_it_is_sealed() -> None:
    life = Life(64, 1)
    recorder = life.boot()
    recorder.begin(1, "", 0)
    for number in range(5):
        recorder.record(2, number * PERIOD_S * TICK_HZ, [number])
    (seq,) = recorder.store.open_seqs
    assert recorder.store.block(seq) is None
    recorder.seal()
    wire = recorder.store.block(seq)
    assert wire is not None
    assert parse_block(wire).header.encoding == Encoding.RAWC
    assert decode_frames([wire], SOIL).columns[0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UsageError):
        recorder.store.append(pad(wire, 1024))


def test_fast_streams_stay_packed() -> None:
    life = Life(64, 1)
    recorder = life.live(20)
    encodings = {h.stream: h.encoding for w in life.sealed.values() if (h := parse_header(w)).kind == Kind.DATA}
    assert encodings == {1: Encoding.PACKED, 2: Encoding.RAWC}
    assert recorder.frames[2] == 20


def test_half_an_erase_does_not_make_another_block_of_a_sealed_one() -> None:
    stream = stream_of([ChannelType.I16], period_us=60_000_000)
    values = [np.arange(500, dtype=np.int16)]
    (block,) = encode_series(
        stream, regular_ticks(stream, 500), values, 4096, BlockEncoder(stream, 4096, Encoding.RAWC)
    )
    wire = build_block(block)
    for seed in range(40):
        flash = NorFlash(4 * 4096, seed=seed)
        store = LogStore(Partition(flash, 0, flash.size), 4096)
        store.open_seq()
        store.begin(wire[: HEADER.size + 2])
        store.extend(0, block.payload, 7)
        store.append(pad(wire, 4096))
        flash.cut_after = 1 + seed % 2
        with suppress(PowerCut):
            store.pages.erase(0)
        flash.power_on()
        assert LogStore(Partition(flash, 0, flash.size), 4096).block(0) in (None, wire), f"seed {seed}"
