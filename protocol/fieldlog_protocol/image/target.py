"""Which devices an image is made for, where it says so: MCUboot's vendor and class UUIDs, and fieldlog's own two TLVs.

fieldlog's are UTF-8 text in the vendors' range: 0x46a0 the product id, 0x46a1 the hardware ids, with commas between
several. They are compared with what the device's FL info says: `imgtool sign --custom-tlv 0x46a0 PRODUCT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_DNS, UUID, uuid5

from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image.file import Image
from fieldlog_protocol.image.tlv import Tlv, TlvType, sized

_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Target:
    """None and empty where the image leaves it open."""

    product: str | None
    hardware: tuple[str, ...]
    vendor: UUID | None
    device_class: UUID | None


def vendor_uuid(domain: str) -> UUID:
    """As imgtool --vid derives it of a domain name."""
    return uuid5(NAMESPACE_DNS, domain)


def class_uuid(vendor: UUID, name: str) -> UUID:
    """As imgtool --cid derives it of the name that a vendor gave to a class of devices."""
    return uuid5(vendor, name)


def target_of(image: Image) -> Target:
    """Only what the hash covers is believed; raises ImageError where it cannot be read."""
    hardware = _text(image, TlvType.FIELDLOG_HARDWARE)
    return Target(
        product=_text(image, TlvType.FIELDLOG_PRODUCT),
        hardware=() if hardware is None else tuple(name.strip() for name in hardware.split(",")),
        vendor=_uuid(image, TlvType.VENDOR_UUID),
        device_class=_uuid(image, TlvType.CLASS_UUID),
    )


def _text(image: Image, kind: TlvType) -> str | None:
    found = image.find_protected(kind)
    if found is None:
        return None
    try:
        text = found.data.decode()
    except UnicodeDecodeError:
        raise _not_text(found) from None
    if not text.strip() or not text.isprintable() or len(found.data) > _LONGEST:
        raise _not_text(found)
    return text


def _not_text(found: Tlv) -> ImageError:
    return ImageError(
        f"the image's TLV {found.name} is no id: it must be a text of 1 to {_LONGEST} bytes. Sign the image again with the right --custom-tlv"
    )


def _uuid(image: Image, kind: TlvType) -> UUID | None:
    found = image.find_protected(kind)
    return None if found is None else UUID(bytes=sized(found, 16).data)


def verify_target(image: Image, product: str | None, hardware: str | None) -> None:
    """Raise ImageError if the image is made for other devices than one of this product and hardware id.

    An id that either side leaves open is not compared. A class UUID is understood where the vendor's stands beside it: its
    name is then the product or the hardware id. fieldlog's own ids, where there are any, count instead.
    """
    target = target_of(image)
    if target.product is not None and product and target.product != product:
        raise _other("product", target.product, product)
    if target.hardware and hardware and hardware not in target.hardware:
        raise _other("hardware", " or ".join(target.hardware), hardware)
    if target.product is None and not target.hardware:
        _verify_class(target, [name for name in (product, hardware) if name])


def _verify_class(target: Target, names: list[str]) -> None:
    if target.vendor is None or target.device_class is None or not names:
        return
    own = {name: class_uuid(target.vendor, name) for name in names}
    if target.device_class not in own.values():
        found = " or ".join(f"{uuid} ({name})" for name, uuid in own.items())
        raise _other("device class", str(target.device_class), found)


def _other(what: str, wanted: str, found: str) -> ImageError:
    return ImageError(
        f"the image is made for another {what}: it says {wanted!r}, the device {found!r}. The device was not changed; give "
        "the image that is made for it"
    )
