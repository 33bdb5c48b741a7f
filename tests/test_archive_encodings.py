"""How a channel's numbers lie in Parquet files follows from whether they come again, and from nothing but the readings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import fieldlog.archive
from archive_data import LOG_ID, NEW_YEAR_US, UID, PaperLogger
from fieldlog.archive.agreement import compare
from fieldlog.archive.dataset import files_in, folder_of, update_dataset
from fieldlog.clock_sync import Sync
from fieldlog_protocol.blocks.block import TICK_HZ
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream

N = 6000
MISSING = -(2**31)
TRACK = Stream(0, "track", 1_000_000, (Channel("latitude", "deg", ChannelType.I32, exponent=-7, missing=MISSING),))
WAYS = {
    "dictionary": ("RLE_DICTIONARY", "UNCOMPRESSED"),
    "long dictionary": ("RLE_DICTIONARY", "ZSTD"),
    "plain": ("PLAIN", "ZSTD"),
    "split": ("BYTE_STREAM_SPLIT", "ZSTD"),
}


def logged(values: np.ndarray) -> list[bytes]:
    logger = PaperLogger(streams=(TRACK,), block_size=1024)
    logger.schema()
    logger.data(TRACK, np.arange(len(values)) * TICK_HZ, values)
    return logger.blocks


def derived(path: Path, *pulls: Sequence[bytes]) -> Path:
    """The Parquet file of blocks that came one pull after the other, with an update after each."""
    with fieldlog.archive.open(path) as archive:
        log = archive.log(UID, LOG_ID)
        log.add_syncs([Sync(1, 0, NEW_YEAR_US, 0), Sync(1, N * TICK_HZ, NEW_YEAR_US + N * 1_000_000, 0)])
        for blocks in pulls:
            log.add_blocks(blocks)
            update_dataset(archive)
        agreement = compare(archive)
        assert agreement is not None
        assert not agreement.wrong
        folder = folder_of(archive.path)
        (name,) = files_in(folder)
        return folder / name


def way(file: Path) -> tuple[str, str]:
    with pq.ParquetFile(file) as opened:
        metadata = opened.metadata.row_group(0).column(opened.schema_arrow.get_field_index("latitude"))
        found: tuple[str, str] = (next(e for e in WAYS_OF_VALUES if e in metadata.encodings), metadata.compression)
        return found


WAYS_OF_VALUES = ("RLE_DICTIONARY", "BYTE_STREAM_SPLIT", "PLAIN")


def walk(seed: int = 1) -> np.ndarray:
    """A track: hardly a place is seen twice."""
    rng = np.random.default_rng(seed)
    return 478_000_000 + np.cumsum(rng.integers(200, 900, N) * np.sign(np.sin(np.arange(N) / 700))).astype(np.int64)


def of_distinct(count: int, length: int = N) -> np.ndarray:
    return np.random.default_rng(count).permutation(np.arange(length) % count) * 7919


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (of_distinct(50), "dictionary"),
        (of_distinct(N // 4), "long dictionary"),
        (of_distinct(N * 3 // 4), "plain"),
        (walk(), "split"),
    ],
)
def test_the_more_values_are_new_the_less_there_is_of_a_dictionary(
    tmp_path: Path, values: np.ndarray, expected: str
) -> None:
    file = derived(tmp_path, logged(values))
    assert way(file) == WAYS[expected]
    assert pq.read_table(file)["latitude"].to_pylist() == [value / 10**7 for value in values.tolist()]


def test_a_track_takes_less_room_than_its_doubles(tmp_path: Path) -> None:
    with pq.ParquetFile(derived(tmp_path, logged(walk()))) as opened:
        column: Any = opened.metadata.row_group(0).column(opened.schema_arrow.get_field_index("latitude"))
        assert column.total_compressed_size < 0.7 * 8 * N


def test_values_that_are_missing_say_nothing_of_the_others(tmp_path: Path) -> None:
    seldom = walk()
    seldom[np.arange(N) % 20 != 0] = MISSING
    assert way(derived(tmp_path / "seldom", logged(seldom))) == WAYS["split"]
    never = derived(tmp_path / "never", logged(np.full(N, MISSING)))
    assert way(never) == WAYS["dictionary"]
    assert pq.read_table(never)["latitude"].null_count == N


def test_a_file_is_the_same_in_however_many_pulls_its_readings_came(tmp_path: Path) -> None:
    """Those of the first pull alone would have another way."""
    values = np.concatenate([of_distinct(50, N // 8), walk()[: N - N // 8]])
    blocks = logged(values)
    cut = 3
    assert way(derived(tmp_path / "first", blocks[:cut])) == WAYS["dictionary"]
    at_once = derived(tmp_path / "once", blocks)
    in_two = derived(tmp_path / "two", blocks[:cut], blocks[cut:])
    backwards = derived(tmp_path / "back", blocks[cut:], blocks[:cut])
    assert at_once.read_bytes() == in_two.read_bytes() == backwards.read_bytes()
    assert way(at_once) != WAYS["dictionary"]
