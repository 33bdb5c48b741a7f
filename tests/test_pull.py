"""The pull against a device that is wrong now and then: what it says once is not taken for a loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from fieldlog.archive import Archive
from fieldlog.clock_sync import TICK_HZ
from fieldlog.connection import connect
from fieldlog.link_options import LinkOptions
from fieldlog.pull import PullResult, pull
from fieldlog.pull_many import Stage, pull_many
from fieldlog_protocol.blocks.block import Block, BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.blocks.events import Mark, TimedEvent, encode_events
from fieldlog_protocol.commands import logger, os
from fieldlog_protocol.errors import ProtocolError, VerificationError
from fieldlog_protocol.round_trip import Timeouts
from smp_peer import PtyPeer, pty_peer

UID = bytes(range(8))
SEQS = 30
HOLE = 11
CRC_SIZE = 4


def block(seq: int, text: str = "event number") -> bytes:
    payload = encode_events([TimedEvent(seq, Mark(f"{text} {seq}" * 8))])
    header = BlockHeader(format=block_format(Kind.EVENT), seq=seq, t0=seq, boot_id=1)
    return build_block(Block(header, 1, 0, payload))


LOG = {seq: block(seq) for seq in range(SEQS) if seq != HOLE}


class Logger:
    """A logger with a hole in its log. `lies` may change what it answers."""

    def __init__(self, port: PtyPeer) -> None:
        self.lies: Callable[[str, dict[str, Any]], None] = lambda _command, _answer: None
        self.asked: list[int] = []
        self.log = dict(LOG)
        self.ticks: Callable[[], int] = lambda: 1000
        peer = port.peer
        peer.on(logger.INFO, lambda body: self._info(body.get("p", 0)))
        peer.on(logger.SEAL, lambda _: {"next": SEQS})
        peer.on(logger.SESSIONS, lambda _: {"n": 0, "s": []})
        peer.on(logger.CLOCK_PROBE, lambda _: self._probed(self.ticks()))
        peer.on(logger.BLOCKS, self._blocks)

    def let_its_clock_run(self) -> None:
        """Else it stands still, and on a slow machine the time that passes meanwhile speaks against it."""
        begun_ns = time.monotonic_ns()
        self.ticks = lambda: 1000 + (time.monotonic_ns() - begun_ns) * TICK_HZ // 10**9

    def _probed(self, tick: int) -> dict[str, Any]:
        return self._told("clock", {"boot": 1, "rx": tick, "tx": tick})

    def _told(self, command: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.lies(command, answer)
        return answer

    def _info(self, part: int) -> dict[str, Any]:
        if part == 0:
            return self._told("identity", {"parts": 2, "uid": UID, "log": 7, "block": 1024, "serial": "S1"})
        state = {
            "parts": 2,
            "boot": 1,
            "tick": 5,
            "state": 0,
            "first": 0,
            "next": max(self.log) + 1,
            "used": 3000,
            "total": 9000,
        }
        return self._told("state", state)

    def _blocks(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["n"] > CRC_SIZE:  # else it is only looked at whether a block is the one that is known
            self.asked.append(body["q"])
        stream = b"".join(wire for seq, wire in sorted(self.log.items()) if seq >= body["q"])
        answer = {"q": body["q"], "o": body["o"], "f": 0, "d": stream[body["o"] : body["o"] + body["n"]]}
        return self._told("blocks", answer)


@pytest.fixture
def port() -> Iterator[PtyPeer]:
    with pty_peer() as port:
        yield port


@pytest.fixture
def device(port: PtyPeer) -> Logger:
    return Logger(port)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path) as archive:
        yield archive


async def read_out(port: PtyPeer, archive: Archive, *, raw: bool = False) -> PullResult:
    async with connect(f"serial:{port.path}" + ("?framing=raw" if raw else "")) as device:
        return await pull(device, archive)


def held(archive: Archive) -> set[int]:
    (log,) = archive.logs()
    return set(range(SEQS)) - {seq for part in log.absent(0, SEQS) for seq in part}


def once(command: str, change: dict[str, Any]) -> Callable[[str, dict[str, Any]], None]:
    """A lie that is told the first time only."""
    left = [change]

    def lie(asked: str, answer: dict[str, Any]) -> None:
        if asked == command and left:
            answer.update(left.pop())

    return lie


async def test_a_hole_is_asked_for_twice_and_then_known(port: PtyPeer, device: Logger, archive: Archive) -> None:
    first = await read_out(port, archive)
    assert (first.blocks, first.lost, first.unsent) == (SEQS - 1, [range(HOLE, HOLE + 1)], first.lost)
    device.asked.clear()
    second = await read_out(port, archive)
    assert (set(device.asked), second.lost, second.unsent, second.blocks) == ({HOLE}, [], [], 0)
    assert second.given_up == first.lost
    device.asked.clear()
    third = await read_out(port, archive)
    assert (device.asked, third.lost) == ([], [])


async def test_what_lies_behind_the_newest_block_held_is_asked_for_by_every_pull(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    """It may yet come: only a later block tells that the device has passed it over."""
    late = {seq: device.log.pop(seq) for seq in range(25, SEQS)}
    device.lies = lambda command, answer: answer.update(next=SEQS) if command == "state" else None
    for _ in range(3):
        assert range(25, SEQS) in (await read_out(port, archive)).unsent
    device.log[28] = late.pop(28)
    result = await read_out(port, archive)
    assert (result.given_up, result.unsent) == ([range(25, 28)], [range(29, SEQS)])
    device.log |= late
    assert (await read_out(port, archive)).blocks == 1
    assert held(archive) == set(LOG) - {25, 26, 27}


OTHERS = [{"uid": bytes(8)}, {"log": 8}]


def swap(device: Logger, seq: int, identity: dict[str, Any], clock: dict[str, Any], *, empty: bool) -> None:
    """When the block `seq` has been told, the device is another one."""
    gone = False

    def lie(command: str, answer: dict[str, Any]) -> None:
        nonlocal gone
        if gone:
            answer.update(
                {"identity": identity, "clock": clock, "blocks": {"d": b""} if empty else {}}.get(command, {})
            )
        gone = gone or (command == "blocks" and block(seq)[-CRC_SIZE:] in answer["d"])

    device.lies = lie


@pytest.mark.parametrize("identity", OTHERS, ids=str)
@pytest.mark.parametrize("clock", [{"boot": 77}, {"rx": 1, "tx": 1}, {"rx": 10**9, "tx": 10**9}], ids=str)
async def test_of_a_device_that_is_another_one_at_the_end_no_sync_is_kept(
    port: PtyPeer, device: Logger, archive: Archive, identity: dict[str, Any], clock: dict[str, Any]
) -> None:
    device.log[HOLE] = block(HOLE)
    swap(device, SEQS - 1, identity, clock, empty=False)
    with pytest.raises(VerificationError, match="swapped or erased"):
        await read_out(port, archive)
    assert [sync.tick for sync in archive.log(UID, 7).taken_syncs()] == [1000], "that of the beginning"
    assert archive.log(UID, 7).pulls()[-1].outcome == "broken off"


@pytest.mark.parametrize("identity", OTHERS, ids=str)
async def test_what_another_device_does_not_have_is_no_loss(
    port: PtyPeer, device: Logger, archive: Archive, identity: dict[str, Any]
) -> None:
    device.log[HOLE] = block(HOLE)
    swap(device, 5, identity, {}, empty=True)
    with pytest.raises(VerificationError, match="swapped or erased"):
        await read_out(port, archive)
    assert archive.log(UID, 7).gaps() == []
    device.lies = lambda _command, _answer: None
    await read_out(port, archive)
    assert held(archive) == set(range(SEQS))


@pytest.mark.parametrize("identity", OTHERS, ids=str)
async def test_another_device_of_the_same_boot_is_noticed_when_it_is_told_the_time(
    port: PtyPeer, device: Logger, archive: Archive, identity: dict[str, Any]
) -> None:
    device.log[HOLE] = block(HOLE)
    device.let_its_clock_run()
    port.peer.on(logger.CLOCK_ANCHOR, lambda _: {})
    swap(device, SEQS - 1, identity, {}, empty=False)
    with pytest.raises(VerificationError, match="swapped or erased"):
        await read_out(port, archive)


async def test_a_device_that_restarts_while_it_is_read_is_still_the_same(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    device.log[HOLE] = block(HOLE)
    swap(device, SEQS - 1, {}, {"boot": 2, "rx": 3, "tx": 3}, empty=False)
    assert (await read_out(port, archive)).blocks == SEQS
    assert {(sync.boot_id, sync.tick) for sync in archive.log(UID, 7).taken_syncs()} == {(1, 1000), (2, 3)}


async def test_a_sync_that_the_device_keeps_does_not_make_a_hole_asked_for_twice(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    def keep(_: dict[str, Any]) -> dict[str, Any]:
        device.log[max(device.log) + 1] = block(max(device.log) + 1)
        return {}

    device.let_its_clock_run()
    port.peer.on(logger.CLOCK_ANCHOR, keep)
    assert (await read_out(port, archive)).blocks == SEQS, "with that of the sync"
    device.asked.clear()
    await read_out(port, archive)
    assert HOLE in device.asked, "the next pull asks once more"


@pytest.mark.parametrize(
    ("command", "change"),
    [("state", {"first": 20}), ("state", {"next": 3}), ("blocks", {"d": b""}), ("blocks", {"f": 25})],
    ids=str,
)
async def test_what_one_wrong_answer_hides_comes_with_the_next_pull(
    port: PtyPeer, device: Logger, archive: Archive, command: str, change: dict[str, Any]
) -> None:
    device.lies = once(command, change)
    await read_out(port, archive)
    await read_out(port, archive)
    assert held(archive) == set(LOG)


def damaged(seq: int, looks: int) -> Callable[[str, dict[str, Any]], None]:
    """Of this block a bit comes wrong at so many looks."""
    left = [seq] * looks
    middle = LOG[seq][20:60]

    def lie(asked: str, answer: dict[str, Any]) -> None:
        if asked == "blocks" and left and middle in answer["d"]:
            left.pop()
            answer["d"] = answer["d"].replace(middle, middle[:30] + bytes([middle[30] ^ 4]) + middle[31:])

    return lie


@pytest.mark.parametrize("looks", [1, 3, 4])
async def test_a_block_that_the_line_spoils_at_each_look_is_looked_at_once_more_at_the_end(
    looks: int, archive: Archive
) -> None:
    with pty_peer(raw=True) as port:
        device = Logger(port)
        device.lies = damaged(20, looks)
        result = await read_out(port, archive, raw=True)
        assert held(archive) == set(LOG)
        assert (result.lost, result.blocks) == ([range(HOLE, HOLE + 1)], len(LOG))


async def test_a_block_that_stays_damaged_is_left_for_the_next_pull(archive: Archive) -> None:
    with pty_peer(raw=True) as port:
        device = Logger(port)
        device.lies = damaged(20, 100)
        result = await read_out(port, archive, raw=True)
        assert held(archive) == {*LOG} - {20}
        assert result.unsent == [range(HOLE, HOLE + 1), range(20, 21)]


@pytest.mark.parametrize("first_held", [25, 2**31])
async def test_one_wrong_account_of_what_the_ring_overwrote_costs_nothing(
    port: PtyPeer, device: Logger, archive: Archive, first_held: int
) -> None:
    device.lies = once("blocks", {"f": first_held})
    result = await read_out(port, archive)
    assert held(archive) == set(LOG)
    assert (result.lost, result.unsent) == ([range(HOLE, HOLE + 1)], [range(HOLE, HOLE + 1)])


async def test_a_state_that_makes_no_sense_leaves_the_archive_as_it_was(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    await read_out(port, archive)
    before = archive.digest()
    device.lies = once("state", {"first": 2**31})
    with pytest.raises(ProtocolError, match="Nothing was read"):
        await read_out(port, archive)
    assert archive.digest() == before


@pytest.mark.parametrize("change", [{"log": 8}, {"uid": bytes(8)}], ids=str)
async def test_on_a_line_without_check_values_whose_log_it_is_must_be_said_twice(
    archive: Archive, change: dict[str, Any]
) -> None:
    with pty_peer(raw=True) as port:
        device = Logger(port)
        await read_out(port, archive, raw=True)
        before = archive.digest()
        device.lies = once("identity", change)
        with pytest.raises(ProtocolError, match="Nothing was read"):
            await read_out(port, archive, raw=True)
        assert archive.digest() == before
        await read_out(port, archive, raw=True)


async def test_what_a_pull_has_to_know_first_is_asked_for_at_once(
    port: PtyPeer, device: Logger, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for an answer that it does not need: with a window of three, that is one round trip and a bit."""
    patient = Timeouts(initial_s=20, least_s=20, most_s=20)  # a machine with much to do must not have it ask twice
    monkeypatch.setattr(LinkOptions, "timeouts", property(lambda _: patient))
    device.log[HOLE] = block(HOLE)
    device.let_its_clock_run()
    await read_out(port, archive)
    asked = [key for key, _ in port.peer.log]
    first = [os.PARAMS, logger.SEAL, logger.INFO, logger.INFO, logger.SESSIONS, logger.CLOCK_PROBE]
    assert asked[:6] == [command.key for command in first]
    last = [logger.CLOCK_PROBE, logger.CLOCK_ANCHOR, logger.INFO, logger.INFO, logger.SESSIONS]
    assert asked[-5:] == [command.key for command in last], "before and behind the blocks"
    assert set(asked[6:-5]) == {logger.CLOCK_PROBE.key, logger.BLOCKS.key}


async def test_what_was_sealed_after_the_state_was_told_is_read_all_the_same(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    asked: list[Any] = []

    def seal(body: dict[str, Any]) -> dict[str, Any] | None:
        asked.append(body)
        return {"next": SEQS} if len(asked) > 1 else None

    port.peer.on(logger.SEAL, seal)
    device.lies = lambda command, answer: answer.update(open=[28]) if command == "state" and len(asked) < 2 else None
    result = await read_out(port, archive)
    assert len(asked) == 2
    assert (held(archive), result.open_seqs) == (set(LOG), ())


async def test_a_clock_that_makes_no_sense_does_not_keep_the_readings(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    device.lies = lambda command, answer: answer.update(tx=2**40) if command == "clock" else None
    result = await read_out(port, archive)
    assert result.sync is None
    assert len(result.warnings) == 1
    assert "no clock sync was taken" in result.warnings[0]
    assert held(archive) == set(LOG)


async def test_blocks_that_go_on_behind_the_wanted_ones_are_not_counted(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    device.lies = lambda command, answer: answer.update(next=5) if command == "state" else None
    result = await read_out(port, archive)
    assert result.blocks == 5
    assert result.stored >= 5


async def test_a_copy_of_a_device_pulled_beside_it_is_read_too_and_told(
    port: PtyPeer, device: Logger, archive: Archive
) -> None:
    with pty_peer() as second:
        copy = Logger(second)
        copy.log = {seq: block(seq, "another life") for seq in LOG}
        ways = [f"serial:{port.path}", f"serial:{second.path}"]
        readouts = await pull_many(ways, archive)
    results = [readout.result for readout in readouts if readout.result is not None]
    assert len(results) == 2
    assert sorted(len(result.conflicts) for result in results) == [0, SEQS - 1]
    (log,) = archive.logs()
    assert log.conflicting() == sorted(LOG), "both are kept"


async def test_one_device_with_two_ways_to_it_is_read_once(port: PtyPeer, device: Logger, archive: Archive) -> None:
    with pty_peer() as second:
        Logger(second)
        readouts = await pull_many([f"serial:{port.path}", f"serial:{second.path}"], archive)
    assert sorted(readout.stage for readout in readouts) == sorted([Stage.DONE, Stage.SAME])
