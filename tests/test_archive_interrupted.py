"""Deriving the Parquet files, broken off in its middle: nobody closes a file beside the one who writes it, no thread goes on,
and what was written to its end counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
from archive_data import CLIMATE, LOG_ID, UID, PaperLogger, climate
from fieldlog.archive import Archive, ArchiveError, arrow, dataset, file_writer, manifest
from fieldlog.archive.agreement import compare
from fieldlog.archive.dataset import files_in, folder_of, update_dataset
from fieldlog.archive.manifest import Entry
from fieldlog.archive.outline_file import Packed
from fieldlog.cli.main import invoke
from fieldlog_protocol.blocks.decode import Frames, decode_frames
from fieldlog_protocol.blocks.schema import Stream


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """Enough for a dozen files of several batches."""
    monkeypatch.setattr(dataset, "WINDOW", 8)
    monkeypatch.setattr("fieldlog.archive.plan.BATCH_FRAMES", 512)
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(12_000))
    with fieldlog.archive.open(tmp_path) as opened:
        opened.log(UID, LOG_ID).add_blocks(logger.blocks)
        yield opened


def interrupted_at(monkeypatch: pytest.MonkeyPatch, decoding: int) -> None:
    """Ctrl-C comes while so many batches have been decoded."""
    count = iter(range(1, 1000))

    def decode_or_not(blocks: Sequence[bytes], stream: Stream) -> Frames:
        if next(count) == decoding:
            raise KeyboardInterrupt
        return decode_frames(blocks, stream)

    monkeypatch.setattr("fieldlog.archive.readings.decode_frames", decode_or_not)


@pytest.mark.parametrize("decoding", [1, 2, 3, 8, 9, 20])
def test_one_thread_alone_touches_the_files_whatever_interrupts_the_others(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, decoding: int
) -> None:
    before = set(threading.enumerate())
    touching: set[str] = set()

    class Watched(arrow.ParquetWriter):
        def write(self, batch: Any) -> None:
            touching.add(threading.current_thread().name)
            super().write(batch)

        def close(self) -> None:
            touching.add(threading.current_thread().name)
            super().close()

    monkeypatch.setattr(arrow, "ParquetWriter", Watched)
    with monkeypatch.context() as patched:
        interrupted_at(patched, decoding)
        with pytest.raises(KeyboardInterrupt):
            update_dataset(archive)
    assert len(touching) <= 1
    assert threading.main_thread().name not in touching
    assert set(threading.enumerate()) <= before
    assert not folder_of(archive.path).with_name(".readings.part").exists()
    found = compare(archive)
    assert found is None or not found.wrong
    update_dataset(archive)
    found = compare(archive)
    assert found is not None
    assert not found.wrong
    assert not found.behind


def test_a_second_interrupt_while_threads_are_waited_for_leaves_the_file_to_its_own(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    closing: list[str] = []
    close = arrow.ParquetWriter.close

    def closed(self: arrow.ParquetWriter) -> None:
        closing.append(threading.current_thread().name)
        close(self)

    class Impatient(file_writer.ThreadPoolExecutor):
        """Whose first wait is interrupted before it has waited."""

        interrupts = 2

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            type(self).interrupts -= 1
            super().shutdown(wait and self.interrupts < 0, cancel_futures=cancel_futures)
            if self.interrupts >= 0:
                raise KeyboardInterrupt

    monkeypatch.setattr(arrow.ParquetWriter, "close", closed)
    monkeypatch.setattr(file_writer, "ThreadPoolExecutor", Impatient)
    interrupted_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        update_dataset(archive)
    assert set(threading.enumerate()) <= before
    assert len(set(closing)) == 1
    assert threading.main_thread().name not in closing


def test_files_that_were_whole_when_another_one_failed_count(archive: Archive) -> None:
    update_dataset(archive)
    names = files_in(folder_of(archive.path))
    in_the_way = folder_of(archive.path) / names[5]
    in_the_way.unlink()
    in_the_way.mkdir()
    archive.log(UID, LOG_ID).describe(label="another name")  # which is in each file
    with pytest.raises(ArchiveError, match="take away what is in the way"):
        update_dataset(archive)
    found = compare(archive)
    assert found is not None
    assert [text.split()[0] for text in found.wrong] == [names[5]]


def test_ctrl_c_in_a_rebuild_says_what_is_left_to_do(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_at(monkeypatch, 4)
    assert invoke(["archive", "rebuild", "--archive", str(archive.path.parent)]) == 130
    assert "Repeat the command" in capsys.readouterr().err
    monkeypatch.undo()
    assert invoke(["archive", "rebuild", "--archive", str(archive.path.parent)]) == 0
    found = compare(archive)
    assert found is not None
    assert not found.wrong


def test_ctrl_c_while_a_file_is_noted_leaves_the_others_noted(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(manifest.Manifest):
        notes = 0

        def put(self, name: str, entry: Entry, packed: Packed | None = None) -> None:
            Interrupted.notes += 1
            if Interrupted.notes == 2:
                packed = None if packed is None else _Impatient(packed.head, packed.data)
            super().put(name, entry, packed)

    monkeypatch.setattr(manifest, "Manifest", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        update_dataset(archive)
    found = compare(archive)
    assert found is not None
    assert not found.wrong


class _Impatient(Packed):
    """Outlines in whose writing, behind that of the file's entry, an interrupt comes once."""

    asked = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "data":
            type(self).asked += 1
            if type(self).asked == 1:
                raise KeyboardInterrupt
        return super().__getattribute__(name)
