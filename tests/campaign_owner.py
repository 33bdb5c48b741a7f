"""The owner of a simulated logger, who arms, stops, marks, seals, erases and restarts it as dice fall."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TypeVar

import numpy as np

from campaign_truth import Truth
from device_bench import Bench, PowerLost
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.commands import logger, os, settings
from fieldlog_protocol.commands.logger import State, StreamPeriod
from fieldlog_protocol.errors import RefusedError
from fieldlog_sim.noise import Integers, bits, stream_seed
from fieldlog_sim.sensors import Raw, Synthetic

T = TypeVar("T")
_TYPES = (ChannelType.I8, ChannelType.I16, ChannelType.I32, ChannelType.U8, ChannelType.U16, ChannelType.U32)
SLOW_US = (7_000, 30_000, 100_000, 1_000_000, 7_000_000, 60_000_000)


class Dice(Synthetic):
    """Channels of all widths that tell their time: no two samples are likely to be the same."""

    period_range_us = (100, 10**12)

    def __init__(self, seed: int, stream_id: int, dice: Random) -> None:
        self._seed = stream_seed(seed, "dice", stream_id)
        types = [dice.choice(_TYPES) for _ in range(dice.randint(1, 4))]
        self._widths = [dice.randint(1, 8 * np.dtype(kind.dtype).itemsize) for kind in types]
        types[0], self._widths[0] = ChannelType.I32, dice.randint(12, 32)
        self.bytes_a_frame = sum(self._widths) / 8
        channels = tuple(Channel(name=f"c{i}", unit="V", type=kind) for i, kind in enumerate(types))
        self.stream = Stream(id=stream_id, name=f"dice {stream_id}", period_us=1_000_000, channels=channels)

    def sample(self, utc_us: Integers) -> Raw:
        raw = np.empty((len(utc_us), len(self._widths)), np.int64)
        for index, (width, channel) in enumerate(zip(self._widths, self.stream.channels, strict=True)):
            noise = (bits(self._seed + index, utc_us) >> np.uint64(64 - width)).astype(np.int64)
            raw[:, index] = noise + max(channel.type.minimum, -(1 << width - 1))
        return raw


class Owner:
    """`fast_us`: periods of the stream that fills blocks; the others keep theirs open. `seen` counts what was done."""

    def __init__(self, bench: Bench, sensors: list[Dice], truth: Truth, dice: Random, fast_us: tuple[int, ...]) -> None:
        self.bench = bench
        self.truth = truth
        self.dice = dice
        self.sensors = sensors
        self.fast_us = fast_us
        self.wrap = dice.random() < 0.6
        self.seen: Counter[str] = Counter()
        self.recorded: tuple[int, ...] = ()
        self.block_s = 1.0

    def steady(self, ask: Callable[[], T]) -> T:
        """Ask again whenever power went before there was an answer."""
        while True:
            try:
                return ask()
            except PowerLost:
                continue

    def act(self, action: str) -> None:
        """Do something to the device; that it may refuse is part of life."""
        try:
            getattr(self, action)()
        except RefusedError:
            self.seen[f"refused: {action}"] += 1
        else:
            self.seen[action] += 1

    def nothing(self) -> None:
        pass

    def set_age(self) -> None:
        age = settings.SettingWriteRequest(
            name="log/max_age", val=struct.pack("<I", self.dice.choice((0, 3, 60, 86_400)))
        )
        self.bench.ask(settings.WRITE, age)
        self.bench.ask(settings.SAVE, settings.SettingSaveRequest())

    def arm(self) -> None:
        """Streams and periods drawn anew; the first of them fills blocks, the others keep theirs open."""
        self.stop()
        sensors = self.dice.sample(self.sensors, self.dice.randint(1, len(self.sensors)))
        periods = {sensor.stream.id: self.period_us(index) for index, sensor in enumerate(sensors)}
        streams = tuple(StreamPeriod(s=id_, us=period) for id_, period in periods.items())
        request = next(self.bench.request_ids)

        def begin() -> logger.ArmResponse:
            self.truth.armed()
            return self.bench.arm(id=request, label="life", wrap=self.wrap, streams=streams)

        session = self.steady(begin).session
        self.truth.periods_us |= {(session, id_): period for id_, period in periods.items()}
        self.recorded = tuple(periods)
        bytes_s = sum(sensor.bytes_a_frame * 1e6 / periods[sensor.stream.id] for sensor in sensors)
        self.block_s = 1000 / bytes_s

    def period_us(self, index: int) -> int:
        return self.dice.choice(SLOW_US if index else self.fast_us)

    def stop(self) -> None:
        request = logger.StopRequest(id=next(self.bench.request_ids))
        while self.steady(self.bench.state) is State.LOGGING:
            with suppress(PowerLost):
                session = self.bench.ask(logger.STOP, request).session
                self.truth.stopped(session)

    def erase(self) -> None:
        self.stop()
        request = next(self.bench.request_ids)

        def ask() -> None:
            token = self.bench.info().token
            assert token is not None
            self.bench.ask(logger.ERASE, logger.EraseRequest(id=request, token=token))

        self.steady(ask)
        self.arm()

    def mark(self) -> None:
        text = f"mark {self.dice.random()}"
        request = next(self.bench.request_ids)
        self.steady(lambda: self.bench.ask(logger.MARK, logger.MarkRequest(id=request, text=text)))

    def seal(self) -> None:
        self.steady(self.bench.seal)

    def reset(self) -> None:
        with suppress(PowerLost):
            self.bench.ask(os.RESET, os.ResetRequest())

    def power(self) -> None:
        self.bench.power_cycle()
