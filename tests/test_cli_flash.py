"""`fieldlog flash` as its users run it: a plan, a key, a package, and what is said where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import image_tool
from fieldlog.cli import flash as flash_command
from fieldlog.cli.main import invoke
from fieldlog.cli.output import Output
from fieldlog.flash_plan import FlashOptions
from flash_bench import firmware
from simulator import Simulator, simulator


@pytest.fixture
def device() -> Iterator[Simulator]:
    with simulator("--seed", "5") as running:
        yield running


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    made = image_tool.sign(tmp_path, "-k", image_tool.key("ed25519"), version="2.0.0")
    return made.rename(tmp_path / "signed.bin")


class Cli:
    """Commands in this process, with settings of their own: exit code, what was printed, and what was said beside."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))

    def flash(self, device: Simulator, *words: str | Path) -> tuple[int, str, str]:
        return self(device, "flash", *words)

    def __call__(self, device: Simulator, *words: str | Path) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = invoke([*map(str, words), "-d", device.url])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path, monkeypatch, capsys)


def process(device: Simulator, folder: Path, *words: str | Path) -> tuple[int, str, str]:
    """The same of a process of its own."""
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "fieldlog.cli", *map(str, words), "-d", device.url]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_plan_as_an_object_and_in_words(cli: Cli, device: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "fw.bin"
    file.write_bytes(firmware("2.0.0"))
    code, out, _ = cli.flash(device, file, "--dry-run", "--json")
    plan: dict[str, Any] = json.loads(out)
    assert (code, plan["reverts"], plan["images"][0]["state"]) == (0, True, "upload")
    assert plan["images"][0]["signature"] == "not signed"
    assert plan["steps"][-1] == "confirm"
    code, out, err = cli.flash(device, file, "--dry-run")
    assert (code, "1. upload image 0: 2.0.0" in out, "was not verified" in err) == (0, True, True)


def test_a_key_is_pinned_and_then_asked_for(cli: Cli, device: Simulator, tmp_path: Path, signed: Path) -> None:
    key = image_tool.public("ed25519")
    code, out, err = process(device, tmp_path, "flash", signed, "--key", key, "--pin-key", "--json")
    assert (code, err) == (0, "")
    done = json.loads(out)
    assert (done["outcome"], done["images"]) == ("confirmed", [{"image": 0, "version": "2.0.0", "before": "1.0.0"}])
    assert done["sent_bytes"] > 0
    assert [words.startswith("verified with the key") for words in done["signatures"]] == [True]
    (tmp_path / "fw.bin").write_bytes(firmware("3.0.0"))
    code, _, err = cli.flash(device, tmp_path / "fw.bin")
    assert (code, "carries no signature" in err) == (5, True)
    assert cli.flash(device, signed)[:2] == (0, "2.0.0 runs already and is confirmed: nothing to do\n")


def test_words_that_make_no_sense(cli: Cli, device: Simulator, tmp_path: Path, signed: Path) -> None:
    for words, says in (
        (("--pin-key",), "give both"),
        (("--no-confirm", "--permanent"), "exclude each other"),
        (("--key", str(signed)), "not a key"),
    ):
        code, _, err = cli.flash(device, signed, *words)
        assert (code, says in err) == (2, True)


def test_a_device_in_recovery(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_bytes(firmware("2.0.0"))
    with simulator("--recovery", "--profile", "smp-server") as waiting:
        code, out, err = cli.flash(waiting, tmp_path / "fw.bin", "--recovery")
        assert (code, out, "was not verified" in err) == (0, "2.0.0 runs and is confirmed\n", True)
        code, out, _ = cli.flash(waiting, tmp_path / "fw.bin")
        assert (code, out) == (0, "2.0.0 runs already and is confirmed: nothing to do\n")
        for option, says in (
            ("--no-confirm", "no trial: leave it out"),
            ("--pin-key", "pin the key with a later update"),
        ):
            key = ("--key", str(image_tool.public("ed25519"))) if option == "--pin-key" else ()
            code, _, err = cli.flash(waiting, tmp_path / "fw.bin", "--recovery", option, *key)
            assert (code, says in err) == (2, True)
        (tmp_path / "newer.bin").write_bytes(firmware("2.1.0"))
        code, out, err = cli.flash(waiting, tmp_path / "newer.bin", "--recovery", "--dry-run")
        assert (code, "1. restart into the boot loader's recovery\n2. write image 0 over what runs" in out) == (0, True)
        assert "no trial and no way back" in err


def test_a_file_that_is_none_leaves_the_device_as_it_is(cli: Cli, device: Simulator, tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_bytes(b"hello")
    code, _, err = cli.flash(device, tmp_path / "fw.bin")
    assert (code, "The device was not changed" in err) == (5, True)


def test_firmware_that_is_not_well(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_bytes(firmware("2.0.0"))
    with simulator("--firmware-fault", "selftest", "2.0.0") as faulty:
        code, out, err = cli.flash(faulty, tmp_path / "fw.bin", "--json")
        ended = json.loads(out)
        assert (code, ended["outcome"], ended["error"]["exit_code"]) == (5, "reverted", 5)
        assert (ended["version"], ended["before"], ended["tried"]) == ("1.0.0", "1.0.0", "2.0.0")
        assert ended["images"] == [{"image": 0, "version": "1.0.0", "before": "1.0.0", "tried": "2.0.0"}]
        assert "The boot loader took it back: 1.0.0 runs, confirmed" in err
    with simulator("--firmware-fault", "hang", "2.0.0") as faulty:
        code, out, _ = cli.flash(faulty, tmp_path / "fw.bin", "--json")
        assert (code, json.loads(out)["outcome"], json.loads(out)["version"]) == (5, "reverted", "1.0.0")
        code, _, err = cli.flash(faulty, tmp_path / "fw.bin")
        assert (code, "still runs 1.0.0" in err, "took it back" in err) == (5, True, True)


NOT_RESUMED = "session that was stopped is not resumed: `fieldlog log arm` begins another"


def test_a_session_that_was_stopped_is_told_at_the_end(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_bytes(firmware("2.0.0"))
    with simulator("--history", "1h") as recording:
        code, out, err = cli.flash(recording, tmp_path / "fw.bin", "--stop-logging")
        assert (code, out) == (0, "2.0.0 runs and is confirmed\n")
        assert f"the {NOT_RESUMED}" in err.splitlines()
        code, _, err = cli.flash(recording, tmp_path / "fw.bin", "--stop-logging")
        assert (code, NOT_RESUMED in err) == (0, False)
    with simulator("--history", "1h", "--firmware-fault", "selftest", "2.0.0") as faulty:
        code, out, err = cli.flash(faulty, tmp_path / "fw.bin", "--stop-logging", "--json")
        ended = json.loads(out)
        assert (code, ended["outcome"], ended["tried"]) == (5, "reverted", "2.0.0")
        assert ended["error"]["message"].endswith(f". The {NOT_RESUMED}")
        assert f". The {NOT_RESUMED}\n" in err


@pytest.mark.parametrize("arguments", [("--history", "1h"), ()])
def test_a_session_that_was_stopped_is_told_when_the_upload_is_interrupted(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "fw.bin").write_bytes(firmware("2.0.0", 20_000))
    with simulator("--baud", "9600", *arguments) as slow:
        command = [sys.executable, "-m", "fieldlog.cli", "flash", str(tmp_path / "fw.bin"), "--stop-logging"]
        environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config")}
        child = subprocess.Popen([*command, "-d", slow.url], stderr=subprocess.PIPE, text=True, env=environment)
        assert child.stderr is not None
        while not (line := child.stderr.readline()).startswith("uploading"):
            assert line, "it ended before it was interrupted"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "interrupted: nothing was installed, the device runs what it ran. Repeat the command" in err
    assert (f". The {NOT_RESUMED}\n" in err) == bool(arguments)


def test_a_session_that_was_stopped_is_told_when_the_link_is_lost(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fw.bin").write_bytes(firmware("2.0.0"))
    note = Output.note
    with simulator("--history", "1h") as recording:

        def unplugged(output: Output, text: str) -> None:
            note(output, text)
            if text.startswith("uploading"):
                recording.process.kill()

        monkeypatch.setattr(Output, "note", unplugged)
        monkeypatch.setattr(flash_command, "FlashOptions", partial(FlashOptions, reconnect_s=0.2))
        code, _, err = cli.flash(recording, tmp_path / "fw.bin", "--stop-logging")
    assert code == 3
    assert "Nothing was installed: the device runs what it ran. " in err.splitlines()[-1]
    assert err.endswith(f". The {NOT_RESUMED}\n")


def test_what_the_next_restart_does_is_told(cli: Cli, device: Simulator, tmp_path: Path) -> None:
    (tmp_path / "fw.bin").write_bytes(firmware("2.0.0"))
    code, _, err = cli(device, "image", "erase", "--slot", "0")
    assert (code, "slot 0 cannot be erased" in err, "Nothing was erased" in err) == (4, True, True)
    assert cli.flash(device, tmp_path / "fw.bin", "--no-confirm")[0] == 0
    told = "2.0.0 runs on trial: the next restart brings 1.0.0 back, unless `fieldlog image confirm` keeps it"
    for words in (("image", "list"), ("info",)):
        assert told in cli(device, *words)[2]
        assert json.loads(cli(device, *words, "--json")[1])["next_restart"] == [told]
    code, _, err = cli(device, "image", "erase")
    assert (code, told in err) == (4, True)
    code, _, err = cli(device, "image", "confirm")
    assert (code, err) == (0, "")


def test_a_boot_loader_that_answers_is_called_one(cli: Cli, tmp_path: Path) -> None:
    with simulator("--recovery", "--seed", "5") as waiting:
        code, out, err = cli(waiting, "info")
        assert (code, "none: the boot loader's recovery answers" in out, "`fieldlog reset` starts" in err) == (
            0,
            True,
            True,
        )
        assert json.loads(cli(waiting, "info", "--json")[1])["recovery"] is True
        for words in (("image", "confirm"), ("image", "erase")):
            code, _, err = cli(waiting, *words)
            assert (code, "a boot loader in its recovery answers so" in err) == (4, True)
        code, _, err = cli(waiting, "pull", "--archive", tmp_path / "archive")
        assert (code, "cannot be read now, as no firmware runs: the boot loader answers" in err) == (4, True)
        assert ("logger group" in err, "`fieldlog reset` starts what it holds" in err) == (False, True)
        assert cli(waiting, "reset")[0] == 0
