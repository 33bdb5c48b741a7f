"""Every command and every Python example in README and docs runs, as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_data import CLIMATE, PaperLogger, climate
from fieldlog_protocol.blocks.block import pad
from fieldlog_protocol.image import ImageVersion, build_image
from simulator import Simulator, simulator

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "/dev/ttyACM0"  # where the pages say that the device is
MAKE_TARGETS = {"make demo", "make test"}  # run by whoever tries the project, and by CI
IDLE: dict[str, tuple[str, ...]] = {
    "live": (),
    "read-out": (),
    "record": (),
    "fleet": (),
    "calibrate": (),
    "provision": (),
    "stock-settings": ("--profile", "smp-server"),
}
"""Pages that begin with a device that records nothing, and what kind of device that is."""
RECORDED = ("--replay", "newark", "--pty")
SHELL_PAGES = [page for page in PAGES if "```sh\n" in page.read_text(encoding="utf-8")]
PYTHON_PAGES = [page for page in PAGES if "```python\n" in page.read_text(encoding="utf-8")]


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def flash_image() -> bytes:
    """A dump of a logger's flash."""
    paper = PaperLogger(block_size=1024)
    paper.schema()
    paper.data(CLIMATE, *climate(3000))
    return b"\xff" * 4096 + b"".join(pad(block, 1024) for block in paper.blocks) + b"\xff" * 4096


def name(page: Path) -> str:
    return page.stem


@pytest.fixture
def logger() -> Iterator[Simulator]:
    with simulator(*RECORDED) as running:
        yield running


@pytest.fixture
def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("FIELDLOG_")}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("page", SHELL_PAGES, ids=name)
def test_commands(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """In order, in one folder, on a logger that has recorded the sample; the archive holds it where a page reads it."""
    (tmp_path / "zephyr.signed.bin").write_bytes(build_image(bytes(9000), ImageVersion.of("2.0.0")))
    (tmp_path / "notes.txt").write_text("a few notes\n")
    (tmp_path / "flash.bin").write_bytes(flash_image())
    environment["FIELDLOG_ARCHIVE"] = str(tmp_path / "archive")
    fieldlog = [sys.executable, "-m", "fieldlog.cli"]
    with simulator(*IDLE.get(page.stem, RECORDED)) as device:
        if page.stem in ("export", "plot"):
            run([*fieldlog, "pull", "--device", device.url], tmp_path, environment)
        run_page(page, device, tmp_path, environment, fieldlog)


def run_page(page: Path, device: Simulator, folder: Path, environment: dict[str, str], fieldlog: list[str]) -> None:
    ran = 0
    for text in blocks(page, "toml"):  # the first line names the file
        (folder / text.split()[1]).write_text(text, encoding="utf-8")
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line)
        if words[0] == "export":
            key, _, value = words[1].partition("=")
            environment[key] = device.url if value == PORT else value
        elif words[0] == "fieldlog":
            run([*fieldlog, *words[1:]], folder, environment)
            ran += 1
        else:
            assert line in MAKE_TARGETS, f"nobody tests {line!r}"
    assert ran


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name)
def test_examples(page: Path, logger: Simulator, tmp_path: Path, environment: dict[str, str]) -> None:
    """Each by itself, in a process of its own; some read an archive that somebody made before."""
    if page.stem in ("archive", "export", "plot"):
        pull = [sys.executable, "-m", "fieldlog.cli", "pull", "--device", logger.url, "--archive", "field-season-2013"]
        run(
            [sys.executable, "-m", "fieldlog.cli", "config", "set", "device/name=hut", "-d", logger.url],
            tmp_path,
            environment,
        )
        run(pull, tmp_path, environment)
    for number, text in enumerate(blocks(page, "python")):
        script = tmp_path / f"example{number}.py"
        script.write_text(text)
        said = run([sys.executable, "-W", "error", str(script)], tmp_path, environment)
        assert "nan" not in said.split()


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_json_objects_names_every_command() -> None:
    from fieldlog.cli.main import COMMANDS

    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    missing = [command for command in COMMANDS if command != "demo" and not re.search(rf"`{command}[ `]", text)]
    assert not missing
