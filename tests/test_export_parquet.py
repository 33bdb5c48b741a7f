"""One Parquet file: every value, and what it means, as pandas, polars, DuckDB and pyarrow read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog.export import about, parquet
from fieldlog_protocol.blocks.events import SessionStart
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.errors import UsageError
from test_export_csv import Given, series

UNITS = {"temperature": "Cel", "relative humidity": "%", "open": ""}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)


def keep(logger: PaperLogger) -> None:
    with fieldlog.archive.open(Path("archive")) as archive:
        log = archive.log(UID, LOG_ID)
        log.describe(serial="SN7", label="attic")
        log.add_blocks(logger.blocks)
        log.add_syncs([Sync(1, 0, NEW_YEAR_US, 10)])


@pytest.fixture
def exported() -> Path:
    logger = PaperLogger()
    logger.schema()
    logger.events((0, SessionStart(1, "winter")))
    logger.data(CLIMATE, *climate(300))
    logger.data(DOOR, [HOUR], [1])
    keep(logger)
    assert invoke(["export", "-o", "all.parquet"]) == 0
    return Path("all.parquet")


def told(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"fieldlog"])
    return found


def test_pandas_has_units_and_values(exported: Path) -> None:
    frame = pd.read_parquet(exported)
    assert frame.attrs["units"] == UNITS
    assert frame["temperature"].dropna().tolist() == [raw / 100 for raw in climate(300)[1].tolist()]
    assert frame["time"].iloc[0] == pd.Timestamp("2013-01-01", tz="UTC")
    assert set(frame["device"]) == {f"uid-{UID.hex()}"}


def test_polars_and_duckdb_have_units_and_values(exported: Path) -> None:
    assert json.loads(pl.read_parquet_metadata(exported)["units"]) == UNITS
    assert pl.read_parquet(exported)["temperature"].mean() == pytest.approx(climate(300)[1].mean() / 100)
    query = f"SELECT decode(value) FROM parquet_kv_metadata('{exported}') WHERE decode(key) = 'units'"
    assert json.loads(duckdb.sql(query).fetchall()[0][0]) == UNITS
    assert duckdb.sql(f"SELECT count(*), count(open) FROM '{exported}'").fetchall() == [(301, 1)]


def test_the_schema_tells_of_devices_sessions_and_channels(exported: Path) -> None:
    field = pq.read_schema(exported).field("temperature")
    assert field.metadata[b"unit"] == b"Cel"
    (device,) = told(exported)["devices"]
    assert (device["uid"], device["serial"], device["label"]) == (UID.hex(), "SN7", "attic")
    assert [(one["id"], one["label"]) for one in device["sessions"]] == [(1, "winter")]
    assert [stream["n"] for stream in told(exported)["streams"]] == ["climate", "door"]


def test_calibrations_stand_with_their_columns(tmp_path: Path) -> None:
    bent = Channel("level", "m", ChannelType.I16, calibration=(0.5, 2.0))
    parquet.write_parquet(Given(series((bent, [1, 2]))), tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert json.loads(table.schema.field("level").metadata[b"calibration"]) == [[0.5, 2.0]]
    assert table.column("level").to_pylist() == [2.5, 4.5]


def test_many_short_sessions_share_row_groups(tmp_path: Path) -> None:
    pieces = [series((Channel("x", "", ChannelType.I16), [number])) for number in range(200)]
    assert parquet.write_parquet(Given(*pieces), tmp_path / "x.parquet") == 200
    assert pq.ParquetFile(tmp_path / "x.parquet").metadata.num_row_groups == 1
    assert pq.read_table(tmp_path / "x.parquet").column("x").to_pylist() == list(range(200))


def test_decimals_that_never_come_again_take_less_room_than_doubles(tmp_path: Path) -> None:
    """After a session of one reading, too short to tell."""
    latitude = Channel("latitude", "deg", ChannelType.I32, exponent=-7)
    walk = 478_000_000 + np.cumsum(np.random.default_rng(1).integers(200, 900, 6000))
    readings = Given(series((latitude, [1])), series((latitude, walk)))
    assert parquet.write_parquet(readings, tmp_path / "x.parquet") == 6001
    with pq.ParquetFile(tmp_path / "x.parquet") as opened:
        column: Any = opened.metadata.row_group(0).column(opened.schema_arrow.get_field_index("latitude"))
        assert column.total_compressed_size < 0.7 * 8 * 6001
    assert pq.read_table(tmp_path / "x.parquet").column("latitude").to_pylist()[1:] == (walk / 10**7).tolist()


def test_nothing_in_the_selection_makes_no_file(capsys: pytest.CaptureFixture[str], exported: Path) -> None:
    assert invoke(["export", "-o", "none.parquet", "--start", "2030-01-01"]) == 2
    assert "there is nothing to export" in capsys.readouterr().err
    assert not Path("none.parquet").exists()
    with pytest.raises(UsageError, match="nothing to export"):
        about.seen_in(Given())


def test_steps_are_written_as_well(exported: Path) -> None:
    assert invoke(["export", "-o", "steps.parquet", "--resample", "1min", "--stat", "min,max"]) == 0
    frame = pd.read_parquet("steps.parquet")
    assert frame.attrs["units"]["temperature min"] == "Cel"
    raw = climate(300)[1]
    assert frame["temperature max"].dropna().tolist() == [raw[at : at + 60].max() / 100 for at in range(0, 300, 60)]
