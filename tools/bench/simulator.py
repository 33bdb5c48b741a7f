"""The simulated device as a process of its own, at the end of a line, and the processor time it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Simulator:
    """A simulated device that is ready. `address` is a port's path, or host:port."""

    url: str
    pid: int

    @property
    def address(self) -> str:
        return self.url.partition(":")[2].partition("?")[0]

    def cpu_s(self) -> float | None:
        """Processor time so far, in steps of the kernel's clock; None where the system does not tell of other processes."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def simulator(*arguments: str | Path) -> Generator[Simulator]:
    """The simulator with these arguments and one link, until the end of the block."""
    with simulators(1, *arguments) as (only,):
        yield only


@contextmanager
def simulators(count: int, *arguments: str | Path) -> Generator[list[Simulator]]:
    """So many devices, all of one process, until the end of the block."""
    devices = [] if count == 1 else ["--count", str(count)]
    command = [sys.executable, "-m", "fieldlog_sim", "--json", "--until-eof", *devices, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(count)]
            if not all(lines):
                raise RuntimeError(f"the simulator ended before its links were ready: {' '.join(command)}")
            yield [Simulator(str(json.loads(line)["url"]), process.pid) for line in lines]
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
