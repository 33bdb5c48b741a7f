"""What makes one simulated device differ from another.

Rule: nothing in here changes as long as there is the device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.nor_flash import FLASH_SIZE
from fieldlog_sim.oscillator import RC_PPM_PER_K, RC_TOLERANCE_PPM, Oscillator, Temperature
from fieldlog_sim.port import Buffers
from fieldlog_sim.profiles import Profile


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """What makes one device differ from another. `state`: the file behind its flash, None for memory only.

    `log_id`: drawn when the log is formatted, at first power-up; left out, it follows from the seed. `temperature`: what
    its clock feels. `battery_mah`: what its battery holds; left out, somebody changes that in time.
    """

    profile: Profile
    buffers: Buffers = field(default_factory=Buffers)
    seed: int = 0
    index: int = 0
    clock_ppm: float = 0.0
    rc_clock: bool = False
    temperature: Temperature | None = None
    log_id: int = 0
    state: Path | None = None
    flash_size: int = FLASH_SIZE
    battery_mah: float | None = None
    boot: BootConfig = field(default_factory=BootConfig)

    def oscillator(self, now_us: int) -> Oscillator:
        """What its clock counts, from this moment on."""
        if not self.rc_clock:
            return Oscillator(self.clock_ppm, now_us, temperature=self.temperature)
        return Oscillator(
            self.clock_ppm,
            now_us,
            temperature=self.temperature,
            ppm_per_k2=0.0,
            ppm_per_k=RC_PPM_PER_K,
            tolerance_ppm=RC_TOLERANCE_PPM,
        )
