"""Keys that are pinned to devices, while others are pinned in the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import image_tool
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
