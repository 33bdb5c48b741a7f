"""Readings from a CSV file, replayed by a simulated device: any file with a header and at least one numeric column."""

from fieldlog_sim.replay.load import Replay, load_replay
from fieldlog_sim.replay.player import ReplaySensor

__all__ = ["Replay", "ReplaySensor", "load_replay"]
