"""NetCDF as the CF conventions want it, read back by xarray; without netCDF4 one clear sentence."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.cli.main import invoke
from fieldlog.clock_model import UNKNOWN_TIME
from fieldlog.clock_sync import Sync
from fieldlog.export import netcdf
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from little_disk import little_disk
from test_export_csv import Given, series

INSTALLED = importlib.util.find_spec("xarray") and importlib.util.find_spec("netCDF4")
needs_xarray = pytest.mark.skipif(not INSTALLED, reason="xarray and netCDF4 are not installed: fieldlog[netcdf]")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.chdir(tmp_path)
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(100))
    logger.data(DOOR, [HOUR], [1])
    with fieldlog.archive.open(Path("archive")) as archive:
        log = archive.log(UID, LOG_ID)
        log.describe(label="attic")
        log.add_blocks(logger.blocks)
        log.add_syncs([Sync(1, 0, NEW_YEAR_US, 10)])


def opened(name: str) -> Any:
    import xarray

    with xarray.open_dataset(name) as dataset:
        return dataset.load()


def test_without_netcdf4_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "netCDF4" else found(name))
    assert invoke(["export", "-o", "x.nc"]) == 2
    err = capsys.readouterr().err
    assert "install fieldlog[netcdf]" in err
    assert len(err.splitlines()) == 1
    assert not Path("x.nc").exists()


@needs_xarray
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["export", "-o", "x.nc"]) == 0
    whole = Path("x.nc").read_bytes()
    capsys.readouterr()
    with little_disk(int(len(whole) * share)):
        assert invoke(["export", "-o", "x.nc", "--force"]) == 1
    err = capsys.readouterr().err
    assert "error: x.nc could not be written: " in err
    assert "It is as it was. Check the folder, its permissions and its free space" in err
    assert len(err.splitlines()) == 1
    assert Path("x.nc").read_bytes() == whole
    assert sorted(path.name for path in Path().iterdir()) == ["archive", "x.nc"]


@needs_xarray
def test_times_values_units_and_the_device_are_there() -> None:
    assert invoke(["export", "-o", "x.nc"]) == 0
    dataset = opened("x.nc")
    assert dataset.attrs["Conventions"].startswith("CF-1.")
    assert dataset.attrs["title"] == "attic"
    assert dataset.temperature.attrs["units"] == "degree_Celsius"
    assert dataset.relative_humidity.attrs["long_name"] == "relative humidity"
    assert dataset.time.values[0] == np.datetime64("2013-01-01")
    assert np.array_equal(dataset.temperature.values[:100], climate(100)[1] / 100)
    assert np.isnan(dataset.temperature.values[100])
    assert dataset.open.values[100] == 1
    assert (str(dataset.device.values), dataset.device.attrs["cf_role"]) == (UID.hex(), "timeseries_id")
    assert dataset.time_quality.attrs["flag_meanings"].split()[int(dataset.time_quality[0])] == "interpolated"


@needs_xarray
def test_readings_of_several_devices_name_theirs(tmp_path: Path) -> None:
    channel = Channel("level", "m", ChannelType.I16)
    both = Given(series((channel, [1, 2])), series((channel, [3]), uid="bb"))
    assert netcdf.write_netcdf(both, tmp_path / "x.nc") == (3, 0)
    dataset = opened("x.nc")
    assert [str(dataset.device.values[index]) for index in dataset.device_index] == ["aa", "aa", "bb"]
    assert dataset.device_index.attrs["instance_dimension"] == "device"
    assert dataset.level.values.tolist() == [1, 2, 3]


@needs_xarray
def test_names_become_variables_whatever_they_are(tmp_path: Path) -> None:
    names = ("time", "wind speed", "wind.speed", "2m", "\x1b[31m", "été")
    channels = [(Channel(name, "", ChannelType.U8), [1]) for name in names]
    mode = Channel("mode", "", ChannelType.ENUM, choices=("off", "very hot"), missing=255)
    netcdf.write_netcdf(Given(series(*channels, (mode, [1]))), tmp_path / "x.nc")
    dataset = opened("x.nc")
    assert {"time_2", "wind_speed", "wind_speed_2", "channel_2m", "mode"} <= set(dataset.data_vars)
    assert dataset["mode"].attrs["flag_meanings"] == "off very_hot"


@needs_xarray
def test_readings_without_time_are_left_out_and_counted(tmp_path: Path) -> None:
    times = np.array([UNKNOWN_TIME, NEW_YEAR_US], np.int64)
    piece = series((Channel("x", "", ChannelType.U8), [1, 2]), utc_us=times)
    assert netcdf.write_netcdf(Given(piece), tmp_path / "x.nc") == (1, 1)
    assert opened("x.nc").x.values.tolist() == [2]


@needs_xarray
def test_memory_does_not_grow_with_the_readings(tmp_path: Path) -> None:
    channels = [(Channel(name, "m", ChannelType.I32), np.arange(20_000)) for name in ("x", "y", "z")]

    def peak(batches: int) -> int:
        pieces = Given(*(series(*channels) for _ in range(batches)))
        netcdf.write_netcdf(Given(series(*channels)), tmp_path / "first.nc")  # what is imported does not count
        tracemalloc.start()
        try:
            assert netcdf.write_netcdf(pieces, tmp_path / f"{batches}.nc") == (batches * 20_000, 0)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40) < 1.3 * peak(5)


@needs_xarray
@pytest.mark.skipif(
    not shutil.which("compliance-checker"), reason="PyPI's compliance-checker is not installed: 30 packages"
)
@pytest.mark.parametrize("words", [(), ("--resample", "1h", "--stat", "mean,min,max,count")])
def test_a_checker_of_the_conventions_finds_no_fault(words: tuple[str, ...]) -> None:
    assert invoke(["export", "-o", "x.nc", *words]) == 0
    command = ["compliance-checker", "-t", "cf:1.11", "-c", "lenient", "x.nc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert "Corrective Actions" in done.stdout or "All tests passed" in done.stdout, done.stderr
    headings = re.findall(r"^ {10,}(\w+) *$", done.stdout, re.MULTILINE)
    assert "Errors" not in headings, done.stdout
