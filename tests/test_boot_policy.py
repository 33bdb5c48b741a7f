"""Which images the boot loader takes: signature, security counter, no older version; and several images at once."""

from __future__ import annotations

from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from boot_bench import BootBench, firmware
from boot_board import SWAPS, Board, boot_through_cuts, count, cut_once, operations_of
from fieldlog_protocol.commands import Empty, Group, image, os
from fieldlog_protocol.image import (
    ImageVersion,
    PublicKey,
    Tlv,
    TlvType,
    build_image,
    parse_image,
    parse_public_key,
)
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.nor_flash import PowerCut

OURS, THEIRS = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))


def public(key: Ed25519PrivateKey) -> PublicKey:
    return parse_public_key(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def signed(key: Ed25519PrivateKey, version: str = "2.0.0") -> bytes:
    body, number = Random(version).randbytes(5000), ImageVersion.of(version)
    digest = parse_image(build_image(body, number)).hash or b""
    tlvs = [Tlv(TlvType.KEY_HASH, public(key).hash()), Tlv(TlvType.ED25519, key.sign(digest))]
    return build_image(body, number, tlvs=tlvs)


def counter(value: int) -> Tlv:
    return Tlv(TlvType.SECURITY_COUNTER, value.to_bytes(4, "little"))


def needs(number: int, version: str) -> Tlv:
    wanted = ImageVersion.of(version)
    numbers = bytes([number, 0, 0, 0, wanted.major, wanted.minor])
    return Tlv(TlvType.DEPENDENCY, numbers + wanted.revision.to_bytes(2, "little") + wanted.build.to_bytes(4, "little"))


def try_out(bench: BootBench, data: bytes, *, confirm: bool = False) -> None:
    bench.upload(data)
    bench.mark_image(data, confirm=confirm)
    bench.reset()


def refused(bench: BootBench) -> str:
    return bench.device.boot_report.refused or ""


def test_with_a_key_only_what_it_signed_is_swapped_in() -> None:
    bench = BootBench(BootConfig(keys=(public(OURS),)))
    for wrong, why in ((firmware("2.0.0"), "no signature"), (signed(THEIRS), "another key")):
        try_out(bench, wrong)
        assert why in refused(bench)
        assert bench.versions() == ["1.0.0"]
        assert (0, 1) not in bench.slots(), "and it is erased"
    try_out(bench, signed(OURS))
    assert (bench.versions(), refused(bench)) == (["2.0.0"], "")
    bench.reset()
    assert bench.versions() == ["1.0.0"], "the factory's own image needs no signature"


def test_with_a_key_the_factorys_image_must_still_be_whole() -> None:
    bench = BootBench(BootConfig(keys=(public(OURS),)))
    bench.device.flash.program(5000, bytes(50))
    bench.power_cycle()
    assert bench.device.recovery, "nothing else is there to run"


def test_any_of_several_keys_will_do() -> None:
    bench = BootBench(BootConfig(keys=(public(OURS), public(THEIRS))))
    for number, key in enumerate((THEIRS, OURS)):
        try_out(bench, signed(key, f"{number + 2}.0.0"), confirm=True)
        assert bench.versions() == [f"{number + 2}.0.0"]


def test_serial_recovery_is_no_way_around_the_key() -> None:
    bench = BootBench(BootConfig(keys=(public(OURS),), recovery=True))
    bench.upload(firmware("2.0.0"))
    bench.reset()
    assert bench.device.recovery
    assert bench.slots() == {}
    bench.upload(signed(OURS))
    bench.reset()
    assert (bench.device.recovery, bench.versions()) == (False, ["2.0.0"])


def test_an_older_version_is_refused_where_the_boot_loader_says_so() -> None:
    bench = BootBench(BootConfig(no_downgrade=True))
    assert bench.ask(os.BOOTLOADER, os.BootloaderRequest(query="mode")).no_downgrade is True
    try_out(bench, firmware("0.9.0"))
    assert "older" in refused(bench)
    assert bench.versions() == ["1.0.0"]
    try_out(bench, firmware("1.0.1"))
    bench.reset()
    assert bench.versions() == ["1.0.0"], "going back from a trial is no downgrade"


def test_the_security_counter_only_rises_with_what_stays() -> None:
    bench = BootBench(BootConfig(security_counter=True))
    try_out(bench, firmware("2.0.0", counter(5)))
    bench.reset()
    try_out(bench, firmware("2.1.0", counter(1)), confirm=True)
    assert bench.versions() == ["2.1.0"], "the trial of counter 5 left no trace"
    for low in (firmware("3.0.0", counter(0)), firmware("3.0.1")):
        try_out(bench, low, confirm=True)
        assert "counter" in refused(bench)
    try_out(bench, firmware("3.0.2", counter(1)), confirm=True)
    assert bench.versions() == ["3.0.2"]


def test_two_images_have_slots_of_their_own() -> None:
    bench = BootBench(BootConfig(images=2))
    assert sorted(bench.slots()) == [(0, 0), (1, 0)]
    first, second = firmware("2.0.0"), firmware("2.0.1")
    bench.upload(first)
    bench.upload(second, 1)
    assert {key: slot.version for key, slot in bench.slots().items() if key[1]} == {(0, 1): "2.0.0", (1, 1): "2.0.1"}
    bench.mark_image(first)
    bench.mark_image(second)
    bench.reset()
    assert bench.versions() == ["2.0.0", "2.0.1"]
    bench.reset()
    assert bench.versions() == ["1.0.0", "1.0.0"]


def test_each_of_two_images_is_confirmed_by_itself() -> None:
    bench = BootBench(BootConfig(images=2))
    first, second = firmware("2.0.0"), firmware("2.0.1")
    bench.upload(first)
    bench.upload(second, 1)
    bench.mark_image(first)
    bench.mark_image(second)
    bench.reset()
    bench.ask(image.STATE_WRITE, image.ImageStateRequest(confirm=True))
    bench.mark_image(second, confirm=True)
    bench.reset()
    assert bench.versions() == ["2.0.0", "2.0.1"]


def test_slots_and_numbers_of_two_images() -> None:
    bench = BootBench(BootConfig(images=2))
    infos = bench.ask(image.SLOT_INFO, Empty()).images
    assert [(info.image, [slot.upload_image_id for slot in info.slots]) for info in infos] == [
        (0, [None, 0]),
        (1, [None, 1]),
    ]
    wrong = image.ImageUploadRequest(off=0, image=2, len=6000, data=firmware("2.0.0")[:1000])
    assert bench.refusal(image.UPLOAD, wrong) == (Group.IMAGE, image.INVALID_SLOT)
    bench.upload(firmware("2.0.1"), 1)
    bench.ask(image.ERASE, image.ImageEraseRequest(slot=3))
    assert (1, 1) not in bench.slots()


def test_an_image_waits_for_what_it_depends_on() -> None:
    bench = BootBench(BootConfig(images=2))
    first, second = firmware("2.0.0", needs(1, "2.0.0")), firmware("2.0.1")
    try_out(bench, first)
    assert "needs image 1 at version 2.0.0" in refused(bench)
    assert bench.versions() == ["1.0.0", "1.0.0"]
    assert bench.slots()[0, 1].pending is True
    bench.upload(second, 1)
    bench.mark_image(second)
    bench.reset()
    assert bench.versions() == ["2.0.0", "2.0.1"]


SMALL_OLD, SMALL_NEW = firmware("1.0.0"), firmware("2.0.0")


def two_updated(seed: int, mode: BootMode) -> Board:
    board = Board.new(SMALL_OLD, seed, mode, images=2)
    for number in (0, 1):
        board.number = number
        board.upload(SMALL_NEW)
        board.area().mark_pending(permanent=False)
    return board


def both(board: Board) -> list[ImageVersion | None]:
    report = board.boot()
    return [report.version, *(other.version for other in report.others)]


def cut_two_images(mode: BootMode, every: int, extra_cuts: int = 0) -> int:
    """Two images come in together, and go back together, wherever power goes."""

    def update(seed: int) -> Board:
        return two_updated(seed, mode)

    def trial(seed: int) -> Board:
        board = two_updated(seed, mode)
        board.boot()
        return board

    cuts = 0
    for prepare, first, later in ((update, 2, 1), (trial, 1, 1)):
        operations = operations_of(prepare, Board.boot)
        for cut in range(1, operations + 1, every):
            board = cut_once(prepare, Board.boot, cut)
            boot_through_cuts(board, extra_cuts, Random(cut))
            found = both(board)
            context = f"{mode.name}: cut at operation {cut} of {operations}, to version {first}"
            assert len(set(found)) == 1, context
            if cut < operations and not extra_cuts:
                assert found == [ImageVersion(first)] * 2, context
            both(board)
            assert both(board) == [ImageVersion(later)] * 2, context
            cuts += 1
    return cuts


@pytest.mark.parametrize("mode", SWAPS)
def test_two_images_are_cut_off_together(mode: BootMode) -> None:
    assert cut_two_images(mode, every=1) > 200


@pytest.mark.faults
@pytest.mark.parametrize("mode", SWAPS)
@pytest.mark.parametrize("extra_cuts", [0, 1, 2])
def test_power_is_cut_at_every_operation_of_two_images(
    mode: BootMode, extra_cuts: int, request: pytest.FixtureRequest
) -> None:
    cuts = cut_two_images(mode, 1, extra_cuts)
    count(request, f"two images, {mode.name.lower()}: power cut at {cuts} operations, {extra_cuts} more in recovery")


def test_the_security_counter_survives_a_cut_at_any_operation() -> None:
    def prepared(seed: int) -> BootBench:
        bench = BootBench(BootConfig(security_counter=True), seed)
        data = firmware("2.0.0", counter(3))
        bench.upload(data)
        bench.mark_image(data, confirm=True)
        return bench

    whole = prepared(0)
    before = whole.device.flash.operations
    whole.reset()
    operations = whole.device.flash.operations - before
    for cut in range(operations - 24, operations + 1, 4):
        bench = prepared(cut)
        bench.device.flash.cut_after = cut
        try:
            bench.reset()
        except PowerCut:
            pytest.fail("the device catches this itself")
        assert bench.versions() == ["2.0.0"], f"cut {cut}"
        try_out(bench, firmware("3.0.0", counter(2)), confirm=True)
        assert "counter" in refused(bench), f"cut {cut}"
