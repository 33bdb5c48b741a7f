"""What a simulated device leaves its factory with: firmware, and who it is.

Rule: all of it follows from the seed and the index, so that the same device can be made again; what is drawn here is
written to flash once, at first power-up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from fieldlog_protocol.image import ImageVersion, Tlv, TlvType, build_image, parse_image
from fieldlog_sim.device_config import DeviceConfig
from fieldlog_sim.profiles import NAME_KEY
from fieldlog_sim.settings_store import Section, SettingsStore

FACTORY_VERSION = "1.0.0"
_BODY_LENGTH = 24 * 1024
_UID = "uid"
_LOG_ID = "log/id"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the device is: fused or written at first power-up, all but the name."""

    uid: bytes
    log_id: int
    serial: str
    name: str


def is_new(nv: SettingsStore) -> bool:
    """Whether the device was never powered up to the end."""
    return nv.get(_UID) is None


def write_identity(config: DeviceConfig, nv: SettingsStore) -> None:
    """What says at every later power-up that the factory has done all."""
    seed = _seed(config)
    log_id = config.log_id or Random(seed).getrandbits(32)
    nv.put_many({_LOG_ID: log_id.to_bytes(4, "little"), _UID: hashlib.sha256(seed).digest()[:8]})


def identity_in(nv: SettingsStore, settings: Section) -> Identity:
    """Who the device is by what lies in its flash."""
    uid, log_id = nv.get(_UID) or b"", nv.get(_LOG_ID) or b""
    name = (settings.get(NAME_KEY) or b"").decode(errors="replace")
    return Identity(uid, int.from_bytes(log_id, "little"), f"SIM{uid[:4].hex().upper()}", name)


def factory_images(config: DeviceConfig) -> list[bytes]:
    """What the factory puts into slot 0 of each image."""
    random, boot = Random(_seed(config)), config.boot
    counter = (Tlv(TlvType.SECURITY_COUNTER, bytes(4)),) if boot.security_counter else ()
    version = ImageVersion.of(FACTORY_VERSION)
    bodies = [random.randbytes(_BODY_LENGTH) for _ in range(boot.images)]
    return [build_image(body, version, protected=counter) for body in bodies]


def factory_hashes(config: DeviceConfig) -> frozenset[bytes]:
    """By which a boot loader knows what needs no signature."""
    return frozenset(parse_image(image).hash or b"" for image in factory_images(config))


def _seed(config: DeviceConfig) -> bytes:
    return f"{config.seed}:{config.index}".encode()
