"""A headless Chromium spoken to over its own pipe, with what it complained of and asked the network for."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--window-size=1200,800",
    "--mute-audio",
)

_LAUNCH = """
import os, sys
from fcntl import F_DUPFD, fcntl
commands, answers = (fcntl(int(number), F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser takes its orders on file 3 and answers on 4."""


class Page:
    """An open page. `complaints`: errors of its program and of the console; `requests`: addresses it asked for."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._waiting = b""
        self._number = 0
        self._session = ""
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, path: Path) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self.evaluate(
            "new Promise((done) => document.readyState === 'complete' ? done(1) : addEventListener('load', () => done(1)))"
        )

    def evaluate(self, text: str) -> Any:
        found = self.call("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def drawn(self) -> None:
        """Wait until what was asked for stands on the screen."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def mouse(self, kind: str, x: float, y: float, **details: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **details)
        self.drawn()

    def picture(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return dict(told["result"])
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        values = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(values["exceptionDetails"]))
        elif told.get("method") == "Runtime.consoleAPICalled" and values["type"] in {"error", "warning"}:
            self.complaints.append(str(values["args"]))
        elif told.get("method") == "Log.entryAdded":
            self.complaints.append(str(values["entry"]))
        elif told.get("method") == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            more = os.read(self._from, 1 << 20)
            assert more, "the browser ended"
            self._waiting += more
        message, _, self._waiting = self._waiting.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser() -> Generator[Page]:
    """A browser of its own, gone when the block ends."""
    assert CHROMIUM is not None
    commands_read, commands_write = os.pipe()
    answers_read, answers_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        pipes = [str(commands_read), str(answers_write)]
        command = [
            sys.executable,
            "-c",
            _LAUNCH,
            *pipes,
            CHROMIUM,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        child = subprocess.Popen(
            command,
            pass_fds=(commands_read, answers_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_read)
        os.close(answers_write)
        try:
            yield Page(commands_write, answers_read)
        finally:
            child.kill()
            child.wait()
            os.close(commands_write)
            os.close(answers_read)
