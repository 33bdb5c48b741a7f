"""Spectra are densities: their integral is the variance, a sine stands where it belongs, and no gap is joined."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fieldlog.plot import Trace, spectra, spectrum
from fieldlog.plot.lines import Single
from fieldlog.plot.spectrum import density_unit
from fieldlog.plot.welch import RhythmFinder, Welch, segments_in
from fieldlog_protocol.errors import UsageError

NEW_YEAR_US = 1_356_998_400_000_000
PERIOD_US = 10_000


def trace(values: Any, *, period_us: int = PERIOD_US, name: str = "x", unit: str = "[g]", starts: Any = None) -> Trace:
    column = np.asarray(values, np.float64)
    times = NEW_YEAR_US + np.arange(len(column), dtype=np.int64) * period_us
    return Trace(name, unit, times, column, None if starts is None else np.asarray(starts, np.bool_))


def density(shown: Trace, size: int, batch: int = 10**6, period_us: int = PERIOD_US) -> Welch:
    welch = Welch(size, period_us)
    whole = Single(shown)
    for low in range(0, len(shown.values), batch):
        part = slice(low, low + batch)
        welch.add(whole.utc_us[part], shown.values[part], whole.starts[part])
    return welch


def plain_periodogram(values: Any, size: int, rate_hz: float) -> Any:
    """The definition, term by term: least squares by `polyfit`, the transform as a sum."""
    n = np.arange(size)
    line = np.polyval(np.polyfit(n, values, 1), n)
    window = np.sin(np.pi * n / size) ** 2
    waves = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), n) / size)
    power = np.abs(waves @ ((values - line) * window)) ** 2 / (rate_hz * (window**2).sum())
    power[1:-1] *= 2
    return power


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), breaks=st.sets(st.integers(1, 399), max_size=6), batch=st.integers(1, 400))
def test_it_is_the_mean_of_the_segments_of_unbroken_runs(seed: int, breaks: set[int], batch: int) -> None:
    """In batches of any size; some of the runs end in a missing value, some in a break in time."""
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, 400) + np.arange(400) * 0.1
    starts = np.zeros(400, np.bool_)
    runs: list[Any] = []
    edges = [0, *sorted(breaks), 400]
    for low, high in pairwise(edges):
        if low % 2:
            starts[low] = True
            runs.append(values[low:high].copy())
        else:
            runs.append(values[low + bool(low) : high].copy())
            values[low] = np.nan if low else values[low]
    expected = [plain_periodogram(run[low : low + 16], 16, 100.0) for run in runs for low in range(0, len(run) - 15, 8)]
    found = density(trace(values, starts=starts), 16, batch)
    assert found.n_segments == len(expected)
    if expected:
        assert np.allclose(found.density, np.mean(expected, axis=0), rtol=1e-9)
    finder = RhythmFinder()
    whole = Single(trace(values, starts=starts))
    for low in range(0, 400, batch):
        part = slice(low, low + batch)
        finder.add(whole.utc_us[part], values[part], whole.starts[part])
    assert finder.rhythm().segments[0] == len(expected)


def test_the_integral_is_the_variance() -> None:
    """Parseval, of white noise: flat, at twice the variance over the sampling rate."""
    rng = np.random.default_rng(4)
    found = density(trace(rng.normal(3, 2, 400_000)), 256)
    step_hz = found.frequencies_hz[1]
    assert found.frequencies_hz[-1] == pytest.approx(50)
    assert found.density.sum() * step_hz == pytest.approx(4, rel=0.02)
    assert np.allclose(found.density[3:-1], 4 * 2 / 100, rtol=0.15)


@pytest.mark.parametrize("bin_", [40, 40.5])
def test_a_sine_stands_at_its_frequency_with_its_power(bin_: float) -> None:
    size = 1024
    frequency_hz = bin_ * 100 / size
    values = 7 + 3 * np.sin(2 * np.pi * frequency_hz * np.arange(50_000) / 100)
    found = density(trace(values), size)
    assert abs(found.frequencies_hz[found.density.argmax()] - frequency_hz) <= 50 / size + 1e-9
    near = np.abs(found.frequencies_hz - frequency_hz) < 5 * 100 / size
    assert found.density[near].sum() * 100 / size == pytest.approx(9 / 2, rel=1e-3)
    assert found.density[~near].max() < found.density.max() / 1e3  # what the trend of a sine leaves


def test_a_trend_leaves_nothing() -> None:
    found = density(trace(np.arange(5000) * 0.3 + 1e6), 64)
    assert found.density.max() < 1e-12


def one(shown: Trace) -> Any:
    made = spectra(lambda: [Single(shown)])
    assert not made.problems, made.problems
    return made.found[0]


@pytest.mark.parametrize("joined", [True, False])
def test_a_jump_in_a_gap_is_no_power(joined: bool) -> None:
    """Steps of the sampling period alone are joined, whether the break was marked or not."""
    values = np.repeat([0.0, 100.0], 2000)
    shown = trace(values + np.sin(np.arange(4000)))
    times = shown.utc_us + np.where(np.arange(4000) >= 2000, 60_000_000, 0)
    starts = None if joined else np.arange(4000) == 2000
    apart = one(Trace("x", "[g]", times, shown.values, starts))
    assert apart.density[:20].max() < 0.01
    assert one(shown).density[:20].max() > 10


def test_segments_are_as_long_as_leaves_enough_of_them() -> None:
    rng = np.random.default_rng(1)
    assert (one(trace(rng.normal(0, 1, 1000))).size, one(trace(rng.normal(0, 1, 1000))).n_segments) == (64, 30)
    assert one(trace(rng.normal(0, 1, 200_000))).size == 16_384
    assert one(trace(rng.normal(0, 1, 20))).n_segments == 1
    assert segments_in(np.array([15, 16, 23, 24, 32]), 16).tolist() == [0, 1, 1, 2, 3]


def test_the_sampling_rate_is_that_of_the_times() -> None:
    """Not of a name: a clock that runs fast by a thousandth moves what it measures."""
    times = NEW_YEAR_US + np.round(np.arange(5000) * 9990.01).astype(np.int64)
    assert one(Trace("x", "", times, np.random.default_rng(0).normal(0, 1, 5000))).rate_hz == pytest.approx(
        1e6 / 9990.01, rel=1e-7
    )


@pytest.mark.parametrize("rate_hz", [20_000, 25_600, 30_000, 32_000])
def test_sampling_about_as_fast_as_the_ticks_of_its_times_is_even(rate_hz: int) -> None:
    """Steps of one tick and of two by turns: 50 Hz of mains stand at 50 Hz all the same."""
    number = np.arange(100_000)
    times = NEW_YEAR_US + np.round(number * 32768 // rate_hz * 1e6 / 32768).astype(np.int64)
    found = one(Trace("current", "A", times, np.sin(2 * np.pi * 50 * number / rate_hz)))
    assert found.rate_hz == pytest.approx(rate_hz, rel=1e-4)
    assert found.n_segments == 23
    assert abs(found.frequencies_hz[np.argmax(found.density)] - 50) < rate_hz / found.size


def test_uneven_readings_have_none() -> None:
    rng = np.random.default_rng(2)
    times = NEW_YEAR_US + np.cumsum(rng.exponential(10_000, 3000)).astype(np.int64) + np.arange(3000)
    with pytest.raises(UsageError, match=r"^'door \$x\$' has no spectrum: its readings are not evenly spaced"):
        spectrum([Trace("door $x$", "", times, rng.normal(0, 1, 3000))])
    changed = np.concatenate([np.arange(1500) * 10_000, 60_000_000 + np.arange(1500) * 4000]).astype(np.int64)
    with pytest.raises(UsageError, match="one session with --session"):
        spectrum([Trace("x", "", NEW_YEAR_US + changed, rng.normal(0, 1, 3000))])


def test_short_runs_have_none() -> None:
    values = np.arange(100.0) % 7
    values[::16] = np.nan
    with pytest.raises(UsageError, match="16 readings without a break, and its longest run has 15"):
        spectrum([trace(values)])


@pytest.mark.parametrize(("values", "sentence"), [([np.nan] * 40, "longest run has 0"), ([3.0] * 40, "same value")])
def test_nothing_to_tell_is_one_sentence(values: list[float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        spectrum([trace(values)])


def test_the_picture_tells_how_it_was_made() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, 5000)
    same = spectrum([trace(noise, name="$x$"), trace(noise * 2, name="y"), trace(noise, name="t", unit="Cel")])
    FigureCanvasAgg(same).draw()
    assert [axes.get_ylabel() for axes in same.axes] == ["g²/Hz", "°C²/Hz"]
    assert any("18 segments of 512 readings, 100 Hz" in text.get_text() for text in same.texts)
    apart = spectrum([trace(noise), trace(noise, name="slow", period_us=3_600_000_000)])
    legend = apart.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "x (18 segments of 512 readings, 100 Hz)",
        "slow (18 segments of 512 readings, one every 3600 s)",
    ]


@pytest.mark.parametrize(
    ("unit", "sign"), [("Cel", "°C²/Hz"), ("%", "%²/Hz"), ("m/s2", "(m/s²)²/Hz"), ("", "1/Hz"), ("[g]", "g²/Hz")]
)
def test_units_are_squared(unit: str, sign: str) -> None:
    assert density_unit(unit) == sign
