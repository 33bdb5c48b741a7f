"""The command line given files and several devices, and what it printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from fieldlog.cli.main import invoke

NOBODY = "udp:127.0.0.1:1?timeout=0.5"
FLEET = """\
[settings]
"device/name" = "${place} ${index}"
"alarm/high" = "35.5 degC"
[calibration]
temperature = ["${offset}", 1.0]
[metadata]
site = "${place}"
[variables]
place = "Ridge"
offset = 0.25
[devices."label:Hut*".settings]
"alarm/high" = 30
[devices."nowhere".settings]
"alarm/high" = 20
"""


class Cli:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        self._capsys.readouterr()
        code = invoke(words)
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    def apply(self, file: str, urls: Sequence[str], *words: str) -> int:
        return self("config", "apply", file, *devices(urls), *words)

    def json(self, file: str, urls: Sequence[str], *words: str) -> list[dict[str, Any]]:
        self.apply(file, urls, "--json", *words)
        return [json.loads(line) for line in self.out.splitlines()]

    def values(self, url: str, *keys: str) -> dict[str, Any]:
        assert self("config", "get", *keys, "--json", "--device", url) == 0, self.err
        found: dict[str, Any] = json.loads(self.out)["values"]
        return found


def devices(urls: Sequence[str]) -> list[str]:
    return [word for url in urls for word in ("--device", url)]


def toml(number: float) -> str:
    """A file that changes one setting."""
    return f'[settings]\n"alarm/high" = {number}\n'


def outcomes(out: str) -> list[str]:
    return [line.rsplit("  ", 1)[-1].strip() for line in out[out.index("outcome") :].splitlines()[1:]]
