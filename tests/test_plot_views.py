"""`fieldlog plot --view`: heat maps, spectra and scatter plots from an archive, or one clear sentence."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fieldlog.archive
from archive_data import CLIMATE, DOOR, HOUR, LOG_ID, NEW_YEAR_US, UID, PaperLogger, climate
from fieldlog.archive import Archive
from fieldlog.archive.dataset import update_dataset
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

SYNCS = [Sync(1, 0, NEW_YEAR_US, 0), Sync(1, 1000 * HOUR, NEW_YEAR_US + 1000 * 3_600_000_000, 0)]
HOSTILE = Channel("$\\frac{x}$ <script>]]>\x1b[31m -->", "$m$<b>", ChannelType.I16)
MINUTES = Stream(2, "minutes", 60_000_000, (HOSTILE,))
N, N_MINUTES = 6000, 100


def fill(archive: Archive, uid: bytes = UID) -> None:
    """A climate each second, with missing values and a loss, a door, and a channel of evil name each minute."""
    logger = PaperLogger(streams=(CLIMATE, DOOR, MINUTES), block_size=1024)
    logger.schema()
    ticks, temperature, humidity = climate(N)
    temperature[17], humidity[4000:4010] = -32768, 65535
    ticks[3000:] += 60 * TICK_HZ
    logger.data(CLIMATE, ticks, temperature, humidity)
    logger.data(DOOR, [5, 70_000, 80_000], [1, 0, 1])
    logger.data(MINUTES, (np.arange(N_MINUTES) * 60 + 0.4) * TICK_HZ, np.arange(N_MINUTES) % 7)
    log = archive.log(uid, LOG_ID)
    log.describe(serial=f"L-{uid[0]}")
    log.add_blocks(logger.blocks)
    log.add_syncs(SYNCS)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with fieldlog.archive.open(tmp_path / "archive") as opened:
        fill(opened)
        yield opened


def plot(archive: Archive, *words: str) -> int:
    archive.flush()
    return invoke(["plot", "--archive", str(archive.path.parent), *words])


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (("heatmap", "--tz", "Asia/Kolkata"), N + 3 + N_MINUTES),
        (("spectrum", "--channels", "temperature,relative humidity"), N),
        (("scatter", "--channels", "relative humidity,temperature"), N),
        (("scatter", "--channels", f"temperature,{HOSTILE.name}"), N + N_MINUTES),
    ],
)
def test_parquet_files_give_the_picture_that_the_blocks_give(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], number: int
) -> None:
    pictures: list[bytes] = []
    for name in ("blocks.png", "parquet.png"):
        assert plot(archive, "-o", str(tmp_path / name), "--view", *words) == 0
        assert f"{number} readings" in capsys.readouterr().out
        pictures.append((tmp_path / name).read_bytes())
        update_dataset(archive)
    assert pictures[0] == pictures[1]


def test_a_spectrum_leaves_out_what_has_none_and_says_so(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot(archive, "-o", str(tmp_path / "plot.pdf"), "--view", "spectrum", "--theme", "dark") == 0
    told = capsys.readouterr()
    assert f"{N + 3 + N_MINUTES} readings" in told.out
    assert len(told.err.strip().splitlines()) == 1
    assert "'open' has no spectrum: its readings are not evenly spaced in time" in told.err


@pytest.mark.parametrize("channels", ["relative humidity,temperature", "temperature"])
def test_several_devices_are_told_apart_or_compared(archive: Archive, tmp_path: Path, channels: str) -> None:
    fill(archive, bytes.fromhex("ff112233445566778899aabbccddeeff"))
    words = ("-d", "L-0", "-d", "L-255", "--channels", channels)
    assert plot(archive, *words, "-o", str(tmp_path / "plot.png"), "--view", "scatter") == 0


@pytest.mark.parametrize("devices", [1, 2])
def test_files_give_the_pairs_that_the_archive_gives(archive: Archive, tmp_path: Path, devices: int) -> None:
    fill(archive, bytes.fromhex("ff112233445566778899aabbccddeeff"))
    chosen = ("-d", "L-0", "-d", "L-255")[: 2 * devices]
    view = ("--view", "scatter", "--channels", "relative humidity,temperature", "--title", "pairs")
    assert plot(archive, *chosen, *view, "-o", str(tmp_path / "archive.png")) == 0
    table = str(tmp_path / "table.parquet")
    assert invoke(["export", "--archive", str(archive.path.parent), *chosen, "-o", table]) == 0
    assert invoke(["plot", table, *view, "-o", str(tmp_path / "table.png")]) == 0
    assert (tmp_path / "table.png").read_bytes() == (tmp_path / "archive.png").read_bytes()


@pytest.mark.parametrize("view", ["heatmap", "spectrum", "scatter"])
def test_names_of_devices_are_only_text(archive: Archive, tmp_path: Path, view: str) -> None:
    target = tmp_path / "plot.svg"
    words = ("--channels", f"temperature,{HOSTILE.name}", "--title", HOSTILE.name)
    assert plot(archive, "-o", str(target), "--view", view, *words) == 0
    text = target.read_text(encoding="utf-8")
    assert {"<script", "\x1b"}.isdisjoint(text)
    assert not [node for node in ET.fromstring(text).iter() if node.tag.endswith(("script", "}b"))]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("heatmap", "-o", "plot.html"), "--view heatmap takes neither a page"),
        (("spectrum", "--stats"), "--view spectrum takes neither"),
        (("scatter", "--threshold", "temperature>3"), "--view scatter takes neither"),
        (("scatter",), "--view scatter takes two channels"),
        (("scatter", "--channels", "temperature"), "selection has temperature"),
        (("scatter", "--channels", "temperature,temperature"), "takes two channels"),
        (("scatter", "--channels", "temperature,pressure"), "no channel 'pressure'"),
        (("spectrum", "--channels", "open"), "'open' has no spectrum"),
        (("spectrum", "--end", "2013-01-01T00:00:09"), "16 readings without a break"),
        (("heatmap", "--start", "2030-01-01"), "nothing to plot"),
        (("spectrum", "--start", "2030-01-01"), "nothing to plot"),
        (("scatter", "--start", "2030-01-01", "--channels", "temperature,open"), "nothing to plot"),
        (("scatter", "--start", "2013-01-01T01:00", "--channels", "temperature,open"), "no pairs to plot"),
    ],
)
def test_nonsense_is_one_sentence(
    archive: Archive,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    target = () if "-o" in words else ("-o", "plot.png")
    assert plot(archive, *target, "--view", *words) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
