"""The log from outside: a stream of bytes in order of seq, a log that is full, a ring that overwrites."""

from __future__ import annotations

import random

import pytest

from device_bench import FAST_MOTION, START_US, Bench, recorded
from fieldlog_protocol.blocks.block import parse_header
from fieldlog_protocol.blocks.events import SessionStop
from fieldlog_protocol.blocks.split import split_blocks
from fieldlog_protocol.commands import Empty, logger, os
from fieldlog_protocol.commands.logger import LoggerError, State, StopReason, StreamPeriod
from fieldlog_protocol.errors import RefusedError
from fieldlog_sim.port import Buffers


def test_the_stream_is_the_sealed_blocks_in_order_of_seq() -> None:
    bench = recorded(70)  # when a slow stream's open block lies between sealed ones
    wires = bench.wires()
    seqs = [parse_header(wire).seq for wire in wires]
    info = bench.info()
    assert seqs == sorted(set(seqs))
    assert seqs[0] == info.first
    assert set(seqs) | set(info.open or ()) == set(range(info.first or 0, info.next or 0))
    assert info.open, "a slow stream's block is still open"
    assert min(info.open) < seqs[-1]
    assert (info.used, info.total) == (len(seqs) * 1024, 64 * 4096)


def test_any_range_gives_the_same_bytes_however_it_is_split() -> None:
    bench = recorded(30, buffers=Buffers(384, 4))
    bench.stop()
    wires = bench.wires()
    starts = {parse_header(wire).seq: index for index, wire in enumerate(wires)}
    randomness = random.Random(4)
    for _ in range(150):
        seq = randomness.choice(list(starts))
        stream = b"".join(wires[starts[seq] :])
        offset = randomness.randrange(len(stream) + 1)
        length = randomness.randrange(3000)
        piece = randomness.choice([1 + length // 20, 17, 340])
        got = bench.read_log(seq, offset, length, piece)
        assert got == stream[offset : offset + length], f"seq {seq}, offset {offset}, length {length}"
    one_by_one = [bench.read_log(seq, 0, len(wires[index])) for seq, index in starts.items()]
    assert one_by_one == wires


def test_a_reply_carries_exactly_what_was_asked_unless_the_log_ends() -> None:
    bench = recorded(30, buffers=Buffers(384, 4))
    bench.stop()
    end = len(bench.read_log())
    first = bench.info().first or 0
    for offset, length, there in ((0, 340, 340), (end - 10, 340, 10), (end, 340, 0), (end + 10_000, 340, 0), (5, 0, 0)):
        reply = bench.ask(logger.BLOCKS, logger.BlocksRequest(q=first, o=offset, n=length))
        assert (reply.q, reply.o, reply.f, len(reply.d)) == (first, offset, first, there)
    following = bench.info().next or 0
    assert bench.ask(logger.BLOCKS, logger.BlocksRequest(q=following, o=0, n=100)).d == b""
    too_far = logger.BlocksRequest(q=following + 1, o=0, n=100)
    assert bench.fl_refusal(logger.BLOCKS, too_far) == LoggerError.BEYOND_END
    too_much = logger.BlocksRequest(q=first, o=0, n=384)
    assert bench.fl_refusal(logger.BLOCKS, too_much) == LoggerError.OUT_OF_RANGE


@pytest.mark.parametrize("size", [96, 128, 384, 2048])
def test_block_replies_may_fill_the_buffer(size: int) -> None:
    bench = recorded(30, buffers=Buffers(size, 4))
    bench.ask(logger.SEAL, Empty())

    def refused(length: int) -> bool:
        request = logger.BlocksRequest(q=0, o=1000, n=length)
        try:
            assert len(bench.ask(logger.BLOCKS, request).d) == length
        except RefusedError:
            return True
        return False

    most = max(length for length in range(size) if not refused(length))
    assert most >= size - 8 - 22, "header, map, keys and the greatest numbers of this log"


def test_seqs_that_are_missing_take_no_bytes() -> None:
    bench = recorded(20)
    bench.seal()
    held = bench.info().next or 0
    bench.wait(40, 4)  # opens blocks that the cut will take
    opened = bench.info().open or ()
    bench.power_cycle()
    bench.stop()
    seqs = [parse_header(wire).seq for wire in bench.wires()]
    assert seqs == sorted(set(seqs))
    assert min(opened) >= held
    gap = next((seq for seq in opened if seq not in seqs), None)
    if gap is not None:
        following = b"".join(wire for wire in bench.wires() if parse_header(wire).seq > gap)
        assert bench.read_log(gap) == following


def test_reading_while_logging_disturbs_neither() -> None:
    bench = recorded(10)
    first = bench.info().first or 0
    sealed = b""
    while len(sealed) < 20_000:
        bench.wait(3)
        sealed += bench.ask(logger.BLOCKS, logger.BlocksRequest(q=first, o=len(sealed), n=400)).d
    bench.wait(600, 10)
    bench.stop()
    final = {parse_header(wire).seq: wire for wire in bench.wires()}
    while_logging = split_blocks(sealed, final=True).blocks
    assert len(while_logging) > 10
    for wire in while_logging:
        assert final[parse_header(wire).seq] == wire
    for sensor in bench.sensors:
        bench.assert_true(sensor, {1: START_US})
    assert len(bench.frames(bench.sensors[0]).ticks) == round(bench.now) // 10


def filled(sectors: int = 6) -> Bench:
    bench = Bench(log_sectors=sectors)
    bench.arm(label="full", streams=FAST_MOTION)
    bench.wait(600, 20)
    return bench


def test_a_full_log_stops_and_keeps_everything() -> None:
    bench = filled()
    assert bench.state() is State.FULL
    assert bench.info().wrap is False
    assert bench.info().used == bench.info().total == 6 * 4096
    (session,) = bench.sessions()
    assert session.why == StopReason.FULL
    motion = bench.sensors[1]
    assert bench.assert_true(motion, {1: START_US}, 10_000) == session.frames
    assert bench.frames(motion).ticks[0] < 1000
    assert bench.events()[-1].event == SessionStop(1, "full")
    before = bench.read_log()
    code = bench.fl_refusal(logger.MARK, logger.MarkRequest(id=1, text="no room"))
    assert code == LoggerError.LOG_FULL
    bench.ask(os.DATETIME_WRITE, os.DatetimeRequest(datetime="2026-01-01T00:10:00"))
    bench.ask(logger.SEAL, Empty())
    bench.wait(600, 3)
    assert bench.read_log() == before


def test_a_full_log_is_still_full_after_a_restart() -> None:
    bench = filled()
    before = bench.read_log()
    bench.power_cycle()
    assert bench.state() is State.FULL
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.LOG_FULL
    assert (bench.read_log(), len(bench.sessions())) == (before, 1)


def test_releasing_frees_a_full_log_and_loses_only_what_was_released() -> None:
    bench = filled()
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.LOG_FULL
    wires = bench.wires()
    middle = parse_header(wires[len(wires) // 2]).seq
    beyond = logger.ReleaseRequest(q=(bench.info().next or 0) + 1)
    assert bench.fl_refusal(logger.RELEASE, beyond) == LoggerError.BEYOND_END
    bench.ask(logger.RELEASE, logger.ReleaseRequest(q=middle))
    bench.ask(logger.RELEASE, logger.ReleaseRequest(q=middle))
    bench.ask(logger.RELEASE, logger.ReleaseRequest(q=3))
    assert bench.info().released == middle, "what was released stays released"
    assert bench.state() is State.IDLE
    assert bench.wires() == wires, "releasing erases nothing"
    bench.arm(streams=FAST_MOTION)
    bench.wait(600, 20)
    assert bench.state() is State.FULL
    after = bench.wires()
    assert set(wires[len(wires) // 2 :]) <= set(after)
    assert len(after) > len(wires) // 2 + 5
    assert parse_header(after[0]).seq == bench.info().first


def test_reading_releases_nothing() -> None:
    bench = filled()
    bench.read_log()
    assert bench.info().released == 0
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.LOG_FULL


def test_a_full_log_can_be_erased_and_goes_on() -> None:
    bench = filled()
    bench.erase()
    assert bench.state() is State.IDLE
    bench.arm(streams=FAST_MOTION)
    bench.wait(10)
    assert bench.state() is State.LOGGING


def test_a_log_that_events_have_filled_cannot_be_armed() -> None:
    """Marks are taken until there is room for none; then arming is refused before anything is begun."""
    bench = Bench(log_sectors=4)
    while (bench.info().used or 0) // 1024 < (bench.info().total or 0) // 1024 - 2:
        bench.mark("x" * 120)
    assert bench.fl_refusal(logger.MARK, logger.MarkRequest(id=1, text="x")) == LoggerError.LOG_FULL
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.LOG_FULL
    assert (bench.state(), bench.sessions()) == (State.IDLE, [])
    bench.power_cycle()
    assert bench.state() is State.IDLE


LEAST_ROOM = 3  # blocks: a schema, the session's start and its end


@pytest.mark.parametrize("room", range(2, 9))
def test_a_nearly_full_log_is_armed_with_room_for_it_or_not_at_all(room: int) -> None:
    bench = Bench(log_sectors=4)
    total = (bench.info().total or 0) // 1024
    while (bench.info().used or 0) // 1024 < total - room:
        bench.mark("filler")
    if room < LEAST_ROOM + 1:  # and the schema again, which the recorder is wary of
        assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.LOG_FULL
        assert bench.sessions() == []
    else:
        bench.arm(streams=FAST_MOTION)
        bench.wait(60, 2)
        (session,) = bench.sessions()
        assert (bench.state(), session.why) == (State.FULL, StopReason.FULL)
        assert bench.events()[-1].event == SessionStop(1, "full")
    bench.power_cycle()
    assert bench.state() in (State.IDLE, State.FULL)


def test_the_ring_overwrites_the_oldest_and_keeps_the_rest_whole() -> None:
    bench = Bench(log_sectors=6)
    bench.arm(wrap=True, streams=(StreamPeriod(s=0), *FAST_MOTION))
    lowest = 0
    for _ in range(12):
        bench.wait(60, 4)
        info = bench.info()
        assert (info.first or 0) >= lowest
        lowest = info.first or 0
        assert (info.used or 0) <= (info.total or 0)
    assert (bench.state(), bench.info().wrap) == (State.LOGGING, True)
    bench.stop()
    assert lowest > 20
    seqs = [parse_header(wire).seq for wire in bench.wires()]
    # Blocks are overwritten in the order of sealing: one that was open for long outlives some with a higher seq.
    holes = set(range(seqs[0], bench.info().next or 0)) - set(seqs)
    assert all(seq < seqs[0] + 6 for seq in holes), "no block is open for longer than a quarter of the ring"
    assert seqs == sorted(set(seqs))
    assert bench.assert_true(bench.sensors[1], {1: START_US}, 10_000) > 1000
    last_us = START_US + int(bench.frames(bench.sensors[1]).ticks[-1]) * 1_000_000 // 32768
    assert abs(last_us - (START_US + bench.now * 1e6)) < 20_000
    bench.power_cycle()
    assert bench.info().wrap is True
    assert (bench.info().first or 0) >= seqs[0]
    overwritten = bench.ask(logger.BLOCKS, logger.BlocksRequest(q=0, o=0, n=500))
    assert (overwritten.f, overwritten.d) == (bench.info().first, bench.read_log()[:500])


def test_a_ring_turned_into_a_full_log_loses_nothing_more() -> None:
    bench = Bench(log_sectors=6)
    bench.arm(wrap=True, streams=FAST_MOTION)
    bench.wait(300, 10)
    bench.stop()
    before = bench.wires()
    bench.arm(streams=FAST_MOTION)  # into the sector that is erased ahead
    bench.wait(300, 10)
    assert (bench.state(), bench.info().wrap) == (State.FULL, False)
    assert set(before) <= set(bench.wires())
    assert bench.fl_refusal(logger.ARM, logger.ArmRequest(id=1)) == LoggerError.LOG_FULL
    assert (bench.state(), bench.info().wrap) == (State.FULL, False)
    bench.arm(wrap=True)
    assert bench.state() is State.LOGGING


def fill_until_cut(cut: int) -> Bench:
    """A device whose power goes at that flash operation of filling its log; 0: it does not."""
    bench = Bench(log_sectors=4)
    bench.arm(label="full", streams=FAST_MOTION)
    bench.device.flash.cut_after = cut or None
    for _ in range(60):
        bench.wait(5)
    return bench


def test_power_may_go_at_any_operation_of_filling_the_log() -> None:
    """Also at those that say why it ended: the page that was kept for that may be the one that is torn."""
    clean = Bench(log_sectors=4)
    clean.arm(label="full", streams=FAST_MOTION)
    before = clean.device.flash.operations
    for _ in range(60):
        clean.wait(5)
    assert clean.state() is State.FULL
    total = clean.device.flash.operations - before
    for cut in range(max(1, total - 25), total + 1):
        bench = fill_until_cut(cut)
        assert bench.state() in (State.FULL, State.IDLE), f"cut at operation {cut} of {total}"
        assert bench.sessions()[-1].why == StopReason.FULL, f"cut at operation {cut} of {total}"
        bench.ask(logger.ERASE, logger.EraseRequest(id=7, token=bench.info().token or 0))
        bench.arm(label="again")
