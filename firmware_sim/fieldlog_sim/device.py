"""One simulated device: its flash, what is mounted on it, and the firmware that runs from boot to restart.

Rule: whatever survives a restart lies in flash. `_start` builds everything else anew from it, at every boot; power can
go at any flash operation, and only the device itself, its power switch, catches that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldlog_protocol.commands.logger import TestResult
from fieldlog_protocol.image import ImageVersion, verify_hash
from fieldlog_protocol.wire import Packet
from fieldlog_sim.battery import CAPACITY_MAH, Battery
from fieldlog_sim.boot_loader import BootLoader, BootReport
from fieldlog_sim.boot_policy import Policy, signed_with
from fieldlog_sim.boot_recovery import RECOVERY_BUFFERS, RecoveryDispatcher
from fieldlog_sim.device_clock import DeviceClock
from fieldlog_sim.device_config import DeviceConfig
from fieldlog_sim.dispatch import Dispatcher, Limits
from fieldlog_sim.factory import Identity, factory_hashes, factory_images, identity_in, is_new, write_identity
from fieldlog_sim.file_store import FileStore
from fieldlog_sim.link_settings import LinkSettings
from fieldlog_sim.log_store import BLOCK_SIZE
from fieldlog_sim.logger import Logger
from fieldlog_sim.nor_flash import FlashMap, NorFlash, PowerCut
from fieldlog_sim.port import Buffers
from fieldlog_sim.profiles import MAX_AGE_KEY, SERIAL_KEY
from fieldlog_sim.sensors import Sensor
from fieldlog_sim.settings_model import SettingsModel
from fieldlog_sim.settings_store import Section, SettingsStore
from fieldlog_sim.settings_transaction import Transactions
from fieldlog_sim.sim_time import Time

__all__ = ["Device", "DeviceConfig"]

_WATCHDOG_US = 3_000_000
_LEAST_SLEEP_S = 0.02  # what is due meanwhile is done at once then: in fast time a wake for each sample would never end
_BOOT_COUNTER = "boot"
_CONFIRMED = "confirmed"
_SETTINGS = "set/"


@dataclass(slots=True)
class Counters:
    """Statistics since the last restart."""

    requests: int = 0
    identified: int = 0


class _FailingLogger(Logger):
    """Of firmware with a fault that its self test finds."""

    def self_test(self) -> None:
        super().self_test()
        self.test_results = [*self.test_results, TestResult(n="firmware", ok=False, x="checksum of its tables")]


class Device:
    """`sensors` feed the logger, if the profile has one. Time comes from `time`; nothing here reads a clock.

    `hurried`: time goes on while the device works. Readings that it has no time for are then lost, and counted as such.
    """

    dispatcher: Dispatcher
    boot_loader: BootLoader
    boot_report: BootReport
    settings: SettingsModel
    transactions: Transactions
    files: FileStore
    clock: DeviceClock
    identity: Identity
    logger: Logger | None = None
    links: LinkSettings
    recovery: bool
    """Whether the boot loader's serial recovery serves, and no firmware runs."""

    def __init__(
        self,
        config: DeviceConfig,
        time: Time,
        sensors: tuple[Sensor, ...],
        register: Callable[[Dispatcher, Device], None],
    ) -> None:
        self.config = config
        self.sensors = sensors
        self.counters = Counters()
        self.boot_id = 0
        self.reset_reason = "power on"
        self.time = time
        self.hurried = False
        self._register = register
        self._moment_us: int | None = None
        self._restart_pending = self._recovery_pending = False
        self._bites_us: int | None = None
        self._console = bytearray()
        self.battery = Battery(config.battery_mah or CAPACITY_MAH, self.now_us(), tended=config.battery_mah is None)
        self.flash = NorFlash(config.flash_size, path=config.state, seed=config.seed)
        self.power_on("power on", recovery=config.boot.recovery)

    # power and restart

    def power_on(self, reason: str, *, recovery: bool = False) -> None:
        """Boot, and boot again for as long as power is cut while booting. `recovery`: into serial recovery."""
        while True:
            try:
                self._restore_power()
                self._start(reason, recovery=recovery)
            except PowerCut:
                reason, recovery = "brownout", False
                continue
            return

    def _restore_power(self) -> None:
        if not self.flash.powered:
            self.flash.power_on()

    def restart_after_reply(self, *, recovery: bool = False) -> None:
        """Restart as soon as the reply to the present request has left the line; `recovery`: into serial recovery."""
        self._restart_pending, self._recovery_pending = True, recovery

    def _start(self, reason: str, *, recovery: bool) -> None:
        partitions = FlashMap.of(self.flash, images=self.config.boot.images)
        self.boot_loader = BootLoader.of(partitions, self.config.boot.mode, self._boot_policy(partitions))
        self._nv = SettingsStore(partitions.nv)
        if is_new(self._nv):
            self._make()
        self.boot_report = self.boot_loader.boot()
        self.reset_reason = reason
        self.counters = Counters()
        self.logger = None
        self.links = LinkSettings()
        self._settings_section = Section(self._nv, _SETTINGS)
        self.identity = identity_in(self._nv, self._settings_section)
        self.recovery = recovery or not self.boot_report.runs
        hangs = self.boot_report.version in self.config.boot.hanging and not self.recovery
        self._bites_us = self.now_us() + _WATCHDOG_US if hangs else None
        if self.recovery:
            self._start_recovery()
        elif not hangs:
            self._start_firmware(partitions, reason)

    def _start_recovery(self) -> None:
        self.dispatcher = RecoveryDispatcher()
        self._register(self.dispatcher, self)
        self._console += f"*** serial recovery ({self.boot_report.reason}) ***\r\n".encode()

    def _start_firmware(self, partitions: FlashMap, reason: str) -> None:
        self.boot_id = self._next_boot_id()
        self.clock = DeviceClock(self.config.oscillator(self.now_us()), self.now_us)
        serial = {SERIAL_KEY: self.identity.serial.encode()} if self.config.profile.has_logger else {}
        confirmed = self._nv.get(_CONFIRMED)
        self.transactions = Transactions(None if confirmed is None else int.from_bytes(confirmed, "little"))
        self.settings = SettingsModel(self.config.profile.settings, self._settings_section, self.transactions, serial)
        self._links_revision = -1
        self._follow_links()
        self.files = FileStore(partitions.files)
        self.logger = self._make_logger(partitions) if self.config.profile.has_logger else None
        self.dispatcher = Dispatcher(Limits(self.config.buffers.size, self.config.profile.indefinite))
        self._register(self.dispatcher, self)
        self._console += f"*** fieldlog simulator {self.firmware_version} ({self.boot_report.told}) ***\r\n".encode()
        if self.logger is not None:
            self.logger.boot(reason)

    def _make_logger(self, partitions: FlashMap) -> Logger:
        fails = self.boot_report.version in self.config.boot.failing
        return (_FailingLogger if fails else Logger)(self, partitions.log, self._nv, BLOCK_SIZE)

    def _boot_policy(self, partitions: FlashMap) -> Policy:
        boot = self.config.boot
        return Policy(
            signed_with(boot.keys, factory_hashes(self.config)) if boot.keys else verify_hash,
            no_downgrade=boot.no_downgrade,
            counters=SettingsStore(partitions.boot) if boot.security_counter else None,
        )

    def _make(self) -> None:
        """First power-up: firmware from the debugger, then who it is, which says that all of it is done."""
        for area, image in zip(self.boot_loader.areas, factory_images(self.config), strict=True):
            area.install(image)
        write_identity(self.config, self._nv)

    def _next_boot_id(self) -> int:
        former = int.from_bytes(self._nv.get(_BOOT_COUNTER) or b"\0\0", "little")
        boot_id = former % 0xFFFF + 1
        self._nv.put(_BOOT_COUNTER, boot_id.to_bytes(2, "little"))
        return boot_id

    # what a port asks of its server

    def handle(self, packet: Packet, arrived: float, now: float) -> bytes | None:
        """The payload of a reply, or None when power went before there was one, or nothing runs that could give it."""
        self._moment_us = self.time.utc_us(now)
        self.arrived_us = self._moment_us if arrived == now else self.time.utc_us(arrived)
        self.counters.requests += 1
        hung = self._hangs
        try:
            self._advance()
            return None if hung else self.dispatcher.handle(packet)
        except PowerCut:
            self.power_on("brownout")
            return None
        finally:
            self._moment_us = None

    def following(self) -> bytes | None:
        """What the device goes on with by itself: the body of a request like the last."""
        return self.dispatcher.following

    def after_reply(self, now: float) -> bool:
        """A pending restart happens now, and a change of the links. Answers whether it restarted."""
        self._follow_links()
        if not self._restart_pending:
            return False
        self._restart_pending = False
        self._moment_us = self.time.utc_us(now)
        try:
            if self.logger is not None:
                self.logger.seal()
            self.power_on("software", recovery=self._recovery_pending)
        except PowerCut:
            self.power_on("brownout")
        finally:
            self._moment_us = None
        return True

    def take_console(self) -> bytes:
        """What the firmware printed since the last call."""
        if not self._console:
            return b""
        text = bytes(self._console)
        self._console.clear()
        return text

    def advance(self, now: float | None = None) -> None:
        """Let the firmware do what is due by now: samples, ages, time limits."""
        self._moment_us = self.time.utc_us(now)
        try:
            self._advance()
            self._follow_links()
        except PowerCut:
            self.power_on("brownout")
        finally:
            self._moment_us = None

    def wake_at(self, now: float) -> float | None:
        """When the firmware next has something to do, in monotonic seconds."""
        due_us = self._bites_us if self._serves_nothing else self.transactions.ends_us
        if self.logger is not None:
            frame_us = self.logger.next_due_us()
            due_us = frame_us if due_us is None else min(due_us, frame_us)
        return None if due_us is None else now + max(self.time.until_s(due_us, now), _LEAST_SLEEP_S)

    @property
    def _serves_nothing(self) -> bool:
        """Whether no firmware runs that could have settings."""
        return self.recovery or self._hangs

    def _follow_links(self) -> None:
        if not self._serves_nothing and self._links_revision != self.settings.revision:
            self._links_revision = self.settings.revision
            self.links = LinkSettings.of(self.settings)

    @property
    def _hangs(self) -> bool:
        """Whether firmware was started that never comes up."""
        return self._bites_us is not None

    def _advance(self) -> None:
        if self._bites_us is not None and self.now_us() >= self._bites_us:
            self.power_on("watchdog")
        if self._serves_nothing:
            return
        self.transactions.expire(self.now_us())
        if self.logger is not None:
            self.logger.advance()

    # what handlers ask of the device

    @property
    def recovery_buffers(self) -> Buffers | None:
        """The boot loader's buffers while its serial recovery serves."""
        return RECOVERY_BUFFERS if self.recovery else None

    arrived_us = 0

    def now_us(self) -> int:
        """True UTC in microseconds: of the request being worked on, or of this moment."""
        return self.time.utc_us() if self._moment_us is None else self._moment_us

    def set_clock(self, utc_us: int, error_us: int, source: str) -> None:
        """Believe that it is `utc_us` now."""
        tick = self.clock.tick
        self.clock.set(tick, utc_us)
        if self.logger is not None:
            self.logger.note_sync(tick, utc_us, error_us, source)

    @property
    def firmware_version(self) -> str:
        """The version that runs."""
        return str(self.boot_report.version) if self.boot_report.version else "none"

    @property
    def product(self) -> str:
        """The product id."""
        return self.config.profile.product

    @property
    def log_identity(self) -> tuple[bytes, int]:
        """uid and log_id: whose log it is."""
        return self.identity.uid, self.identity.log_id

    def running_version_of(self, image: int) -> ImageVersion | None:
        """The version of one of the images, None when it cannot run."""
        reports = (self.boot_report, *self.boot_report.others)
        return reports[image].version

    @property
    def max_age_s(self) -> int:
        """How old an open block may grow, 0 for as long as it likes."""
        return int.from_bytes(self.settings.read(MAX_AGE_KEY), "little")

    @property
    def battery_mv(self) -> int:
        """What is measured at the battery."""
        return self.battery.millivolts(self.now_us())

    @property
    def block_size(self) -> int:
        """Size of a log block."""
        return BLOCK_SIZE

    def erase_settings(self) -> None:
        """Erase the settings that are stored; the present values stay until the next restart."""
        self._settings_section.clear()

    def confirm(self, transaction_id: int) -> None:
        """Keep what is on trial, settings, calibrations and metadata, in one record together with the id."""
        staged = self.transactions.on_trial(transaction_id)
        if staged is None or self.logger is None:
            return
        confirmed = {_CONFIRMED: transaction_id.to_bytes(4, "little")}
        self.logger.keep(staged, self.settings.records(staged) | confirmed)
        self.transactions.stored(transaction_id)
        self.settings.take(staged)

    def statistics(self) -> dict[str, dict[str, int]]:
        """Counters by group."""
        groups = {
            "smp": {"requests": self.counters.requests},
            "flash": {"operations": self.flash.operations, "max_wear": max(self.flash.wear)},
        }
        return groups if self.logger is None else groups | {"log": self.logger.statistics()}
