"""The program, interrupted at chosen moments, and archives for it to work on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fieldlog.archive
from archive_data import CLIMATE, LOG_ID, UID, PaperLogger, climate
from fieldlog.clock_sync import Sync

START = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from fieldlog.cli import cancelling
from fieldlog.cli.main import main
def send():
    os.kill(os.getpid(), int(os.environ["NUMBER"]))
"""
"""The program, where whoever runs the tests may have Ctrl-C ignored."""


def ended(
    code: str, *words: str, number: int = signal.SIGINT, answer: int = 1, request: str = ""
) -> tuple[int, str, str]:
    """Exit code, output and complaints of the program with `code` before it, which calls `send` and `main`."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NUMBER": str(int(number)),
        "ANSWER": str(answer),
        "REQUEST": request,
    }
    command = [sys.executable, "-c", START + code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


def two_archives(tmp_path: Path) -> tuple[Path, Path]:
    """Two archives of one log, of which the second holds more."""
    logger = PaperLogger()
    logger.schema()
    logger.data(CLIMATE, *climate(6_000))
    blocks = logger.blocks
    for name, known in (("a", blocks[:40]), ("b", blocks)):
        with fieldlog.archive.open(tmp_path / name) as archive:
            log = archive.log(UID, LOG_ID)
            log.add_blocks(known)
            log.add_syncs([Sync(1, 100, 1_700_000_000_000_000, 500)])
    return tmp_path / "a", tmp_path / "b"
