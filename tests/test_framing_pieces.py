"""BLE's framing: messages come through in pieces of any size, and one lost, doubled or misplaced piece costs little."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.commands import Op
from fieldlog_protocol.framing import PieceFraming, fragments
from fieldlog_protocol.wire import Packet


def message(size: int, seed: int = 0) -> bytes:
    """A reply of `size` bytes with noise in the place of a map."""
    body = bytes([0xBF]) + random.Random(seed).randbytes(max(0, size - 9))
    return Packet(Op.READ_REPLY, 1, 0x464C, 4, seed & 0xFF, body[: size - 8]).encode()


def fed(pieces: list[bytes], framing: PieceFraming | None = None, now: float = 0.0) -> list[bytes]:
    framing = framing or PieceFraming()
    return [found for piece in pieces for found in framing.feed(piece, now)]


sizes = st.lists(st.integers(9, 2100), min_size=1, max_size=6)
piece_sizes = st.sampled_from([20, 23, 182, 244, 512])


@given(lengths=sizes, piece=piece_sizes)
def test_messages_come_through_in_pieces_of_any_size(lengths: list[int], piece: int) -> None:
    sent = [message(size, seed) for seed, size in enumerate(lengths)]
    framing = PieceFraming()
    assert fed([part for one in sent for part in fragments(one, piece)], framing) == sent
    assert framing.dropped == 0


@given(lengths=sizes, seed=st.integers(0, 10_000))
def test_a_device_that_cuts_unevenly_is_understood(lengths: list[int], seed: int) -> None:
    draw = random.Random(seed)
    sent = [message(size, number) for number, size in enumerate(lengths)]
    framing = PieceFraming()
    for one in sent:
        at, found = 0, list[bytes]()
        while at < len(one):
            size = draw.randint(20, 244)
            found += framing.feed(one[at : at + size], 0.0)
            at += size
        assert found == [one]


@given(
    seed=st.integers(0, 1_000_000), lengths=st.lists(st.integers(9, 2100), min_size=5, max_size=8), piece=piece_sizes
)
@settings(max_examples=300)
def test_a_fault_costs_the_message_it_hits_and_at_most_the_next(seed: int, lengths: list[int], piece: int) -> None:
    draw = random.Random(seed)
    sent = [message(size, number) for number, size in enumerate(lengths)]
    air = [(number, part) for number, one in enumerate(sent) for part in fragments(one, piece)]
    at = draw.randrange(len(air) - 1)
    kind = draw.choice(["lost", "doubled", "misplaced"])
    hit, last = air[at][0], air[at + 1][0]
    if kind == "lost":
        last = hit
        del air[at]
    elif kind == "doubled":
        last = hit
        air.insert(at, air[at])
    else:
        air[at], air[at + 1] = air[at + 1], air[at]
    found = fed([part for _, part in air])
    whole = [one for one in found if one in sent]
    expected = sent[:hit] + sent[last + 2 :]
    assert [one for one in whole if one in expected] == expected, kind
    assert len(found) <= len(sent) + 1


@pytest.mark.parametrize("lost", range(9))
def test_one_lost_notification_costs_one_message_of_the_usual_kind(lost: int) -> None:
    """2048-byte replies at MTU 247 end in a shorter piece, and that puts the decoder right at once."""
    sent = [message(2048, seed) for seed in range(3)]
    pieces = [fragments(one, 244) for one in sent]
    del pieces[1][lost]
    assert fed([part for parts in pieces for part in parts]) == [sent[0], sent[2]]


def test_what_was_left_of_a_message_gives_way_to_one_that_comes_later() -> None:
    """Three whole pieces: by their lengths alone the next message's first one would go on with the last message."""
    framing, broken, whole = PieceFraming(), message(732, 1), message(732, 2)
    assert framing.feed(broken[:244], 0.0) == []
    assert fed(fragments(whole, 244), framing, 1.0) == [whole]
    assert framing.dropped == 1


def test_a_short_piece_in_the_midst_is_misplaced_where_all_were_cut_evenly_before() -> None:
    framing = PieceFraming()
    assert fed([message(244, 1)], framing) == [message(244, 1)]
    first, second, third = fragments(message(600, 2), 244)
    assert len(fed([first, third, second], framing)) == 1  # nothing is known of how this device cuts
    assert fed(fragments(message(600, 3), 244), framing) == [message(600, 3)]
    assert fed([first, third, second], framing) == []
    assert fed(fragments(message(600, 4), 244), framing) == [message(600, 4)]


def test_a_device_that_no_longer_cuts_evenly_is_understood_again_after_a_few_messages() -> None:
    framing = PieceFraming()
    fed(fragments(message(600), 244), framing)
    uneven = message(600, 2)
    found = [fed([uneven[:100], uneven[100:300], uneven[300:]], framing) for _ in range(5)]
    assert found == [[], [], [], [uneven], [uneven]]


def test_a_message_that_stalls_is_not_given_up() -> None:
    framing, slow = PieceFraming(), message(700)
    found = [framing.feed(part, 3.0 * number) for number, part in enumerate(fragments(slow, 244))]
    assert found == [[], [], [slow]]


def test_data_that_look_like_messages_are_carried_like_any() -> None:
    """A file may hold what went over a link: pieces of it that look like beginnings are not taken for such."""
    inner = message(244, 5)
    outer = Packet(Op.READ_REPLY, 1, 8, 0, 1, bytes([0xBF]) + bytes(235) + inner * 3 + b"end").encode()
    assert fragments(outer, 244)[1] == inner
    assert fed(fragments(outer, 244)) == [outer]


@given(pieces=st.lists(st.binary(max_size=300), max_size=30))
def test_nonsense_is_dropped_and_never_held_up_what_follows(pieces: list[bytes]) -> None:
    framing = PieceFraming(max_message=2048)
    for found in fed(pieces, framing):
        assert len(found) <= 2048
    sent = [message(700, 1), message(300, 2), message(30, 3)]
    found = fed([part for one in sent for part in fragments(one, 244)], framing, 5.0)
    assert found[-2:] == sent[-2:]


def test_a_message_longer_than_any_allowed_is_refused() -> None:
    framing = PieceFraming(max_message=100)
    assert fed(fragments(message(101), 60), framing) == []
    assert fed([message(100)], framing) == [message(100)]
