"""The simulated flash does what NOR flash does, and no more, also when power is cut and when the process is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from fieldlog_protocol.errors import FieldlogError, UsageError
from fieldlog_sim.nor_flash import KIB, MIB, FlashError, FlashMap, NorFlash, Partition, PowerCut

SECTOR = 4096
PAGE = 256


def chip(tmp_path: Path, kind: str, size: int = 64 * KIB, seed: int = 0) -> NorFlash:
    return NorFlash(size, path=tmp_path / "flash.bin" if kind == "file" else None, seed=seed)


@pytest.fixture(params=["memory", "file"])
def flash(tmp_path: Path, request: pytest.FixtureRequest) -> NorFlash:
    return chip(tmp_path, request.param)


def test_a_fresh_chip_is_erased(flash: NorFlash) -> None:
    assert flash.read(0, flash.size) == b"\xff" * flash.size
    assert flash.is_erased(0, flash.size)


def test_programming_clears_bits_and_only_an_erase_sets_them(flash: NorFlash) -> None:
    flash.program(10, b"\xf0\x0f")
    flash.program(10, b"\x30\x01")
    assert flash.read(9, 4) == b"\xff\x30\x01\xff"
    with pytest.raises(FlashError, match="0x31 over 0x30 at 0xa"):
        flash.program(10, b"\x31")
    assert flash.read(9, 4) == b"\xff\x30\x01\xff"
    flash.erase(0)
    assert flash.is_erased(0, SECTOR)


def test_a_refused_program_changes_nothing_and_counts_nothing(flash: NorFlash) -> None:
    flash.program(600, b"\x00")
    with pytest.raises(FlashError):
        flash.program(100, b"\x55" * 501)
    assert flash.is_erased(0, 600)
    assert flash.operations == 1


def test_an_erase_spares_the_neighbours_and_wears_its_sector(flash: NorFlash) -> None:
    flash.program(0, bytes(3 * SECTOR))
    flash.erase(1)
    flash.erase(1)
    assert flash.read(0, 3 * SECTOR) == bytes(SECTOR) + b"\xff" * SECTOR + bytes(SECTOR)
    assert flash.wear[:3] == [0, 2, 0]


@pytest.mark.parametrize(
    ("offset", "length", "pages"),
    [(0, 0, 0), (0, 1, 1), (0, 256, 1), (1, 256, 2), (255, 2, 2), (256, 512, 2), (100, 1024, 5)],
)
def test_each_page_touched_is_an_operation(flash: NorFlash, offset: int, length: int, pages: int) -> None:
    flash.program(offset, bytes(length))
    assert flash.operations == pages


def test_an_erase_is_one_operation(flash: NorFlash) -> None:
    flash.erase(3)
    assert flash.operations == 1


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 64 * KIB + 1), (64 * KIB, 1), (5, -1)])
def test_addresses_outside_are_a_bug_of_the_firmware(flash: NorFlash, offset: int, length: int) -> None:
    with pytest.raises(FlashError):
        flash.read(offset, length)


@pytest.mark.parametrize(("size", "sector"), [(0, 4096), (5000, 4096), (8192, 100)])
def test_a_chip_of_broken_sectors_cannot_be_made(size: int, sector: int) -> None:
    with pytest.raises(UsageError):
        NorFlash(size, sector)


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("seed", range(5))
def test_a_chip_behaves_as_a_row_of_bytes_that_are_anded(tmp_path: Path, kind: str, seed: int) -> None:
    random = Random(seed)
    flash = chip(tmp_path, kind, 256 * KIB)
    model = bytearray(b"\xff" * flash.size)
    for _ in range(300):
        offset = random.randrange(flash.size)
        length = min(random.choice((1, 7, 256, 5000, 100_000)), flash.size - offset)
        if random.random() < 0.2:
            sector = offset // SECTOR
            flash.erase(sector)
            model[sector * SECTOR : (sector + 1) * SECTOR] = b"\xff" * SECTOR
        else:
            mask = random.randbytes(length)
            data = bytes(a & b for a, b in zip(model[offset : offset + length], mask, strict=True))
            flash.program(offset, data)
            model[offset : offset + length] = data
        assert flash.read(offset, length) == model[offset : offset + length]
    assert flash.read(0, flash.size) == model


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(20))
def test_a_cut_tears_the_page_it_hits_and_no_other(cut: int, seed: int) -> None:
    flash = NorFlash(64 * KIB, seed=seed)
    old = Random(seed).randbytes(1000)
    flash.program(100, old)
    new = bytes(byte & 0x5A for byte in old)
    flash.cut_after = cut
    with pytest.raises(PowerCut):
        flash.program(100, new)
    flash.power_on()
    assert flash.operations == 5 + cut
    begin, end = max(0, (cut - 1) * PAGE - 100), min(1000, cut * PAGE - 100)
    found = flash.read(100, 1000)
    assert found[:begin] == new[:begin]
    assert found[end:] == old[end:]
    assert all(n & f == n and f & o == f for n, f, o in zip(new, found, old, strict=True))
    assert flash.is_erased(0, 100)
    flash.program(100, new)
    assert flash.read(100, 1000) == new


def test_torn_programs_differ_by_seed_and_repeat_by_seed() -> None:
    def left(seed: int) -> bytes:
        flash = NorFlash(64 * KIB, seed=seed)
        flash.cut_after = 1
        with pytest.raises(PowerCut):
            flash.program(0, bytes(256))
        flash.power_on()
        return flash.read(0, 256)

    results = [left(seed) for seed in range(40)]
    assert results == [left(seed) for seed in range(40)]
    assert len(set(results)) > 20
    assert {b"\xff" * 256, bytes(256)} < set(results)
    assert any(set(result) - {0, 0xFF} for result in results)


def test_a_torn_erase_is_neither_old_nor_erased_and_can_be_repeated() -> None:
    kinds: set[bool] = set()
    for seed in range(40):
        flash = NorFlash(64 * KIB, seed=seed)
        flash.program(0, bytes(3 * SECTOR))
        flash.cut_after = 1
        with pytest.raises(PowerCut):
            flash.erase(1)
        flash.power_on()
        assert flash.read(0, SECTOR) == flash.read(2 * SECTOR, SECTOR) == bytes(SECTOR)
        kinds.add(bool(set(flash.read(SECTOR, SECTOR)) - {0, 0xFF}))
        flash.erase(1)
        assert flash.is_erased(SECTOR, SECTOR)
    assert kinds == {True, False}


def test_without_power_nothing_answers_until_it_is_back(flash: NorFlash) -> None:
    flash.program(0, b"\x01")
    flash.cut_after = 2
    assert flash.cut_after == 2
    flash.erase(2)
    with pytest.raises(PowerCut):
        flash.erase(3)
    for act in (lambda: flash.read(0, 1), lambda: flash.program(9, b"\0"), lambda: flash.erase(0)):
        with pytest.raises(PowerCut):
            act()
    assert not flash.powered
    flash.power_on()
    assert flash.cut_after is None
    assert flash.read(0, 1) == b"\x01"
    assert flash.operations == 3


def test_power_can_go_between_two_operations(flash: NorFlash) -> None:
    flash.power_off()
    with pytest.raises(PowerCut):
        flash.read(0, 1)
    flash.power_on()
    assert flash.is_erased(0, flash.size)


def test_no_handler_of_errors_can_swallow_a_power_cut() -> None:
    assert not issubclass(PowerCut, FieldlogError)
    with pytest.raises(UsageError):
        NorFlash(64 * KIB).cut_after = 0


def test_a_file_keeps_the_chip_from_one_process_to_the_next(tmp_path: Path) -> None:
    first = chip(tmp_path, "file")
    first.program(5000, b"hello")
    first.close()
    assert chip(tmp_path, "file").read(5000, 5) == b"hello"
    assert (tmp_path / "flash.bin").stat().st_size == 64 * KIB


def test_a_file_of_another_size_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    chip(tmp_path, "file").close()
    with pytest.raises(UsageError, match="holds 65536 bytes, the simulated flash 131072"):
        chip(tmp_path, "file", 128 * KIB)
    assert (tmp_path / "flash.bin").stat().st_size == 64 * KIB


KILLED = """
import os, signal, sys
from pathlib import Path
from fieldlog_sim.nor_flash import NorFlash
flash = NorFlash(65536, path=Path(sys.argv[1]))
flash.program(0, bytes(4096))
flash.erase(0)
flash.program(4000, b"kept exactly")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_process_keeps_exactly_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], env={"PYTHONPATH": ":".join(sys.path)}, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"\xff" * 4000 + b"kept exactly" + b"\xff" * (65536 - 4012)


def test_hundreds_of_chips_fit_a_process() -> None:
    tracemalloc.start()
    chips = [NorFlash(16 * MIB) for _ in range(200)]
    for flash in chips:
        flash.program(9 * MIB, b"log")
        assert flash.is_erased(0, 4 * KIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * 256 * KIB


def test_a_partition_counts_from_its_own_start(flash: NorFlash) -> None:
    part = Partition(flash, 2 * SECTOR, 3 * SECTOR)
    part.program(10, b"abc")
    assert flash.read(2 * SECTOR + 10, 3) == part.read(10, 3) == b"abc"
    assert not part.is_erased(0, 11)
    part.erase(0)
    assert part.is_erased(0, part.size)
    assert flash.wear[2] == 1
    part.erase_all()
    assert flash.wear[1:6] == [0, 2, 1, 1, 0]
    assert (part.size, part.sectors, part.sector_size) == (3 * SECTOR, 3, SECTOR)


def test_a_partition_never_reaches_its_neighbours(flash: NorFlash) -> None:
    part = Partition(flash, SECTOR, SECTOR)
    for act in (
        lambda: part.read(0, SECTOR + 1),
        lambda: part.program(-1, b"\0"),
        lambda: part.program(SECTOR - 1, b"\0\0"),
        lambda: part.erase(1),
        lambda: part.erase(-1),
    ):
        with pytest.raises(FlashError):
            act()
    assert flash.operations == 0


@pytest.mark.parametrize(("offset", "size"), [(1, SECTOR), (0, 100), (0, 0), (-SECTOR, SECTOR), (60 * KIB, 8 * KIB)])
def test_a_partition_is_whole_sectors_inside_the_chip(flash: NorFlash, offset: int, size: int) -> None:
    with pytest.raises(UsageError):
        Partition(flash, offset, size)


def test_the_map_covers_the_chip_without_overlap() -> None:
    flash = NorFlash(8 * MIB)
    layout = FlashMap.of(flash, slot_size=256 * KIB, files_size=MIB)
    parts = [layout.slot0, layout.slot1, layout.boot, layout.nv, layout.files, layout.log]
    ends = [part.offset + part.size for part in parts]
    assert [part.offset for part in parts] == [0, *ends[:-1]]
    assert ends[-1] == flash.size
    assert layout.slot0.size == layout.slot1.size == 256 * KIB
    assert layout.log.size > 6 * MIB


def test_the_slots_of_a_second_image_are_taken_from_the_files() -> None:
    one, two = (FlashMap.of(NorFlash(8 * MIB), slot_size=256 * KIB, images=images) for images in (1, 2))
    assert (two.log.offset, two.log.size) == (one.log.offset, one.log.size)
    assert [slot.size for pair in two.images for slot in pair] == [256 * KIB] * 4
    assert two.files.offset + two.files.size == two.images[1][0].offset
    assert two.images[1][1].offset + 256 * KIB == two.log.offset


def test_a_chip_too_small_for_a_log_is_refused() -> None:
    with pytest.raises(UsageError, match="no room for a log"):
        FlashMap.of(NorFlash(MIB))
