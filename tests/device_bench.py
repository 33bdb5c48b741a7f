"""A simulated device on a bench of virtual time, asked through its SMP packets: nothing runs unless it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count, cycle
from typing import Any

import numpy as np
import pytest

from fieldlog_protocol.blocks.block import TICK_HZ, Block, Kind, parse_block, parse_header
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.events import TimedEvent, decode_events
from fieldlog_protocol.blocks.split import split_blocks
from fieldlog_protocol.commands import Command, Empty, Group, Op, logger
from fieldlog_protocol.commands.base import Req, Rsp
from fieldlog_protocol.errors import RefusedError
from fieldlog_protocol.wire import HEADER_SIZE, Packet, decode_reply, encode_body
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.handlers import register_all
from fieldlog_sim.nor_flash import KIB, MIB
from fieldlog_sim.port import Buffers
from fieldlog_sim.profiles import PROFILES
from fieldlog_sim.sensors import Sensor, default_sensors
from fieldlog_sim.sim_time import SimTime

START_US = 1_767_225_600_000_000  # 2026-01-01
OTHER_PARTITIONS = 2 * 512 * KIB + 14 * 4 * KIB + 4 * MIB
ROOMY = Buffers(2048, 4, back_to_back=True)
FAST_MOTION = (logger.StreamPeriod(s=1, us=10_000),)


class PowerLost(Exception):
    """Power went before there was a reply."""


def flash_with_log_of(sectors: int) -> int:
    """Size of a chip that leaves the log so many sectors."""
    return OTHER_PARTITIONS + sectors * 4 * KIB


class Bench:
    """A device, and the moment it is; `request_ids` are new ones for commands that act once."""

    def __init__(
        self,
        *,
        profile: str = "logger",
        buffers: Buffers = ROOMY,
        log_sectors: int = 64,
        sensors: Sequence[Sensor] | None = None,
        settings: tuple[logger.SettingInfo, ...] = (),
        seed: int = 0,
        clock_ppm: float = 0.0,
        battery_mah: float | None = None,
    ) -> None:
        own = PROFILES[profile]
        config = DeviceConfig(
            replace(own, settings=(*own.settings, *settings)),
            buffers,
            seed,
            clock_ppm=clock_ppm,
            flash_size=flash_with_log_of(log_sectors),
            battery_mah=battery_mah,
        )
        self.now = 0.0
        self.request_ids = count(1000)
        self.sensors = default_sensors(seed) if sensors is None else tuple(sensors)
        self._sequence = cycle(range(256))
        time = SimTime(START_US, monotonic=lambda: self.now)
        self.device = Device(config, time, self.sensors, register_all)

    @property
    def buf_size(self) -> int:
        return self.device.config.buffers.size

    def ask_raw(self, op: int, group: int, id: int, payload: bytes, version: int = 1) -> bytes:
        """The payload of the reply. The reply has left the line when this returns."""
        packet = Packet(Op(op), version, group, id, next(self._sequence), payload)
        answer = self.device.handle(packet, self.now, self.now)
        if answer is None:
            raise PowerLost
        assert HEADER_SIZE + len(answer) <= self.buf_size, "a reply that does not fit the buffer"
        self.device.after_reply(self.now)
        return answer

    def ask(self, command: Command[Req, Rsp], message: Req) -> Rsp:
        """The answer, or RefusedError."""
        return decode_reply(self.ask_raw(*command.key, encode_body(message)), command)

    def refusal(self, command: Command[Req, Rsp], message: Req) -> tuple[int | None, int]:
        """(group, code) of the refusal that must come."""
        with pytest.raises(RefusedError) as caught:
            self.ask(command, message)
        return caught.value.group, caught.value.code

    def fl_refusal(self, command: Command[Req, Rsp], message: Req) -> int:
        """The code of the FL group's refusal that must come, which the command must have declared."""
        group, code = self.refusal(command, message)
        assert group == Group.LOGGER
        assert code in command.errors, f"{command.name} does not declare its error {code}"
        return code

    def wait(self, seconds: float, steps: int = 1) -> None:
        """Let time pass, the firmware being woken `steps` times."""
        for _ in range(steps):
            self.now += seconds / steps
            self.device.advance(self.now)

    def power_cycle(self) -> None:
        self.device.flash.power_off()
        self.device.power_on("power on")

    # what a host does all the time

    def info(self) -> logger.InfoResponse:
        """All parts in one message."""
        first = self.ask(logger.INFO, logger.InfoRequest())
        said: dict[str, Any] = {}
        for part in [first, *(self.ask(logger.INFO, logger.InfoRequest(p=p)) for p in range(1, first.parts))]:
            fields = {name: getattr(part, name) for name in part.__struct_fields__}
            said |= {name: value for name, value in fields.items() if value is not None}
        return logger.InfoResponse(**said)

    def state(self) -> logger.State:
        state = self.info().state
        assert state is not None
        return logger.State(state)

    def arm(self, **fields: Any) -> logger.ArmResponse:
        fields.setdefault("id", next(self.request_ids))
        return self.ask(logger.ARM, logger.ArmRequest(**fields))

    def stop(self) -> logger.StopResponse:
        return self.ask(logger.STOP, logger.StopRequest(id=next(self.request_ids)))

    def seal(self) -> int:
        return self.ask(logger.SEAL, Empty()).next

    def mark(self, text: str) -> int:
        return self.ask(logger.MARK, logger.MarkRequest(id=next(self.request_ids), text=text)).tick

    def erase(self) -> logger.EraseResponse:
        token = self.info().token
        assert token is not None
        return self.ask(logger.ERASE, logger.EraseRequest(id=next(self.request_ids), token=token))

    def read_log(self, seq: int = 0, offset: int = 0, length: int | None = None, piece: int | None = None) -> bytes:
        """The stream from `seq` on, read in requests of `piece` bytes, by default as large as fit."""
        piece = piece or self.buf_size - HEADER_SIZE - 28
        data = b""
        while length is None or len(data) < length:
            wanted = piece if length is None else min(piece, length - len(data))
            reply = self.ask(logger.BLOCKS, logger.BlocksRequest(q=seq, o=offset + len(data), n=wanted))
            assert (reply.q, reply.o) == (seq, offset + len(data))
            data += reply.d
            if len(reply.d) < wanted:
                break
        return data

    def wires(self, seq: int = 0) -> list[bytes]:
        split = split_blocks(self.read_log(seq), final=True)
        assert not split.damage
        return split.blocks

    def blocks(self, seq: int = 0) -> list[Block]:
        return [parse_block(wire) for wire in self.wires(seq)]

    def frames(self, sensor: Sensor) -> Frames:
        """All that the log holds of a sensor's stream."""
        wires = self.wires()
        headers = [parse_header(wire) for wire in wires]
        chosen = [w for w, h in zip(wires, headers, strict=True) if (h.kind, h.stream) == (Kind.DATA, sensor.stream.id)]
        return decode_frames(chosen, sensor.stream)

    def assert_true(self, sensor: Sensor, boots_us: Mapping[int, int], period_us: int | None = None) -> int:
        """Every reading in the log is what the sensor gave at its time, none twice; how many there are is answered.

        `boots_us`: when each boot was, so that times need no clock. Crystals must be exact.
        """
        frames = self.frames(sensor)
        period_us = period_us or sensor.stream.period_us
        booted = np.array([boots_us[boot] for boot in frames.per_frame("boot_id").tolist()], np.int64)
        utc_us = booted + frames.ticks * 1_000_000 // TICK_HZ
        utc_us = (utc_us + period_us // 2) // period_us * period_us
        assert (np.diff(utc_us) > 0).all(), "readings out of order, or twice"
        if len(utc_us):
            given = sensor.frames_between(int(utc_us[0]) - 1, int(utc_us[-1]), period_us)
            at = np.searchsorted(given.utc_us, utc_us)
            assert (given.utc_us[at] == utc_us).all()
            assert (given.raw[at] == np.column_stack(frames.columns)).all(), "readings that no sensor gave"
        return len(utc_us)

    def events(self) -> list[TimedEvent]:
        blocks = [block for block in self.blocks() if block.header.kind == Kind.EVENT]
        return [event for block in blocks for event in decode_events(block.payload)]

    def sessions(self) -> list[logger.SessionInfo]:
        found: list[logger.SessionInfo] = []
        while True:
            page = self.ask(logger.SESSIONS, logger.SessionsRequest(i=found[-1].id + 1 if found else None))
            found += page.s
            if not page.more:
                return found


def refused(ask: Callable[[], object]) -> tuple[int | None, int] | None:
    """(group, code) when the device says no, None when it does as it is asked."""
    try:
        ask()
    except RefusedError as error:
        return error.group, error.code
    return None


def recorded(minutes: float = 30, **options: Any) -> Bench:
    """A device that has been recording all its streams for a while."""
    bench = Bench(**options)
    bench.arm(label="test", wrap=True)
    bench.wait(minutes * 60, 4)
    return bench
