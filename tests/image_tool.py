"""MCUboot's own imgtool, run in this process: it takes a second to start as one of its own."""

from __future__ import annotations

import atexit
import functools
import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from click.testing import CliRunner
from imgtool.main import imgtool as _imgtool

from fieldlog_protocol.image import PublicKey, parse_public_key

BODY = Random(7).randbytes(5000)
KEY_TYPES = ("rsa-2048", "rsa-3072", "ecdsa-p256", "ed25519")
RICH = ["-s", "9", "-d", "(1,2.3.4+5)", "--custom-tlv", "0x00a1", "hello", "--vid", "acme.org", "--cid", "logger"]
ENCRYPTED_FOR = {"rsa-2048": "rsa-2048", "ecdsa-p256": "ecdsa-p256", "ed25519": "x25519"}
"""The kind of key for which imgtool encrypts what a key of another kind signs."""


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and output."""
    ran = CliRunner().invoke(_imgtool, [str(argument) for argument in arguments])
    return ran.exit_code, ran.output


def imgtool(*arguments: str | Path) -> str:
    code, output = run(*arguments)
    assert code == 0, f"imgtool {' '.join(map(str, arguments))}: {output}"
    return output


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="keys")
    atexit.register(folder.cleanup)
    return folder


def key(kind: str, which: int = 0) -> Path:
    """The PEM file of a private key, made when first asked for."""
    path = Path(_folder().name, f"{kind}-{which}.pem")
    if not path.exists():
        imgtool("keygen", "-k", path, "-t", kind)
    return path


def public(kind: str, which: int = 0) -> Path:
    path = Path(_folder().name, f"{kind}-{which}-public.pem")
    if not path.exists():
        path.write_text(imgtool("getpub", "-k", key(kind, which), "-e", "pem"))
    return path


def public_key(kind: str, which: int = 0) -> PublicKey:
    return parse_public_key(public(kind, which).read_bytes())


def encrypted(signed_by: str) -> list[str]:
    return ["-E", str(public(ENCRYPTED_FOR[signed_by], 9))]


def sign(
    folder: Path,
    *options: str | Path,
    version: str = "1.2.3+4",
    header: int = 512,
    body: bytes = BODY,
    slot: int = 0x20000,
) -> Path:
    """An image file that imgtool makes of `body`."""
    (folder / "body.bin").write_bytes(body)
    made = folder / "image.bin"
    shape = ["-v", version, "-H", str(header), "--pad-header", "-S", hex(slot)]
    imgtool("sign", *shape, *options, folder / "body.bin", made)
    return made


def reported(path: Path) -> dict[str, Any]:
    """What imgtool reads in an image."""
    report: dict[str, Any] = json.loads(imgtool("dumpinfo", "-f", "json", path))
    return report
