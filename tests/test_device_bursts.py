"""The simulated device going on by itself with the log: what it sends, when it ends, and what keeps it from it."""

from __future__ import annotations

from typing import Any

import pytest

from device_bench import Bench
from fieldlog_protocol.commands import Op, logger
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError
from fieldlog_protocol.wire import Packet, decode_packet, decode_reply, encode_body
from fieldlog_sim.port import Buffers, SmpPort, raw_framing

BUFFERS = Buffers(384, 4)
WHILE_S = 1200.0


def recorded(**options: Any) -> tuple[Bench, SmpPort]:
    bench = Bench(buffers=BUFFERS, **options)
    bench.arm(wrap=True)
    bench.wait(WHILE_S, steps=20)
    bench.seal()
    return bench, SmpPort(bench.device, BUFFERS, raw_framing(BUFFERS), bench.now)


def request(sequence: int, message: logger.BlocksRequest) -> bytes:
    return Packet(Op.READ, 1, logger.BLOCKS.group, logger.BLOCKS.id, sequence, encode_body(message)).encode()


def replies(bench: Bench, port: SmpPort) -> list[Packet]:
    """All that the port sends, one after the other, until it has nothing to say."""
    found: list[Packet] = []
    while (data := port.serve(bench.now)) is not None:
        found.append(decode_packet(data))
        port.sent(bench.now)
    return found


def first_of(bench: Bench) -> int:
    return bench.info().first or 0


def test_the_replies_are_those_to_as_many_requests() -> None:
    bench, port = recorded()
    first = first_of(bench)
    port.receive(request(9, logger.BlocksRequest(q=first, o=100, n=300, m=5)), bench.now)
    found = replies(bench, port)
    assert {packet.sequence for packet in found} == {9}
    answers = [decode_reply(packet.payload, logger.BLOCKS) for packet in found]
    assert [answer.m for answer in answers] == [5, 4, 3, 2, 1, None]
    assert [answer.o for answer in answers] == [100 + 300 * i for i in range(6)]
    assert b"".join(answer.d for answer in answers) == bench.read_log(first, 100, 1800)
    assert port.serve(bench.now) is None


def test_the_end_of_the_log_is_the_end() -> None:
    bench, port = recorded()
    first = first_of(bench)
    whole = bench.read_log(first)
    for before in (50, 300):  # where a piece ends with the log, an empty one tells that
        port.receive(request(9, logger.BlocksRequest(q=first, o=len(whole) - before, n=300, m=200)), bench.now)
        answers = [decode_reply(packet.payload, logger.BLOCKS) for packet in replies(bench, port)]
        assert b"".join(answer.d for answer in answers) == whole[-before:]
        assert answers[-1].m is None
        assert len(answers) == before // 300 + 1


def test_once_the_ring_has_overwritten_what_offsets_count_from_nothing_follows() -> None:
    bench, port = recorded(log_sectors=4)
    first = first_of(bench)
    port.receive(request(9, logger.BlocksRequest(q=first, o=0, n=300, m=200)), bench.now)
    held: list[int] = []
    while (data := port.serve(bench.now)) is not None:
        held.append(decode_reply(decode_packet(data).payload, logger.BLOCKS).f)
        port.sent(bench.now)
        bench.wait(WHILE_S, steps=20)
    assert held[0] == first
    assert held[-1] > first
    assert set(held[:-1]) == {first}


def test_a_request_that_came_meanwhile_waits_for_its_turn() -> None:
    bench, port = recorded()
    first = first_of(bench)
    port.receive(request(1, logger.BlocksRequest(q=first, o=0, n=300, m=2)), bench.now)
    assert port.serve(bench.now) is not None
    port.sent(bench.now)
    port.receive(request(2, logger.BlocksRequest(q=first, o=0, n=10)), bench.now)
    assert [packet.sequence for packet in replies(bench, port)] == [1, 1, 2]


def test_a_host_that_left_is_sent_nothing_more() -> None:
    bench, port = recorded()
    port.receive(request(1, logger.BlocksRequest(q=first_of(bench), o=0, n=300, m=200)), bench.now)
    assert port.serve(bench.now) is not None
    port.sent(bench.now)
    port.link_down()
    assert port.serve(bench.now) is None


@pytest.mark.parametrize("m", [0, 255])
def test_a_reply_of_the_greatest_size_leaves_room_for_the_number_of_those_behind(m: int) -> None:
    bench, port = recorded()
    first = first_of(bench)
    sizes: list[int] = []
    for n in range(330, 384):
        port.receive(request(1, logger.BlocksRequest(q=first, o=0, n=n, m=m)), bench.now)
        packet = replies(bench, port)[0]
        assert len(packet.encode()) <= BUFFERS.size
        try:
            assert len(decode_reply(packet.payload, logger.BLOCKS).d) == n
        except RefusedError:
            continue
        sizes.append(len(packet.encode()))
    assert max(sizes) == BUFFERS.size


def test_a_row_does_not_make_the_next_reply_smaller() -> None:
    bench, port = recorded()
    first = first_of(bench)
    port.receive(request(1, logger.BlocksRequest(q=first, o=0, n=300, m=2)), bench.now)
    assert len(replies(bench, port)) == 3
    most = logger.BlocksRequest(q=first, o=0, n=384 - 8 - 16)
    assert len(bench.ask(logger.BLOCKS, most).d) == most.n


def test_a_request_for_more_than_a_byte_of_replies_makes_no_sense() -> None:
    bench, port = recorded()
    raw = Packet(
        Op.READ, 1, logger.BLOCKS.group, logger.BLOCKS.id, 1, bytes.fromhex("a4617100616f00616e0a616d190100")
    ).encode()
    port.receive(raw, bench.now)
    (packet,) = replies(bench, port)
    with pytest.raises(RefusedError) as refused:
        decode_reply(packet.payload, logger.BLOCKS)
    assert refused.value.code == Rc.INVALID
