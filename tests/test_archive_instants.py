"""When readings were taken, as far as their blocks tell: the stated error covers what a block rounds, and sampling that is
faster than the ticks can tell apart is no gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import fieldlog.archive
from archive_data import LOG_ID, NEW_YEAR_US, UID, PaperLogger
from fieldlog.archive.series import Series
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ, Encoding
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

_LEVEL = Channel("level", "m", ChannelType.I16, exponent=-2)
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_N = 3000

Ticks = npt.NDArray[np.int64]


def _stored(folder: Path, stream: Stream, ticks: Ticks, encoding: Encoding | None = None) -> Series:
    """The readings of a logger whose clock nothing can be said against: each 24th instant is known to the microsecond."""
    logger = PaperLogger(streams=(stream,), block_size=1024)
    logger.schema()
    logger.data(stream, ticks, np.random.default_rng(3).integers(-99, 99, len(ticks)), encoding=encoding)
    with fieldlog.archive.open(folder) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_blocks(logger.blocks)
        log.add_syncs(Sync(1, tick, _utc_us(tick), 1) for tick in ticks[::24].tolist())
        (series,) = archive.readings()
    return series


def _utc_us(tick: int) -> int:
    return NEW_YEAR_US + round(tick * 1_000_000 / TICK_HZ)


def _beyond(series: Series, ticks: Ticks) -> int:
    truth = np.array([_utc_us(tick) for tick in ticks.tolist()])
    return int((np.abs(series.utc_us - truth) > series.error_us).sum())


def _shaken(period_us: int, ticks_off: int) -> Ticks:
    """As even as an encoder takes them for even: no reading further off than that."""
    rng = np.random.default_rng(period_us)
    even = 1000 + np.rint(np.arange(_N) * period_us * TICK_HZ / 1e6).astype(np.int64)
    return even + rng.integers(-ticks_off, ticks_off + 1, _N)


@pytest.mark.parametrize(
    ("period_us", "ticks_off"), [(1_000_000, 1), (10_000_000, 8), (_MINUTE_US, 48), (_HOUR_US, 2900)]
)
def test_what_a_line_through_shaken_instants_hides_is_in_the_error(
    tmp_path: Path, period_us: int, ticks_off: int
) -> None:
    ticks = _shaken(period_us, ticks_off)
    series = _stored(tmp_path, Stream(0, "tide", period_us, (_LEVEL,)), ticks)
    assert (series.tick != ticks).any()  # else nothing is hidden
    assert _beyond(series, ticks) == 0


@pytest.mark.parametrize(("period_us", "resolution"), [(0, 1), (0, 32), (1_000_000, 3277), (0, 32768)])
def test_what_a_coarse_time_column_cuts_off_is_in_the_error(tmp_path: Path, period_us: int, resolution: int) -> None:
    stream = Stream(0, "gusts", period_us, (_LEVEL,), timed=True, time_resolution=resolution)
    ticks = np.sort(np.random.default_rng(resolution).integers(1000, _N * TICK_HZ, _N))
    series = _stored(tmp_path, stream, ticks)
    assert (series.tick != ticks).any() == (resolution > 1)
    assert _beyond(series, ticks) == 0


def test_what_a_block_programmed_frame_by_frame_cuts_off_is_in_the_error(tmp_path: Path) -> None:
    ticks = _shaken(_MINUTE_US, 40)
    series = _stored(tmp_path, Stream(0, "tide", _MINUTE_US, (_LEVEL,)), ticks, Encoding.RAWC)
    assert (series.tick != ticks).any()
    assert _beyond(series, ticks) == 0


def test_blocks_of_two_encodings_have_each_their_own_error(tmp_path: Path) -> None:
    stream = Stream(0, "tide", _MINUTE_US, (_LEVEL,))
    even = _shaken(_MINUTE_US, 0)
    logger = PaperLogger(streams=(stream,), block_size=1024)
    logger.schema()
    logger.data(stream, even[:100], np.arange(100), encoding=Encoding.RAWC)
    logger.data(stream, even[100:], np.arange(_N - 100))
    with fieldlog.archive.open(tmp_path) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_blocks(logger.blocks)
        log.add_syncs(Sync(1, tick, _utc_us(tick), 1) for tick in even.tolist())
        (series,) = archive.readings()
    assert series.error_us[0] - 1 == 977  # 32 ticks of 30.5 us
    assert series.error_us[-1] - 1 == 3077  # 2.5 ticks, and 50 ppm of a minute


@pytest.mark.parametrize("rate_hz", [16_000, 20_000, 24_000, 25_600, 30_000, 32_000, 44_100, 48_000, 51_200, 96_000])
def test_sampling_about_as_fast_as_the_ticks_has_no_gaps(tmp_path: Path, rate_hz: int) -> None:
    ticks = 1000 + np.arange(20_000) * TICK_HZ // rate_hz
    series = _stored(tmp_path, Stream(0, "current", round(1e6 / rate_hz), (_LEVEL,)), ticks)
    assert np.flatnonzero(series.starts).tolist() == [0]


@pytest.mark.parametrize("rate_hz", [100, 1000, 8000])
def test_a_frame_that_is_missing_is_a_gap_nevertheless(tmp_path: Path, rate_hz: int) -> None:
    ticks = np.delete(1000 + np.arange(20_000) * TICK_HZ // rate_hz, [5, 7000])
    series = _stored(tmp_path, Stream(0, "current", round(1e6 / rate_hz), (_LEVEL,)), ticks)
    assert np.flatnonzero(series.starts).tolist() == [0, 5, 6999]
