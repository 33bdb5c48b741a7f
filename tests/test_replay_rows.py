"""Rows of a replayed file: one is one frame as long as it fits a block, and files that were cut off lose no more than
they lack."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from device_bench import START_US, Bench
from fieldlog_protocol.blocks.block import BlockHeader, Kind, block_format, build_block
from fieldlog_protocol.blocks.decode import decode_frames
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.schema import ChannelType
from fieldlog_protocol.commands import Empty, logger
from fieldlog_sim.log_store import BLOCK_SIZE
from fieldlog_sim.replay import load_replay
from replay_tables import NOW_US, table, times, utc_us


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "readings.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_row_is_a_frame_whatever_its_columns_are(write) -> None:
    """Each digit of the wide integers is kept beside floats."""
    wide = [9_007_199_254_740_993, 1, -9_007_199_254_740_995]
    cells = zip(wide, ["1e-30", "2.5e30", "3"], ["1.5", "", "3"], strict=True)
    rows = "".join(f"{1357020000 + n},{a},{b},{c}\n" for n, (a, b, c) in enumerate(cells))
    replay = load_replay(write("time,wide,far,near\n" + rows))
    (sensor,) = replay.sensors
    assert [c.name for c in sensor.stream.channels] == ["wide", "far", "near"]
    assert [c.type for c in sensor.stream.channels] == [ChannelType.I64, ChannelType.F32, ChannelType.I16]
    assert sensor.raw[:, 0].tolist() == wide
    encoder = BlockEncoder(sensor.stream, BLOCK_SIZE)
    frames = sensor.frames_between(replay.start_us, replay.end_us)
    assert encoder.push_many(np.arange(3), [frames.raw[:, n] for n in range(3)]) == 3
    header = BlockHeader(format=block_format(Kind.DATA), seq=1, t0=0, boot_id=1)
    (decoded,) = [decode_frames([build_block(encoder.seal(header))], sensor.stream)]
    assert decoded.columns[0].tolist() == wide
    assert decoded.columns[2].tolist() == [15, sensor.stream.channels[2].missing, 30]


def test_a_device_with_all_kinds_of_columns_passes_its_self_test(write) -> None:
    path = write("wide,far\n9007199254740993,1e-30\n1,2.5e30\n")
    replay = load_replay(path, period_us=1_000_000, now_us=START_US)
    bench = Bench(sensors=replay.sensors)
    bench.arm()
    bench.wait(10)
    bench.ask(logger.SELF_TEST_START, Empty())
    bench.wait(10)
    results = {result.n: result.ok for result in bench.ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest()).r}
    assert results["readings"] is True
    assert len(bench.ask(logger.LATEST, logger.LatestRequest(s=0)).d) == 8 + 8 + 4


@pytest.mark.parametrize(
    ("cell", "columns", "expected"),
    [
        ("7", 70, [70]),
        ("7", 254, [254]),
        ("7", 255, [255]),
        ("7", 256, [255, 1]),
        ("1234567890123", 60, [60]),
        ("1234567890123", 255, [122, 122, 11]),
    ],
)
def test_only_what_does_not_fit_a_block_is_split(write, cell: str, columns: int, expected: list[int]) -> None:
    names = [f"c{number}" for number in range(columns)]
    rows = "".join(f"2013-01-0{day},{','.join([cell] * columns)}\n" for day in (1, 2))
    replay = load_replay(write(f"time,{','.join(names)}\n{rows}"))
    assert [len(sensor.stream.channels) for sensor in replay.sensors] == expected
    assert [sensor.stream.id for sensor in replay.sensors] == list(range(len(expected)))
    assert table(replay) == {name: [float(cell)] * 2 for name in names}
    assert list(table(replay)) == names


def test_a_timed_stream_has_a_column_less(write) -> None:
    names = [f"c{number}" for number in range(255)]
    replay = load_replay(write(f"time,{','.join(names)}\n" + "".join(f"{n * n},{'7,' * 254}7\n" for n in range(9))))
    assert replay.sensors[0].stream.timed
    assert [len(sensor.stream.channels) for sensor in replay.sensors] == [254, 1]


# files that were cut off


@pytest.mark.parametrize("ending", ["", "\n"])
def test_cells_that_lack_are_missing_values_and_said(write, ending: str) -> None:
    replay = load_replay(write(f"# c\ntime,x,y\n2013-01-01,1,2\n\n2013-01-02,3\n2013-01-03\n2013-01-04,5{ending}"))
    assert len(times(replay)) == 4
    assert table(replay)["x"] == pytest.approx([1, 3, math.nan, 5], nan_ok=True)
    assert table(replay)["y"] == pytest.approx([2, math.nan, math.nan, math.nan], nan_ok=True)
    assert replay.report == (
        "3 rows have fewer cells than the header, the first in line 5: the cells that lack are missing values",
    )


@pytest.mark.parametrize(
    ("header", "row", "torn"),
    [
        ("time,x", "{},1", "2013-01-03T0"),
        ("time,x", "{},1", "2013-01-03T06"),
        ("x,time,y", "1,{},2", "7"),
        ("x,time,y", "1,{},2", "7,2013-01-03T06"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_row_that_ends_before_its_time_does_is_left_out(
    write, header: str, row: str, torn: str, encoding: str
) -> None:
    rows = "".join(row.format(f"2013-01-0{day}T00:00:00Z") + "\n" for day in (1, 2))
    replay = load_replay(write(f"{header}\n{rows}{torn}".encode(encoding)))
    assert times(replay) == [utc_us("2013-01-01T00:00:00"), utc_us("2013-01-02T00:00:00")]
    assert replay.report[-1] == "the last row ends before its time does: it is left out"
    assert table(replay)["x"] == [1.0, 1.0]


def test_a_torn_row_keeps_its_place_in_a_file_without_times(write) -> None:
    replay = load_replay(write("x,y\n1,2\n3"), period_us=10_000, now_us=NOW_US)
    assert table(replay)["x"] == [1.0, 3.0]
    assert "line 3" in replay.report[0]
