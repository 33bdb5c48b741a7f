"""New firmware is judged by all it answers, and what is said of it is what the device lists."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from fieldlog.device import Device
from fieldlog.firmware_package import FirmwarePackage, PackagedImage
from fieldlog.flash import FlashOptions, Outcome
from fieldlog.flash_probe import Snapshot, look
from fieldlog_protocol.commands import Command, Empty, Group, image, logger, os, settings
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import LinkError, RefusedError, VerificationError
from fieldlog_protocol.image import ImageVersion, Tlv, TlvType, build_image, parse_image
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.faults import Faults
from fieldlog_sim.port import Buffers
from flash_bench import FAST, FlashBench, Told, firmware, install, mark, planned, restart, runs, slots, upload
from flash_lies import Answer, lying, lying_when_new, refuse, runs_new
from virtual_link import LinkKind, VirtualTransport, run

NEW, OTHER = firmware("2.0.0"), firmware("1.5.0")
BAD = frozenset({ImageVersion(2)})


def pair(first: bytes = NEW, second: bytes = OTHER) -> FirmwarePackage:
    images = [PackagedImage(n, parse_image(data), f"{n}.bin", data) for n, data in ((0, first), (1, second))]
    return FirmwarePackage(tuple(images), zipped=True)


# it answers, but not as it should


@pytest.mark.parametrize(
    ("command", "answer", "says"),
    [
        (os.ECHO, lambda: refuse(Rc.UNKNOWN), "refused 'os echo'"),
        (os.ECHO, lambda: {"r": "nonsense"}, "echoes another text"),
        (logger.INFO, lambda: refuse(1, Group.LOGGER), "refused 'logger info'"),
        (logger.INFO, lambda: {"parts": 1, "v": 1}, "lacks 'uid'"),
        (logger.INFO, lambda: {"parts": 1, "v": 1, "uid": b"", "log": 1}, "lacks 'uid'"),
        (logger.INFO, lambda: b"\xff\xfe", "'logger info' makes no sense"),
        (logger.INFO, lambda: None, "not to the request for its logger"),
        (logger.SELF_TEST_START, lambda: refuse(1, Group.LOGGER), "refused 'logger start self test'"),
        (logger.SELF_TEST_RESULT, lambda: refuse(1, Group.LOGGER), "refused 'logger self test'"),
        (logger.SCHEMA, lambda: refuse(1, Group.LOGGER), "refused 'logger settings schema'"),
        (settings.READ, lambda: refuse(3, Group.SETTINGS), "refused 'settings read'"),
        (settings.READ, lambda: None, "not to the request for its settings"),
    ],
)
def test_firmware_that_does_not_answer_as_it_should_goes_back(
    command: Command[Any, Any], answer: Any, says: str
) -> None:
    bench = lying_when_new(command, answer)
    with pytest.raises(VerificationError, match=rf"{says}.*took it back: 1\.0\.0 runs"):
        install(bench, NEW)
    assert runs(bench) == ("1.0.0", True)


@pytest.mark.parametrize("command", [os.ECHO, logger.SELF_TEST_START, logger.SCHEMA, settings.READ])
def test_what_the_former_firmware_refused_too_is_no_reason(command: Command[Any, Any]) -> None:
    bench = FlashBench()
    lying(bench, command, lambda _, asked: refuse(1, Group.LOGGER))
    assert install(bench, NEW).outcome is Outcome.CONFIRMED


@pytest.mark.parametrize("command", [os.ECHO, logger.INFO, settings.READ])
def test_what_is_answered_at_a_second_attempt_is_no_trouble(command: Command[Any, Any]) -> None:
    bench, asked_again = FlashBench(), 3
    timeouts: list[float] = []

    def late(_: dict[str, Any], asked: Any) -> Answer:
        return None if len(timeouts) < 1 else asked()

    async def work() -> Snapshot:
        client = VirtualTransport(bench, FAST).client()
        await client.open()
        device = Device(client)
        params = device.params

        async def noted() -> os.ParamsResponse:
            timeouts.append(bench.now)
            return await params()

        device.params = noted  # type: ignore[method-assign]
        try:
            return await look(device)
        finally:
            await client.close()

    lying(bench, command, late)
    found = run(bench, work())
    assert 0 < len(timeouts) < asked_again, "the first attempt met with silence"
    assert found.troubles == {}
    assert found.settings


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (settings.READ, lambda: refuse(3, Group.SETTINGS)),
        (logger.INFO, lambda: refuse(Rc.NOT_SUPPORTED)),
        (logger.SELF_TEST_START, lambda: refuse(1, Group.LOGGER)),
    ],
)
def test_one_refusal_on_a_line_without_check_values_is_no_reason(command: Command[Any, Any], answer: Any) -> None:
    bench, left = FlashBench(), [1]

    def once(_: dict[str, Any], asked: Any) -> Answer:
        left[0] -= runs_new(bench)
        return answer() if runs_new(bench) and left[0] == 0 else asked()

    lying(bench, command, once)
    assert install(bench, NEW, kind=LinkKind("raw", baud=None)).outcome is Outcome.CONFIRMED
    assert left[0] < 0


@pytest.mark.parametrize("answer", [lambda: refuse(Rc.BUSY), lambda: b"\xff\xfe\x01"], ids=["busy", "garbled"])
def test_a_list_that_is_not_there_at_once_is_asked_for_again(answer: Any) -> None:
    bench, left = FlashBench(), [2]

    def late(_: dict[str, Any], asked: Any) -> Answer:
        left[0] -= runs_new(bench)
        return answer() if runs_new(bench) and left[0] >= 0 else asked()

    lying(bench, image.STATE_READ, late)
    assert install(bench, NEW).outcome is Outcome.CONFIRMED


def test_a_logger_that_was_out_of_order_may_come_into_order() -> None:
    for state in (logger.State.FAULT, logger.State.FULL):
        bench = FlashBench()

        def ailing(_: dict[str, Any], asked: Any, bench: FlashBench = bench, state: logger.State = state) -> Answer:
            said: dict[str, Any] = asked()
            return said | ({"state": int(state)} if "state" in said and not runs_new(bench) else {})

        assert install(lying(bench, logger.INFO, ailing), NEW).outcome is Outcome.CONFIRMED


# settings that new firmware does not have


def with_a_name(boot: BootConfig | None = None) -> FlashBench:
    bench = FlashBench(boot)
    bench.ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=b"north"))
    bench.ask(settings.COMMIT, Empty())
    bench.ask(settings.SAVE, settings.SettingSaveRequest())
    lying(bench, logger.SCHEMA, lambda _, asked: _renamed(asked()) if runs_new(bench) else asked())
    lying(bench, settings.READ, lambda body, asked: {"val": b""} if body["name"] == "device/nama" else asked())
    return bench


def _renamed(schema: dict[str, Any]) -> dict[str, Any]:
    named = [entry | ({"k": "device/nama"} if entry["k"] == "device/name" else {}) for entry in schema["s"]]
    return schema | {"s": named}


def test_a_setting_that_new_firmware_has_no_more_is_held_against_it_unless_that_is_meant() -> None:
    bench = with_a_name()
    gone = r"does not have settings any more.*device/name.*--allow-changed-settings.*took it back"
    with pytest.raises(VerificationError, match=gone):
        install(bench, NEW)
    told = Told()
    assert install(bench, NEW, FlashOptions(allow_changed_settings=True), told=told).outcome is Outcome.CONFIRMED
    assert any("device/name" in step for step in told.steps), "it is said all the same"


def test_a_chosen_value_that_is_the_default_of_new_firmware_is_not_lost() -> None:
    bench = FlashBench()
    bench.ask(settings.WRITE, settings.SettingWriteRequest(name="log/max_age", val=struct.pack("<I", 601)))
    bench.ask(settings.COMMIT, Empty())
    bench.ask(settings.SAVE, settings.SettingSaveRequest())

    def new_default(schema: dict[str, Any]) -> dict[str, Any]:
        changed = [e | ({"d": struct.pack("<I", 601)} if e["k"] == "log/max_age" else {}) for e in schema["s"]]
        return schema | {"s": changed}

    lying(bench, logger.SCHEMA, lambda _, asked: new_default(asked()) if runs_new(bench) else asked())
    assert install(bench, NEW).outcome is Outcome.CONFIRMED


# confirmed is what is listed as confirmed


@pytest.mark.parametrize("knows", [True, False])
def test_confirmed_is_not_said_of_what_is_not(knows: bool) -> None:
    bench = FlashBench()

    def confirms_nothing(body: dict[str, Any], asked: Any) -> Answer:
        if not body.get("confirm"):
            return asked()
        return {"images": []} if knows else refuse(Rc.NOT_SUPPORTED)

    lying(bench, image.STATE_WRITE, confirms_nothing)
    with pytest.raises(VerificationError, match=r"2\.0\.0 runs and works, but.*not list it as confirmed.*1\.0\.0 back"):
        install(bench, NEW)
    assert runs(bench) == ("2.0.0", False)


def test_a_refused_confirm_tells_that_the_image_is_on_trial() -> None:
    bench = FlashBench()
    lying(bench, image.STATE_WRITE, lambda body, asked: refuse(32, Group.IMAGE) if body.get("confirm") else asked())
    with pytest.raises(RefusedError, match=r"cannot be confirmed.*2\.0\.0 runs on trial.*brings 1\.0\.0 back"):
        install(bench, NEW)


def test_a_refused_restart_tells_that_the_image_is_marked() -> None:
    bench = FlashBench()
    lying(bench, os.RESET, lambda _, asked: refuse(Rc.ACCESS_DENIED))
    with pytest.raises(RefusedError, match=r"denies access.*marked for one test: a restart begins it"):
        install(bench, NEW)
    assert slots(bench)[1].pending


def test_on_trial_stays_on_trial_when_it_is_not_to_be_confirmed() -> None:
    bench = FlashBench()
    for _ in range(2):
        assert install(bench, NEW, FlashOptions(confirm=False)).outcome is Outcome.TESTING
        assert runs(bench) == ("2.0.0", False)


def test_firmware_on_trial_that_fails_is_not_restarted_while_it_records() -> None:
    bench = FlashBench(BootConfig(failing=BAD))
    upload(bench, NEW)
    mark(bench, NEW)
    restart(bench)
    bench.arm(label="night", wrap=True)
    bench.wait(60)
    with pytest.raises(VerificationError, match=r"recording a session.*stays on trial.*--stop-logging"):
        install(bench, NEW)
    assert (runs(bench), bench.state()) == (("2.0.0", False), logger.State.LOGGING)
    with pytest.raises(VerificationError, match=r"took it back: 1\.0\.0 runs"):
        install(bench, NEW, FlashOptions(stop_logging=True))
    assert [session.stop is not None for session in bench.sessions()] == [True]


def test_a_clock_that_the_restart_has_cost_is_told() -> None:
    bench, told = FlashBench(), Told()
    bench.ask(os.DATETIME_WRITE, os.DatetimeRequest(datetime="2026-01-02T03:04:05"))
    install(bench, NEW, told=told)
    assert any("`fieldlog clock sync`" in step for step in told.steps)
    told = Told()
    install(bench, OTHER, FlashOptions(allow_downgrade=True), told=told)
    assert not any("clock" in step for step in told.steps)


def test_what_the_next_restart_starts_is_told_where_there_is_nothing_to_do() -> None:
    bench, told = FlashBench(), Told()
    install(bench, NEW)
    upload(bench, OTHER)
    mark(bench, OTHER, permanent=True)
    assert install(bench, NEW, told=told).outcome is Outcome.ALREADY
    assert told.steps == ["note: 1.5.0 waits in slot 1 to be started: the next restart does that"]


# what cannot be judged is not begun


def _listed(change: dict[str, Any], *drop: str) -> FlashBench:
    bench = FlashBench()

    def other(_: dict[str, Any], asked: Any) -> Answer:
        entries = [{k: v for k, v in entry.items() if k not in drop} | change for entry in asked()["images"]]
        return {"images": entries}

    return lying(bench, image.STATE_READ, other)


@pytest.mark.parametrize(
    ("bench", "says"),
    [
        (_listed({}, "hash"), "with no hash"),
        (_listed({"hash": b"x"}), "with a hash of 1 bytes"),
        (_listed({}, "active"), "does not say which of its images runs"),
        (_listed({"active": False}), "does not say which of its images runs"),
    ],
)
def test_a_list_by_which_nothing_can_be_judged_is_refused_before(bench: FlashBench, says: str) -> None:
    before = bench.device.flash.operations
    with pytest.raises(VerificationError, match=rf"{says}.*not changed"):
        install(bench, NEW)
    assert bench.device.flash.operations == before


def test_the_same_image_for_two_numbers_is_refused_before() -> None:
    bench = FlashBench(BootConfig(images=2))
    with pytest.raises(VerificationError, match=r"very same image.*not changed"):
        install(bench, pair(NEW, NEW))
    install(bench, NEW)
    with pytest.raises(VerificationError, match=r"very same image.*not changed"):
        install(bench, NEW, FlashOptions(number=1))


@pytest.mark.parametrize("answer", [lambda: b"\xff", lambda: None], ids=["garbled", "silent"])
@pytest.mark.parametrize("command", [image.SLOT_INFO, os.BOOTLOADER])
def test_what_a_device_need_not_tell_does_not_stop_an_update(command: Command[Any, Any], answer: Any) -> None:
    bench = FlashBench()
    lying(bench, command, lambda _, asked: answer())
    assert install(bench, NEW).outcome is Outcome.CONFIRMED


# several images


def test_each_image_has_its_own_slot_erased() -> None:
    for package in (pair(), FirmwarePackage(tuple(reversed(pair().images)), zipped=True)):
        bench = FlashBench(BootConfig(images=2))
        done = install(bench, package, FlashOptions(erase=True))
        assert (done.outcome, runs(bench), runs(bench, 1)) == (Outcome.CONFIRMED, ("2.0.0", True), ("1.5.0", True))


def test_erasing_for_one_image_leaves_the_other_alone() -> None:
    bench = FlashBench(BootConfig(images=2))
    upload(bench, NEW)
    install(bench, OTHER, FlashOptions(number=1, erase=True))
    assert slots(bench)[1].hash == parse_image(NEW).hash


def test_an_image_on_trial_goes_back_before_others_need_a_restart() -> None:
    bench = FlashBench(BootConfig(images=2))
    install(bench, NEW, FlashOptions(confirm=False))
    assert "takes it back" in planned(bench, pair()).steps(FlashOptions())[0]
    done = install(bench, pair())
    assert (done.sent, runs(bench), runs(bench, 1)) == (len(OTHER), ("2.0.0", True), ("1.5.0", True))


def test_two_images_are_updated_through_the_buffers_that_most_devices_have() -> None:
    """A list of four slots fits only without the flags that are not set."""
    bench = FlashBench(BootConfig(images=2), buffers=Buffers())
    for first, second in (("2.0.0", "1.5.0"), ("2.1.0", "1.6.0")):
        done = install(bench, pair(firmware(first), firmware(second)))
        assert (done.outcome, runs(bench), runs(bench, 1)) == (Outcome.CONFIRMED, (first, True), (second, True))


# boot loaders that do not start what they were given


def _needing(version: str) -> bytes:
    """An image that needs another one, of image 1."""
    wanted = ImageVersion.of(version)
    value = struct.pack("<B3xBBHI", 1, wanted.major, wanted.minor, wanted.revision, wanted.build)
    return build_image(b"y" * 3000, ImageVersion(2), protected=[Tlv(TlvType.DEPENDENCY, value)])


def test_an_image_that_the_boot_loader_holds_back_is_told_at_once() -> None:
    bench, held = FlashBench(BootConfig(images=2)), _needing("3.0.0")
    upload(bench, held)
    mark(bench, held)
    started = bench.now
    with pytest.raises(VerificationError, match=r"does not start it \(it may need another image.*Nothing was sent"):
        install(bench, firmware("1.9.0"))
    assert bench.now - started < 10, "its boot id tells that it restarted"


def test_a_dependency_does_not_look_at_builds() -> None:
    bench = FlashBench(BootConfig(images=2))
    assert install(bench, _needing("1.0.0+5")).outcome is Outcome.CONFIRMED


def test_what_is_let_pass_first_may_be_newer_and_is_held_against_the_image() -> None:
    bench, newer = FlashBench(), firmware("3.0.0")
    upload(bench, newer)
    mark(bench, newer, permanent=True)
    with pytest.raises(VerificationError, match=r"is 2\.0\.0 and.*3\.0\.0.*--allow-downgrade"):
        install(bench, NEW)
    assert slots(bench)[1].hash != parse_image(NEW).hash
    assert install(bench, NEW, FlashOptions(allow_downgrade=True)).version == "2.0.0"


def test_a_trial_that_somebody_cuts_short_is_not_blamed_on_the_signature_alone() -> None:
    bench, honest = FlashBench(), FlashBench.power_cycle

    def twice(_: dict[str, Any], asked: Any) -> Answer:
        if runs_new(bench):
            honest(bench)
            return None
        return asked()

    lying(bench, image.STATE_READ, twice)
    with pytest.raises(VerificationError, match=r"still runs 1\.0\.0.*lost its power.*Repeat the command"):
        install(bench, NEW)


def test_a_restart_that_arrives_twice_is_one() -> None:
    for seed in range(12):
        bench = FlashBench(seed=seed)
        kind = LinkKind("datagrams", None, 0.002, Faults(seed=seed, duplicate=1.0))
        assert install(bench, NEW, FlashOptions(return_s=60), kind=kind).outcome is Outcome.CONFIRMED, f"seed {seed}"


@pytest.mark.parametrize(
    "seeds", [range(12, 18), pytest.param(range(200), marks=pytest.mark.faults)], ids=["few", "many"]
)
def test_a_restart_that_arrives_again_in_the_middle_of_the_trial_costs_no_update(seeds: range) -> None:
    """A datagram may come twice, the second time late: nothing in it tells the device that it has obeyed already."""
    anew = 0
    for seed in seeds:
        bench, told = FlashBench(seed=seed), Told()
        kind = LinkKind("datagrams", None, 0.002, Faults(seed=seed, duplicate=0.3, delay=0.3, delay_s=0.5))
        done = install(bench, NEW, FlashOptions(return_s=60), kind=kind, told=told)
        assert (done.outcome, runs(bench)) == (Outcome.CONFIRMED, ("2.0.0", True)), f"seed {seed}"
        anew += any("beginning it anew" in step for step in told.steps)
    assert anew, "no trial was cut short"


def test_firmware_that_hangs_is_tried_once_also_where_restarts_may_arrive_twice() -> None:
    bench, told = FlashBench(BootConfig(hanging=frozenset({ImageVersion(2)}))), Told()
    with pytest.raises(VerificationError, match="watchdog"):
        install(bench, NEW, FlashOptions(return_s=300), kind=LinkKind("datagrams", None, 0.002), told=told)
    assert told.steps.count("restarting") == 1


# a device that only overwrites


def test_no_way_back_is_promised_where_there_is_none() -> None:
    bench, told = FlashBench(BootConfig(BootMode.OVERWRITE)), Told()
    away = [False]
    restarting = bench.device.restart_after_reply
    honest = bench.device.handle
    bench.device.restart_after_reply = lambda **more: [restarting(**more), away.append(True)][0]  # type: ignore[method-assign]
    bench.device.handle = lambda *asked: None if away[-1] else honest(*asked)  # type: ignore[method-assign]
    with pytest.raises(LinkError, match=r"did not come back.*nothing brings the old one back"):
        install(bench, NEW, FlashOptions(return_s=10), told=told, kind=FAST)
    assert "marked for good" in told.steps
