"""The simulator's command line for boot loaders and faulty firmware, and that a process does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import fieldlog
from boot_bench import firmware, piece
from fieldlog_protocol.commands import Empty, image, os
from fieldlog_protocol.image import ImageVersion, parse_image
from fieldlog_sim.boot_config import BootConfig
from fieldlog_sim.boot_swap import BootMode
from fieldlog_sim.options import parse_options
from simulator import simulator

UDP = ("--udp", "127.0.0.1:0")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "public.pem"
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_the_options_of_the_boot_loader(key_file: Path) -> None:
    assert parse_options([]).boot == BootConfig()
    words = ["--boot-mode", "offset", "--images", "2", "--no-downgrade", "--security-counter", "--recovery"]
    faults = ["--firmware-fault", "hang", "2.0", "--firmware-fault", "selftest", "2.1", "--firmware-fault", "hang", "3"]
    boot = parse_options([*words, *faults, "--boot-key", str(key_file)]).boot
    assert (boot.mode, boot.images, boot.no_downgrade, boot.security_counter) == (BootMode.OFFSET, 2, True, True)
    assert (boot.recovery, len(boot.keys)) == (True, 1)
    assert boot.hanging == frozenset({ImageVersion(2), ImageVersion(3)})
    assert boot.failing == frozenset({ImageVersion(2, 1)})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--boot-mode", "scratch"], "scratch"),
        (["--boot-key", "/nowhere.pem"], "cannot be read"),
        (["--images", "3"], "3"),
        (["--firmware-fault", "melt", "2.0"], "hang and selftest, not 'melt'"),
        (["--firmware-fault", "hang", "new"], "no image version"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_options(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


async def test_a_simulator_in_recovery_takes_an_image_and_starts_it() -> None:
    data = firmware("2.0.0")
    with simulator("--recovery", *UDP) as simulated:
        async with fieldlog.connect(simulated.url) as device:
            done = 0
            while done < len(data):
                done = (await device.request(image.UPLOAD, piece(data, done, 800))).off
            await device.request(os.RESET, os.ResetRequest())
            assert [slot.version for slot in await device.images()] == ["2.0.0"]


async def test_a_simulator_with_a_past_can_begin_in_recovery(tmp_path: Path) -> None:
    with simulator("--recovery", "--history", "1h", "--state", tmp_path, *UDP) as simulated:
        async with fieldlog.connect(simulated.url) as device:
            params = await device.request(os.PARAMS, Empty())
            assert params.buf_count == 1
            await device.request(os.RESET, os.ResetRequest())
            assert (await device.logger_info()).next_seq > 0


async def test_the_watchdog_of_a_simulator_ends_a_hang(tmp_path: Path) -> None:
    data = firmware("2.0.0")
    with simulator("--firmware-fault", "hang", "2.0.0", "--time-scale", "10", "--state", tmp_path, *UDP) as simulated:
        async with fieldlog.connect(simulated.url) as device:
            done = 0
            while done < len(data):
                done = (await device.request(image.UPLOAD, piece(data, done, 300))).off
            await device.request(image.STATE_WRITE, image.ImageStateRequest(hash=parse_image(data).hash, confirm=False))
            await device.request(os.RESET, os.ResetRequest())
            info = await device.logger_info()
            assert info.reset_reason == "watchdog"
            (running,) = (slot for slot in await device.images() if slot.active)
            assert (running.version, running.confirmed) == ("1.0.0", True)
