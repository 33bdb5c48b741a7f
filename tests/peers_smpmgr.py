"""smpmgr: Intercreate's command line, driven as a person would: in its interactive shell, or one command a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

from peers import FileHash, Peer, Place, Slot

PROMPT = b"smpmgr >"
UDP_OVERHEAD = 28
LINE_LENGTH = 128
WIDE = "4000"  # columns: an answer is one line
_SMPMGR = str(Path(sys.executable).with_name("smpmgr"))
_IMAGE = re.compile(r"ImageState\((.*)\)")


def _options(place: Place) -> list[str]:
    """Neither link learns the size of the device's buffers by itself."""
    common = ["--timeout", "10"]
    if place.link == "udp":
        return [*common, "--ip", place.address, "--mtu", str(min(1500, place.buf_size + UDP_OVERHEAD))]
    lines = ["--line-length", str(LINE_LENGTH), "--line-buffers", str(place.buf_size // LINE_LENGTH)]
    return [*common, "--port", place.address, *lines]


def _environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": WIDE, "PYTHONUTF8": "1", "NO_COLOR": "1"}


def _field(answer: str, name: str) -> str:
    """The value of a field in the answer as it is printed."""
    found = re.search(rf"\b{name}=('.*?'|[^,() ]+(?:\('.*?'\))?)", answer)
    assert found, f"no {name} in {answer}"
    return found[1].strip("'")


class Shell:
    """The interactive shell: commands with all their options in, what they print out. It holds no connection."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [_SMPMGR, "interactive"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        self._read_to_prompt()

    @property
    def alive(self) -> bool:
        """A command that fails with an exception ends it."""
        return self._process.poll() is None

    def run(self, words: list[str]) -> str:
        """What a command prints; no word may hold a space."""
        entry, _ = self._pipes()
        entry.write(" ".join(words).encode() + b"\n")
        entry.flush()
        return self._read_to_prompt()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            pipe.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _read_to_prompt(self) -> str:
        _, output = self._pipes()
        seen = b""
        while not seen.endswith(PROMPT):
            piece = os.read(output.fileno(), 65536)
            if not piece:
                self._process.wait()
                raise AssertionError(f"smpmgr ended: {seen.decode()}")
            seen += piece
        return seen.removesuffix(PROMPT).decode()


class SmpmgrPeer(Peer):
    def __init__(self, place: Place, shell: Shell) -> None:
        self._options = _options(place)
        self._shell = shell

    def _ask(self, *words: str | Path) -> str:
        """What a command prints; an error of the device is printed too, and the command still succeeds."""
        answer = self._shell.run([*self._options, *map(str, words)])
        assert "error" not in answer.lower(), answer
        return answer

    def _execute(self, *words: str | Path) -> str:
        """The same in a process of its own, for words with spaces and for the exit code."""
        command = [_SMPMGR, *self._options, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def echo(self, text: str) -> str:
        return _field(self._ask("os", "echo", text), "r")

    def reset(self) -> None:
        assert "ResetWriteResponse" in self._ask("os", "reset")

    def images(self) -> list[Slot]:
        return [_slot(found[1]) for found in _IMAGE.finditer(self._ask("image", "state-read"))]

    def upload_image(self, path: Path) -> None:
        assert "100.0%" in self._ask("image", "upload", path)

    def mark_image(self, digest: bytes, *, permanent: bool) -> None:
        assert "OK" in self._ask("image", "state-write", digest.hex(), *(["--confirm"] if permanent else []))

    def confirm_image(self) -> None:
        assert "OK" in self._ask("image", "state-write", "--confirm")

    def erase_image(self) -> None:
        assert "OK" in self._ask("image", "erase", "1")

    def upgrade(self, path: Path, *, permanent: bool) -> None:
        """Without --slot 1 it uploads, but marks nothing for test."""
        how = ["--confirm"] if permanent else ["--slot", "1"]
        assert "Upgrade complete." in self._execute("upgrade", *how, path)

    def upload_file(self, source: Path, name: str) -> None:
        self._ask("file", "upload", source, name)

    def download_file(self, name: str, target: Path) -> None:
        assert "Saved" in self._ask("file", "download", name, target)

    def file_size(self, name: str) -> int:
        return int(self._ask("file", "read-size", name).split()[-1])

    def file_hash(self, name: str) -> FileHash:
        answer = self._ask("file", "get-hash", name)
        return FileHash(
            _field(answer, "type"), int(_field(answer, "len")), int(_field(answer, "output")).to_bytes(4, "big")
        )

    def hash_types(self) -> dict[str, int]:
        answer = self._ask("file", "get-supported-hash-types")
        return {name: int(size) for name, size in re.findall(r"'(\w+)': HashChecksumType\(.*?size=(\d+)\)", answer)}

    def statistics_groups(self) -> list[str]:
        return re.findall(r"^│ (\S+) ", self._ask("statistics", "list"), re.MULTILINE)

    def statistics(self, group: str) -> dict[str, int]:
        fields = self._ask("statistics", "get", group).rpartition("fields=")[2]
        return {name: int(value) for name, value in re.findall(r"'(\w+)': (\d+)", fields)}

    def shell(self, *words: str) -> str:
        return self._execute("shell", " ".join(words)).rpartition(" OK\n")[2]

    def group_ids(self) -> list[int]:
        groups = self._ask("enum", "get-supported-groups").rpartition("groups=")[2]
        return [int(plain or named) for named, plain in re.findall(r"<GroupId\.\w+: (\d+)>|(\d+)", groups)]

    def group_names(self, *groups: int) -> dict[int, str]:
        answer = self._ask("enum", "get-group-details", *map(str, groups))
        found = re.findall(r"GroupDetails\(group=(?:<GroupId\.\w+: )?(\d+)>?, name='(.*?)'", answer)
        return {int(group): name for group, name in found}


def _slot(fields: str) -> Slot:
    flags = [_field(fields, name) == "True" for name in ("active", "confirmed", "pending", "permanent")]
    digest = bytes.fromhex(_field(fields, "hash").removeprefix("HashBytes('").removesuffix("')").strip("'"))
    return Slot(int(_field(fields, "slot")), _field(fields, "version"), digest, *flags)
