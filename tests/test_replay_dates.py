"""Dates written as digits alone: read where the heading tells that they are dates, refused where they may be numbers, and
never taken for something else without a word."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from fieldlog_protocol.errors import UsageError
from fieldlog_sim.replay import load_replay
from replay_tables import HOUR_US, NOW_US, table, times, utc_us, written

DAY_US = 24 * HOUR_US


def _rows(heading: str, *cells: str) -> str:
    return f"{heading},x\n" + "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("heading", "cells", "expected"),
    [
        ("date", ["20200131", "20200201"], ["2020-01-31", "2020-02-01"]),
        ("Datetime", ["202001312330", "202002010000"], ["2020-01-31T23:30", "2020-02-01T00:00"]),
        ("Timestamp", ["20200131", "20200201"], ["2020-01-31", "2020-02-01"]),
        ("time stamp", ["202001312330", "202002010000"], ["2020-01-31T23:30", "2020-02-01T00:00"]),
        ("Date (UTC)", ["20200131", "20200201"], ["2020-01-31", "2020-02-01"]),
        ("sample_date", ["20200131", "20200201"], ["2020-01-31", "2020-02-01"]),
        ("date", ["20200131.0", "20200201.0"], ["2020-01-31", "2020-02-01"]),
        ("time", ["20200131235959", "20200201000000"], ["2020-01-31T23:59:59", "2020-02-01T00:00:00"]),
        ("UTC", ["19991231235959.0", "20000101000000.0"], ["1999-12-31T23:59:59", "2000-01-01T00:00:00"]),
        ("timestamp", ["20200131235959000", "20200201000000000"], ["2020-01-31T23:59:59", "2020-02-01T00:00:00"]),
    ],
)
def test_digits_are_dates_where_the_heading_says_so(
    tmp_path: Path, heading: str, cells: list[str], expected: list[str]
) -> None:
    replay = load_replay(written(tmp_path, _rows(heading, *cells)))
    assert times(replay) == [utc_us(each) for each in expected]
    (note,) = replay.report
    assert f": {cells[0]} is read as {expected[0].replace('T', ' ')}" in note
    assert table(replay) == {"x": [0.0, 1.0]}


def test_a_fraction_of_a_second_is_read(tmp_path: Path) -> None:
    for first, second in (("20200131235959.25", "20200131235959.75"), ("20200131235959250", "20200131235959750")):
        replay = load_replay(written(tmp_path, _rows("datetime", first, second)))
        assert times(replay) == [utc_us("2020-01-31T23:59:59") + 250_000, utc_us("2020-01-31T23:59:59") + 750_000]


def test_a_date_of_digits_belongs_to_a_time_of_day(tmp_path: Path) -> None:
    text = "Date,Time,x\n20130101,23:59:30,1\n20130102,0:00:00,2\n"
    assert times(load_replay(written(tmp_path, text))) == [utc_us("2013-01-01T23:59:30"), utc_us("2013-01-02T00:00:00")]


@pytest.mark.parametrize(
    ("heading", "first"),
    [
        ("time", "20200101"),
        ("time", "202001011200"),
        ("utc", "20200101"),
        ("time", "2033010112"),
        ("date", "2033010112"),
        ("timestamp", "2033010112"),
        ("measured at", "202001011200"),
        ("when", "20200101"),
    ],
)
def test_digits_that_may_be_a_number_are_refused(tmp_path: Path, heading: str, first: str) -> None:
    rows = _rows(heading, first, str(int(first) + 1))
    with pytest.raises(UsageError, match=f"'{first}' in the column {heading} may be a date or a number") as caught:
        load_replay(written(tmp_path, rows))
    assert "time [s]" in str(caught.value)
    assert ("heading such as date" in str(caught.value)) is (len(first) != 10)


def test_a_unit_says_that_digits_are_a_number(tmp_path: Path) -> None:
    replay = load_replay(written(tmp_path, _rows("time [ms]", "20200101", "20200102")), now_us=NOW_US)
    assert times(replay) == [NOW_US - 1000, NOW_US]
    replay = load_replay(written(tmp_path, _rows("date [s]", "2033010112", "2033010113")))
    assert times(replay) == [2033010112 * 10**6, 2033010113 * 10**6]


@pytest.mark.parametrize("first", [1577836800, 1899999999, 20201350, 202013011200, 20209901])
def test_digits_that_are_no_date_stay_numbers(tmp_path: Path, first: int) -> None:
    """Seconds since 1970 of these years begin with other digits; few numbers that rise form dates for long."""
    replay = load_replay(written(tmp_path, _rows("timestamp", *(str(first + n) for n in range(60)))), now_us=NOW_US)
    assert {after - before for before, after in pairwise(times(replay))} <= {10**6, 10**3}


def test_a_date_among_dates_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    days = ["20200228", "20200229", "20200230", "20200301"]
    with pytest.raises(UsageError, match="line 4: '20200230' in the column date is no time"):
        load_replay(written(tmp_path, _rows("date", *days)))
    with pytest.raises(UsageError, match="line 3: '202001012400' in the column Datetime is no time"):
        load_replay(written(tmp_path, _rows("Datetime", "202001012300", "202001012400")))
    for broken in ("20200102.5", "20200102.12"):
        with pytest.raises(UsageError, match=f"line 3: '{broken}' in the column date is no time"):
            load_replay(written(tmp_path, _rows("date", "20200101.0", broken)))
    text = "Date,Clock,x\n20200101.0,06:00,1\n20200102.5,06:00,2\n"
    with pytest.raises(UsageError, match=r"line 3: '20200102\.5 06:00' in the column Date and Clock is no time"):
        load_replay(written(tmp_path, text))


@pytest.mark.parametrize("date", ["{}", "{}.0"])
@pytest.mark.parametrize(
    ("heading", "digits"),
    [
        ("timestamp", (12, 14)),
        ("timestamp", (14, 12)),
        ("timestamp", (12, 11)),
        ("date", (8, 12)),
        ("date", (8, 7)),
        ("Datetime", (12, 8)),
        ("Datetime", (12, 10)),
        ("time", (14, 17)),
        ("time", (14, 10)),
    ],
)
@pytest.mark.parametrize("alike", [1, 3, 60])
def test_digits_of_unlike_lengths_are_refused_with_their_line(
    tmp_path: Path, heading: str, digits: tuple[int, int], alike: int, date: str
) -> None:
    """One of them is no date, and nobody knows which."""
    cells = [f"{2001 + n}0102030405000"[: digits[0]] for n in range(alike)]
    odd, first = date.format("20910102030405000"[: digits[1]]), date.format(cells[0])
    found = f"line {alike + 2}: '{odd}' in the column {heading} has {digits[1]} digits, and {first} has {digits[0]}"
    with pytest.raises(UsageError, match=re.escape(found)):
        load_replay(written(tmp_path, _rows(heading, *map(date.format, cells), odd)))


@pytest.mark.parametrize("heading", ["time", "timestamp"])
@pytest.mark.parametrize(("digits", "odd"), [("20200131959", "202001311000"), ("1577836800000", "1577836801")])
def test_numbers_of_unlike_units_are_no_times(tmp_path: Path, heading: str, digits: str, odd: str) -> None:
    """Hours without their zero, or milliseconds and seconds: by their size they would lie centuries apart."""
    cells = [str(int(digits) - number) for number in range(60, 0, -1)]
    with pytest.raises(UsageError, match=f"line 62: '{odd}' in the column {heading} has {len(odd)} digits, and"):
        load_replay(written(tmp_path, _rows(heading, *cells, odd)))
    with pytest.raises(UsageError, match=f"in the column {heading} "):
        load_replay(written(tmp_path, _rows(heading, cells[0], odd)))


def test_nothing_since_a_beginning_has_every_unit(tmp_path: Path) -> None:
    replay = load_replay(written(tmp_path, _rows("timestamp", "0", "1577836800000", "1577836801000")))
    assert times(replay)[0] + 1577836800 * 10**6 == times(replay)[1]


def test_digits_among_dates_of_another_form_are_refused(tmp_path: Path) -> None:
    rows = _rows("time", *(f"2013-01-01 06:{minute:02}" for minute in range(60)), "2013010107")
    with pytest.raises(UsageError, match="line 62: '2013010107' in the column time is no time"):
        load_replay(written(tmp_path, rows))


@pytest.mark.parametrize("days", [["20130101", "20130102", "20130102"], ["2013-01-01", "2013-01-02", "2013-01-02"]])
def test_several_rows_of_a_day_need_their_time_of_day(tmp_path: Path, days: list[str]) -> None:
    for heading, hours in (("hour", ["6", "6", "7"]), ("Clock", ["6:00 AM", "6:00 AM", "7:00 AM"])):
        rows = "".join(f"{day},{hour},1\n" for day, hour in zip(days, hours, strict=True))
        with pytest.raises(
            UsageError, match=f"line 4: '{days[1]}' is in the column date once more, and no column tells"
        ):
            load_replay(written(tmp_path, f"date,{heading},T\n{rows}"))
        replay = load_replay(written(tmp_path, f"date,{heading},T\n{rows[: rows.rindex(days[2])]}"))
        assert times(replay) == [utc_us("2013-01-01"), utc_us("2013-01-02")]


@pytest.mark.parametrize("date", ["20130101", "2013-01-01", "1.1.2013"])
@pytest.mark.parametrize("clock", [("0005", "0010"), ("0", "300"), ("0.25", "0.5"), ("1000", "10")])
def test_a_time_of_day_without_a_colon_is_refused_beside_a_date(
    tmp_path: Path, date: str, clock: tuple[str, str]
) -> None:
    text = f"date,time,T\n{date},{clock[0]},1\n{date},{clock[1]},2\n"
    line, cell = (3, clock[1]) if clock[0] == "1000" else (2, clock[0])
    with pytest.raises(UsageError, match=f"line {line}: '{cell}' in the column time is .*the column date holds dates"):
        load_replay(written(tmp_path, text))


@pytest.mark.parametrize("heading", ["date,time [s]", "day,time", "day,time [s]"])
def test_what_counts_on_beside_dates_does_not_begin_anew(tmp_path: Path, heading: str) -> None:
    """Days would be sorted into each other."""
    text = f"{heading},T\n20130101,86340,1\n20130102,86350,2\n"
    assert times(load_replay(written(tmp_path, text), now_us=NOW_US)) == [NOW_US - 10 * 10**6, NOW_US]
    with pytest.raises(UsageError, match="line 4: '60' in the column time is less than in the row before"):
        load_replay(written(tmp_path, text + "20130103,60,3\n"))


@pytest.mark.parametrize("cells", [["31122019", "01012020"], ["43831", "43832"], ["0", "1"]])
def test_what_is_called_a_date_does_not_count_from_an_unknown_beginning(tmp_path: Path, cells: list[str]) -> None:
    """Day first, or days since 1900: seconds they are not."""
    with pytest.raises(UsageError, match=f"'{cells[0]}' in the column date cannot be read as a time"):
        load_replay(written(tmp_path, _rows("date", *cells)))


def test_a_year_of_days_is_a_day_apart(tmp_path: Path) -> None:
    days = [f"2021{month:02}{day:02}" for month in range(1, 13) for day in range(1, 29)]
    instants = times(load_replay(written(tmp_path, _rows("date", *days))))
    assert instants[-1] - instants[0] == 361 * DAY_US


def test_rows_from_before_1970_are_said(tmp_path: Path) -> None:
    replay = load_replay(written(tmp_path, _rows("time", "1969-12-30", "1969-12-31", "1970-01-01", "1970-01-02")))
    assert replay.report == ("2 of 4 rows are from before 1970, which no device can tell: their times are lost",)
    assert table(replay) == {"x": [0.0, 1.0, 2.0, 3.0]}
    assert load_replay(written(tmp_path, _rows("time", "1970-01-01", "1970-01-02"))).report == ()


@pytest.mark.parametrize(("unit", "step_us"), [("s", 10**6), ("min", 60 * 10**6), ("h", HOUR_US), ("d", 24 * HOUR_US)])
def test_time_that_has_passed_is_in_the_unit_of_its_heading(unit: str, step_us: int, tmp_path: Path) -> None:
    replay = load_replay(written(tmp_path, _rows(f"time [{unit}]", "0", "1", "3")), now_us=NOW_US)
    first, *later = times(replay)
    assert [each - first for each in later] == [step_us, 3 * step_us]


def test_time_in_a_unit_that_nobody_knows_is_no_time(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read as a time"):
        load_replay(written(tmp_path, _rows("time [fortnights]", "0", "1", "3")), now_us=NOW_US)
