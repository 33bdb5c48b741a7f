"""What tests of replayed files ask of a replay."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from fieldlog_sim.replay import Replay

HOUR_US = 3_600_000_000
NOW_US = 1_700_000_000_000_000


def utc_us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def table(replay: Replay) -> dict[str, list[float]]:
    """Channel name to values in the unit."""
    return {
        channel.name: channel.values(sensor.raw[:, number]).tolist()
        for sensor in replay.sensors
        for number, channel in enumerate(sensor.stream.channels)
    }


def times(replay: Replay) -> list[int]:
    return replay.sensors[0].utc_us.tolist()


def written(folder: Path, text: str) -> Path:
    path = folder / "readings.csv"
    path.write_text(text)
    return path


def decimals(replay: Replay, number: int = 0) -> list[Decimal | None]:
    """Each value of a column of integers as the log has it, to the last digit."""
    (sensor,) = replay.sensors
    channel = sensor.stream.channels[number]
    return [None if raw == channel.missing else raw * channel.scale for raw in sensor.raw[:, number].tolist()]
