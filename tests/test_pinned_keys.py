"""Keys that are pinned to devices, while others are pinned in the same moment; and what people see of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import image_tool
from fieldlog.cli.main import cli
from fieldlog.keys import load_key
from fieldlog.pinned_keys import Pin, PinnedKeys
from fieldlog_protocol.errors import FieldlogError, UsageError


def test_devices_that_are_updated_at_once_all_keep_their_pins(tmp_path: Path) -> None:
    path = tmp_path / "config" / "pins.json"
    pin = Pin(image_tool.public_key("ed25519"), 3)
    names = [f"uid:{number:02x}" for number in range(40)]

    def keep(name: str) -> None:
        PinnedKeys(path).keep(name, pin)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(keep, names))
    assert [PinnedKeys(path).find(name) for name in names] == [pin] * len(names)
    assert sorted(file.name for file in path.parent.iterdir()) == [".pins.json.lock", "pins.json"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".pins.json.lock").mkdir()
    with pytest.raises(FieldlogError, match="the key cannot be remembered"):
        PinnedKeys(tmp_path / "pins.json").keep("uid:00", Pin(image_tool.public_key("ed25519")))


def test_of_two_keys_in_a_file_none_is_taken(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(image_tool.public("ed25519").read_bytes() + image_tool.public("ecdsa-p256").read_bytes())
    with pytest.raises(UsageError, match=r"both\.pem: the file holds more than one key"):
        load_key(both)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`fieldlog image ...` on a computer where these are pinned: two loggers and one other device."""
    kept = PinnedKeys(tmp_path / "pins.json")
    for name, counter in (("uid:00aa11", 3), ("uid:00bb22", None), ("link:udp:logger", None)):
        kept.keep(name, Pin(image_tool.public_key("ed25519"), counter))
    monkeypatch.setattr("fieldlog.cli.image_pins.default_pins", lambda: kept)
    return lambda *words: CliRunner().invoke(cli, ["image", *words])


def test_pins_are_listed(image: Callable[..., Result], tmp_path: Path) -> None:
    key = image_tool.public_key("ed25519").hash().hex()
    told = json.loads(image("pins", "--json").stdout)
    assert told["file"] == str(tmp_path / "pins.json")
    assert [(pin["device"], pin["security_counter"]) for pin in told["pins"]] == [
        ("link:udp:logger", None),
        ("uid:00aa11", 3),
        ("uid:00bb22", None),
    ]
    assert {(pin["kind"], pin["key_hash"]) for pin in told["pins"]} == {("Ed25519", key)}
    assert all(word in image("pins").stdout for word in ("uid:00aa11", "link:udp:logger", key))


@pytest.mark.parametrize("name", ["uid:00aa11", "00aa11", "00a", "uid:00a"])
def test_a_pin_is_taken_back_by_any_name_that_means_one_device(
    image: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    assert "uid:00aa11 has no pinned key any more" in image("unpin", name).stderr
    assert PinnedKeys(tmp_path / "pins.json").identities() == ("uid:00bb22", "link:udp:logger")


@pytest.mark.parametrize("name", ["", "00", "uid:", "uid", "link:", "99", "UDP:LOGGER"])
def test_what_names_no_device_or_several_takes_no_pin_back(
    image: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    assert isinstance(image("unpin", name).exception, UsageError)
    assert len(PinnedKeys(tmp_path / "pins.json").identities()) == 3


def test_a_pin_that_makes_no_sense_can_be_taken_back(image: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "pins.json"
    file.write_text(file.read_text().replace("BEGIN PUBLIC KEY", "BEGIN NONSENSE", 1))
    assert "cannot be read" in str(image("pins").exception)
    broken = next(name for name, entry in json.loads(file.read_text())["devices"].items() if "NONSENSE" in entry["key"])
    assert image("unpin", broken).exit_code == 0
    assert len(json.loads(image("pins", "--json").stdout)["pins"]) == 2
