"""`fieldlog image inspect`: everything a firmware file says of itself, and exit code 5 when any of it is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fieldlog.cli.main import invoke
from fieldlog_protocol.image import ImageVersion, Tlv, TlvType, build_image
from image_tool import RICH, encrypted, key, public, public_key, sign
from test_image_package import APP, APP_ENTRY, NET, NET_ENTRY, package

OURS = ["--custom-tlv", "0x46a0", "paper", "--custom-tlv", "0x46a1", "rev A,rev B"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object that was printed."""
        result: dict[str, Any] = json.loads(self.out)
        return result

    @property
    def fields(self) -> dict[str, str]:
        pairs = (line.split("  ", 1) for line in self.out.splitlines() if "  " in line)
        return {name: value.strip() for name, value in pairs}


Inspect = Callable[..., Ran]


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str]) -> Inspect:
    def call(*words: str | Path) -> Ran:
        code = invoke(["image", "inspect", *map(str, words)])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


def test_all_that_an_image_says_is_shown(tmp_path: Path, inspect: Inspect) -> None:
    made = sign(tmp_path, *RICH, *OURS, "-k", key("ecdsa-p256"), "--confirm")
    ran = inspect(made, "--key", public("ecdsa-p256"))
    assert ran.code == 0
    shown = ran.fields
    assert shown["version"] == "1.2.3+4"
    assert (shown["hash checked"], shown["signature checked"]) == ("right", "right")
    assert shown["signed with"] == f"ECDSA-P256, key hash {public_key('ecdsa-p256').hash().hex()}"
    assert shown["security counter"] == "9"
    assert shown["dependencies"] == "image 1 at 2.3.4+5 or later"
    assert (shown["product"], shown["hardware"]) == ("paper", "rev A, rev B")
    assert shown["vendor uuid"] == "63ac8a25-53c6-59b0-a3e7-da65330c2c5f"  # of acme.org
    assert (shown["confirmed"], shown["boot trailer"]) == ("yes", "image ok, align 8")
    assert "0x00a1" in ran.out


def test_the_same_is_told_to_programs(tmp_path: Path, inspect: Inspect) -> None:
    made = sign(tmp_path, *OURS, "-k", key("ed25519"), "--pure", "--pad", "-s", "3")
    found = inspect(made, "--json", "--key", key("ed25519")).json
    key_hash = public_key("ed25519").hash(TlvType.SHA512).hex()
    assert found["signatures"] == [{"kind": "Ed25519", "key_hash": key_hash, "public_key": None, "pure": True}]
    assert (found["hash_checked"], found["signature_checked"], found["security_counter"]) == ("right", "right", 3)
    assert (found["product"], found["hardware"], found["vendor_uuid"]) == ("paper", ["rev A", "rev B"], None)
    assert found["trailer"] == {"image_ok": False, "copy_done": False, "swap_type": None, "align": 8}
    assert (found["padded"], found["confirmed"]) == (True, False)
    assert "error" not in found


@pytest.mark.parametrize(
    ("options", "checked"),
    [([], "not signed"), (["-k", "ed25519"], "no, give --key")],
)
def test_without_a_key_nothing_is_claimed_of_a_signature(
    tmp_path: Path, inspect: Inspect, options: list[str], checked: str
) -> None:
    made = sign(tmp_path, *[key("ed25519") if word == "ed25519" else word for word in options])
    ran = inspect(made, "--json")
    assert (ran.code, ran.json["signature_checked"]) == (0, checked)


def test_of_an_encrypted_image_it_says_what_is_known(tmp_path: Path, inspect: Inspect) -> None:
    made = sign(tmp_path, *encrypted("ecdsa-p256"), "-k", key("ecdsa-p256"))
    ran = inspect(made, "--json", "--key", public("ecdsa-p256"))
    assert ran.code == 0
    assert ran.json["hash_checked"] == "body not checkable: encrypted"
    assert ran.json["signature_checked"] == "right, over the hash of what is encrypted"


def wrong_images(folder: Path) -> dict[str, tuple[bytes, str, str | None]]:
    """File, what is said, and the kind of key that is given."""
    signed = sign(folder, "-k", key("ed25519")).read_bytes()
    other_body = signed.replace(signed[1000:1004], b"oops")
    bad_id = build_image(b"x", ImageVersion(1), protected=[Tlv(TlvType.FIELDLOG_PRODUCT, b"\xff")])
    bad_counter = build_image(b"x", ImageVersion(1), protected=[Tlv(TlvType.SECURITY_COUNTER, b"\0")])
    bad_dependency = build_image(b"x", ImageVersion(1), protected=[Tlv(TlvType.DEPENDENCY, b"\0")])
    return {
        "hash": (other_body, "is damaged: SHA-256", None),
        "hash and key": (other_body, "is damaged: SHA-256", "ed25519"),
        "key": (signed, "signed with another key", "ecdsa-p256"),
        "unsigned": (build_image(b"x", ImageVersion(1)), "carries no signature", "ed25519"),
        "id": (bad_id, "FIELDLOG_PRODUCT is no id", None),
        "counter": (bad_counter, "SECURITY_COUNTER has 1 bytes", None),
        "dependency": (bad_dependency, "DEPENDENCY has 1 bytes", None),
    }


@pytest.mark.parametrize("name", ["hash", "hash and key", "key", "unsigned", "id", "counter", "dependency"])
def test_what_is_wrong_is_shown_and_ends_with_5(tmp_path: Path, inspect: Inspect, name: str) -> None:
    data, sentence, kind = wrong_images(tmp_path)[name]
    file = tmp_path / "wrong.bin"
    file.write_bytes(data)
    words = [] if kind is None else ["--key", public(kind)]
    ran = inspect(file, *words)
    assert ran.code == 5
    assert ran.fields["version"]
    assert ran.err.startswith("error: ")
    assert ran.err.count(sentence) == 1
    as_json = inspect(file, "--json", *words)
    assert as_json.code == 5
    assert as_json.json["version"] == ran.fields["version"]
    assert sentence in as_json.json["error"]["message"]
    assert as_json.json["error"]["exit_code"] == 5


def test_a_package_is_shown_image_by_image(tmp_path: Path, inspect: Inspect) -> None:
    file = tmp_path / "dfu_application.zip"
    file.write_bytes(package(APP_ENTRY, NET_ENTRY, manifest={"name": "attic"}))
    ran = inspect(file)
    assert ran.code == 0
    assert ran.out.count("hash checked") == 2
    assert ran.fields["boards"] == "board, board/nrf5340/cpunet"
    found = inspect(file, "--json").json
    assert found["package"] == {"name": "attic", "boards": ["board", "board/nrf5340/cpunet"]}
    assert [(one["image"], one["file"], one["version"]) for one in found["images"]] == [
        (0, "app.signed.bin", "2.1.0"),
        (1, "net.bin", "2.1.0+5"),
    ]


def test_a_damaged_image_in_a_package_is_named(tmp_path: Path, inspect: Inspect) -> None:
    file = tmp_path / "dfu_application.zip"
    broken = NET.replace(NET[600:604], b"oops")
    file.write_bytes(package(APP_ENTRY, NET_ENTRY, files={"app.signed.bin": APP, "net.bin": broken}))
    ran = inspect(file, "--json")
    assert ran.code == 5
    assert ran.json["error"]["message"].startswith("'net.bin' in the package: the image is damaged")
    assert [one["hash_checked"] for one in ran.json["images"]] == ["right", "wrong"]


def test_a_file_that_is_no_firmware_and_a_key_that_is_none_are_refused(tmp_path: Path, inspect: Inspect) -> None:
    file = tmp_path / "fw.bin"
    file.write_bytes(build_image(b"x", ImageVersion(1)))
    refused = inspect(file, "--key", file)
    assert (refused.code, "no PEM text" in refused.err) == (2, True)
    ran = inspect(Path(__file__), "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (5, "ImageError")


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/null"])
@pytest.mark.parametrize("command", [("image", "inspect"), ("flash", "--device", "udp:127.0.0.1:9")])
@pytest.mark.timeout(20)
def test_what_is_no_file_is_no_firmware_and_is_not_waited_for(
    name: str, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inspect: Inspect
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert invoke([*command, name]) == 5
    said = inspect(name)
    assert (said.code, said.out) == (5, "")
    assert f"no firmware: {name} is a pipe, a device or a folder. Give a file" in said.err
    (tmp_path / "image.bin").write_bytes(build_image(b"body", ImageVersion(1, 0, 0, 0)))
    said = inspect("image.bin", "--key", name)
    assert (said.code, said.out) == (2, "")
    assert f"{name}: a pipe, a device or a folder is no key file" in said.err


def test_what_a_file_says_never_reaches_the_terminal_as_it_is(tmp_path: Path, inspect: Inspect) -> None:
    file = tmp_path / "evil.zip"
    evil = "\x1b[2Jevil"
    entry = APP_ENTRY | {"file": evil, "board": evil, "version_MCUBOOT": evil}
    file.write_bytes(package(entry, files={evil: APP}, manifest={"name": evil}))
    ran = inspect(file)
    assert ran.code == 0
    assert "\x1b" not in ran.out + ran.err
