"""Power is cut at flash operations of a device's life: it comes back, and nothing that it had promised is lost.

The life is scripted: armed, logging, marks, seals, settings, a file, firmware uploaded and swapped in. A host goes
through it and, where a reply stays away, asks again as a real one would.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from device_bench import START_US, Bench, PowerLost
from fieldlog_protocol.blocks.block import parse_header
from fieldlog_protocol.blocks.events import Mark, SessionStart
from fieldlog_protocol.commands import Empty, fs, image, logger, os, settings
from fieldlog_protocol.commands.logger import State, StopReason, TransactionStep
from fieldlog_protocol.image import ImageVersion, build_image, parse_image
from fieldlog_sim.nor_flash import NorFlash

NEW = build_image(random.Random(2).randbytes(6000), ImageVersion(2, 0, 0))
FILE = random.Random(3).randbytes(5000)
NAMES = (b"before", b"after")


class Host:
    """Goes through the device's life, remembers what the device has promised, and holds it against that."""

    def __init__(self, cuts: Sequence[int] = (), seed: int = 0) -> None:
        """`cuts`: flash operations after which power goes, each counted from the boot before."""
        self.more_cuts = list(reversed(cuts))
        self.boots_us: dict[int, int] = {}
        self.sealed: dict[int, bytes] = {}
        self.given_up = 0  # blocks before this seq may be gone
        self.marks: list[str] = []
        self.name = {b"", NAMES[0]}
        self.bench = Bench(log_sectors=24, seed=seed)
        self.note_boot()

    def live(self) -> None:
        for step in (
            self.save_name,
            self.arm,
            self.log,
            self.mark,
            self.seal,
            self.configure,
            self.log,
            self.write_file,
            self.upload,
            self.mark,
            self.try_new_firmware,
            self.log,
            self.stop,
            self.erase,
            self.arm_again,
            self.log,
            self.seal,
        ):
            self.take(step)

    def take(self, step: Callable[[], None]) -> None:
        """Take a step, again whenever power went in it, and look at what is there."""
        while True:
            try:
                step()
                self.watch()
            except PowerLost:
                self.note_boot()
                continue
            return

    def note_boot(self) -> None:
        """Power may go again soon after."""
        boot = self.bench.device.boot_id
        if boot not in self.boots_us:
            self.boots_us[boot] = START_US + round(self.bench.now * 1e6)
            self.bench.device.flash.cut_after = self.more_cuts.pop() if self.more_cuts else None

    def watch(self) -> None:
        """Every block that was seen is still what it was, and no seq has come twice."""
        device = self.bench.device
        self.note_boot()
        held = {parse_header(wire).seq: wire for wire in self.bench.wires()}
        info = self.bench.info()
        lost = [seq for seq in self.sealed if seq >= self.given_up and seq not in held]
        assert not lost, f"sealed blocks are gone: {lost}"
        changed = [seq for seq, wire in held.items() if self.sealed.setdefault(seq, wire) != wire]
        assert not changed, f"seqs came twice: {changed}"
        assert (info.next or 0) > max(self.sealed, default=-1)
        assert device.boot_report.version in (ImageVersion(1), ImageVersion(2))

    # the steps; all of them may be taken twice

    def save_name(self) -> None:
        self.name = {b"", NAMES[0]}
        self.bench.ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=NAMES[0]))
        self.bench.ask(settings.SAVE, settings.SettingSaveRequest())
        self.name = {NAMES[0]}

    def arm(self) -> None:
        assert self.bench.arm(id=1, label="life", wrap=False).session == 1
        assert self.bench.state() is State.LOGGING

    def log(self) -> None:
        """Power may go between requests, too; the device says so only by its boot counter."""
        for _ in range(5):
            self.bench.wait(60)
            self.note_boot()
            assert self.bench.state() is State.LOGGING, "the session goes on"

    def mark(self) -> None:
        text = f"mark {len(self.marks)}"
        self.bench.ask(logger.MARK, logger.MarkRequest(id=100 + len(self.marks), text=text))
        self.marks.append(text)

    def seal(self) -> None:
        self.bench.seal()

    def configure(self) -> None:
        boot = self.bench.device.boot_id
        self.name = set(NAMES)
        self.bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=boot))
        self.bench.ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val=NAMES[1]))
        age = settings.SettingWriteRequest(name="log/max_age", val=struct.pack("<I", 600))
        self.bench.ask(settings.WRITE, age)
        self.bench.ask(settings.COMMIT, Empty())
        self.bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.CONFIRM, id=boot))
        self.name = {NAMES[1]}

    def write_file(self) -> None:
        self.bench.ask(fs.CLOSE, Empty())
        for offset in range(0, len(FILE), 1000):
            length = None if offset else len(FILE)
            piece = fs.FileWriteRequest(name="f", off=offset, data=FILE[offset : offset + 1000], len=length)
            self.bench.ask(fs.WRITE, piece)

    def upload(self) -> None:
        done = 0
        while done < len(NEW):
            length = None if done else len(NEW)
            piece = image.ImageUploadRequest(off=done, data=NEW[done : done + 1500], len=length)
            done = self.bench.ask(image.UPLOAD, piece).off
        assert self.bench.ask(image.STATE_READ, Empty()).images[1].hash == parse_image(NEW).hash

    def try_new_firmware(self) -> None:
        """Test, restart, confirm; whatever had been reached when power went."""
        slots = {slot.slot: slot for slot in self.bench.ask(image.STATE_READ, Empty()).images}
        if slots[0].version == "1.0.0":
            request = image.ImageStateRequest(hash=parse_image(NEW).hash, confirm=True)
            self.bench.ask(image.STATE_WRITE, request)
            self.bench.ask(os.RESET, os.ResetRequest())
        self.note_boot()
        assert self.bench.device.boot_report.version == ImageVersion(2)

    def stop(self) -> None:
        if self.bench.state() is State.LOGGING:
            self.bench.stop()
        (session,) = self.bench.sessions()
        assert session.why == StopReason.COMMAND
        self.check_log()

    def erase(self) -> None:
        self.given_up = self.bench.info().next or 0
        self.bench.erase()
        assert (self.bench.info().first or 0) >= self.given_up

    def arm_again(self) -> None:
        assert self.bench.arm(id=2, label="second", wrap=True).session == 2

    # what must hold in the end

    def check_log(self) -> None:
        for sensor in self.bench.sensors:
            self.bench.assert_true(sensor, self.boots_us)
        frames = sum(len(self.bench.frames(sensor).ticks) for sensor in self.bench.sensors)
        assert self.bench.sessions()[-1].frames == frames
        events = [timed.event for timed in self.bench.events()]
        marks = [event.text for event in events if isinstance(event, Mark)]
        assert [text for index, text in enumerate(marks) if text not in marks[:index]] == self.marks
        assert len([event for event in events if isinstance(event, SessionStart)]) <= 1

    def check_all(self) -> None:
        self.bench.power_cycle()
        self.watch()
        for sensor in self.bench.sensors:
            self.bench.assert_true(sensor, self.boots_us)
        value = self.bench.ask(settings.READ, settings.SettingReadRequest(name="device/name")).val
        assert value in self.name
        assert self.bench.ask(fs.STATUS, fs.FileStatusRequest(name="f")).len == len(FILE)
        assert self.bench.device.files.read("f", 0, len(FILE)) == FILE
        assert self.bench.info().fw == "2.0.0"
        assert self.bench.state() is State.LOGGING
        assert [session.label for session in self.bench.sessions()] == ["life", "second"]


def operations_of_a_life() -> int:
    host = Host()
    first = host.bench.device.flash.operations
    host.live()
    operations = host.bench.device.flash.operations - first
    host.check_all()
    return operations


def cut(*cuts: int, seed: int = 0) -> None:
    """A life with power cuts at these operations. `seed` decides what the torn operations leave."""
    try:
        host = Host(cuts, seed)
        host.live()
        host.check_all()
    except Exception as error:
        error.add_note(f"power cut at flash operations {cuts}, seed {seed}")
        raise


def test_a_life_without_a_cut() -> None:
    assert operations_of_a_life() > 500


@pytest.mark.parametrize("part", range(2))
def test_power_cuts_in_a_life(part: int) -> None:
    operations = operations_of_a_life()
    randomness = random.Random(part)
    for _ in range(8):
        more = [randomness.randint(1, 60) for _ in range(randomness.randrange(3))]
        cut(randomness.randint(1, operations), *more, seed=randomness.randrange(1000))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(8))
def test_power_cuts_at_every_operation_of_a_life(part: int, request: pytest.FixtureRequest) -> None:
    cuts = range(1 + part, operations_of_a_life() + 1, 8)
    for operation in cuts:
        cut(operation, seed=operation)
    request.node.user_properties.append(("counted", f"power cut at {len(cuts)} operations of a device's life"))


@pytest.mark.faults
@pytest.mark.parametrize("part", range(4))
def test_power_cuts_in_a_life_and_again_soon_after(part: int, request: pytest.FixtureRequest) -> None:
    operations = operations_of_a_life()
    randomness = random.Random(1000 + part)
    for _ in range(100):
        more = [randomness.randint(1, 40) for _ in range(4)]
        cut(randomness.randint(1, operations), *more, seed=randomness.randrange(10**6))
    request.node.user_properties.append(("counted", "100 lives of a device with power cut five times"))


def births(monkeypatch: pytest.MonkeyPatch, step: int, seed: int) -> int:
    """Power cut in the factory: at the first boot, while firmware and identity are written."""
    monkeypatch.undo()
    whole = Bench(seed=seed)
    operations = whole.device.flash.operations
    for operation in range(1, operations + 1, step):

        def chip(*arguments: Any, cut_after: int = operation, **options: Any) -> NorFlash:
            flash = NorFlash(*arguments, **options)
            flash.cut_after = cut_after
            return flash

        monkeypatch.setattr("fieldlog_sim.device.NorFlash", chip)
        info, boots = (bench := Bench(seed=seed)).info(), bench.device.boot_id
        note = f"cut {operation}, seed {seed}"
        assert (info.uid, info.log, info.fw) == (whole.info().uid, whole.info().log, "1.0.0"), note
        assert (info.reset, boots in (1, 2)) == ("brownout", True), note
    return operations


def test_power_cuts_at_the_first_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    assert births(monkeypatch, 23, 1) > 200


@pytest.mark.faults
def test_power_cuts_at_every_operation_of_the_first_boot(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    cuts = sum(births(monkeypatch, 1, seed) for seed in range(3))
    request.node.user_properties.append(("counted", f"power cut at {cuts} operations of a first boot"))
