"""Runs the simulator as its users do: a process of its own, reached over a link.

Where the system can, it is forked from one that has imported everything; `fresh` ones begin from nothing.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from warm_simulator import AVAILABLE, WarmSimulator


@dataclass(frozen=True)
class Simulator:
    """A running simulator. `urls` in the order in which its links became ready."""

    process: subprocess.Popen[str] | WarmSimulator
    urls: list[str]
    ready: list[dict[str, object]]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def port(self) -> str:
        """The path of the pty, or the UDP port number."""
        return self.url.removeprefix("serial:").partition("?")[0]


@contextmanager
def simulator(*arguments: str | Path, links: int = 1, fresh: bool = False) -> Iterator[Simulator]:
    """The simulator with these arguments, until the end of the block; `links` lines are waited for."""
    process = started("--json", "--until-eof", *arguments, fresh=fresh)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready = []
        for _ in range(links):
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"the simulator did not start: {process.stderr.read()}")
            ready.append(json.loads(line))
        yield Simulator(process, [str(item["url"]) for item in ready], ready)
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        complaint = process.stderr.read()
        process.stderr.close()
    if process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
        raise AssertionError(f"the simulator ended with {process.returncode}: {complaint}")


def started(*arguments: str | Path, fresh: bool = False) -> subprocess.Popen[str] | WarmSimulator:
    """The process alone, for whoever wants another end than this."""
    words = list(map(str, arguments))
    if AVAILABLE and not fresh:
        return WarmSimulator(words)
    return subprocess.Popen(
        [sys.executable, "-m", "fieldlog_sim", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
