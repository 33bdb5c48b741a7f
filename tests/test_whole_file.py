"""Files that are written whole or not at all, through links and where a disk is full."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fieldlog.plot.save import save
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import FieldlogError, UsageError
from little_disk import little_disk


def write(target: Path, text: str) -> None:
    with whole_file(target) as aside:
        aside.write_text(text)


def linked(folder: Path, hops: int) -> tuple[Path, Path]:
    """A link, over so many, and the file in another folder that it leads to."""
    (folder / "far").mkdir()
    file = folder / "far/file"
    link = file
    for number in range(hops):
        link = folder / f"link{number}"
        link.symlink_to(file if number == 0 else f"link{number - 1}")
    return link, file


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_what_is_behind_a_link_survives_a_full_disk(tmp_path: Path, hops: int) -> None:
    link, file = linked(tmp_path, hops)
    file.write_text("former")
    with little_disk(100), pytest.raises(FieldlogError) as caught:
        write(link, "x" * 5000)
    assert f"{link} could not be written: File too large. It is as it was. " in str(caught.value)
    assert file.read_text() == "former"
    write(link, "new")
    assert file.read_text() == "new"
    assert link.is_symlink() == bool(hops)
    assert [path.name for path in file.parent.iterdir()] == ["file"], "nothing is left beside it"


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_a_picture_on_a_full_disk_is_the_systems_fault_wherever_it_ends(tmp_path: Path, kind: str) -> None:
    figure = Figure()
    figure.add_subplot().plot([1, 2, 1])
    path = save(figure, tmp_path / f"picture.{kind}")
    whole = path.read_bytes()
    for part in range(20):
        with little_disk(len(whole) * part // 20), pytest.raises(FieldlogError, match="could not be written: File too"):
            save(figure, path)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_nothing_gets_its_file(tmp_path: Path) -> None:
    link, file = linked(tmp_path, 2)
    write(link, "new")
    assert (link.is_symlink(), file.read_text()) == (True, "new")


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "lost").symlink_to("no/such/folder")
    for name in ("round", "lost"):
        with pytest.raises(FieldlogError, match=f"{name} could not be written"):
            write(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink()


def test_an_open_file_is_written_through(tmp_path: Path) -> None:
    """A shell that goes on after the command has the same file still."""
    with (tmp_path / "file").open("w+") as file:
        target = Path(f"/proc/self/fd/{file.fileno()}")
        if not target.exists():
            pytest.skip("this system has no such names")
        (tmp_path / "link").symlink_to(target)
        for number, path in enumerate((target, tmp_path / "link")):
            write(path, f"new {number}")
            assert file.seek(0) == 0
            assert file.read() == f"new {number}"


def test_a_pipe_is_written_through() -> None:
    end, other = os.pipe()
    try:
        write(Path(f"/dev/fd/{other}"), "new")
        assert os.read(end, 10) == b"new"
    finally:
        os.close(end)
        os.close(other)


def beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


WRITER = """
import sys
from pathlib import Path
from fieldlog.whole_file import whole_file
with whole_file(Path(sys.argv[1])) as aside:
    aside.write_text("half")
    print("half", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(target: Path) -> Generator[subprocess.Popen[str]]:
    """Another program, half through with the same file."""
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        yield child


def test_what_a_killed_program_leaves_the_next_one_takes_away(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for _ in range(3):
        with another_writer(target) as child:
            child.kill()
    assert len(beside(target)) == 1, "at most one of them is there at any time"
    write(target, "new")
    assert (target.read_text(), beside(target)) == ("new", [])


def test_two_writers_of_one_file_leave_each_other_alone(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with another_writer(target) as child:
        write(target, "new")
        assert target.read_text() == "new"
        child.communicate("")
        assert child.returncode == 0
    assert (target.read_text(), beside(target)) == ("half", [])


def test_many_writers_of_one_file_all_end_well(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def write_some(number: int) -> None:
        for turn in range(30):
            write(target, f"{number} {turn}" * 1000)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write_some, range(6)))
    assert (len(set(target.read_text().split())) > 1, beside(target)) == (True, [])


def test_where_nothing_can_be_locked_files_are_whole_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    target = tmp_path / "file"
    with whole_file(target) as aside:
        aside.write_text("half")
        write(target.with_name("other"), "new")
        assert not target.exists()
    assert (target.read_text(), beside(target)) == ("half", ["other"])


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    def refuse(*_: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "file"
    with whole_file(target, force=False) as aside:
        aside.write_text("first")
    assert (target.read_text(), target.stat().st_nlink, beside(target)) == ("first", 1, [])
    target.unlink()
    said = "file came to be there meanwhile and was left alone. Add --force"
    with pytest.raises(UsageError, match=said), whole_file(target, force=False):
        target.write_text("other")
    assert (target.read_text(), target.stat().st_nlink, beside(target)) == ("other", 1, [])
    with whole_file(target) as aside:
        aside.write_text("third")
    assert target.read_text() == "third"
