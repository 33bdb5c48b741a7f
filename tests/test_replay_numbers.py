"""What a replay does to numbers: their digits come back, or it is said that they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.blocks.schema import ChannelType
from fieldlog_sim.replay import Replay, load_replay
from replay_tables import decimals, table, written


def _column(folder: Path, cells: Sequence[str]) -> Replay:
    return load_replay(written(folder, "time,x\n" + "".join(f"{1357020000 + n},{c}\n" for n, c in enumerate(cells))))


# digits that cannot be kept


def test_digits_that_are_lost_are_said(tmp_path: Path) -> None:
    replay = _column(tmp_path, ["0.12345678901234567890123", "0.5", "0.22345678901234567890123"])
    assert replay.report == (
        "column x: 2 cells have more digits than a 64-bit integer holds, such as '0.12345678901234567890123': rounded",
    )
    assert decimals(replay)[0] == Decimal("0.123456789012345679")


def test_one_repeated_cell_counts_as_often_as_it_comes(tmp_path: Path) -> None:
    (note,) = _column(tmp_path, ["50.39256806485354900360107421875"] * 3).report
    assert note.startswith("column x: 3 cells have")
    (note,) = _column(tmp_path, ["50.39256806485354900360107421875", "50.3"]).report
    assert note.startswith("column x: 1 cell has")


def test_a_number_too_small_for_any_float_is_said(tmp_path: Path) -> None:
    replay = _column(tmp_path, ["1e-300", "1", "2"])
    assert table(replay) == {"x": [0.0, 1.0, 2.0]}
    assert "'1e-300'" in replay.report[0]


@pytest.mark.parametrize("cell", ["1.5000000000000000000000", "150000000000000000000e-20", "0e-999999", "-1.5"])
def test_zeros_that_are_cut_lose_nothing(tmp_path: Path, cell: str) -> None:
    replay = _column(tmp_path, [cell, "2"])
    assert replay.report == ()
    assert decimals(replay) == [Decimal(cell), Decimal(2)]


def test_numbers_too_large_for_the_floats_of_a_column_are_said(tmp_path: Path) -> None:
    replay = _column(tmp_path, ["1e-30", "1e200", "1e30", "-1e200"])
    assert [math.isnan(value) for value in table(replay)["x"]] == [False, True, False, True]
    assert "2 that are too large for one are missing values" in replay.report[0]


# multiples of a power of two


def _walk(bits: int, count: int, seed: int) -> list[float]:
    random = Random(seed)
    return [random.randrange(-15 * 2**bits, 15 * 2**bits) / 2**bits for _ in range(count)]


@pytest.mark.parametrize(("bits", "type_"), [(8, ChannelType.I32), (11, ChannelType.I16), (15, ChannelType.I32)])
def test_multiples_of_a_power_of_two_are_counted(tmp_path: Path, bits: int, type_: ChannelType) -> None:
    """Digits that are all there need no word. Where 32 bits hold them as they are, they stay so."""
    cells = [str(Decimal(value)) for value in _walk(bits, 500, 1)]
    replay = _column(tmp_path, [*cells[:100], "", *cells[100:]])
    channel = replay.sensors[0].stream.channels[0]
    assert channel.type is type_
    assert channel.multiplier == (1 if bits == 8 else 5**bits)
    assert replay.report == ()
    assert decimals(replay) == [*map(Decimal, cells[:100]), None, *map(Decimal, cells[100:])]


@pytest.mark.parametrize("form", ["{:.7g}", "{:.10f}", "{:.10g}", "{:.9e}"])
def test_multiples_that_were_rounded_are_counted_and_said(tmp_path: Path, form: str) -> None:
    """As loggers print accelerations in steps of 1/2048 g, with zeros at the end left out or not."""
    values = _walk(11, 5000, 2)
    replay = _column(tmp_path, [form.format(value) for value in values])
    channel = replay.sensors[0].stream.channels[0]
    assert (channel.type, channel.multiplier, channel.exponent) == (ChannelType.I16, 5**11, -11)
    assert table(replay)["x"] == values
    expected = "column x: multiples of 1/2048, written with fewer digits, are recorded as those multiples"
    assert replay.report == (expected,)


def test_few_rounded_numbers_prove_no_multiples(tmp_path: Path) -> None:
    cells = [f"{number / 2048:.10f}" for number in (9, 19, 3001, 35, 5555, 77, 24_681)]
    assert decimals(_column(tmp_path, cells)) == list(map(Decimal, cells))
    more = [*cells, f"{12_345 / 2048:.10f}"]
    assert decimals(_column(tmp_path, more))[0] == Decimal(9) / 2048


@pytest.mark.parametrize("last_digits", [-3, -1, 1, 3])
def test_one_number_off_the_steps_leaves_all_as_they_are_written(tmp_path: Path, last_digits: int) -> None:
    cells = [f"{value:.7g}" for value in _walk(11, 3000, 3)]
    cells[1234] = str(Decimal("0.001464844") + last_digits * Decimal("1e-9"))
    replay = _column(tmp_path, cells)
    assert replay.sensors[0].stream.channels[0].multiplier == 1
    assert decimals(replay) == list(map(Decimal, cells))


def test_noise_is_not_drawn_to_multiples(tmp_path: Path) -> None:
    """Where the steps are hardly coarser than the digits, numbers lie near some by chance."""
    random = Random(6)
    rows = [[f"{random.uniform(22, 31.9):.8f}" for _ in range(200)] for _ in range(8)]
    text = "".join(f"{1357020000 + n},{','.join(row)}\n" for n, row in enumerate(rows))
    replay = load_replay(written(tmp_path, f"time,{','.join(f'c{n}' for n in range(200))}\n{text}"))
    channels = [channel for sensor in replay.sensors for channel in sensor.stream.channels]
    assert {(channel.type, channel.multiplier) for channel in channels} == {(ChannelType.I64, 1)}


def test_the_finest_steps_of_all_rows_count(tmp_path: Path) -> None:
    """However seldom they come."""
    cells = [str(Decimal(value)) for value in _walk(3, 4000, 7)]
    cells[777] = str(Decimal(12_345) / 2**11)
    replay = _column(tmp_path, cells)
    assert replay.sensors[0].stream.channels[0].multiplier == 5**11
    assert decimals(replay) == list(map(Decimal, cells))


@settings(max_examples=150, deadline=None)
@given(
    bits=st.integers(0, 30),
    form=st.sampled_from(["{:.5g}", "{:.7g}", "{:.9g}", "{:.12g}", "{:.6f}", "{:.10f}", "{}"]),
    seed=st.integers(0, 1000),
    odd=st.none() | st.floats(-1000, 1000),
)
def test_each_value_has_the_digits_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, bits: int, form: str, seed: int, odd: float | None
) -> None:
    values = _walk(bits, 40, seed) + ([] if odd is None else [odd])
    cells = [form.format(value) for value in values]
    replay = _column(tmp_path_factory.getbasetemp(), cells)
    if any("64-bit" in note or "32-bit" in note for note in replay.report):
        return
    for cell, value in zip(map(Decimal, cells), decimals(replay), strict=True):
        assert value is not None
        off = abs(value - cell)
        assert off == 0 or (replay.report and 2 * off <= Decimal(1).scaleb(int(cell.as_tuple().exponent)))
