"""The boot loader: decisions, and that no power cut leaves anything but one of the two images, whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from fieldlog_protocol.errors import ImageError, UsageError
from fieldlog_protocol.image import Image, ImageFlag, ImageVersion, build_image, parse_trailer
from fieldlog_sim.boot_loader import BootLoader, BootReport
from fieldlog_sim.boot_swap import Swap
from fieldlog_sim.nor_flash import KIB, FlashMap, NorFlash, PowerCut

OLD = build_image(Random(1).randbytes(3 * 4096 - 200), ImageVersion(1, 0, 0))
NEW = build_image(Random(2).randbytes(5 * 4096 - 200), ImageVersion(2, 0, 0))
BIG_OLD, SMALL_NEW = (
    build_image(Random(3).randbytes(5 * 4096 - 200), ImageVersion(1, 0, 0)),
    build_image(Random(4).randbytes(3 * 4096 - 200), ImageVersion(2, 0, 0)),
)
PAIRS = {"grows": (OLD, NEW), "shrinks": (BIG_OLD, SMALL_NEW)}
SLOT = 32 * KIB


@dataclass
class Board:
    flash: NorFlash
    map: FlashMap

    @classmethod
    def new(cls, image: bytes | None = OLD, seed: int = 0) -> Board:
        flash = NorFlash(512 * KIB, seed=seed)
        board = cls(flash, FlashMap.of(flash, slot_size=SLOT, files_size=64 * KIB))
        if image is not None:
            board.loader().install(image)
        return board

    def loader(self) -> BootLoader:
        """A new one at each use: what it knows must come from flash."""
        return BootLoader.of(self.map)

    def boot(self) -> BootReport:
        return self.loader().boot()

    def upload(self, image: bytes) -> None:
        loader = self.loader()
        loader.begin_upload()
        for offset in range(0, len(image), 1000):
            loader.write(offset, image[offset : offset + 1000])

    def flags(self) -> dict[int, set[str]]:
        names = ("active", "confirmed", "pending", "permanent", "bootable")
        return {info.slot: {name for name in names if getattr(info, name)} for info in self.loader().slots()}

    def slot(self, number: int, length: int) -> bytes:
        return (self.map.slot0, self.map.slot1)[number].read(0, length)


def updated(*, permanent: bool = False, old: bytes = OLD, new: bytes = NEW, seed: int = 0) -> Board:
    board = Board.new(old, seed)
    board.upload(new)
    board.loader().mark_pending(permanent=permanent)
    return board


def test_a_factory_image_runs_and_needs_no_confirmation() -> None:
    board = Board.new()
    report = board.boot()
    assert (report.version, report.swap, report.refused) == (ImageVersion(1), Swap.NONE, None)
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}
    board.loader().confirm()
    assert board.boot().swap is Swap.NONE


def test_an_upload_alone_changes_nothing_that_runs() -> None:
    board = Board.new()
    board.upload(NEW)
    assert board.flags()[1] == {"bootable"}
    assert board.boot().version == ImageVersion(1)
    assert [info.version for info in board.loader().slots()] == [ImageVersion(1), ImageVersion(2)]
    assert not board.loader().slot1_in_use


def test_a_test_image_runs_once_and_is_reverted_unless_confirmed() -> None:
    board = updated()
    assert board.flags() == {0: {"active", "confirmed", "bootable"}, 1: {"pending", "bootable"}}
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(2), Swap.TEST)
    assert "unless it is confirmed" in report.reason
    assert board.flags() == {0: {"active", "bootable"}, 1: {"confirmed", "bootable"}}
    assert board.loader().slot1_in_use
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(1), Swap.REVERT)
    assert board.flags() == {0: {"active", "confirmed", "bootable"}, 1: {"bootable"}}
    assert board.boot().swap is Swap.NONE
    assert board.slot(0, len(OLD)) == OLD
    assert board.slot(1, len(NEW)) == NEW


def test_a_confirmed_image_stays() -> None:
    board = updated()
    board.boot()
    board.loader().confirm()
    assert board.flags() == {0: {"active", "confirmed", "bootable"}, 1: {"bootable"}}
    assert [board.boot().version for _ in range(3)] == [ImageVersion(2)] * 3


def test_a_permanent_image_stays_without_confirmation() -> None:
    board = updated(permanent=True)
    assert board.flags()[1] == {"pending", "permanent", "bootable"}
    assert [board.boot().swap for _ in range(3)] == [Swap.PERMANENT, Swap.NONE, Swap.NONE]
    assert board.flags()[0] == {"active", "confirmed", "bootable"}


def test_a_mark_for_test_can_become_permanent_and_not_the_other_way() -> None:
    board = updated()
    board.loader().mark_pending(permanent=True)
    board.loader().mark_pending(permanent=False)
    assert board.loader().next_swap is Swap.PERMANENT


def test_one_can_go_back_and_forth_between_two_images() -> None:
    board = updated()
    board.boot()
    board.loader().confirm()
    for version in (1, 2, 1, 2):
        board.loader().mark_pending(permanent=False)
        assert board.boot().version == ImageVersion(version)
        board.loader().confirm()


def test_an_empty_slot_cannot_be_marked() -> None:
    with pytest.raises(UsageError, match="slot 1 holds no image"):
        Board.new().loader().mark_pending(permanent=False)


def test_a_damaged_image_is_refused_and_not_tried_again() -> None:
    board = updated()
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

    board = updated()
    plain = board.loader()
    report = BootLoader(board.map.slot0, board.map.slot1, plain.strategy, only_old).boot()
    assert (report.version, report.swap) == (ImageVersion(1), Swap.NONE)
    assert "signed by a stranger" in (report.refused or "")


def test_a_revert_to_a_damaged_image_keeps_the_one_that_runs() -> None:
    board = updated()
    board.boot()
    board.map.slot1.program(5000, bytes(50))
    report = board.boot()
    assert (report.version, report.swap) == (ImageVersion(2), Swap.NONE)
    assert report.refused is not None
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}


def test_a_device_without_an_image_runs_nothing_and_says_so() -> None:
    report = Board.new(None).boot()
    assert report.version is None
    assert "nothing runs" in report.reason


def test_a_device_without_an_image_takes_a_marked_one() -> None:
    board = Board.new(None)
    board.upload(NEW)
    board.loader().mark_pending(permanent=True)
    assert board.boot().version == ImageVersion(2)


def test_a_padded_and_confirmed_image_marks_itself() -> None:
    """imgtool --pad --confirm files end in a trailer, which lands where the slot's own belongs."""
    trailer = b"\x01" + b"\xff" * 7 + bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
    board = Board.new()
    board.upload(NEW.ljust(SLOT - len(trailer), b"\xff") + trailer)
    assert board.loader().next_swap is Swap.PERMANENT
    assert board.boot().version == ImageVersion(2)


def test_the_trailer_on_flash_is_that_of_mcuboot() -> None:
    board = updated(permanent=True)
    trailer = parse_trailer(board.map.slot1.read(0, SLOT))
    assert trailer is not None
    assert (trailer.image_ok, trailer.copy_done) == (1, 0xFF)
    board.boot()
    trailer = parse_trailer(board.map.slot0.read(0, SLOT))
    assert trailer is not None
    assert (trailer.image_ok, trailer.copy_done) == (1, 1)
    assert parse_trailer(board.map.slot1.read(0, SLOT)) is None


def test_a_swap_touches_only_the_sectors_that_the_larger_image_needs() -> None:
    board = updated()
    before = list(board.flash.wear)
    board.boot()
    worn = [number for number, wear in enumerate(board.flash.wear) if wear != before[number]]
    trailers_scratch_status = {7, 15, 16, 17}
    assert set(worn) == {0, 1, 2, 3, 4, 8, 9, 10, 11, 12} | trailers_scratch_status


def test_a_new_upload_takes_back_the_mark_at_once() -> None:
    board = updated()
    board.loader().begin_upload()
    assert board.loader().next_swap is Swap.NONE
    assert board.flags() == {0: {"active", "confirmed", "bootable"}}


def test_an_upload_erases_sectors_as_it_reaches_them() -> None:
    board = Board.new()
    loader = board.loader()
    board.upload(NEW)
    before = list(board.flash.wear)
    loader.begin_upload()
    loader.write(0, NEW[:4090])
    loader.write(4090, NEW[4090:4100])
    assert [wear - was for wear, was in zip(board.flash.wear, before, strict=True)][8:16] == [1, 1, 0, 0, 0, 0, 0, 1]
    assert loader.uploaded(4100) == NEW[:4100]


def test_erase_empties_slot_1_and_spares_what_is_empty() -> None:
    board = updated()
    board.loader().erase()
    assert board.map.slot1.is_erased(0, SLOT)
    operations = board.flash.operations
    board.loader().erase()
    assert board.flash.operations == operations


def test_an_image_that_leaves_no_room_for_the_trailer_is_refused() -> None:
    large = build_image(bytes(SLOT - 4096), ImageVersion(3))
    assert Board.new().loader().max_image_size == SLOT - 4096
    assert "the slot holds" in (updated(new=large).boot().refused or "")
    with pytest.raises(UsageError):
        Board.new().loader().install(large)


Prepare = Callable[[int], Board]
Act = Callable[[Board], object]


def operations_of(prepare: Prepare, act: Act) -> int:
    board = prepare(0)
    before = board.flash.operations
    act(board)
    return board.flash.operations - before


def cut_once(prepare: Prepare, act: Act, cut: int) -> Board:
    board = prepare(cut)
    board.flash.cut_after = cut
    with pytest.raises(PowerCut):
        act(board)
    board.flash.power_on()
    return board


def assert_whole(board: Board, report: BootReport, old: bytes, new: bytes, context: str) -> None:
    runs = {ImageVersion(1): old, ImageVersion(2): new}
    assert report.version in runs, context
    image = runs[report.version]
    assert board.slot(0, len(image)) == image, context


def finish_update(board: Board, new: bytes) -> None:
    """What a host does: look, and do what is still missing."""
    for _ in range(3):
        infos = {info.slot: info for info in board.loader().slots()}
        if infos[0].version == ImageVersion(2):
            board.loader().confirm()
            return
        if 1 not in infos or infos[1].version != ImageVersion(2) or board.slot(1, len(new)) != new:
            board.upload(new)
        board.loader().mark_pending(permanent=False)
        board.boot()
    pytest.fail("the update does not end")


def whole_update(board: Board, new: bytes) -> None:
    board.upload(new)
    board.loader().mark_pending(permanent=False)
    board.boot()
    board.loader().confirm()
    board.boot()


def cut_the_update(pair: str, every: int, extra_cuts: int = 0) -> int:
    """Cut a whole update at each operation; `extra_cuts` more at random while the device recovers."""
    old, new = PAIRS[pair]

    def prepare(seed: int) -> Board:
        return Board.new(old, seed)

    def act(board: Board) -> None:
        whole_update(board, new)

    cuts = range(1, operations_of(prepare, act) + 1, every)
    for cut in cuts:
        board = cut_once(prepare, act, cut)
        boot_through_cuts(board, extra_cuts, Random(cut))
        context = f"{pair}: cut at operation {cut}"
        assert_whole(board, board.boot(), old, new, context)
        finish_update(board, new)
        assert board.boot().version == ImageVersion(2), context
        assert board.flags()[0] == {"active", "confirmed", "bootable"}, context
        assert board.slot(0, len(new)) == new, context
    return len(cuts)


def boot_through_cuts(board: Board, count: int, random: Random) -> None:
    for _ in range(count):
        board.flash.cut_after = random.randint(1, 60)
        try:
            board.boot()
        except PowerCut:
            board.flash.power_on()
        board.flash.cut_after = None


def cut_the_revert(pair: str, every: int, extra_cuts: int = 0) -> int:
    old, new = PAIRS[pair]

    def prepare(seed: int) -> Board:
        board = updated(old=old, new=new, seed=seed)
        board.boot()
        return board

    cuts = range(1, operations_of(prepare, Board.boot) + 1, every)
    for cut in cuts:
        board = cut_once(prepare, Board.boot, cut)
        boot_through_cuts(board, extra_cuts, Random(cut))
        context = f"{pair}: cut at operation {cut} of the revert"
        report = board.boot()
        assert report.version == ImageVersion(1), context
        assert board.slot(0, len(old)) == old, context
        assert board.slot(1, len(new)) == new, context
        assert board.flags()[0] == {"active", "confirmed", "bootable"}, context
        assert board.boot().swap is Swap.NONE, context
    return len(cuts)


def cut_the_swap(pair: str, every: int, *, permanent: bool) -> int:
    """Once the swap has begun the other image is never lost: both are whole when the boot ends."""
    old, new = PAIRS[pair]

    def prepare(seed: int) -> Board:
        return updated(permanent=permanent, old=old, new=new, seed=seed)

    count = operations_of(prepare, Board.boot)
    cuts = range(1, count + 1, every)
    for cut in cuts:
        board = cut_once(prepare, Board.boot, cut)
        report = board.boot()
        context = f"{pair}: cut at operation {cut} of the swap"
        # Torn at its last operation the test swap is over, and unconfirmed: going back is right then.
        if permanent or cut < count:
            assert report.version == ImageVersion(2), context
        first, second = (new, old) if report.version == ImageVersion(2) else (old, new)
        assert board.slot(0, len(first)) == first, context
        assert board.slot(1, len(second)) == second, context
    return len(cuts)


@pytest.mark.parametrize("pair", PAIRS)
def test_an_update_cut_off_anywhere_ends_well(pair: str) -> None:
    assert cut_the_update(pair, every=7) > 40


@pytest.mark.parametrize("pair", PAIRS)
def test_a_revert_cut_off_anywhere_ends_with_the_former_image(pair: str) -> None:
    assert cut_the_revert(pair, every=5) > 40


@pytest.mark.parametrize("permanent", [False, True])
def test_a_swap_cut_off_anywhere_keeps_both_images(permanent: bool) -> None:
    assert cut_the_swap("grows", every=3, permanent=permanent) > 80


def test_the_end_of_a_swap_stands_every_kind_of_tear() -> None:
    """The last operations forget the job; a job half forgotten would be done twice."""
    count = operations_of(updated_with, Board.boot)
    for seed in range(60):
        board = updated_with(seed)
        board.flash.cut_after = count - seed % 3
        with pytest.raises(PowerCut):
            board.boot()
        board.flash.power_on()
        report = board.boot()
        assert_whole(board, report, OLD, NEW, f"seed {seed}")
        assert board.boot().version == ImageVersion(1), f"seed {seed}"


def updated_with(seed: int) -> Board:
    return updated(seed=seed)


def count(request: pytest.FixtureRequest, sentence: str) -> None:
    """Into the report of the run, also through xdist."""
    request.node.user_properties.append(("counted", sentence))


@pytest.mark.faults
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("extra_cuts", [0, 1, 3])
def test_power_is_cut_at_every_operation(pair: str, extra_cuts: int, request: pytest.FixtureRequest) -> None:
    updates = cut_the_update(pair, 1, extra_cuts)
    reverts = cut_the_revert(pair, 1, extra_cuts)
    swaps = sum(cut_the_swap(pair, 1, permanent=permanent) for permanent in (False, True))
    counted = f"{pair}: power cut at {updates} operations of updates, {reverts} of reverts, {swaps} of swaps"
    count(request, f"{counted}, {extra_cuts} more in each recovery")


def test_a_mark_over_what_a_torn_erase_left_is_still_a_mark_for_test() -> None:
    board = Board.new()
    board.upload(NEW)
    board.map.slot1.program(SLOT - 40, bytes(15) + b"\x01" + bytes(24))
    board.loader().mark_pending(permanent=False)
    assert board.loader().next_swap is Swap.TEST
