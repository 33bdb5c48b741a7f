"""`fieldlog` in processes that can be killed: forked from one that has its imports behind it.

Run as a program it forks a process for each line of JSON words on its standard input, and prints two lines: the
process' number, and how that ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Hosts:
    """The process that forks. One at a time."""

    forker: subprocess.Popen[str]

    def begin(self, *words: str) -> int:
        """The number of a process that runs these words; not waited for."""
        assert self.forker.stdin is not None
        self.forker.stdin.write(json.dumps(words) + "\n")
        self.forker.stdin.flush()
        return self._answer()

    def end(self) -> int:
        """How the process ended: its exit code, negative for a signal."""
        return self._answer()

    def _answer(self) -> int:
        assert self.forker.stdout is not None
        line = self.forker.stdout.readline()
        assert line, "the process that forks hosts has ended"
        return int(line)


@contextmanager
def hosts(complaints: Path) -> Iterator[Hosts]:
    """`complaints`: the file in which the hosts' words are found when one failed."""
    with complaints.open("w") as stderr:
        command = [sys.executable, __file__]
        forker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
        )
        try:
            yield Hosts(forker)
        finally:
            assert forker.stdin is not None
            assert forker.stdout is not None
            forker.stdin.close()
            forker.wait(60)
            forker.stdout.close()


def _main() -> None:
    import pyarrow.parquet  # noqa: F401

    import fieldlog.cli.config_apply
    import fieldlog.cli.pull  # noqa: F401
    from fieldlog.cli.main import main

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                sys.stdout = sys.stderr
                main(json.loads(line))
            except SystemExit as end:
                os._exit(end.code if isinstance(end.code, int) else 1)
            finally:
                os._exit(99)
        _tell(child)
        _, status = os.waitpid(child, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
