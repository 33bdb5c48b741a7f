"""No power cut leaves anything but one of the two images, whole: every operation of update, swap and revert, in each mode."""

from __future__ import annotations

from random import Random

import pytest

from boot_board import NEW, OLD, PAIRS, SWAPS, Board, boot_through_cuts, count, cut_once, operations_of, updated
from fieldlog_protocol.image import ImageVersion
from fieldlog_sim.boot_loader import BootReport
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.boot_trailer import Swap
from fieldlog_sim.nor_flash import PowerCut


def assert_whole(board: Board, report: BootReport, old: bytes, new: bytes, context: str) -> None:
    runs = {ImageVersion(1): old, ImageVersion(2): new}
    assert report.version in runs, context
    image = runs[report.version]
    assert board.slot(0, len(image)) == image, context


def finish_update(board: Board, new: bytes) -> None:
    """What a host does: look, and do what is still missing."""
    for _ in range(3):
        infos = {info.slot: info for info in board.area().infos()}
        if infos[0].version == ImageVersion(2):
            board.area().confirm()
            return
        if 1 not in infos or infos[1].version != ImageVersion(2) or board.slot(1, len(new)) != new:
            board.upload(new)
        board.area().mark_pending(permanent=False)
        board.boot()
    pytest.fail("the update does not end")


def whole_update(board: Board, new: bytes) -> None:
    board.upload(new)
    board.area().mark_pending(permanent=False)
    board.boot()
    board.area().confirm()
    board.boot()


def cut_the_update(mode: BootMode, pair: str, every: int, extra_cuts: int = 0) -> int:
    """Cut a whole update at each operation; `extra_cuts` more at random while the device recovers."""
    old, new = PAIRS[pair]

    def prepare(seed: int) -> Board:
        return Board.new(old, seed, mode)

    def act(board: Board) -> None:
        whole_update(board, new)

    cuts = range(1, operations_of(prepare, act) + 1, every)
    for cut in cuts:
        board = cut_once(prepare, act, cut)
        boot_through_cuts(board, extra_cuts, Random(cut))
        context = f"{mode.name}, {pair}: cut at operation {cut}"
        assert_whole(board, board.boot(), old, new, context)
        finish_update(board, new)
        assert board.boot().version == ImageVersion(2), context
        assert board.flags()[0] == {"active", "confirmed", "bootable"}, context
        assert board.slot(0, len(new)) == new, context
    return len(cuts)


def cut_the_revert(mode: BootMode, pair: str, every: int, extra_cuts: int = 0) -> int:
    old, new = PAIRS[pair]

    def prepare(seed: int) -> Board:
        board = updated(old=old, new=new, seed=seed, mode=mode)
        board.boot()
        return board

    cuts = range(1, operations_of(prepare, Board.boot) + 1, every)
    for cut in cuts:
        board = cut_once(prepare, Board.boot, cut)
        boot_through_cuts(board, extra_cuts, Random(cut))
        context = f"{mode.name}, {pair}: cut at operation {cut} of the revert"
        report = board.boot()
        assert report.version == ImageVersion(1), context
        if not extra_cuts:  # the boot that took it to its end says what it was
            assert report.swap is Swap.REVERT or cut == cuts[-1], context
        assert board.slot(0, len(old)) == old, context
        assert board.slot(1, len(new)) == new, context
        assert board.flags()[0] == {"active", "confirmed", "bootable"}, context
        assert board.boot().swap is Swap.NONE, context
    return len(cuts)


def cut_the_swap(mode: BootMode, pair: str, every: int, *, permanent: bool) -> int:
    """Once the swap has begun the other image is never lost: both are whole when the boot ends."""
    old, new = PAIRS[pair]

    def prepare(seed: int) -> Board:
        return updated(permanent=permanent, old=old, new=new, seed=seed, mode=mode)

    count = operations_of(prepare, Board.boot)
    cuts = range(1, count + 1, every)
    for cut in cuts:
        board = cut_once(prepare, Board.boot, cut)
        report = board.boot()
        context = f"{mode.name}, {pair}: cut at operation {cut} of the swap"
        # Torn at its last operation the test swap is over, and unconfirmed: going back is right then.
        if permanent or cut < count:
            assert report.version == ImageVersion(2), context
        first, second = (new, old) if report.version == ImageVersion(2) else (old, new)
        assert board.slot(0, len(first)) == first, context
        went_back = report.version == ImageVersion(1)
        start = 4096 if mode is BootMode.OFFSET and went_back else 0
        assert board.map.slot1.read(start, len(second)) == second, context
    return len(cuts)


@pytest.mark.parametrize("mode", BootMode)
@pytest.mark.parametrize("pair", PAIRS)
def test_an_update_cut_off_anywhere_ends_well(mode: BootMode, pair: str) -> None:
    assert cut_the_update(mode, pair, every=7) > 15


@pytest.mark.parametrize("mode", SWAPS)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_revert_cut_off_anywhere_ends_with_the_former_image(mode: BootMode, pair: str) -> None:
    assert cut_the_revert(mode, pair, every=5) > 25


@pytest.mark.parametrize("mode", SWAPS)
@pytest.mark.parametrize("permanent", [False, True])
def test_a_swap_cut_off_anywhere_keeps_both_images(mode: BootMode, permanent: bool) -> None:
    assert cut_the_swap(mode, "grows", every=3, permanent=permanent) > 40


@pytest.mark.parametrize("mode", SWAPS)
def test_the_end_of_a_swap_stands_every_kind_of_tear(mode: BootMode) -> None:
    """The last operations forget the job; a job half forgotten would be done twice."""

    def prepare(seed: int) -> Board:
        return updated(seed=seed, mode=mode)

    operations = operations_of(prepare, Board.boot)
    for seed in range(40):
        board = prepare(seed)
        board.flash.cut_after = operations - seed % 3
        with pytest.raises(PowerCut):
            board.boot()
        board.flash.power_on()
        assert_whole(board, board.boot(), OLD, NEW, f"seed {seed}")
        assert board.boot().version == ImageVersion(1), f"seed {seed}"


@pytest.mark.parametrize("mode", SWAPS)
def test_the_beginning_of_a_revert_stands_every_kind_of_tear(mode: BootMode) -> None:
    """The trailer that asks for it is erased before it is written anew."""
    for seed in range(80):
        board = updated(seed=seed, mode=mode)
        board.boot()
        board.flash.cut_after = 1 + seed % 12
        with pytest.raises(PowerCut):
            board.boot()
        board.flash.power_on()
        report = board.boot()
        assert (report.version, report.swap) == (ImageVersion(1), Swap.REVERT), f"seed {seed}"
        assert board.flags()[0] == {"active", "confirmed", "bootable"}, f"seed {seed}"


@pytest.mark.faults
@pytest.mark.parametrize("mode", BootMode)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("extra_cuts", [0, 1, 3])
def test_power_is_cut_at_every_operation(
    mode: BootMode, pair: str, extra_cuts: int, request: pytest.FixtureRequest
) -> None:
    updates = cut_the_update(mode, pair, 1, extra_cuts)
    reverts = swaps = 0
    if mode is not BootMode.OVERWRITE:
        reverts = cut_the_revert(mode, pair, 1, extra_cuts)
        swaps = sum(cut_the_swap(mode, pair, 1, permanent=permanent) for permanent in (False, True))
    counted = f"power cut at {updates} operations of updates, {reverts} of reverts, {swaps} of swaps"
    count(request, f"boot loader, {mode.name.lower()}, {pair}: {counted}, {extra_cuts} more in each recovery")
