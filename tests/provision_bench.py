"""A folder with a fleet, and the command that prepares it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fieldlog.cli.main import invoke
from simulator import Simulator

CONFIG = """
[settings]
"alarm/high" = "35 degC"
[metadata]
site = "${site}"
[log]
label = "${site} ${index}"
period = "10 s"
"""


class Bench:
    """A folder with a fleet, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def write(self, fleet: str, config: str = CONFIG, name: str = "fleet.csv") -> None:
        (self.folder / name).write_text(fleet, encoding="utf-8")
        (self.folder / "base.toml").write_text(config, encoding="utf-8")

    def provision(self, *words: str, name: str = "fleet.csv") -> int:
        return self("provision", str(self.folder / name), "--config", str(self.folder / "base.toml"), *words)

    def __call__(self, *words: str) -> int:
        code = invoke(words)
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def table(self) -> list[dict[str, str]]:
        with (self.folder / "fleet-report" / "fleet-report.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def results(self) -> list[str]:
        return [row["result"] for row in self.table()]

    def values(self, url: str, *keys: str) -> list[Any]:
        assert self("config", "get", *keys, "--json", "-d", url) == 0
        return list(json.loads(self.out)["values"].values())

    def status(self, url: str) -> dict[str, Any]:
        assert self("log", "status", "--json", "-d", url) == 0
        found: dict[str, Any] = json.loads(self.out)
        return found


def named(running: Simulator) -> tuple[list[str], list[str]]:
    """The serial numbers, and the words that name the devices."""
    serials = [str(device["serial"]) for device in running.ready]
    return serials, [word for url in running.urls for word in ("-d", url)]
