"""Updates that are cut off everywhere: power at each flash operation, the link at each message, the host at any moment.

What must hold: the device always runs one of the two images in full, log and settings are whole, the same command given
again ends with the new firmware confirmed, and nothing is sent again that the device still holds.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cbor2
import pytest

from device_bench import ROOMY
from fieldlog.flash import Flashed, FlashOptions, Outcome
from fieldlog_protocol.commands import Empty, image, os, settings
from fieldlog_protocol.errors import FieldlogError, LinkError, VerificationError
from fieldlog_protocol.image import ImageVersion, parse_image
from fieldlog_protocol.wire import Packet, decode_map
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.faults import Faults
from fieldlog_sim.port import Buffers
from flash_bench import FAST, FlashBench, firmware, install, mark, restart, runs, slots, upload
from live_bench import LiveBench, served
from mortal_hosts import hosts
from virtual_link import LinkKind, VirtualTransport

NEW = firmware("2.0.0", 5000)
NEW_HASH = parse_image(NEW).hash
LONG = firmware("2.0.0", 30_000)
MODES = (BootMode.MOVE, BootMode.OFFSET, BootMode.OVERWRITE)
SWAPS = (BootMode.MOVE, BootMode.OFFSET)
BAD = frozenset({ImageVersion(2)})
NAME = "device/name"
PATIENT = FlashOptions(return_s=60)


def with_a_past(boot: BootConfig, seed: int = 0, buffers: Buffers = ROOMY) -> FlashBench:
    """A device with readings and settings that an update must not cost."""
    bench = FlashBench(boot, seed, buffers=buffers)
    for key, value in ((NAME, b"north"), ("log/max_age", struct.pack("<I", 600))):
        bench.ask(settings.WRITE, settings.SettingWriteRequest(name=key, val=value))
    bench.ask(settings.COMMIT, Empty())
    bench.ask(settings.SAVE, settings.SettingSaveRequest())
    bench.arm(label="past", wrap=True)
    bench.wait(120, 2)
    bench.stop()
    return bench


@dataclass
class Past:
    """What must not be lost."""

    wires: list[bytes]

    @classmethod
    def of(cls, bench: FlashBench) -> Past:
        return cls(bench.wires())

    def check(self, bench: FlashBench) -> None:
        report = bench.device.boot_report
        assert report.version in (ImageVersion(1), ImageVersion(2)), report.reason
        assert bench.wires()[: len(self.wires)] == self.wires, "the log is not what it was"
        assert bench.ask(settings.READ, settings.SettingReadRequest(name=NAME)).val == b"north"


def operations(make: Callable[[], FlashBench], work: Callable[[FlashBench], object]) -> int:
    """How many flash operations it takes when nothing happens."""
    bench = make()
    before = bench.device.flash.operations
    work(bench)
    return bench.device.flash.operations - before


def attempt(bench: FlashBench, data: bytes = NEW) -> Flashed | FieldlogError:
    try:
        return install(bench, data, PATIENT)
    except (LinkError, VerificationError) as error:
        return error


# power


def updates_with_cuts(boot: BootConfig, cuts: Iterable[int]) -> int:
    """Cut at each of these operations of an update, boot, and give the command again."""
    count = 0
    for cut in cuts:
        bench = with_a_past(boot, seed=cut)
        past = Past.of(bench)
        bench.device.flash.cut_after = cut
        attempt(bench)
        assert bench.device.flash.cut_after is None, f"cut {cut} of {boot.mode.name} never came"
        past.check(bench)
        held = any(slot.hash == NEW_HASH for slot in slots(bench).values())
        again = install(bench, NEW, PATIENT)
        assert again.outcome in (Outcome.CONFIRMED, Outcome.ALREADY), f"cut {cut}"
        assert runs(bench) == ("2.0.0", True), f"cut {cut}"
        assert not held or not again.sent, f"cut {cut}: what the device held was sent again"
        past.check(bench)
        bench.power_cycle()
        assert runs(bench) == ("2.0.0", True), f"cut {cut}"
        count += 1
    return count


def on_trial(boot: BootConfig, seed: int = 0) -> FlashBench:
    """The new firmware runs, and will be found not to work."""
    bench = with_a_past(boot, seed)
    upload(bench, NEW)
    mark(bench, NEW)
    restart(bench)
    assert runs(bench) == ("2.0.0", False)
    return bench


def reverts_with_cuts(boot: BootConfig, cuts: Iterable[int]) -> int:
    """Cut at each of these operations of going back: the old image ends confirmed, and the command says so."""
    count = 0
    for cut in cuts:
        bench = on_trial(boot, seed=cut)
        past = Past.of(bench)
        bench.device.flash.cut_after = cut
        ended = attempt(bench)
        assert bench.device.flash.cut_after is None, f"cut {cut} of {boot.mode.name} never came"
        assert isinstance(ended, VerificationError), f"cut {cut}: {ended}"
        assert "1.0.0 runs" in str(ended), f"cut {cut}: {ended}"
        assert runs(bench) == ("1.0.0", True), f"cut {cut}"
        past.check(bench)
        again = attempt(bench)
        assert "took it back: 1.0.0 runs" in str(again), f"cut {cut}: {again}"
        assert runs(bench) == ("1.0.0", True), f"cut {cut}"
        past.check(bench)
        count += 1
    return count


def all_of_an_update(mode: BootMode) -> int:
    boot = BootConfig(mode)
    return operations(lambda: with_a_past(boot), lambda bench: install(bench, NEW, PATIENT))


def all_of_a_revert(mode: BootMode) -> int:
    boot = BootConfig(mode, failing=BAD)
    return operations(lambda: on_trial(boot), attempt)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_power_cuts_of_an_update(mode: BootMode) -> None:
    total = all_of_an_update(mode)
    chosen = random.Random(mode).sample(range(1, total + 1), 5)
    assert updates_with_cuts(BootConfig(mode), chosen) == 5


@pytest.mark.parametrize("mode", SWAPS, ids=lambda mode: mode.name)
def test_power_cuts_of_a_revert(mode: BootMode) -> None:
    total = all_of_a_revert(mode)
    chosen = random.Random(mode).sample(range(1, total + 1), 3)
    assert reverts_with_cuts(BootConfig(mode, failing=BAD), chosen) == 3


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_power_cut_at_every_operation_of_an_update(
    mode: BootMode, part: int, record_property: Callable[[str, str], None]
) -> None:
    total = all_of_an_update(mode)
    count = updates_with_cuts(BootConfig(mode), range(1 + part, total + 1, 3))
    record_property(
        "counted",
        f"flash, update by {mode.name}, part {part}: power cut at {count} of {total} flash operations, no failure",
    )


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("mode", SWAPS, ids=lambda mode: mode.name)
def test_power_cut_at_every_operation_of_a_revert(
    mode: BootMode, part: int, record_property: Callable[[str, str], None]
) -> None:
    total = all_of_a_revert(mode)
    count = reverts_with_cuts(BootConfig(mode, failing=BAD), range(1 + part, total + 1, 3))
    record_property(
        "counted",
        f"flash, revert by {mode.name}, part {part}: power cut at {count} of {total} flash operations, no failure",
    )


# the link


class Counted:
    """Counts the bytes of images that a device takes, and the messages."""

    def __init__(self, bench: FlashBench | LiveBench) -> None:
        self.accepted = self.offered = self.messages = self._held = 0
        self._handle = bench.device.handle
        bench.device.handle = self._counted  # type: ignore[method-assign]

    def _counted(self, packet: Packet, arrived: float, now: float) -> bytes | None:
        self.messages += 1
        reply = self._handle(packet, arrived, now)
        if (int(packet.op), packet.group, packet.id) == image.UPLOAD.key and reply is not None:
            asked, answer = decode_map(packet.payload), cbor2.loads(reply)
            self.offered += len(asked.get("data", b""))
            self._note(answer.get("off", self._held))
        return reply

    def _note(self, offset: int) -> None:
        """Where the device is now: further, or back at the beginning of an image with what came first."""
        self.accepted += offset - self._held if offset > self._held else offset if offset < self._held else 0
        self._held = offset


@dataclass
class CutOnce(VirtualTransport):
    """Its link is gone after so many pieces from the device, once; opened again, it lasts."""

    async def open(self, sink: object) -> None:
        await super().open(sink)  # type: ignore[arg-type]
        if self.seen["cut off"]:
            self._left = None


WINDOW = 6 * 2048
"""What may be under way when the link breaks."""
_RAW = replace(FAST, framing="raw")
LINKS = {
    "console": (FAST, ROOMY),
    "raw": (_RAW, ROOMY),
    "raw, one at a time": (_RAW, replace(ROOMY, back_to_back=False)),
    "datagrams": (replace(FAST, framing="datagrams"), ROOMY),
}


def pieces(kind: LinkKind, buffers: Buffers) -> int:
    """How many pieces come from the device in an update that nobody disturbs."""
    bench = with_a_past(BootConfig(), buffers=buffers)
    transport = CutOnce(bench, replace(kind, deliveries=1_000_000))
    install(bench, LONG, PATIENT, transport=transport)
    assert transport._left is not None
    return 1_000_000 - transport._left


def link_cuts(kind: LinkKind, buffers: Buffers, cuts: Iterable[int]) -> int:
    """Cut the link so late, once for a command that goes on by itself and once for one that is given again."""
    count = 0
    for cut in cuts:
        for patience_s in (30.0, 0.0):
            bench = with_a_past(BootConfig(), buffers=buffers)
            past, counted = Past.of(bench), Counted(bench)
            options = replace(PATIENT, reconnect_s=patience_s)
            transport = CutOnce(bench, replace(kind, deliveries=cut))
            try:
                install(bench, LONG, options, transport=transport)
            except LinkError:
                connecting = counted.messages <= 1
                assert not patience_s or connecting, f"cut {cut}: it does not go on by itself"
                install(bench, LONG, options, kind=kind)
            assert transport.seen["cut off"] == 1, f"cut {cut} never came"
            assert runs(bench) == ("2.0.0", True), f"cut {cut}"
            assert counted.accepted == len(LONG), f"cut {cut}: the device took {counted.accepted} bytes"
            assert counted.offered <= len(LONG) + WINDOW, f"cut {cut}: {counted.offered} bytes were sent"
            past.check(bench)
            count += 1
    return count


@pytest.mark.parametrize(("name", "count"), [("console", 6), ("raw", 3)])
def test_link_cuts(name: str, count: int) -> None:
    total = pieces(*LINKS[name])
    assert link_cuts(*LINKS[name], random.Random(4).sample(range(total), count)) == 2 * count


@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", LINKS)
def test_link_cut_at_every_message(name: str, record_property: Callable[[str, str], None]) -> None:
    total = pieces(*LINKS[name])
    count = link_cuts(*LINKS[name], range(total))
    record_property(
        "counted", f"flash, {name}: {count} links cut, at each of {total} pieces from the device, no failure"
    )


def test_a_device_that_restarts_in_the_middle_gets_it_anew() -> None:
    bench = with_a_past(BootConfig())
    counted, asked = Counted(bench), bench.device.handle
    left = [9]

    def restarting(packet: Packet, arrived: float, now: float) -> bytes | None:
        left[0] -= (int(packet.op), packet.group, packet.id) == image.UPLOAD.key
        if left[0] == 0:
            left[0] = -1
            bench.power_cycle()
            return None
        return asked(packet, arrived, now)

    bench.device.handle = restarting  # type: ignore[method-assign]
    assert install(bench, LONG, PATIENT).outcome is Outcome.CONFIRMED
    assert len(LONG) < counted.accepted < 2 * len(LONG)
    assert bench.ask(os.ECHO, os.EchoRequest(d="x")).r == "x"


# the host

SILENT_S = 30
"""A device in this process may be kept waiting on a machine that is busy otherwise."""


def kills(folder: Path, count: int, seed: int) -> int:
    """Kill `fieldlog flash` in a process of its own, and give the command again; answers how many died at work."""
    rng, died, old = random.Random(seed), 0, ImageVersion(1)
    bench = LiveBench()
    bench.go_live()
    counted = Counted(bench)
    files = [folder / f"{number}.bin" for number in range(2)]
    for number, file in enumerate(files):
        file.write_bytes(firmware(f"{2 + number}.0.0", 30_000))
    with served(bench, "console", None, Faults()) as device, hosts(folder / "said") as forker:
        for turn in range(count):
            file = files[turn % 2]
            words = ("flash", str(file), "--allow-downgrade", "-d", f"{device.url}?timeout={SILENT_S}")
            before = counted.accepted
            victim = forker.begin(*words)
            device.kill_at(victim, rng.randrange(1, 60), rng.random() * 0.002)
            code = forker.end()
            device.spare()
            died += code == -9
            assert code in (0, -9), f"seed {seed}, turn {turn}: {(folder / 'said').read_text()[-800:]}"
            forker.begin(*words)
            assert forker.end() == 0, f"seed {seed}, turn {turn}: {(folder / 'said').read_text()[-800:]}"
            took = device.do(lambda: (counted.accepted, bench.device.boot_report.version))
            assert took[1] == ImageVersion(2 + turn % 2) != old
            size = file.stat().st_size
            assert took[0] - before in (0, size), f"seed {seed}, turn {turn}: it took {took[0] - before} bytes"
    return died


def test_hosts_are_killed(tmp_path: Path) -> None:
    assert kills(tmp_path, 3, seed=1) >= 1


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_hosts_are_killed_in_full(tmp_path: Path, record_property: Callable[[str, str], None]) -> None:
    died = kills(tmp_path, 100, seed=2)
    assert died > 50
    record_property("counted", f"flash: {died} of 100 hosts killed at work, each update finished by the next one")
