"""How long a command line takes to say its version or its help."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tools.bench.table import markdown, number

COMMANDS = (("fieldlog", "--version"), ("fieldlog", "--help"), ("smpmgr", "--version"), ("smpmgr", "--help"))


def report(turns: int) -> str:
    """The table: the best and the median of `turns`; all commands take turns."""
    folder = Path(sys.executable).parent
    installed = [command for command in COMMANDS if (folder / command[0]).exists()]
    times_ms = [[_run_ms(folder, command) for command in installed] for _ in range(turns)]
    rows = [
        [" ".join(command), number(min(taken)), number(median(taken))]
        for command, taken in zip(installed, zip(*times_ms, strict=True), strict=True)
    ]
    return f"## Command line\n\n{markdown(('command', 'best ms', 'median ms'), rows)}\n"


def _run_ms(folder: Path, command: tuple[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        [folder / command[0], *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    return 1000 * (time.perf_counter() - started)
