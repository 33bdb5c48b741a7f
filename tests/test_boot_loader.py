"""The boot loader's decisions, in each of its ways to update."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boot_board import NEW, OLD, SLOT, SWAPS, Board, updated
from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import Image, ImageFlag, ImageVersion, build_image, parse_trailer
from fieldlog_sim.boot_policy import Policy
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.boot_trailer import Swap
from fieldlog_sim.nor_flash import PowerCut

EVERY_MODE = pytest.mark.parametrize("mode", BootMode)
EVERY_SWAP = pytest.mark.parametrize("mode", SWAPS)


@EVERY_MODE
def test_a_factory_image_runs_and_needs_no_confirmation(mode: BootMode) -> None:
    board = Board.new(mode=mode)
    report = board.boot()
    assert (report.version, report.swap, report.refused) == (ImageVersion(1), Swap.NONE, None)
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}
    board.area().confirm()
    assert board.boot().swap is Swap.NONE


@EVERY_MODE
def test_an_upload_alone_changes_nothing_that_runs(mode: BootMode) -> None:
    board = Board.new(mode=mode)
    board.upload(NEW)
    assert board.flags()[1] == {"bootable"}
    assert board.boot().version == ImageVersion(1)
    assert [info.version for info in board.loader().slots()] == [ImageVersion(1), ImageVersion(2)]
    assert not board.area().slot1_in_use


@EVERY_SWAP
def test_a_test_image_runs_once_and_is_reverted_unless_confirmed(mode: BootMode) -> None:
    board = updated(mode=mode)
    assert board.flags() == {0: {"active", "confirmed", "bootable"}, 1: {"pending", "bootable"}}
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(2), Swap.TEST)
    assert "unless it is confirmed" in report.reason
    assert board.flags() == {0: {"active", "bootable"}, 1: {"confirmed", "bootable"}}
    assert board.area().slot1_in_use
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(1), Swap.REVERT)
    assert board.flags() == {0: {"active", "confirmed", "bootable"}, 1: {"bootable"}}
    assert board.boot().swap is Swap.NONE
    assert board.slot(0, len(OLD)) == OLD
    assert board.slot(1, len(NEW)) == NEW


@EVERY_SWAP
def test_a_confirmed_image_stays(mode: BootMode) -> None:
    board = updated(mode=mode)
    board.boot()
    board.area().confirm()
    assert board.flags()[0] == {"active", "confirmed", "bootable"}
    assert [board.boot().version for _ in range(3)] == [ImageVersion(2)] * 3


@EVERY_SWAP
def test_a_permanent_image_stays_without_confirmation(mode: BootMode) -> None:
    board = updated(permanent=True, mode=mode)
    assert board.flags()[1] == {"pending", "permanent", "bootable"}
    assert [board.boot().swap for _ in range(3)] == [Swap.PERMANENT, Swap.NONE, Swap.NONE]
    assert board.flags()[0] == {"active", "confirmed", "bootable"}


def test_overwriting_keeps_no_former_image_and_knows_no_trial() -> None:
    board = updated(mode=BootMode.OVERWRITE)
    assert board.flags()[1] == {"pending", "permanent", "bootable"}
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(2), Swap.PERMANENT)
    assert "copied over" in report.reason
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}
    assert [board.boot().version for _ in range(2)] == [ImageVersion(2)] * 2


def test_a_mark_for_test_can_become_permanent_and_not_the_other_way() -> None:
    board = updated()
    board.area().mark_pending(permanent=True)
    board.area().mark_pending(permanent=False)
    assert board.area().next_swap is Swap.PERMANENT
    assert board.boot().swap is Swap.PERMANENT


def test_one_can_go_back_and_forth_between_two_images() -> None:
    board = updated()
    board.boot()
    board.area().confirm()
    for version in (1, 2, 1, 2):
        board.area().mark_pending(permanent=False)
        assert board.boot().version == ImageVersion(version)
        board.area().confirm()


@EVERY_SWAP
def test_asking_for_what_an_unconfirmed_image_goes_back_to_changes_nothing(mode: BootMode) -> None:
    board = updated(mode=mode)
    board.boot()
    board.area().mark_pending(permanent=False)
    assert (board.boot().swap, board.boot().version) == (Swap.REVERT, ImageVersion(1))


def test_what_an_offset_swap_replaced_lies_where_no_update_is_looked_for() -> None:
    board = updated(mode=BootMode.OFFSET)
    board.boot()
    assert 1 in board.flags()
    board.area().confirm()
    assert 1 not in board.flags(), "as Zephyr lists it"
    board.upload(OLD)
    board.area().mark_pending(permanent=True)
    assert board.boot().version == ImageVersion(1)


def test_an_empty_slot_cannot_be_marked() -> None:
    with pytest.raises(UsageError, match="slot 1 holds no image"):
        Board.new().area().mark_pending(permanent=False)


@EVERY_MODE
def test_a_damaged_image_is_refused_and_not_tried_again(mode: BootMode) -> None:
    board = updated(mode=mode)
    at = board.map.slot1.offset + 9000
    board.flash.program(at, bytes([board.flash.read(at, 1)[0] & 0x55 & ~(1 << 4)]))
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(1), Swap.NONE)
    assert report.refused is not None
    assert "SHA-256" in report.refused
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}
    assert board.boot().refused is None


def test_an_image_marked_as_not_bootable_is_refused() -> None:
    board = updated(new=build_image(bytes(100), ImageVersion(3), flags=ImageFlag.NON_BOOTABLE))
    assert "bootable" not in board.flags()[1]
    assert "not bootable" in (board.boot().refused or "")


def test_the_gate_of_the_boot_loader_can_be_narrower_than_the_hash() -> None:
    def only_old(image: Image) -> None:
        if image.version > ImageVersion(1):
            raise ImageError("signed by a stranger")

    board = replace(updated(), policy=Policy(only_old))
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(1), Swap.NONE)
    assert "signed by a stranger" in (report.refused or "")


@EVERY_SWAP
def test_a_revert_to_a_damaged_image_keeps_the_one_that_runs(mode: BootMode) -> None:
    board = updated(mode=mode)
    board.boot()
    board.map.slot1.program(5000, bytes(50))
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(2), Swap.NONE)
    assert report.refused is not None
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}


def test_a_device_without_an_image_runs_nothing_and_says_so() -> None:
    report = Board.new(None).boot()
    assert (report.version, report.runs) == (None, False)
    assert "nothing runs" in report.reason


@EVERY_MODE
def test_a_device_without_an_image_takes_a_marked_one(mode: BootMode) -> None:
    board = Board.new(None, mode=mode)
    board.upload(NEW)
    board.area().mark_pending(permanent=True)
    assert board.boot().version == ImageVersion(2)


def test_a_padded_and_confirmed_image_marks_itself() -> None:
    """imgtool --pad --confirm files end in a trailer, which lands where the slot's own belongs."""
    trailer = b"\x01" + b"\xff" * 7 + bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
    board = Board.new()
    board.upload(NEW.ljust(SLOT - len(trailer), b"\xff") + trailer)
    assert board.area().next_swap is Swap.PERMANENT
    assert board.boot().version == ImageVersion(2)


@EVERY_SWAP
def test_the_trailer_on_flash_is_that_of_mcuboot(mode: BootMode) -> None:
    board = updated(mode=mode)
    trailer = parse_trailer(board.map.slot1.read(0, SLOT))
    assert trailer is not None
    assert (trailer.image_ok, trailer.copy_done, trailer.swap_info) == (0xFF, 0xFF, 2)
    board.boot()
    trailer = parse_trailer(board.map.slot0.read(0, SLOT))
    assert trailer is not None
    assert (trailer.image_ok, trailer.copy_done, trailer.swap_info) == (0xFF, 1, 2)
    assert parse_trailer(board.map.slot1.read(0, SLOT)) is None
    board.area().confirm()
    trailer = parse_trailer(board.map.slot0.read(0, SLOT))
    assert trailer is not None
    assert trailer.image_ok == 1


@pytest.mark.parametrize(
    ("mode", "fields", "states"),
    # a move an entry, then two an exchanged sector; by offset only these; behind the room for the slot's 8 sectors
    [
        (BootMode.MOVE, 3 * 8, {0: 1, 1: 1, 2: 1, 3: 1, 8: 1, 9: 2, 10: 1, 11: 2, 12: 1, 13: 2, 14: 1, 15: 2}),
        (BootMode.OFFSET, 2 * 8, {0: 1, 1: 2, 2: 1, 3: 2, 4: 1, 5: 2, 6: 1, 7: 2}),
    ],
)
def test_the_swap_status_of_a_finished_swap_is_that_of_mcuboot(
    mode: BootMode, fields: int, states: dict[int, int]
) -> None:
    board = updated(mode=mode)
    board.boot()
    end = SLOT - 16 - 4 * 8 - (8 if mode is BootMode.OFFSET else 0)
    status = board.map.slot0.read(end - fields * 8, fields * 8)
    found = {at // 8: status[at] for at in range(0, len(status), 8) if status[at] != 0xFF}
    assert found == states
    swap_size = int.from_bytes(board.map.slot0.read(SLOT - 16 - 4 * 8, 4), "little")
    assert swap_size == max(len(OLD), len(NEW))


@pytest.mark.parametrize(
    ("mode", "worn"),
    [
        (BootMode.MOVE, {0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 15}),
        (BootMode.OFFSET, {0, 1, 2, 3, 7, 8, 9, 10, 11, 15}),
        (BootMode.OVERWRITE, {0, 1, 2, 3, 8, 15}),
    ],
)
def test_an_update_touches_only_the_sectors_that_it_needs(mode: BootMode, worn: set[int]) -> None:
    """The slots begin at sectors 0 and 8; the last sector of each is its trailer."""
    board = updated(mode=mode)
    board.map.slot0.program(SLOT - 4, b"\0")
    before = list(board.flash.wear)
    board.boot()
    found = {number for number, wear in enumerate(board.flash.wear) if wear != before[number]}
    assert found - {7} == worn - {7}


def test_a_new_upload_takes_back_the_mark_at_once() -> None:
    board = updated()
    board.area().upload.begin()
    assert board.area().next_swap is Swap.NONE
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}


@pytest.mark.parametrize(("mode", "erased"), [(BootMode.MOVE, (8, 9, 15)), (BootMode.OFFSET, (9, 10, 15))])
def test_an_upload_erases_sectors_as_it_reaches_them(mode: BootMode, erased: tuple[int, ...]) -> None:
    board = Board.new(mode=mode)
    board.upload(NEW)
    writer = board.area().upload
    before = list(board.flash.wear)
    writer.begin()
    writer.write(0, NEW[:4090])
    writer.write(4090, NEW[4090:4100])
    assert tuple(n for n, wear in enumerate(board.flash.wear) if wear - before[n] == 1) == erased
    assert writer.written(4100) == NEW[:4100]


def test_erase_empties_slot_1_and_spares_what_is_empty() -> None:
    board = updated()
    board.area().erase()
    assert board.map.slot1.is_erased(0, SLOT)
    operations = board.flash.operations
    board.area().erase()
    assert board.flash.operations == operations


@pytest.mark.parametrize(
    ("mode", "spare"), [(BootMode.MOVE, 2 * 4096), (BootMode.OFFSET, 2 * 4096), (BootMode.OVERWRITE, 4096)]
)
def test_the_largest_image_leaves_room_for_the_trailer_and_the_swap(mode: BootMode, spare: int) -> None:
    assert Board.new(mode=mode).area().max_image_size == SLOT - spare
    overhead = len(build_image(b"", ImageVersion(3)))
    largest = build_image(bytes(SLOT - spare - overhead), ImageVersion(3))
    assert updated(new=largest, mode=mode).boot().version == ImageVersion(3)
    larger = build_image(bytes(SLOT - spare - overhead + 1), ImageVersion(3))
    board = Board.new(mode=mode)
    board.upload(larger)
    assert 1 not in board.flags()
    with pytest.raises(UsageError):
        Board.new(mode=mode).area().install(larger)


def test_a_mark_over_what_a_torn_erase_left_is_still_a_mark_for_test() -> None:
    board = Board.new()
    board.upload(NEW)
    board.map.slot1.program(SLOT - 40, bytes(15) + b"\x01" + bytes(24))
    board.area().mark_pending(permanent=False)
    assert board.area().next_swap is Swap.TEST


@EVERY_SWAP
def test_a_swap_that_a_file_claims_to_be_under_way_was_never_begun(mode: BootMode) -> None:
    """Serial recovery writes slot 0 up to its end, trailer and all."""
    board = Board.new(mode=mode)
    trailer = (1 << 20).to_bytes(4, "little") + b"\xff" * 4 + b"\x02" + b"\xff" * 23
    board.map.slot0.program(SLOT - 48, trailer + bytes.fromhex("77c295f360d2ef7f3552500f2cb67980"))
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(1), Swap.NONE)


@pytest.mark.parametrize("at", [SLOT - 48 + 5, SLOT - 40 + 3])
def test_what_a_torn_erase_leaves_is_no_swap_under_way(at: int) -> None:
    """Flash between two states reads as anything, and so may a swap type and a size beside a whole magic."""
    board = updated()
    board.flash.cut_after = 40
    with pytest.raises(PowerCut):
        board.boot()
    board.flash.power_on()
    board.map.slot0.program(at, b"\0")
    assert not board.boot().resumed


def test_a_revert_by_offset_leaves_no_header_where_the_former_image_lay() -> None:
    board = updated(mode=BootMode.OFFSET)
    board.boot()
    board.boot()
    assert board.map.slot1.is_erased(0, 4096)


@EVERY_SWAP
def test_a_swap_taken_up_again_is_reported_as_such(mode: BootMode) -> None:
    board = updated(mode=mode)
    board.flash.cut_after = 40
    with pytest.raises(PowerCut):
        board.boot()
    board.flash.power_on()
    report = board.boot()
    assert (report.version, report.swap, report.resumed) == (ImageVersion(2), Swap.TEST, True)
