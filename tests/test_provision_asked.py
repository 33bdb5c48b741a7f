"""What only people know of a fleet: they are asked, and may leave instead of answering."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from provision_bench import Bench
from simulator import simulator


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    return Bench(tmp_path, capsys)


def test_a_person_is_asked_which_device_is_which(bench: Bench, tmp_path: Path) -> None:
    bench.write("name,site\nOnly,a\n")
    command = [sys.executable, "-m", "fieldlog.cli", "provision", str(tmp_path / "fleet.csv")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with simulator() as running:
        for answer, code, name in (("n", 1, ""), ("y", 0, "Only")):
            master, slave = os.openpty()
            os.write(master, f"{answer}\n".encode())
            done = subprocess.run(
                [*command, "--config", str(tmp_path / "base.toml"), "-d", running.url],
                stdin=slave,
                capture_output=True,
                text=True,
                env=environment,
                timeout=60,
                check=False,
            )
            os.close(master)
            os.close(slave)
            assert f"Shall {running.ready[0]['serial']} at {running.url} be Only (row 1)?" in done.stderr
            assert (done.returncode, "was left as it is" in done.stderr) == (code, code == 1)
            assert bench.values(running.url, "device/name") == [name]


def test_ctrl_c_at_the_question_ends_it_as_it_ends_any_command(bench: Bench, tmp_path: Path) -> None:
    bench.write("name,site\nOnly,a\n")
    command = [sys.executable, "-m", "fieldlog.cli", "provision", str(tmp_path / "fleet.csv")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    master, slave = os.openpty()
    with simulator() as running:
        words = [*command, "--config", str(tmp_path / "base.toml"), "-d", running.url]
        process = subprocess.Popen(
            words, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        with process:
            assert process.stderr is not None
            asked = ""
            while not asked.endswith("[y/N]: "):
                letter = process.stderr.read(1)
                assert letter, f"it ended without a question: {asked}"
                asked += letter
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "interrupted: what was done is in" in said
        assert "Fatal" not in said
        assert bench.values(running.url, "device/name") == [""]
    os.close(master)
    os.close(slave)
