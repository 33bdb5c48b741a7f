"""Readings as Arrow, pandas, polars and numpy: what was asked for, with its units, and no more than that decoded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.archive import Archive, Session
from fieldlog.archive import plan as plan_module
from fieldlog.archive import readings as readings_module
from fieldlog.archive.dataset import folder_of, update_dataset
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.schema import Stream
from fieldlog_protocol.errors import UsageError

NEW_YEAR = datetime(2013, 1, 1, tzinfo=UTC)
OTHER = bytes(7) + b"\x01"
N = 5000


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    logger = PaperLogger()
    logger.schema()
    ticks, temperature, humidity = climate(N)
    temperature[7] = -32768
    logger.data(CLIMATE, ticks, temperature, humidity)
    logger.data(DOOR, [5, 70_000, 80_000], [1, 0, 1])
    with fieldlog.archive.open(tmp_path) as opened:
        for uid, label in ((UID, "attic"), (OTHER, "cellar")):
            log = opened.log(uid, LOG_ID)
            log.describe(label=label)
            log.add_blocks(logger.blocks)
            log.add_syncs([Sync(1, 0, NEW_YEAR_US, 0), Sync(1, HOUR * 100, NEW_YEAR_US + 360_000_000_000, 0)])
        yield opened


def test_a_table_has_one_row_a_frame_and_null_where_the_channel_is_another_streams(archive: Archive) -> None:
    table = archive.readings("attic").to_arrow()
    assert table.column_names[:4] == ["time", "temperature", "relative humidity", "open"]
    assert table.num_rows == N + 3
    assert table.column("open").null_count == N
    assert table.column("temperature").null_count == 4
    assert table.field("temperature").metadata == {b"unit": b"Cel"}
    assert table.column("time").type == pa.timestamp("us", "UTC")


def test_pandas_polars_and_numpy_say_the_same(archive: Archive) -> None:
    readings = archive.readings("attic", channels=["temperature"])
    (series,) = readings
    frame = readings.to_pandas()
    assert frame.attrs["units"] == readings.units == {"temperature": "Cel"}
    assert "open" not in frame
    assert frame["time"].astype("int64").tolist() == series.utc_us.tolist()
    arrays = readings.to_numpy()
    assert arrays["time"].dtype == np.dtype("datetime64[us]")
    polars = readings.to_polars()
    for column in (frame["temperature"].to_numpy(), arrays["temperature"], polars["temperature"].to_numpy()):
        assert np.array_equal(column, series.columns[0], equal_nan=True)
    assert set(arrays["device"]) == {f"uid-{UID.hex()}"}
    assert set(polars["quality"].cast(pl.String)) == {"interpolated"}


def test_a_table_and_the_folder_have_the_same_columns_and_rows(archive: Archive) -> None:
    update_dataset(archive)
    mine = archive.readings(["attic", "cellar"]).to_polars()
    theirs = pl.read_parquet(folder_of(archive.path))
    assert mine.columns == theirs.columns
    order = ["device", "stream", "tick"]
    texts = [pl.col(name).cast(pl.String) for name in ("device", "stream", "quality")]
    numbers = [pl.col("session").cast(pl.Int64)]
    ours, others = (frame.with_columns(texts + numbers).sort(order) for frame in (mine, theirs))
    assert ours.equals(others)


def test_several_devices_are_read_together_when_they_are_named(archive: Archive) -> None:
    with pytest.raises(UsageError, match="2 devices"):
        archive.readings()
    frame = archive.readings(["attic", f"uid-{OTHER.hex()}", "attic"]).to_polars()
    counts = dict(frame.group_by(pl.col("device").cast(pl.String)).len().iter_rows())
    assert counts == {f"uid-{UID.hex()}": N + 3, f"uid-{OTHER.hex()}": N + 3}


def test_batches_are_decoded_a_little_ahead_of_whoever_asks_for_them(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counted(data: Sequence[bytes], stream: Stream) -> Frames:
        decoded.append(len(data))
        return decode_frames(data, stream)

    monkeypatch.setattr(readings_module, "decode_frames", counted)
    monkeypatch.setattr(plan_module, "BATCH_BLOCKS", 2)
    reader = archive.readings("attic").record_batches()
    assert decoded == []
    assert reader.read_next_batch().num_rows > 0
    assert set(decoded) == {2}
    assert 1 <= len(decoded) <= 3
    assert sum(len(batch) for batch in reader) > 5 * sum(decoded[:3])
    decoded.clear()
    start = NEW_YEAR + timedelta(seconds=2000)
    table = archive.readings("attic", start=start, end=start + timedelta(seconds=1)).to_arrow()
    assert table.num_rows == 1
    assert sum(decoded) == 1


def test_duckdb_and_polars_read_a_selection_as_it_is(archive: Archive) -> None:
    readings = archive.readings("attic")
    assert duckdb.sql("SELECT count(*), max(tick) FROM readings").fetchall() == [(N + 3, (N - 1) * TICK_HZ)]
    assert pl.DataFrame(readings).height == N + 3


def test_an_empty_selection_is_an_empty_table(archive: Archive) -> None:
    archive.select("attic")[0].add_sessions([Session(9, "armed", 1, 0, None, 0, None, 0, "")])
    table = archive.readings("attic", session=9).to_arrow()
    assert table.num_rows == 0
    assert table.column_names[0] == "time"
    assert archive.readings("attic", session=9).to_pandas().empty
    assert len(archive.readings("attic", start=NEW_YEAR + timedelta(days=900)).to_numpy()["time"]) == 0


def test_the_sum_of_a_day_is_that_of_its_series(archive: Archive) -> None:
    reader = archive.readings("attic").record_batches()
    total = sum(np.nansum(batch.column("temperature").to_numpy(zero_copy_only=False)) for batch in reader)
    (series, _) = archive.readings("attic")
    assert total == pytest.approx(float(np.nansum(series.columns[0])), rel=1e-12)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_library_that_is_not_there_is_a_sentence(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"{name} is not installed"):
        getattr(archive.readings("attic"), f"to_{name}")()


def test_a_selection_may_be_read_from_threads_that_others_start(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "BATCH_BLOCKS", 1)
    attic, cellar = archive.readings("attic"), archive.readings("cellar")
    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(selection.to_polars) for selection in (attic, cellar) * 3]
    assert [frame.result().height for frame in found] == [N + 3] * 6
    assert attic.to_arrow().num_rows == N + 3


def test_neither_pandas_nor_polars_is_loaded_unless_it_is_wanted(archive: Archive) -> None:
    """Each takes longer than all of a small update."""
    script = (
        "import sys, fieldlog.archive\n"
        "from fieldlog.archive.dataset import update_dataset\n"
        f"with fieldlog.archive.open({str(archive.path)!r}) as archive:\n"
        "    assert 'pyarrow' not in sys.modules\n"
        "    assert update_dataset(archive).rows\n"
        "    archive.readings('attic').to_arrow()\n"
        "assert not {'pandas', 'polars', 'duckdb'} & set(sys.modules)\n"
    )
    archive.flush()
    subprocess.run([sys.executable, "-c", script], check=True)
