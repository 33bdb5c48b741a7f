"""`fieldlog flash` with servers that answer as MCUboot's and Zephyr's sources say, and not as the simulated ones do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fieldlog.cli.main import invoke
from fieldlog.device import Device as HostDevice
from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash import Flashed, FlashOptions, Outcome
from fieldlog.flash_recovery import recover
from fieldlog_protocol.commands import Command, Empty, Group, image, logger, os
from fieldlog_protocol.commands.base import Op
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import FieldlogError, LinkError, RefusedError, VerificationError
from fieldlog_protocol.image import parse_image
from fieldlog_protocol.wire import Packet
from fieldlog_sim.boot_config import BootConfig
from flash_bench import FAST, FlashBench, Told, firmware, install, planned, restart, runs, slots
from flash_lies import Answer, lying, refuse
from smp_peer import pty_peer
from virtual_link import VirtualTransport, run

NEW = firmware("2.0.0", 20_001)
OTHER = firmware("1.5.0", 9000)
CONSOLE_ECHO = Command("console echo", Op.READ, Group.OS, 1, Empty, Empty, "")


def pair() -> FirmwarePackage:
    images = [PackagedImage(n, parse_image(data), f"{n}.bin", data) for n, data in ((0, NEW), (1, OTHER))]
    return FirmwarePackage(tuple(images), zipped=True)


def rescue(bench: FlashBench, file: bytes | FirmwarePackage, options: FlashOptions | None = None) -> Flashed:
    whole = file if isinstance(file, FirmwarePackage) else FirmwarePackage((pair().images[0],), zipped=False)

    async def work() -> Flashed:
        client = VirtualTransport(bench, FAST).client()
        await client.open()
        try:
            return await recover(HostDevice(client), whole, options)
        finally:
            await client.close()

    return run(bench, work())


def stock(boot: BootConfig | None = None) -> FlashBench:
    """A device without a logger, which cannot show that it has restarted."""
    return lying(FlashBench(boot), logger.INFO, lambda _, asked: refuse(Rc.NOT_SUPPORTED))


# recoveries that list their images as if these ran (boot_serial.c with MCUBOOT_SERIAL_IMG_GRP_IMAGE_STATE)


def claiming(bench: FlashBench) -> FlashBench:
    def state(_: dict[str, Any], asked: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer = asked()
        for slot in answer["images"] if bench.device.recovery else ():
            slot.update({"bootable": True} | ({"active": True, "confirmed": True} if slot["slot"] == 0 else {}))
        return answer

    lying(bench, image.STATE_READ, state)
    return lying(bench, CONSOLE_ECHO, lambda _, asked: {"rc": 0} if bench.device.recovery else refuse(Rc.NOT_SUPPORTED))


def test_a_plain_update_writes_nothing_where_a_boot_loader_calls_its_image_active() -> None:
    bench = claiming(stock(BootConfig(recovery=True)))
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match=r"no firmware runs.*not changed; add --recovery"):
        install(bench, NEW)
    assert bench.device.flash.operations == before


def test_a_plain_update_writes_nothing_where_most_of_what_tells_a_boot_loader_is_lost() -> None:
    """What it was asked is lost, so that it seems to be an old one that answers little."""
    bench = _hardly_heard(claiming(stock(BootConfig(recovery=True))))
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match="no firmware runs"):
        install(bench, NEW)
    assert bench.device.flash.operations == before


def test_a_logger_is_asked_who_it_is_though_it_was_hardly_heard_at_first() -> None:
    bench = _hardly_heard(FlashBench())
    assert planned(bench, NEW).survey.logger is not None


def _hardly_heard(bench: FlashBench) -> FlashBench:
    """All that opens a link is lost, once."""
    lost = iter(range(5))
    return lying(bench, os.PARAMS, lambda _, asked: None if next(lost, None) is not None else asked())


@pytest.mark.parametrize("waiting", [True, False])
def test_such_a_recovery_is_written_to_and_left(*, waiting: bool) -> None:
    bench = claiming(stock(BootConfig(recovery=waiting)))
    done = rescue(bench, NEW)
    assert (done.outcome, done.images[0].before, done.sent) == (Outcome.CONFIRMED, "1.0.0", len(NEW))
    assert (bench.device.recovery, runs(bench)) == (False, ("2.0.0", True))


def test_an_image_that_such_a_recovery_already_holds_is_not_said_to_run() -> None:
    bench = claiming(stock())
    install(bench, NEW)
    bench.ask(os.RESET, os.ResetRequest(boot_mode=1))
    assert rescue(bench, NEW).outcome is Outcome.CONFIRMED
    assert not bench.device.recovery


@pytest.mark.parametrize("with_logger", [False, True])
def test_a_plain_upload_stops_when_such_a_recovery_comes_up_in_the_middle(*, with_logger: bool) -> None:
    bench, pieces = claiming(FlashBench() if with_logger else stock()), 0

    def upload(_: dict[str, Any], asked: Callable[[], dict[str, Any]]) -> Answer:
        nonlocal pieces
        pieces += 1
        if pieces == 4:
            bench.ask(os.RESET, os.ResetRequest(boot_mode=1))
        return asked()

    lying(bench, image.UPLOAD, upload)
    with pytest.raises(FieldlogError, match="no longer runs its firmware: its boot loader answers"):
        install(bench, NEW, FlashOptions(reconnect_s=2))
    assert bench.device.recovery
    restart(bench)
    assert runs(bench) == ("1.0.0", True)


def test_an_image_is_not_confirmed_where_a_boot_loader_would_mark_the_other_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = [
        {"slot": 0, "version": "1.0.0", "hash": b"a" * 32, "active": True, "confirmed": True},
        {"slot": 1, "version": "2.0.0", "hash": b"b" * 32},
    ]
    with pty_peer() as peer:
        peer.peer.on(image.STATE_READ, lambda _: {"images": held})
        peer.peer.on(image.STATE_WRITE, lambda _: {"images": held})
        peer.peer.on(CONSOLE_ECHO, lambda _: {"rc": 0})
        assert invoke(["image", "confirm", "-d", peer.path]) == 4
        assert "no firmware runs, so there is none to keep" in capsys.readouterr().err
        assert invoke(["image", "list", "-d", peer.path]) == 0
        out, err = capsys.readouterr()
        assert ("active" in out, "no firmware runs: the boot loader answers" in err) == (False, True)
        assert invoke(["info", "-d", peer.path, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["recovery"], [slot["active"] for slot in told["images"]]) == (True, [False, False])
        assert not peer.peer.asked(image.STATE_WRITE)
        peer.peer.on(os.DATETIME_READ, lambda _: {"datetime": "2026-01-01T00:00:00"})  # Mynewt, which knows both
        assert invoke(["image", "confirm", "-d", peer.path]) == 0
        assert peer.peer.asked(image.STATE_WRITE) == [{"confirm": True}]


# recoveries before MCUboot 2.0


def old(bench: FlashBench, *, answers: bool = True) -> FlashBench:
    """Its boot loader drops what is not of v1, and is silent to all that it does not know; or it never answers."""
    honest, known = bench.device.handle, {image.STATE_READ.key, image.UPLOAD.key, os.RESET.key}

    def handle(packet: Packet, arrived: float, now: float) -> bytes | None:
        key = (int(packet.op), packet.group, packet.id)
        if bench.device.recovery and (not answers or packet.version or key not in known):
            return None
        return honest(packet, arrived, now)

    bench.device.handle = handle  # type: ignore[method-assign]
    return bench


@pytest.mark.parametrize("waiting", [True, False])
def test_an_old_recovery_is_talked_to_as_it_wants(*, waiting: bool) -> None:
    bench = old(FlashBench(BootConfig(recovery=waiting)))
    assert rescue(bench, NEW).outcome is Outcome.CONFIRMED
    assert (bench.device.recovery, runs(bench)) == (False, ("2.0.0", True))


def test_a_device_that_may_wait_in_a_recovery_that_does_not_answer_is_said_to() -> None:
    bench = old(FlashBench(), answers=False)
    with pytest.raises(LinkError, match=r"may wait there.*Nothing was written; switch it off and on") as told:
        rescue(bench, NEW, FlashOptions(return_s=30))
    assert "did not enter" not in str(told.value)
    bench.power_cycle()
    assert runs(bench) == ("1.0.0", True)


# two images


def test_an_image_whose_number_a_recovery_does_not_tell_is_not_written_over_another() -> None:
    """With direct uploads 1 is slot 0 of image 0, without them it is image 1 (`boot_serial.c`)."""
    bench = FlashBench(BootConfig(images=2, recovery=True))
    silent = lying(bench, image.SLOT_INFO, lambda _, asked: refuse(Rc.NOT_SUPPORTED))
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match="does not tell by what number it takes image 1"):
        rescue(silent, pair())
    assert bench.device.flash.operations == before
    assert rescue(silent, NEW).version == "2.0.0"


def stubborn(bench: FlashBench) -> FlashBench:
    """Zephyr 3.5 and later as they are built by default: image 1 is not confirmed while it runs."""

    def mark(request: dict[str, Any], asked: Callable[[], dict[str, Any]]) -> Answer:
        if request.get("confirm") and request.get("hash") == slots(bench, 1)[0].hash:
            return refuse(image.CONFIRMATION_DENIED, Group.IMAGE)
        return asked()

    return lying(bench, image.STATE_WRITE, mark)


def test_images_of_which_one_cannot_be_confirmed_go_back_together() -> None:
    bench = stubborn(FlashBench(BootConfig(images=2)))
    for _ in range(2):
        with pytest.raises(
            RefusedError,
            match=r"brings 1\.0\.0 of image 0 and 1\.0\.0 of image 1 back.*`fieldlog reset`, then add --permanent",
        ):
            install(bench, pair())
        assert (runs(bench), runs(bench, 1)) == (("2.0.0", False), ("1.5.0", False))
    restart(bench)
    assert (runs(bench), runs(bench, 1)) == (("1.0.0", True), ("1.0.0", True))
    assert install(bench, pair(), FlashOptions(permanent=True)).outcome is Outcome.CONFIRMED
    assert (runs(bench), runs(bench, 1)) == (("2.0.0", True), ("1.5.0", True))


def _as_in_3_4(own: list[dict[str, Any]]) -> None:
    """Only the application is active."""
    for slot in own:
        slot["active"] = False


def _as_in_3_1(own: list[dict[str, Any]]) -> None:
    """Both slots have the same flags."""
    trial = not own[0]["confirmed"]
    pending = any(slot["pending"] for slot in own)
    for slot in own:
        slot |= {"active": False, "confirmed": trial, "pending": pending}


def _hidden(own: list[dict[str, Any]]) -> None:
    """What runs is not in the list."""
    own[0]["slot"] = None


@pytest.mark.parametrize("flags", [_as_in_3_4, _as_in_3_1])
def test_a_second_image_that_is_never_called_active_is_seen_to_run(flags: Callable[[list[Any]], None]) -> None:
    bench = _listing(flags)
    assert [part.before for part in planned(bench, pair()).parts] == ["1.0.0", "1.0.0"]
    told = Told()
    assert install(bench, pair(), told=told).outcome is Outcome.CONFIRMED
    assert told.steps[-2:] == ["restarting", "confirmed"]
    assert (_confirmed(bench, 0), _confirmed(bench, 1)) == (("2.0.0", True), ("1.5.0", True))
    assert install(bench, pair()).outcome is Outcome.ALREADY


def test_a_second_image_on_trial_that_is_never_called_active_is_confirmed_by_repeating() -> None:
    bench = _listing(_as_in_3_1)
    assert install(bench, pair(), FlashOptions(confirm=False)).outcome is Outcome.TESTING
    assert install(bench, pair()).outcome is Outcome.CONFIRMED
    assert _confirmed(bench, 1) == ("1.5.0", True)


def test_what_runs_is_not_taken_back_because_of_an_image_that_the_device_does_not_show() -> None:
    bench = _listing(_hidden)
    assert any("image 1: whether 1.5.0 does may not be seen" in note for note in planned(bench, pair()).notes)
    done = install(bench, pair())
    assert (done.outcome, [one.seen for one in done.images]) == (Outcome.CONFIRMED, [True, False])
    assert (_confirmed(bench, 0), _confirmed(bench, 1)) == (("2.0.0", True), ("1.5.0", True))


def test_what_is_not_shown_and_cannot_be_confirmed_goes_back_with_the_others() -> None:
    """That the idle image is confirmed tells that it would come back."""
    bench = lying(_listing(_hidden), image.STATE_WRITE, _denied_by_hash)
    with pytest.raises(RefusedError, match=r"not let 1\.5\.0 of image 1 be confirmed.*add --permanent"):
        install(bench, pair())
    restart(bench)
    assert (_confirmed(bench, 0), _confirmed(bench, 1)) == (("1.0.0", True), ("1.0.0", True))


def _denied_by_hash(request: dict[str, Any], asked: Callable[[], dict[str, Any]]) -> Answer:
    return refuse(image.HASH_NOT_FOUND, Group.IMAGE) if request["confirm"] and "hash" in request else asked()


def _listing(change: Callable[[list[dict[str, Any]]], None]) -> FlashBench:
    """A device with two images that lists those of image 1 otherwise."""
    bench = FlashBench(BootConfig(images=2))

    def state(_: dict[str, Any], asked: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer = asked()
        change([slot for slot in answer["images"] if slot["image"] == 1])
        answer["images"] = [slot for slot in answer["images"] if slot["slot"] is not None]
        return answer

    return lying(bench, image.STATE_READ, state)


def _confirmed(bench: FlashBench, number: int) -> tuple[str, bool]:
    """What runs in truth."""
    slot = next(slot for slot in bench.device.boot_loader.slots() if slot.active and slot.image == number)
    return slot.version.dotted, slot.confirmed


# restarts


class _Unmoved:
    """A stock device whose boot loader leaves everything as it is; `asked` counts its restarts."""

    def __init__(self) -> None:
        self.bench = stock()
        self.asked = 0
        self._away_until = 0.0
        lying(self.bench, os.RESET, lambda _, asked: self._restart())
        lying(self.bench, image.STATE_READ, lambda _, asked: self._list(asked))

    def _restart(self) -> Answer:
        self.asked += 1
        self._away_until = self.bench.now + 3
        return {}

    def _list(self, asked: Callable[[], dict[str, Any]]) -> Answer:
        return None if self.bench.now < self._away_until else asked()


def test_a_device_that_cannot_show_that_it_restarted_is_not_restarted_again_and_again() -> None:
    device = _Unmoved()
    with pytest.raises(VerificationError, match="still waits in slot 1, its boot loader does not start it"):
        install(device.bench, NEW)
    assert device.asked == 1


def test_firmware_that_knows_no_way_into_recovery_is_restarted_once() -> None:
    device = _Unmoved()
    with pytest.raises(LinkError, match=r"did not enter its boot loader's recovery and runs 1\.0\.0"):
        rescue(device.bench, NEW)
    assert device.asked == 1


def test_a_device_that_never_lets_itself_be_restarted_says_so() -> None:
    bench = lying(stock(), os.RESET, lambda _, asked: refuse(Rc.BUSY))
    with pytest.raises(RefusedError, match=r"did not let itself be restarted within 30 s: .*rc 10.*Restart it by hand"):
        install(bench, NEW, FlashOptions(return_s=30))
    assert slots(bench)[1].pending


@pytest.mark.parametrize("mode", [7, 8])
def test_boot_loaders_that_keep_nothing_are_known(mode: int) -> None:
    bench = lying(FlashBench(), os.BOOTLOADER, lambda _, asked: {"mode": mode})
    assert any("keeps no former firmware" in note for note in planned(bench, NEW).notes)
