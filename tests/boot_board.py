"""A chip with a boot loader on it, and what a host and the firmware do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from fieldlog_protocol.image import ImageVersion, build_image
from fieldlog_sim.boot_area import ImageArea
from fieldlog_sim.boot_loader import BootLoader, BootReport
from fieldlog_sim.boot_policy import Policy
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.nor_flash import KIB, FlashMap, NorFlash, PowerCut

OLD = build_image(Random(1).randbytes(3 * 4096 - 200), ImageVersion(1, 0, 0))
NEW = build_image(Random(2).randbytes(4 * 4096 - 200), ImageVersion(2, 0, 0))
BIG_OLD = build_image(Random(3).randbytes(4 * 4096 - 200), ImageVersion(1, 0, 0))
SMALL_NEW = build_image(Random(4).randbytes(3 * 4096 - 200), ImageVersion(2, 0, 0))
PAIRS = {"grows": (OLD, NEW), "shrinks": (BIG_OLD, SMALL_NEW)}
SLOT = 32 * KIB
SWAPS = (BootMode.MOVE, BootMode.OFFSET)


@dataclass
class Board:
    """`number`: of the image that the methods deal with."""

    flash: NorFlash
    map: FlashMap
    mode: BootMode = BootMode.MOVE
    policy: Policy | None = None
    number: int = 0

    @classmethod
    def new(
        cls,
        image: bytes | None = OLD,
        seed: int = 0,
        mode: BootMode = BootMode.MOVE,
        policy: Policy | None = None,
        images: int = 1,
    ) -> Board:
        flash = NorFlash(512 * KIB, seed=seed)
        flash_map = FlashMap.of(flash, slot_size=SLOT, files_size=128 * KIB, images=images)
        board = cls(flash, flash_map, mode, policy)
        if image is not None:
            for area in board.loader().areas:
                area.install(image)
        return board

    def loader(self) -> BootLoader:
        """A new one at each use: what it knows must come from flash."""
        return BootLoader.of(self.map, self.mode, self.policy)

    def area(self) -> ImageArea:
        return self.loader().areas[self.number]

    def boot(self) -> BootReport:
        return self.loader().boot()

    def upload(self, image: bytes) -> None:
        writer = self.area().upload
        writer.begin()
        for offset in range(0, len(image), 1000):
            writer.write(offset, image[offset : offset + 1000])

    def flags(self) -> dict[int, set[str]]:
        names = ("active", "confirmed", "pending", "permanent", "bootable")
        return {info.slot: {name for name in names if getattr(info, name)} for info in self.area().infos()}

    def slot(self, number: int, length: int) -> bytes:
        """The first bytes of a slot; of slot 1 where an update lies."""
        return self.area().upload.written(length) if number else self.map.images[self.number][0].read(0, length)


def updated(
    *,
    permanent: bool = False,
    old: bytes = OLD,
    new: bytes = NEW,
    seed: int = 0,
    mode: BootMode = BootMode.MOVE,
    policy: Policy | None = None,
) -> Board:
    """A board that will swap the new image in at the next boot."""
    board = Board.new(old, seed, mode, policy)
    board.upload(new)
    board.area().mark_pending(permanent=permanent)
    return board


Prepare = Callable[[int], Board]
Act = Callable[[Board], object]


def operations_of(prepare: Prepare, act: Act) -> int:
    """How many flash operations there are to be cut."""
    board = prepare(0)
    before = board.flash.operations
    act(board)
    return board.flash.operations - before


def cut_once(prepare: Prepare, act: Act, cut: int) -> Board:
    """Power goes at this operation, and is back."""
    board = prepare(cut)
    board.flash.cut_after = cut
    with pytest.raises(PowerCut):
        act(board)
    board.flash.power_on()
    return board


def boot_through_cuts(board: Board, count: int, random: Random) -> None:
    """Boot so often, power going each time unless the boot is over before."""
    for _ in range(count):
        board.flash.cut_after = random.randint(1, 60)
        try:
            board.boot()
        except PowerCut:
            board.flash.power_on()
        board.flash.cut_after = None


def count(request: pytest.FixtureRequest, sentence: str) -> None:
    """Into the report of the run, also through xdist."""
    request.node.user_properties.append(("counted", sentence))
