"""Pictures of many readings from what every few hundred of them come to: the same as from the readings, spikes and all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger
from fieldlog import pictures
from fieldlog.archive import Archive, outline, plan, row_groups
from fieldlog.archive.agreement import compare
from fieldlog.archive.dataset import manifest_of, update_dataset
from fieldlog.archive.derived import DerivedBatch
from fieldlog.archive.outline_file import Packed, Packer, agree, group_head, head_of, is_whole, outlines
from fieldlog.archive.records import LogInfo
from fieldlog.archive.series import Series
from fieldlog.clock_model import UNKNOWN_TIME, Quality
from fieldlog.clock_sync import Sync
from fieldlog.plot import Limit, Line
from fieldlog.plot.lines import Overview
from fieldlog.plot.reduce import Grid
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

SYNCS = [Sync(1, 0, NEW_YEAR_US, 0), Sync(1, 1000 * HOUR, NEW_YEAR_US + 1000 * 3_600_000_000, 0)]
START = datetime(2013, 1, 1, tzinfo=UTC)
N, COLUMNS, CHUNK, GROUP = 12_000, 40, 16, 2_000
SPIKE = 9000


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "CHUNK", CHUNK)
    monkeypatch.setattr(plan, "BATCH_FRAMES", GROUP)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path) as opened:
        yield opened


def store(archive: Archive, ticks: Any, temperature: Any, humidity: Any = None) -> None:
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, ticks, temperature, np.full(len(ticks), 500) if humidity is None else humidity)
    logger.data(DOOR, [5, 70_000, 80_000], [1, 0, 1])
    log = archive.log(UID, LOG_ID)
    log.add_syncs(SYNCS)
    log.add_blocks(logger.blocks)
    update_dataset(archive)


def calm(seed: int = 1) -> tuple[Any, Any]:
    """(ticks, temperature): no extreme but those that are put in."""
    return np.arange(N) * TICK_HZ, 2000 + np.random.default_rng(seed).integers(-50, 50, N)


def drawn(archive: Archive, limits: tuple[Limit, ...] = (), n_columns: int = COLUMNS, **selection: Any) -> list[Line]:
    selection = {"channels": ["temperature", "relative humidity"], **selection}
    found = pictures.find(archive, archive.readings(**selection))
    assert found.from_parquet
    return pictures.lines(found, n_columns, limits, spread=True)[0]


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`drawn` from every reading."""

    def lines(*args: Any, **kwargs: Any) -> list[Line]:
        with monkeypatch.context() as patch:
            patch.setattr(DerivedBatch, "outlined", lambda _: None)
            return drawn(*args, **kwargs)

    return lines


class Reads:
    """Counts the row groups that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[int] = []
        self._read = row_groups.read_rows
        monkeypatch.setattr(row_groups, "read_rows", self)

    def __call__(self, path: Path, group: int, names: Any) -> Any:
        self.groups.append(group)
        return self._read(path, group, names)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def assert_same(some: list[Line], others: list[Line], n_columns: int = COLUMNS) -> None:
    """But for what lies within a chunk of a column's border."""
    assert [line.name for line in some] == [line.name for line in others]
    for one, other in zip(some, others, strict=True):
        for spans in ("runs", "logged"):
            assert [part.tolist() for part in getattr(one, spans)] == [part.tolist() for part in getattr(other, spans)]
        assert [(kind, *map(list, spans)) for kind, spans in one.doubtful] == [
            (kind, *map(list, spans)) for kind, spans in other.doubtful
        ]
        mine, theirs = one.figures, other.figures
        for name in ("count", "n_missing", "lowest", "highest", "covered_us", "passed_us"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert mine.mean == pytest.approx(theirs.mean, rel=1e-12)
        assert mine.deviation == pytest.approx(theirs.deviation, rel=1e-9, abs=1e-9)
        assert one.columns.reduced == other.columns.reduced
        assert_columns_near(one, other)


def assert_columns_near(one: Line, other: Line) -> None:
    """Each column is that of the other, or has what lies at the edge of the one beside it."""
    begin_us, end_us = int(one.runs[0].min()), int(one.runs[1].max())
    step_us = (end_us - begin_us) / COLUMNS
    for mine, theirs in ((one.columns, other.columns), (other.columns, one.columns)):
        for at_us, low, high in zip(mine.utc_us, mine.low, mine.high, strict=True):
            near = abs(theirs.utc_us - at_us) <= 1.6 * step_us
            assert near.any()
            assert theirs.low[near].min() <= low
            assert high <= theirs.high[near].max()


def edges_of_columns(n: int = N) -> list[int]:
    """The readings at both sides of each border between columns."""
    return [
        row + side for column in range(1, COLUMNS) for row in [round(column * (n - 1) / COLUMNS)] for side in (-1, 0, 1)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_spike_of_one_reading_is_seen_wherever_it_is(archive: Archive, scanned: Any, reads: Reads, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ticks, temperature = calm(seed)
    gap = int(rng.integers(3000, 9000))
    ticks[gap:] += 900 * TICK_HZ
    missing = int(rng.integers(500, 2500))
    temperature[missing : missing + 700] = -32768
    borders = [edge + side for edge in range(0, N, CHUNK * 37) for side in (-1, 0, 1)]
    special = [0, N - 1, gap - 1, gap, missing - 1, missing + 700, *edges_of_columns(), *borders]
    rows = {row for row in [*special, *rng.integers(0, N, 30).tolist()] if 0 <= row < N}
    spikes = sorted(row for row in rows if temperature[row] != -32768)
    chosen = rng.choice(spikes, 12, replace=False).tolist()
    temperature[chosen] = SPIKE + np.arange(12)
    store(archive, ticks, temperature)
    (line, other) = drawn(archive)
    assert reads.groups == []
    assert_same([line, other], scanned(archive))
    column_us = (line.runs[1].max() - line.runs[0].min()) / COLUMNS
    for number, row in enumerate(chosen):
        at_us = NEW_YEAR_US + ticks[row] * 1_000_000 / TICK_HZ
        near = abs(line.columns.utc_us - at_us) <= 1.1 * column_us
        assert line.columns.high[near].max() >= (SPIKE + number) / 100, f"seed {seed}, reading {row}"


@pytest.mark.parametrize("where", [5000, 5008, 5009])
def test_a_gap_is_not_joined(archive: Archive, scanned: Any, reads: Reads, where: int) -> None:
    """Inside a chunk, and at its border."""
    ticks, temperature = calm()
    ticks[where:] += 3000 * TICK_HZ
    store(archive, ticks, temperature)
    lines = drawn(archive)
    assert reads.groups == []
    assert_same(lines, scanned(archive))
    columns = lines[0].columns
    apart = np.flatnonzero(np.diff(columns.utc_us) > 2_000_000_000) + 1
    assert len(apart) == 1
    assert columns.starts[apart].all()
    assert columns.starts.sum() == 2


def test_readings_that_pass_a_limit_are_looked_at_where_it_lies(archive: Archive, scanned: Any, reads: Reads) -> None:
    ticks, temperature = calm()
    temperature[5000:7000] += 500
    temperature[6500] = -32768
    store(archive, ticks, temperature)
    limits = (Limit("temperature", 22.5), Limit("temperature", 50.0), Limit("temperature", 10.0, below=True))
    lines = drawn(archive, limits)
    assert set(reads.groups) <= {2, 3}  # of five or six: where it begins, ends, and a value is missing
    assert reads.groups
    assert_same(lines, scanned(archive, limits))
    assert lines[0].figures.passed_us == (1_998_000_000, 0, 0)


@pytest.mark.parametrize(("start_s", "end_s"), [(2500, 9300), (None, 9300), (2500, None), (4000, 8000)])
def test_only_what_is_cut_is_read(
    archive: Archive, scanned: Any, reads: Reads, start_s: int | None, end_s: int | None
) -> None:
    store(archive, *calm())
    times = {"start": start_s, "end": end_s}
    chosen = {name: START + timedelta(seconds=at) for name, at in times.items() if at is not None}
    lines = drawn(archive, **chosen)
    assert len(reads.groups) <= len(chosen)
    assert_same(lines, scanned(archive, **chosen))


def test_a_picture_as_wide_as_its_readings_shows_each(archive: Archive, scanned: Any, reads: Reads) -> None:
    store(archive, *calm())
    for n_columns in (N, 1000):
        del reads.groups[:]
        lines = drawn(archive, n_columns=n_columns)
        assert reads.groups
        assert_same(lines, scanned(archive, n_columns=n_columns))


def test_few_readings_beside_many_are_drawn_as_they_are(archive: Archive, reads: Reads) -> None:
    store(archive, *calm())
    lines = {line.name: line for line in drawn(archive, channels=None)}
    assert lines["temperature"].columns.reduced
    assert not lines["open"].columns.reduced
    assert lines["open"].columns.mean.tolist() == [1, 0, 1]
    assert len(reads.groups) == 1


# -- damage -------------------------------------------------------------------------------------------------------


def change(archive: Archive, query: str, *values: Any) -> None:
    with closing(sqlite3.connect(manifest_of(archive.path))) as connection, connection:
        connection.execute(query, values)


def kept(archive: Archive) -> dict[str, Packed]:
    with closing(sqlite3.connect(manifest_of(archive.path))) as connection:
        return {name: Packed(head, data) for name, head, data in connection.execute("SELECT * FROM outlines")}


def flipped(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 0x10]) + data[51:]


HARMS: dict[str, Callable[[Packed], tuple[Any, Any] | None]] = {
    "head": lambda packed: (flipped(packed.head), packed.data),
    "data": lambda packed: (packed.head, flipped(packed.data)),
    "short": lambda packed: (packed.head, packed.data[:99]),
    "empty": lambda _: (b"", b""),
    "text": lambda _: ("nonsense", 7),
    "gone": lambda _: None,
}


def harm(archive: Archive, how: str) -> None:
    for name, packed in kept(archive).items():
        spoiled = HARMS[how](packed)
        change(archive, "DELETE FROM outlines WHERE name = ?", name)
        if spoiled is not None:
            change(archive, "INSERT INTO outlines VALUES (?, ?, ?)", name, *spoiled)


@pytest.mark.parametrize("how", [*HARMS, "no table"])
def test_what_is_lost_or_damaged_costs_time_alone(archive: Archive, scanned: Any, reads: Reads, how: str) -> None:
    store(archive, *calm())
    if how == "no table":
        change(archive, "DROP TABLE outlines")
    else:
        harm(archive, how)
    lines = drawn(archive)
    assert len(reads.groups) >= N // GROUP
    for one, other in zip(lines, scanned(archive), strict=True):
        assert one.columns.high.tolist() == other.columns.high.tolist()
    found = compare(archive)
    assert found is not None
    if how in ("gone", "no table", "text"):
        assert (found.wrong, found.behind) == ([], 2)
    else:
        assert len(found.wrong) == 2
        assert "damaged outlines" in found.wrong[0]
    update_dataset(archive, everything=how not in ("gone", "no table"))
    del reads.groups[:]
    drawn(archive)
    assert reads.groups == []
    assert compare(archive).wrong == []  # type: ignore[union-attr]


def test_outlines_of_other_readings_are_found(archive: Archive) -> None:
    store(archive, *calm())
    before = kept(archive)
    for name, packed in before.items():
        head = head_of(packed.head)
        assert head is not None
        packer = Packer()
        for group, found in zip(head.groups, outlines(head, packed.data), strict=True):
            assert found is not None
            first, *others = found.channels
            low = np.append(first.low[:-1], first.low[-1] - 1)
            packer.add(group, replace(found, channels=(replace(first, low=low), *others)))
        forged = packer.packed(head.origin, head.stream, head.columns)
        assert is_whole(forged)
        assert not agree(forged, packed)
        change(archive, "UPDATE outlines SET head = ?, data = ? WHERE name = ?", forged.head, forged.data, name)
    found = compare(archive)
    assert found is not None
    assert [("outlines of other readings" in text) for text in found.wrong] == [True, True]


def test_outlines_go_with_their_file(archive: Archive) -> None:
    store(archive, *calm())
    assert len(kept(archive)) == 2
    with closing(sqlite3.connect(archive.path)) as connection, connection:
        connection.execute("DELETE FROM blocks WHERE stream = 1 AND kind = 0")
    update_dataset(archive)
    assert [name for name in kept(archive) if "door" in name] == []
    assert len(kept(archive)) == 1


# -- what is told of a batch --------------------------------------------------------------------------------------

CHANNELS = (
    Channel("falling", "", ChannelType.I16, multiplier=-3, exponent=-1, offset=7, missing=-5),
    Channel("calibrated", "", ChannelType.I16, missing=-5, calibration=(1.0, -2.0, 0.5)),
    Channel("float", "", ChannelType.F32),
    Channel("wide", "", ChannelType.I64),
)
INFO = LogInfo(UID.hex(), LOG_ID, "", "", "", "")


def batch(counts: list[int], breaks: set[int], unknown: set[int], lost: set[int]) -> Series:
    n = len(counts)
    raw = np.array(counts, np.int16)
    floats = raw.astype(np.float32)
    floats[[at for at in lost if at < n]] = np.nan
    utc_us = NEW_YEAR_US + np.arange(n, dtype=np.int64) * 1_000_000
    quality = (np.arange(n) // 30 % 4).astype(np.uint8)
    utc_us[[at for at in unknown if at < n]] = UNKNOWN_TIME
    quality[utc_us == UNKNOWN_TIME] = Quality.UNKNOWN
    return Series(
        log=INFO,
        stream=Stream(0, "all", 1_000_000, CHANNELS),
        session=1,
        channels=CHANNELS,
        utc_us=utc_us,
        error_us=np.zeros(n, np.int64),
        quality=quality,
        boot_id=np.ones(n, np.uint16),
        tick=np.arange(n, dtype=np.int64),
        starts=np.isin(np.arange(n), list(breaks)),
        raw=[raw, raw, floats, raw.astype(np.int64) * 2**40],
    )


class Whole:
    """An outline in the shape that plots take."""

    label = ""
    channels = CHANNELS
    alike = 1 << 40

    def __init__(self, found: outline.Outline) -> None:
        self.outline = found


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(-5, 40), min_size=20, max_size=200),
    breaks=st.sets(st.integers(0, 199), max_size=6),
    unknown=st.sets(st.integers(0, 199), max_size=3),
    lost=st.sets(st.integers(0, 199), max_size=6),
    cut=st.integers(1, 19),
    limit=st.sampled_from([-100.0, 3.0, 100.0]),
)
def test_outlines_say_what_the_readings_say(
    counts: list[int], breaks: set[int], unknown: set[int], lost: set[int], cut: int, limit: float
) -> None:
    """Where a chunk is no longer than a column nothing but the borders differs: here all is one column."""
    series = batch(counts, breaks, unknown, lost)
    parts = [series.where(np.arange(len(counts)) < cut), series.where(np.arange(len(counts)) >= cut)]
    parts[1].starts[0] = bool(series.starts[cut])
    limits = [Limit("falling", limit), Limit("wide", limit * 2**40, below=True), Limit("float", limit)]
    grid = Grid(NEW_YEAR_US, NEW_YEAR_US + 10**12, 1)
    fast, slow = Overview(grid, limits, spread=True), Overview(grid, limits, spread=True)
    for part in parts:
        found = outline.outline(part)
        if found is None:
            return
        packer = Packer()
        packer.add(group_head(part.utc_us), found)
        packed = packer.packed(b"", part.stream, ())
        head = head_of(packed.head)
        assert head is not None
        (read,) = outlines(head, packed.data)
        assert read is not None
        fast.add(fast.reduce_outline(Whole(read)) or fast.reduce(part))
        slow.add(slow.reduce(part))
    for one, other in zip(fast.lines(), slow.lines(), strict=True):
        assert one.columns.low.min() == other.columns.low.min()
        assert one.columns.high.max() == other.columns.high.max()
        assert one.figures.mean == pytest.approx(other.figures.mean, rel=1e-12, abs=1e-12)
        assert one.figures.deviation == pytest.approx(other.figures.deviation, rel=1e-7, abs=1e-7)
        for name in ("count", "n_missing", "covered_us", "passed_us"):
            assert getattr(one.figures, name) == getattr(other.figures, name)
        for spans in ("runs", "logged"):
            assert [part.tolist() for part in getattr(one, spans)] == [part.tolist() for part in getattr(other, spans)]
        assert [(kind, *map(list, spans)) for kind, spans in one.doubtful] == [
            (kind, *map(list, spans)) for kind, spans in other.doubtful
        ]


def test_where_every_other_reading_breaks_the_line_there_is_no_outline() -> None:
    n = 64 * CHUNK
    assert outline.outline(batch([1] * n, set(range(0, n, 2)), set(), set())) is None
    assert outline.outline(batch([1, -5] * (n // 2), set(), set(), set())) is None
    assert outline.outline(batch([1] * n, set(range(0, n, CHUNK)), set(), set())) is not None


def test_a_time_before_the_one_in_front_of_it_ends_a_chunk() -> None:
    series = batch(list(range(40)), set(), set(), set())
    series.utc_us[25:] -= 20_000_000
    found = outline.outline(series)
    assert found is not None
    assert all(first <= last for first, last in zip(found.first_us, found.last_us, strict=True))
    assert len(found.first_us) == 4
    assert [b - a for a, b in pairwise(found.channels[0].count.cumsum())] == [9, 7, 8]
