"""The command line on a terminal of 80 columns, and what it says when it is interrupted or cannot write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.cli import demo
from fieldlog.cli.main import invoke
from fieldlog.cli.output import Output, column_widths
from fieldlog.silence import explain_silence
from fieldlog.text import count
from fieldlog_protocol.commands import fs, image
from fieldlog_protocol.commands import os as os_group
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, RawFraming
from fieldlog_protocol.image import ImageVersion, build_image
from simulator import simulator
from smp_peer import Handler, PtyPeer, pty_peer
from terminal import CLI, screen, written

HASH = bytes(range(32))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def device() -> Iterator[PtyPeer]:
    slots = [{"slot": number, "version": "1.2.3", "hash": HASH, "active": not number} for number in (0, 1)]
    handlers: dict[tuple[int, int, int], Handler] = {
        image.STATE_READ.key: lambda _: {"images": slots},
        image.UPLOAD.key: lambda _: None,
        fs.READ.key: lambda _: None,
        fs.WRITE.key: lambda _: None,
        os_group.INFO.key: lambda _: {"output": "Zephyr board"},
    }
    with pty_peer(handlers) as peer:
        yield peer


# progress bars

STEPS = """
from fieldlog.cli.output import Output
output = Output(verbose=True)
output.note("before")
with output.progress("moving " + "x" * 90) as progress:
    output.note("not begun")
    progress(10, 100)
    output.note("a [red]line[/red]")
    progress(50, 100)
    output.console_text("dev", "hello")
    progress(100, 100)
    output.warn("complete")
    progress(40, 100)
    output.note("went back")
    progress(70, 100)
output.line("result")
"""


def test_lines_stand_above_a_progress_bar_and_nothing_of_it_is_left() -> None:
    text = written(STEPS)
    assert "━" in text, "a bar was shown"
    said = ["before", "not begun", "a [red]line[/red]", "dev: hello", "warning: complete", "went back", "result"]
    assert screen(text) == said


def test_a_bar_leaves_room_for_the_echo_of_an_interrupt() -> None:
    drawn = [line for line in written(STEPS).replace("\r", "\n").splitlines() if "━" in line]
    assert drawn
    assert max(len(screen(line)[0]) for line in drawn) <= 80 - len("^C") - 1


def test_an_installation_leaves_its_steps_on_the_screen(tmp_path: Path) -> None:
    file = tmp_path / "fw.bin"
    file.write_bytes(build_image(bytes(6000), ImageVersion(2, 0, 0)))
    with simulator("--profile", "smp-server", "--baud", "115200") as running:
        text = written(CLI, ["flash", str(file), "-d", running.url])
    assert "━" in text
    unverified, nameless, *steps = screen(text)
    assert "was not verified" in unverified
    assert "has no uid" in nameless
    assert steps == [
        f"uploading 2.0.0 ({file.stat().st_size} bytes)",
        "marked for a test",
        "restarting",
        "confirmed",
        "2.0.0 runs and is confirmed",
    ]


# tables


@given(
    st.integers(1, 5).flatmap(
        lambda wide: st.lists(
            st.lists(st.text("ab é日", max_size=20), min_size=wide, max_size=wide), min_size=1, max_size=4
        )
    ),
    st.integers(0, 80),
)
def test_no_column_is_narrower_than_its_longest_word(rows: list[list[str]], room: int) -> None:
    from rich.cells import cell_len

    columns = list(zip(*rows, strict=True))
    words = [max(cell_len(word) for text in texts for word in text.split(" ")) for texts in columns]
    widths = column_widths(columns, room)
    if widths is None:
        assert sum(words) > room
        return
    assert sum(widths) <= max(room, 0)
    wishes = [max(map(cell_len, texts)) for texts in columns]
    assert all(word <= width <= wish for word, width, wish in zip(words, widths, wishes, strict=True))
    assert sum(wishes) > room or widths == wishes


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_hashes_are_never_broken(device: PtyPeer, columns: int) -> None:
    text = written(CLI, ["image", "list", "-d", device.path], columns)
    assert text.count(HASH.hex()) == 2
    assert ("─" in text) == (columns == 120), "a table where there is room for one"
    assert all(len(line) <= max(columns, 64 + 9) for line in screen(text))


def test_prose_folds_between_words() -> None:
    code = """
from fieldlog.cli.output import Output
Output().table(["setting", "meaning"], [("sample/period", "how often it samples " * 6), ("b", "short")])
"""
    lines = screen(written(code))
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(line.split()) for line in lines).count("how often it samples") == 6


# interrupts


def _interrupted(device: PtyPeer, key: Any, *words: str) -> str:
    """The complaint of a command that is interrupted once it has asked the device for `key`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CLI, *words, "-d", f"{device.path}?timeout=60"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while key not in [asked for asked, _ in device.peer.log]:
        assert child.poll() is None, "it ended before it was interrupted"
        device.peer.asked_something.wait(0.1)
        device.peer.asked_something.clear()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "")
    return err


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        (("flash", "fw.bin"), image.UPLOAD.key, "nothing was installed"),
        (("fs", "get", "/x"), fs.READ.key, "nothing of /x was kept here. Repeat"),
        (("fs", "put", "fw.bin", "/x"), fs.WRITE.key, "/x may be incomplete on the device now. Repeat"),
    ],
)
def test_an_interrupted_transfer_says_what_state_things_are_in(
    device: PtyPeer, tmp_path: Path, words: tuple[str, ...], key: Any, says: str
) -> None:
    (tmp_path / "fw.bin").write_bytes(build_image(bytes(6000), ImageVersion(2, 0, 0)))
    err = _interrupted(device, key, *words)
    assert says in err
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert [path.name for path in tmp_path.iterdir()] == ["fw.bin"]


def test_an_interrupt_after_the_upload_does_not_claim_that_nothing_was_installed(
    device: PtyPeer, tmp_path: Path
) -> None:
    file = tmp_path / "fw.bin"
    file.write_bytes(build_image(bytes(600), ImageVersion(2, 0, 0)))
    device.peer.on(image.UPLOAD, lambda body: {"off": body["off"] + len(body["data"])})
    device.peer.on(image.STATE_WRITE, lambda _: None)
    err = _interrupted(device, image.STATE_WRITE.key, "flash", str(file))
    assert "nothing was installed" not in err
    assert "may have been started already. Repeat the command" in err


# exit codes


@contextmanager
def _nobody(_links: object) -> Generator[str]:
    yield "/dev/ttyNONE9"


def test_a_demo_that_stops_ends_as_its_step_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_simulated_logger", _nobody)
    assert invoke(["demo"]) == 3
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in err] == ["error", "error"]
    assert "stopped at the step above" in err[-1]


def test_a_demo_that_is_interrupted_says_where_its_files_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def interrupted(_links: object) -> Generator[str]:
        raise KeyboardInterrupt
        yield ""

    monkeypatch.setattr(demo, "_simulated_logger", interrupted)
    assert invoke(["demo", "-o", "mine"]) == 130
    assert "is in mine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "says"), [("sim:nope", "nope"), ("sim:?replay=nope.csv", "nope.csv"), ("sim:?no-such-option=1", "no-such-")]
)
def test_a_simulated_device_that_was_asked_for_wrongly_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], url: str, says: str
) -> None:
    assert invoke(["info", "-d", url]) == 2
    err = capsys.readouterr().err
    assert err.count("error:") == 1
    assert err.startswith("error: the simulated device did not start: ")
    assert says in err


# what cannot be written


def test_a_demo_without_a_place_says_so_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert invoke(["demo", "-o", "file/demo"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "can write nothing to file/demo: Not a directory. Nothing was started" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_output_that_cannot_be_written_is_one_sentence(device: PtyPeer, flags: tuple[str, ...]) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CLI, "image", "list", *flags, "-d", device.path]
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    (line,) = ran.stderr.decode().splitlines()
    assert ran.returncode == 1
    assert line.startswith("error: the output could not be written: No space left on device. ")


@pytest.mark.parametrize(
    ("target", "state"),
    [("file/x.toml", "there is no folder file. Nothing was done"), ("taken/x.toml", "It is as it was")],
)
def test_settings_that_cannot_be_written_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: str, state: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/x.toml").write_text("mine")

    def full(self: Path, *_: object, **__: object) -> int:
        with self.open("w") as file:
            file.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert invoke(["config", "export", "-d", "sim:", "-o", target, "--force"]) == 1
    err = capsys.readouterr().err
    assert f"{target} could not be written: " in err
    assert state in err
    assert (tmp_path / "taken/x.toml").read_text() == "mine"
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["x.toml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there.toml")
    (tmp_path / "there.toml").touch()
    assert invoke(["config", "export", "-d", "sim:", "-o", "link", "--force"]) == 0
    assert (tmp_path / "link").is_symlink()
    assert "[settings]" in (tmp_path / "there.toml").read_text()


# words


@pytest.mark.parametrize(
    ("framing", "hint", "other"),
    [
        (ConsoleFraming, "?framing=raw", "?framing=console"),
        (RawFraming, "?framing=console", "?framing=raw"),
        (DatagramFraming, "", "?framing"),
    ],
)
@pytest.mark.parametrize(("seen", "damaged"), [(b"", 0), (b"\xf8\xc3\xfe" * 9, 0), (b"\x06\x09", 1)])
def test_silence_hints_at_the_other_framing(
    framing: Callable[[], Framing], hint: str, other: str, seen: bytes, damaged: int
) -> None:
    sentence = explain_silence("/dev/ttyX", 6.0, seen, damaged, framing())
    assert hint in sentence
    assert other not in sentence
    assert ("?baud=" in sentence) is bool(hint)
    assert framing is not DatagramFraming or "speed" not in sentence


def test_a_silent_port_hints_at_the_framing_that_was_not_tried(
    device: PtyPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    device.peer.handlers.clear()
    device.peer.lose = lambda: True
    assert invoke(["info", "-d", f"{device.path}?timeout=0.3"]) == 3
    assert "try ?framing=raw" in capsys.readouterr().err


def test_a_value_without_a_type_is_told_by_its_key(device: PtyPeer, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["config", "set", "a/b=u32:1", "c/d=5000", "-d", device.path]) == 2
    err = capsys.readouterr().err
    assert "c/d: '5000' does not say" in err
    assert invoke(["config", "set", "c/d", "-d", device.path]) == 2
    assert "error: 'c/d' is no assignment" in capsys.readouterr().err


def test_counts_are_in_the_singular_for_one() -> None:
    assert [count(number, "block") for number in (0, 1, 2)] == ["0 blocks", "1 block", "2 blocks"]


def test_a_clock_that_is_not_set_is_not_called_never_set(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator() as running:
        url = ["-d", running.url]
        assert invoke(["clock", "show", *url]) == 0
        out = capsys.readouterr().out
        assert "not set" in out
        assert "give or take" not in out
        assert invoke(["info", *url]) == 0
        fields = capsys.readouterr().out.splitlines()
        assert invoke(["clock", "sync", *url]) == 0
        assert invoke(["clock", "show", *url]) == 0
        assert "give or take" in capsys.readouterr().out
    assert next(line for line in fields if line.startswith("clock set ")).endswith("not since the last restart")
    starts = {len(line) - len(line[16:].lstrip()) for line in fields}
    assert starts == {16}, "all values stand in one column"
    assert any(line.endswith(" %)") for line in fields)


LONG = """
from fieldlog.cli.output import Output
Output().fields([("memory", "enough for so many days that the words of it do not fit into eighty columns, nor into"
                 " two lines"), ("hash", "f" * 100)])
"""


def test_long_values_fold_between_words_under_their_beginning() -> None:
    lines = [line.rstrip() for line in screen(written(LONG))]
    assert lines[:2] == [
        "memory  enough for so many days that the words of it do not fit into eighty",
        "        columns, nor into two lines",
    ]


def test_no_value_folds_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output().fields([("memory", "word " * 40 + "end")])
    assert capsys.readouterr().out.count("\n") == 1
