"""What a firmware image says of itself and whether it is true, as an object for programs and as lines for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from fieldlog.firmware_package import PackagedImage
from fieldlog_protocol.errors import ImageError
from fieldlog_protocol.image import (
    Image,
    Proof,
    PublicKey,
    Signature,
    SlotTrailer,
    Target,
    Tlv,
    lacks_plain_text,
    parse_trailer,
    signatures,
    target_of,
    verify_hash,
    verify_signature,
)

T = TypeVar("T")

_SWAP_TYPES = {1: "none", 2: "test", 3: "permanent", 4: "revert", 5: "failed"}
_SHOWN_BYTES = 32
_NOBODY = Target(None, (), None, None)
_PROOFS = {Proof.IMAGE: "right", Proof.HASH: "right, over the hash of what is encrypted"}


@dataclass(frozen=True, slots=True)
class ImageReport:
    """Of one image: all that `--json` prints, and a sentence for everything that is wrong."""

    image: Image
    data: Mapping[str, object]
    problems: tuple[str, ...]

    def fields(self) -> Iterator[tuple[str, object]]:
        """Names and values for people."""
        for name, value in self.data.items():
            if name not in _SHOWN_OTHERWISE:
                yield name.replace("_", " "), value
        for signature in self.image_signatures:
            pure = ", pure" if signature.pure else ""
            yield "signed with", f"{signature.name}{pure}, {_key_text(signature)}"
        yield "signature checked", self.data["signature_checked"]
        yield "boot trailer", _trailer_text(self.data["trailer"])

    @property
    def image_signatures(self) -> tuple[Signature, ...]:
        try:
            return signatures(self.image)
        except ImageError:
            return ()

    def rows(self) -> list[tuple[object, ...]]:
        """A row for each TLV: name, whether it is protected, size, data."""
        return [_row(tlv, protected=True) for tlv in self.image.protected] + [_row(tlv) for tlv in self.image.tlvs]


_SHOWN_OTHERWISE = ("tlvs", "signatures", "signature_checked", "trailer")


@dataclass(slots=True)
class _Findings:
    problems: list[str] = field(default_factory=list[str])

    def of(self, function: Callable[[], T]) -> T | None:
        """What the function answers; where it raises ImageError, that is a problem, and None."""
        try:
            return function()
        except ImageError as error:
            self.problems.append(str(error))
            return None


def report_on(entry: PackagedImage, key: PublicKey | None) -> ImageReport:
    """Everything that can be told of an image without a device; the signature is checked where there is a key."""
    findings = _Findings()
    image = entry.image
    data = (
        _shape(image, len(entry.data))
        | {"hash_checked": findings.of(lambda: _hash_checked(image)) or "wrong"}
        | {"signatures": findings.of(lambda: [_signature(one) for one in signatures(image)]) or []}
        | {"signature_checked": findings.of(lambda: _signature_checked(image, key)) or "wrong"}
        | {"security_counter": findings.of(lambda: image.security_counter)}
        | {"dependencies": findings.of(lambda: _dependencies(image)) or []}
        | _target(findings.of(lambda: target_of(image)) or _NOBODY)
        | _trailer(parse_trailer(entry.data[image.size :]))
        | {"tlvs": [_tlv(tlv, protected=True) for tlv in image.protected] + [_tlv(tlv) for tlv in image.tlvs]}
    )
    problems = dict.fromkeys(findings.problems)  # a wrong hash spoils the signature too, in the same words
    return ImageReport(image, data, tuple(problems))


def _shape(image: Image, file_size: int) -> dict[str, object]:
    header = image.header
    return {
        "version": str(image.version),
        "size": image.size,
        "file_size": file_size,
        "body_size": header.image_size,
        "header_size": header.header_size,
        "load_address": f"0x{header.load_address:08x}",
        "flags": [flag.name for flag in image.flags if flag.name],
        "hash_kind": image.hash_kind,
        "hash": None if image.hash is None else image.hash.hex(),
    }


def _hash_checked(image: Image) -> str:
    if lacks_plain_text(image):
        return "body not checkable: encrypted"
    verify_hash(image)
    return "right"


def _signature(signature: Signature) -> dict[str, object]:
    key_hash, public_key = (None if data is None else data.hex() for data in (signature.key_hash, signature.public_key))
    return {"kind": signature.name, "key_hash": key_hash, "public_key": public_key, "pure": signature.pure}


def _key_text(signature: Signature) -> str:
    if signature.public_key is not None:
        return "key in full"
    return "no key" if signature.key_hash is None else f"key hash {signature.key_hash.hex()}"


def _signature_checked(image: Image, key: PublicKey | None) -> str:
    if key is not None:
        return _PROOFS[verify_signature(image, key)]
    return "no, give --key" if signatures(image) else "not signed"


def _dependencies(image: Image) -> list[str]:
    return [f"image {entry.image} at {entry.version} or later" for entry in image.dependencies]


def _target(target: Target) -> dict[str, object]:
    return {
        "product": target.product,
        "hardware": list(target.hardware),
        "vendor_uuid": None if target.vendor is None else str(target.vendor),
        "class_uuid": None if target.device_class is None else str(target.device_class),
    }


def _trailer(trailer: SlotTrailer | None) -> dict[str, object]:
    if trailer is None:
        return {"padded": False, "confirmed": False, "trailer": None}
    swap = _SWAP_TYPES.get(trailer.swap_info & 0xF)
    done, align = trailer.copy_done == 1, trailer.align
    return {
        "padded": True,
        "confirmed": trailer.image_ok == 1,
        "trailer": {"image_ok": trailer.image_ok == 1, "copy_done": done, "swap_type": swap, "align": align},
    }


def _trailer_text(trailer: object) -> str | None:
    if not isinstance(trailer, Mapping):
        return None
    told = cast("Mapping[str, object]", trailer).items()
    words = (name if value is True else f"{name} {value}" for name, value in told if value)
    return ", ".join(words).replace("_", " ")


def _tlv(tlv: Tlv, *, protected: bool = False) -> dict[str, object]:
    return {"type": tlv.kind, "name": tlv.name, "protected": protected, "data": tlv.data.hex()}


def _row(tlv: Tlv, *, protected: bool = False) -> tuple[object, ...]:
    more = "..." if len(tlv.data) > _SHOWN_BYTES else ""
    return tlv.name, protected, len(tlv.data), tlv.data[:_SHOWN_BYTES].hex() + more
