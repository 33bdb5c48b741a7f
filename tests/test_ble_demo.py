"""`fieldlog demo --ble`: everything by the commands that a user types, over a virtual radio."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldlog.cli.main import invoke


def test_the_whole_demo_runs_over_ble(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["demo", "--ble", "-o", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "clock not set" in out.partition("# See what is there")[0]  # a scan has told before anybody connected
    assert "1.1.0 runs and is confirmed" in out
    assert "Newark: 8703 readings" in out
    assert [path.name for path in tmp_path.glob("*/newark.png")] == ["newark.png"]
    assert "# Plot them, but for the wind: beside one reading of 1048 mph" in out
    assert "--channels 'temperature,dew point,relative humidity,pressure,precipitation'" in out
