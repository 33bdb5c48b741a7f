"""Every command and every Python example in README and docs runs, as it stands there."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_data import CLIMATE, PaperLogger, climate
from fieldlog.cli.main import COMMANDS, invoke
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


class Desk:
    """Whoever works through a page: the first command and the first example in a process of their own, which shows that
    they need nothing else; the others in this one, each as it would begin there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.stdin", io.StringIO())
        for key in [key for key in os.environ if key.startswith("FIELDLOG_")]:
            monkeypatch.delenv(key)

    def export(self, key: str, value: str) -> None:
        self._monkeypatch.setenv(key, value)

    def fieldlog(self, *words: str) -> str:
        """What the command printed."""
        self._capsys.readouterr()
        code = invoke(words)
        out, err = self._capsys.readouterr()
        return _fine(["fieldlog", *words], code, out, err)

    def python(self, script: Path) -> str:
        self._capsys.readouterr()
        runpy.run_path(str(script), run_name="__main__")
        out, err = self._capsys.readouterr()
        return _fine([script.name], 0, out, err)

    def process(self, *words: str) -> str:
        """The same of a Python with these arguments."""
        command = [sys.executable, *words]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
        )
        return _fine(command, done.returncode, done.stdout, done.stderr)


def _fine(command: list[str], code: int, out: str, err: str) -> str:
    assert code == 0, f"{shlex.join(command)} ended with {code}: {err or out}"
    assert "Traceback" not in err
    return out


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("page", SHELL_PAGES, ids=name)
def test_commands(page: Path, desk: Desk) -> None:
    """In order, in one folder, on a logger that has recorded the sample; the archive holds it where a page reads it."""
    (desk.folder / "zephyr.signed.bin").write_bytes(build_image(bytes(9000), ImageVersion.of("2.0.0")))
    (desk.folder / "notes.txt").write_text("a few notes\n")
    (desk.folder / "flash.bin").write_bytes(flash_image())
    desk.export("FIELDLOG_ARCHIVE", str(desk.folder / "archive"))
    with simulator(*IDLE.get(page.stem, RECORDED)) as device:
        if page.stem in ("export", "plot"):
            desk.fieldlog("pull", "--device", device.url)
        run_page(page, device, desk)


def run_page(page: Path, device: Simulator, desk: Desk) -> None:
    ran = 0
    for text in blocks(page, "toml"):  # the first line names the file
        (desk.folder / text.split()[1]).write_text(text, encoding="utf-8")
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line)
        if words[0] == "export":
            key, _, value = words[1].partition("=")
            desk.export(key, device.url if value == PORT else value)
        elif words[0] == "fieldlog":
            desk.fieldlog(*words[1:]) if ran else desk.process("-m", "fieldlog.cli", *words[1:])
            ran += 1
        else:
            assert line in MAKE_TARGETS, f"nobody tests {line!r}"
    assert ran


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name)
def test_examples(page: Path, desk: Desk) -> None:
    """Each by itself; some read an archive that somebody made before."""
    if page.stem in ("archive", "export", "plot"):
        with simulator(*RECORDED) as logger:
            desk.fieldlog("config", "set", "device/name=hut", "-d", logger.url)
            desk.fieldlog("pull", "--device", logger.url, "--archive", "field-season-2013")
    for number, text in enumerate(blocks(page, "python")):
        script = desk.folder / f"example{number}.py"
        script.write_text(text)
        said = desk.python(script) if number else desk.process("-W", "error", str(script))
        assert "nan" not in said.split()


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_json_objects_names_every_command() -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    missing = [command for command in COMMANDS if command != "demo" and not re.search(rf"`{command}[ `]", text)]
    assert not missing


def test_both_ways_to_install_install_the_same() -> None:
    """Without the extra of the virtual radio, tests fail that import it."""
    told = [
        re.findall(r"pip install .*-e '?\.\[([\w,]+)\]", (ROOT / name).read_text())
        for name in ("README.md", "Makefile")
    ]
    assert told[0]
    assert told[0] == told[1]


def test_what_an_extra_brings_is_what_the_page_says() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    named = {name for words in re.findall(r"\.\[([\w,]+)\]", text) for name in words.split(",")}
    assert named == set(extras)
    brought = {kind: {re.split(r"[<>=\[;]", item)[0] for item in items} for kind, items in extras.items()}
    brought[""] = {re.split(r"[<>=\[;]", item)[0] for item in project["dependencies"]}
    assert {"numpy", "pyarrow", "matplotlib"} <= brought[""]
    assert {"netCDF4", "xarray"} <= brought["netcdf"]
    assert "imgtool" in brought["peers"]
    assert "bumble" in brought["sim"]
    assert not {"pandas", "polars", "duckdb"} & (brought[""] | brought["netcdf"] | brought["sim"] | brought["peers"])


def test_every_key_of_a_long_object_is_described(desk: Desk) -> None:
    """Those of `info`'s logger, of tasks and memory pools, and of a firmware file."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    (desk.folder / "image.bin").write_bytes(build_image(bytes(900), ImageVersion.of("2.0.0")))
    with simulator() as device:
        told = [
            json.loads(desk.fieldlog(*words, "--json", "-d", device.url))
            for words in (("info",), ("stats", "--tasks"), ("stats", "--memory"))
        ]
    told.append(json.loads(desk.fieldlog("image", "inspect", "image.bin", "--json")))
    undescribed = {key for item in told for key in keys(item) if f"`{key}`" not in text}
    assert not undescribed


def keys(item: Any) -> Iterator[str]:
    """All keys of an object, and of what is in it."""
    if isinstance(item, dict):
        for key, value in item.items():
            yield str(key)
            yield from keys(value)
    elif isinstance(item, list):
        for value in item:
            yield from keys(value)
