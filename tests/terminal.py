"""A terminal of 80 columns: what a program leaves on its screen."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Sequence

CLI = "from fieldlog.cli.main import main; main()"
_TOKEN = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


def written(code: str, words: Sequence[str] = (), columns: int = 80) -> str:
    """Everything that a Python program writes to its terminal, control sequences and all."""
    environment = os.environ | {
        "TERM": "xterm-256color",
        "COLUMNS": str(columns),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 30)[0]:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(master)
    child.wait(30)
    return seen.decode()


def screen(text: str) -> list[str]:
    """The lines that are left, without trailing blanks; knows the few sequences that progress bars use."""
    lines, row, column = [""], 0, 0
    for parameters, final, back, down, plain in _TOKEN.findall(text):
        if plain:
            lines[row] = lines[row][:column].ljust(column) + plain + lines[row][column + len(plain) :]
            column += len(plain)
        elif back:
            column = 0
        elif down:
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif final == "K":
            assert parameters == "2"
            lines[row] = ""
        elif final == "A":
            row = max(0, row - int(parameters or 1))
        else:
            assert final in "mhl", f"unknown sequence ending in {final}"
    return [line.rstrip() for line in lines if line.strip()]
