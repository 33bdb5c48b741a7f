"""Replaying CSV files: what is read equals what is written, and what cannot be read is said with its line."""

from __future__ import annotations

import csv
import math
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldlog_protocol.blocks.schema import ChannelType
from fieldlog_protocol.errors import UsageError
from fieldlog_sim.replay import load_replay
from replay_tables import HOUR_US, NOW_US, table, times, utc_us


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "readings.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_year_of_weather_is_read_as_it_is_written() -> None:
    source = resources.files("fieldlog_sim") / "data" / "newark-2013-hourly-weather.csv"
    with resources.as_file(source) as path:
        replay = load_replay(path)
        with path.open(newline="") as file:
            header, *rows = list(csv.reader(file))
    (sensor,) = replay.sensors
    assert replay.report == ()
    assert sensor.stream.period_us == HOUR_US
    assert not sensor.stream.timed
    assert [f"{c.name} [{c.unit}]" for c in sensor.stream.channels] == header[1:]
    assert times(replay) == [utc_us(row[0].removesuffix("Z")) for row in rows]
    assert int((np.diff(sensor.utc_us) > HOUR_US).sum()) == 17
    for number, channel in enumerate(sensor.stream.channels, 1):
        written = [float(row[number]) if row[number] else math.nan for row in rows]
        np.testing.assert_array_equal(channel.values(sensor.raw[:, number - 1]), written)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2013-01-01T06:00:00Z", "2013-01-01T06:00:01.5Z"], 1_500_000),
        (["2013-01-01 06:00", "2013-01-01 07:00"], HOUR_US),
        (["2013/01/01 06:00:00", "2013/01/01 06:00:10"], 10_000_000),
        (["2013-01-01T06:00:00+02:00", "2013-01-01T06:00:00+01:00"], HOUR_US),
        (["2013-01-01 06:00:00 UTC", "2013-01-01 06:00:00,25 UTC"], 250_000),
        (["2013-1-1 6:00", "2013-1-1 6:01"], 60_000_000),
        (["20130101T060000Z", "20130101T060001Z"], 1_000_000),
        (["2013-01-01", "2013-01-02"], 24 * HOUR_US),
        (["01.01.2013 06:00", "01.01.2013 07:00"], HOUR_US),
        (["1.1.2013 6:00:00", "1.1.2013 6:00:01,5"], 1_500_000),
        (["01.01.2013", "02.01.2013"], 24 * HOUR_US),
        (["1357020000", "1357020060"], 60_000_000),
        (["1357020000.25", "1357020000.75"], 500_000),
        (["1.357020000e9", "1.357020001e9"], 1_000_000),
        (["1357020000000", "1357020000010"], 10_000),
        (["1357020000000000", "1357020000000100"], 100),
        (["1357020000000000000", "1357020000000100000"], 100),
    ],
)
def test_times_are_read_in_many_forms(write, cells: list[str], expected: int) -> None:
    first, second = times(load_replay(write(f"Time (UTC);x\n{cells[0]};1\n{cells[1]};2\n")))
    assert second - first == expected
    assert datetime.fromtimestamp(first // 10**6, UTC).date().isoformat() == "2013-01-01"


@pytest.mark.parametrize(
    "name", ["time", "Date", "TIMESTAMP", "date_time", "DateTime", "Time (UTC)", "utc", "timestamp [s]"]
)
def test_the_time_column_is_known_by_its_name(write, name: str) -> None:
    """Though another column could be a time too."""
    replay = load_replay(write(f"counter,{name},x\n1500000000,1357020000,1\n1500000001,1357020060,2\n"))
    assert times(replay) == [1357020000 * 10**6, 1357020060 * 10**6]
    assert set(table(replay)) == {"counter", "x"}


def test_without_a_name_the_first_column_that_can_be_nothing_else_is_the_time(write) -> None:
    replay = load_replay(write("hertz,note,when,x\n868000000,a,2013-01-01T06:00Z,1\n868000000,b,2013-01-01T06:01Z,2\n"))
    assert times(replay) == [utc_us("2013-01-01T06:00:00"), utc_us("2013-01-01T06:01:00")]
    assert table(replay) == {"hertz": [868e6, 868e6], "x": [1.0, 2.0]}
    assert replay.report == ("column note holds no numbers: it is left out",)


def test_a_date_and_a_time_of_day_belong_together(write) -> None:
    for first, second in (("2013-01-01", "2013-01-02"), ("01.01.2013", "02.01.2013")):
        replay = load_replay(write(f"Date,Time,x\n{first},23:59:30,1\n{second},00:00:00,2\n"))
        assert times(replay) == [utc_us("2013-01-01T23:59:30"), utc_us("2013-01-02T00:00:00")]


def test_the_day_comes_first_where_points_part_it(write) -> None:
    replay = load_replay(write("time,x\n03.04.2013 06:00,1\n13.04.2013 06:00,2\n"))
    assert times(replay) == [utc_us("2013-04-03T06:00:00"), utc_us("2013-04-13T06:00:00")]


def test_without_times_rows_are_spaced_by_the_period_and_end_now(write) -> None:
    replay = load_replay(write("x,y\n1,2\n3,4\n5,6\n"), period_us=10_000, now_us=NOW_US)
    assert times(replay) == [NOW_US - 20_000, NOW_US - 10_000, NOW_US]
    assert replay.sensors[0].stream.period_us == 10_000
    with pytest.raises(UsageError, match="--replay-period"):
        load_replay(write("x,y\n1,2\n3,4\n"))


def test_elapsed_times_keep_their_steps(write) -> None:
    replay = load_replay(write("Time [ms],x\n0,1\n10,2\n20,3\n"), now_us=NOW_US)
    assert times(replay) == [NOW_US - 20_000, NOW_US - 10_000, NOW_US]
    assert "unknown beginning" in replay.report[0]


def test_an_ambiguous_date_is_refused(write) -> None:
    with pytest.raises(UsageError, match="'03/04/2013 06:00' in the column time cannot be read as a time"):
        load_replay(write("time,x\n03/04/2013 06:00,1\n03/04/2013 07:00,1\n"))


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (["03/04/2013 06:00", "03/04/2013 07:00"], "03/04/2013 06:00"),
        (["Jan 5, 2013 06:00", "Jan 5, 2013 07:00"], "Jan 5, 2013 06:00"),
        (["5 März 2013", "6 März 2013"], "5 März 2013"),
        (["05.01.13 06:00", "05.01.13 07:00"], "05.01.13 06:00"),
        (["2013-01-05 06:00", "05/01/2013 07:00"], "05/01/2013 07:00"),
        (["31.02.2013 06:00", "01.03.2013 07:00"], "31.02.2013 06:00"),
    ],
)
def test_a_date_that_cannot_be_read_is_named(write, cells: list[str], named: str) -> None:
    """Whatever its column is called."""
    for heading in ("when", "Datum/Uhrzeit"):
        path = write(f"{heading};x\n{cells[0]};1\n{cells[1]};2\n")
        with pytest.raises(UsageError, match=f"'{named}' in the column {heading} cannot be read as a time"):
            load_replay(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("preamble", ["", "# made by hand\n\n# twice\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_the_dress_of_a_file_does_not_matter(write, delimiter: str, newline: str, preamble: str, encoding: str) -> None:
    lines = [["time", '"a ""big"" name, really"', "temp [°C]", ""], ["1357020000", '"1.5"', " -2 ", ""]]
    lines += [[], ["1357020001", "NA", "", ""], ["1357020002", "null", "nan", ""]]
    text = preamble + "".join(delimiter.join(line) + "\n" for line in lines)
    replay = load_replay(write(text.replace("\n", newline).encode(encoding)))
    (sensor,) = replay.sensors
    assert [(c.name, c.unit) for c in sensor.stream.channels] == [('a "big" name, really', ""), ("temp", "°C")]
    assert [c.value(int(raw)) for c, raw in zip(sensor.stream.channels, sensor.raw[0], strict=True)] == [1.5, -2.0]
    assert all(c.value(int(raw)) is None for c, raw in zip(sensor.stream.channels, sensor.raw[1], strict=True))


def test_decimal_commas_are_read_where_the_comma_is_no_delimiter(write) -> None:
    assert table(load_replay(write("time;x\n2013-01-01;3,25\n2013-01-02;-0,5\n"))) == {"x": [3.25, -0.5]}


def test_units_come_from_the_name_or_from_the_user(write) -> None:
    path = write("time,temp,p (hPa),rh [%]\n2013-01-01,1,2,3\n")
    replay = load_replay(path, units={"temp": "degF", "p (hPa)": "mbar"})
    assert [(c.name, c.unit) for c in replay.sensors[0].stream.channels] == [
        ("temp", "degF"),
        ("p", "mbar"),
        ("rh", "%"),
    ]
    with pytest.raises(UsageError, match=r"no column 'tmp'.*temp, p, rh"):
        load_replay(path, units={"tmp": "degF"})


def test_names_are_made_different_and_short(write) -> None:
    long = "ein sehr langer Name mit Ümläuten darin"
    replay = load_replay(write(f"time,a,a,,{long},{long}\n2013-01-01,1,2,3,4,5\n"))
    names = [channel.name for channel in replay.sensors[0].stream.channels]
    assert names[:3] == ["a", "a 2", "column 4"]
    assert len(set(names)) == 5
    assert all(len(name.encode()) <= 32 for name in names)


@pytest.mark.parametrize(
    ("cells", "type_", "exponent"),
    [
        (["39.02", "41", "-3.5"], ChannelType.I16, -2),
        (["32767", "0"], ChannelType.I16, 0),
        (["-32768", "0"], ChannelType.I32, 0),
        (["1.5e-3", "2E2"], ChannelType.I32, -4),
        (["3e6", "4.25e6"], ChannelType.I32, 0),
        (["1013.250000000", "1000.1"], ChannelType.I32, -2),
        (["123456789012", "0.5"], ChannelType.I64, -1),
        (["6e20", "7e20"], ChannelType.I16, 20),
        (["9223372036854775806", "1"], ChannelType.I64, 0),
    ],
)
def test_the_smallest_integer_that_keeps_all_digits_is_chosen(
    write, cells: list[str], type_: ChannelType, exponent: int
) -> None:
    rows = "".join(f"{number},{cell}\n" for number, cell in enumerate(cells))
    replay = load_replay(write("time,x\n" + rows))
    channel = replay.sensors[0].stream.channels[0]
    if Decimal(cells[0]) < 2**60:
        assert (channel.type, channel.exponent) == (type_, exponent)
        assert replay.report[1:] == ()
    raw = replay.sensors[0].raw[:, 0].tolist()
    assert [float(Decimal(item).scaleb(channel.exponent)) for item in raw] == [float(cell) for cell in cells]


def test_floats_as_a_program_prints_them_come_back_as_they_were(write) -> None:
    random = Random(5)
    values = [random.gauss(0, 10 ** random.randint(-3, 3)) for _ in range(500)]
    rows = "".join(f"{number},{value!r}\n" for number, value in enumerate(values))
    replay = load_replay(write("time,x\n" + rows))
    assert table(replay)["x"] == pytest.approx(values, rel=1e-12, abs=1e-14)
    assert any("rounded" in line for line in replay.report)


def test_values_too_far_apart_become_floats(write) -> None:
    replay = load_replay(write("time,far,near\n2013-01-01,1e-30,1\n2013-01-02,2.5e30,2\n2013-01-03,,3\n"))
    (sensor,) = replay.sensors
    assert [channel.type for channel in sensor.stream.channels] == [ChannelType.F32, ChannelType.I16]
    assert table(replay)["far"] == pytest.approx([1e-30, 2.5e30, math.nan], rel=1e-7, nan_ok=True)
    assert table(replay)["near"] == [1.0, 2.0, 3.0]
    assert any("32-bit floats" in line for line in replay.report)


def test_numbers_beyond_all_floats_are_no_readings(write) -> None:
    rows = "".join(f"{1357020000 + number},{'1e999999' if number == 7 else number}\n" for number in range(20))
    replay = load_replay(write("time,x\n" + rows))
    assert math.isnan(table(replay)["x"][7])
    assert "'1e999999'" in replay.report[0]


def test_a_few_words_among_numbers_are_missing_values_and_said(write) -> None:
    rows = "".join(f"{1357020000 + number},{'ERR' if number == 7 else number}\n" for number in range(20))
    replay = load_replay(write("time,x\n" + rows))
    assert math.isnan(table(replay)["x"][7])
    assert replay.report == ("column x: 1 cells that are no numbers, such as 'ERR', are missing values",)


@settings(max_examples=80, deadline=None)
@given(
    cells=st.lists(
        st.one_of(
            st.none(),
            st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4),
            st.integers(-(10**11), 10**11).map(Decimal),
        ),
        min_size=1,
        max_size=30,
    ).filter(lambda cells: any(cell is not None for cell in cells))
)
def test_every_decimal_survives(tmp_path_factory: pytest.TempPathFactory, cells: list[Decimal | None]) -> None:
    path = tmp_path_factory.getbasetemp() / "survives.csv"
    rows = "".join(f"{1357020000 + n},{'' if cell is None else cell}\n" for n, cell in enumerate(cells))
    path.write_text("time,x\n" + rows)
    (sensor,) = load_replay(path).sensors
    (channel,) = sensor.stream.channels
    for cell, raw in zip(cells, sensor.raw[:, 0].tolist(), strict=True):
        assert channel.missing is not None
        assert (None if raw == channel.missing else raw * channel.scale) == cell


def test_rows_out_of_order_are_sorted_with_their_readings(write) -> None:
    replay = load_replay(write("time,x\n2013-01-03,3\n2013-01-01,1\n2013-01-02,2\n"))
    assert table(replay) == {"x": [1.0, 2.0, 3.0]}
    assert len(replay.report) == 1
    assert "sorted" in replay.report[0]


def _stream_of(write, instants: list[float]):
    rows = "".join(f"{1357020000 + instant:.6f},{number}\n" for number, instant in enumerate(instants))
    return load_replay(write("time,x\n" + rows)).sensors[0].stream


def test_steady_series_with_gaps_are_regular(write) -> None:
    instants = [n * 0.01 + (5 if n > 300 else 0) for n in range(600)]
    stream = _stream_of(write, instants)
    assert (stream.timed, stream.period_us) == (False, 10_000)


def test_jitter_makes_a_stream_timed(write) -> None:
    random = Random(2)
    stream = _stream_of(write, [n * 0.01 + random.uniform(0, 0.001) for n in range(500)])
    assert stream.timed
    assert stream.period_us == pytest.approx(10_000, rel=0.1)
    assert stream.time_resolution == 1


def test_events_have_no_period(write) -> None:
    random = Random(3)
    stream = _stream_of(write, np.cumsum([random.expovariate(1 / 100) for _ in range(300)]).tolist())
    assert (stream.timed, stream.period_us) == (True, 0)


def test_equal_times_are_kept_all(write) -> None:
    replay = load_replay(write("time,x\n10,1\n11,2\n11,3\n12,4\n"), now_us=NOW_US)
    assert replay.sensors[0].stream.timed
    frames = replay.sensors[0].frames_between(replay.start_us, replay.end_us)
    assert frames.raw[:, 0].tolist() == [1, 2, 3, 4]


def test_after_its_end_the_file_is_read_over_again(write) -> None:
    replay = load_replay(write("time,x\n100000000,1\n100000010,2\n100000020,3\n"))
    (sensor,) = replay.sensors
    start = 100_000_000 * 10**6
    frames = sensor.frames_between(start - 1, start + 70 * 10**6)
    assert ((frames.utc_us - start) // 10**6).tolist() == [0, 10, 20, 30, 40, 50, 60, 70]
    assert frames.raw[:, 0].tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_device_that_is_ready_later_starts_the_file_anew(write) -> None:
    replay = load_replay(write("time,x\n100000000,1\n100000010,2\n100000020,3\n"))
    (sensor,) = replay.sensors
    ready = 200_000_000 * 10**6
    replay.continue_at(ready)
    replay.continue_at(ready + 5)
    assert sensor.frames_between(replay.end_us, ready).raw.size == 0, "nothing was read while there was no device"
    live = ready + 10**7
    frames = sensor.frames_between(ready, ready + 42 * 10**6)
    assert frames.utc_us.tolist() == [live, live + 10**7, live + 2 * 10**7, live + 3 * 10**7]
    assert frames.raw[:, 0].tolist() == [1, 2, 3, 1]
    assert sensor.frames_between(replay.start_us, replay.end_us).raw[:, 0].tolist() == [1, 2, 3]
    assert sensor.next_at(replay.end_us, 0) == live
    assert sensor.next_at(live, 0) == live + 10**7


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(-5_000_000, 400_000_000), max_size=8), live=st.booleans())
def test_frames_do_not_depend_on_how_time_is_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], live: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.csv"
    path.write_text("time,x\n" + "".join(f"{100000000 + n * n},{n}\n" for n in range(12)))
    replay = load_replay(path)
    if live:
        replay.continue_at(replay.end_us + 50_000_000)
    (sensor,) = replay.sensors
    edges = [replay.start_us + cut for cut in sorted({-5_000_001, *cuts, 400_000_001})]
    pieces = [sensor.frames_between(a, b) for a, b in pairwise(edges)]
    whole = sensor.frames_between(edges[0], edges[-1])
    assert np.concatenate([piece.utc_us for piece in pieces]).tolist() == whole.utc_us.tolist()
    assert np.concatenate([piece.raw for piece in pieces]).tolist() == whole.raw.tolist()
    newest = sensor.frames_between(edges[0], edges[-1], most=5)
    assert (newest.utc_us.tolist(), newest.missed) == (whole.utc_us[-5:].tolist(), max(0, len(whole.raw) - 5))
    assert newest.raw.tolist() == whole.raw[-5:].tolist()
    following = edges[0]
    for instant in whole.utc_us.tolist():
        following = sensor.next_at(following, 0)
        assert following == instant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("time,x\n", "no rows"),
        ("1,2\n3,4\n", "line 1: the header consists of numbers"),
        ("x,time\n1,2013-01-01\n2\n", "line 3: '' in the column time is no time"),
        ("time,x,y\n2013-01-01T06:0", "line 2: it is the only row, and ends before its time does"),
        ("# c\ntime,x\n2013-01-01,1\n\n2013-01-02,1,5\n", "line 5: it has 3 cells, and the header 2"),
        ('time,x\n2013-01-01,"1\n2"\nyesterday,3\n', "cannot be read as a time"),
        ("time,x\n" + "2013-01-01,1\n" * 60 + "2013-13-01,1\n", "line 62: '2013-13-01' in the column time is no time"),
        ("time,x\n" + "2013-01-01,1\n" * 60 + ",1\n", "line 62: '' in the column time is no time"),
        ("time,x\n2013-01-01,red\n2013-01-02,green\n", "no column of numbers"),
        ("time,x\n2013-01-01,\n", "no column of numbers"),
        ("time,x\n2013-01-01," + "9" * 200_000 + "\n", "line 2: field larger than field limit"),
    ],
)
def test_broken_files_are_refused_with_their_line(write, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_replay(write(text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_replay(tmp_path / "none.csv")


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_replayed_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"time,x\n" + data)
    with suppress(UsageError):
        assert load_replay(path, period_us=1000).sensors
