"""The simulator as a program: what it says, how it ends, and what its flash images keep when it is killed."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import fieldlog
from fieldlog_protocol.blocks.block import Kind, parse_block, parse_header
from fieldlog_protocol.blocks.events import Boot, SessionStart, decode_events
from fieldlog_protocol.blocks.split import split_blocks
from fieldlog_protocol.commands import Empty, logger, settings
from fieldlog_protocol.commands.logger import State, StreamPeriod
from fieldlog_sim.__main__ import main
from simulator import Simulator, simulator, started

UDP = ("--udp", "127.0.0.1:0")
pty_only = pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals here")


async def log_of(device: fieldlog.Device) -> dict[int, bytes]:
    """Sealed blocks by seq, counted from the last that was received: offsets hold while nothing is sealed in between."""
    blocks: dict[int, bytes] = {}
    position = (await device.logger_info()).first_seq
    while True:
        reply = await device.request(logger.BLOCKS, logger.BlocksRequest(q=position, o=0, n=2000))
        found = split_blocks(reply.d).blocks
        if not found:
            return blocks
        blocks |= {parse_header(wire).seq: wire for wire in found}
        position = max(blocks) + 1


# the command line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "nope"], "nope"),
        (["--count", "0"], "whole number of 1 or more"),
        (["--count", "many"], "whole number of 1 or more"),
        (["--udp", "x"], r"\[HOST:\]PORT"),
        (["--udp", ":70000"], r"\[HOST:\]PORT"),
        (["--udp", "65535", "--count", "2"], "no port numbers for 2 devices"),
        (["--framing", "udp"], "udp"),
        (["--baud", "-3"], "baud rate"),
        (["--latency", "5"], "16ms|10min"),
        (["--buffers", "384"], "384x4"),
        (["--buffers", "63x4"], "64 to 65535"),
        (["--buffers", "384x1"], "2 to 255"),
        (["--loss", "1.5"], "probability"),
        (["--delay", "nan"], "probability"),
        (["--time-scale", "0"], "factor"),
        (["--time-scale", "inf"], "factor"),
        (["--clock-ppm", "nan"], "parts per million"),
        (["--clock-ppm", "1e7"], "parts per million"),
        (["--power-cut-after", "0"], "whole number of 1 or more"),
        (["--history", "100000d"], "before 1970"),
        (["--history", "soon"], "no duration"),
        (["--history", "1d", "--replay", "x.csv"], "leave --history out"),
        (["--replay-unit", "x"], "COLUMN=UNIT"),
        (["--seed", "x"], "int"),
        (["--prof", "logger"], "--prof"),
        (["something"], "something"),
    ],
    ids=" ".join,
)
def test_bad_options_end_with_2_and_a_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    (sentence,) = err.splitlines()
    assert out == ""
    assert sentence.startswith("error: ")
    assert sentence.endswith("see `fieldlog sim --help`.")
    assert re.search(said, sentence), sentence


def run(*words: str | Path, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    """Until it ends by itself."""
    process = started(*words, fresh=fresh)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.close()
    with process.stdout, process.stderr:
        return subprocess.CompletedProcess(words, process.wait(30), process.stdout.read(), process.stderr.read())


def assert_one_sentence(ended: subprocess.CompletedProcess[str], code: int, said: str) -> None:
    assert (ended.returncode, ended.stdout) == (code, "")
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith("error: ")
    assert said in sentence


def test_a_busy_udp_port_stands_in_the_way() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        assert_one_sentence(run("--udp", f"127.0.0.1:{port}", fresh=True), 1, f"127.0.0.1:{port}")


@pty_only
def test_a_path_that_is_somebody_elses_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "tty"
    path.write_text("mine")
    assert_one_sentence(run("--pty", path), 2, str(path))
    assert path.read_text() == "mine"
    assert_one_sentence(run("--pty", tmp_path / "no" / "folder"), 2, "folder")


def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert_one_sentence(run(*UDP, "--state", file), 1, str(file))
    assert_one_sentence(run(*UDP, "--state", file / "below"), 1, "Nothing was started")
    assert file.read_text() == "mine"
    short = tmp_path / "short"
    short.mkdir()
    (short / "device0.flash").write_bytes(b"short")
    assert_one_sentence(run(*UDP, "--state", short), 2, "Nothing was changed")
    assert (short / "device0.flash").read_bytes() == b"short"


@pytest.mark.skipif(os.name == "nt", reason="no locks on Windows")
def test_a_state_directory_has_one_simulator_at_a_time(tmp_path: Path) -> None:
    with simulator(*UDP, "--state", tmp_path) as device:
        assert_one_sentence(run(*UDP, "--state", tmp_path), 1, str(tmp_path))
        device.process.kill()
        device.process.wait()
    with simulator(*UDP, "--state", tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
@pytest.mark.parametrize("past", [[], ["--history", "1d"]], ids=["new", "history"])
def test_a_state_directory_without_room(tmp_path: Path, past: list[str]) -> None:
    """A limit on files stands for a full disk: no write beyond it succeeds."""
    words = [*UDP, "--state", str(tmp_path), *past]
    program = (
        "import resource, sys; from fieldlog_sim.__main__ import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); sys.exit(main({words!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert_one_sentence(ended, 1, f"no flash images can be kept in {tmp_path}")
    assert names_in(tmp_path) == ["lock"]


# links


@pty_only
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT"])
def test_a_running_simulator_keeps_its_link(tmp_path: Path, end: str) -> None:
    path, state = tmp_path / "tty", tmp_path / "state"
    with simulator("--pty", path) as device:
        target = path.readlink()
        assert_one_sentence(run("--pty", path, "--state", state), 1, f"{path} is the link of a simulator")
        assert path.readlink() == target
        assert not state.exists(), "nothing was begun"
        device.process.kill()
        device.process.wait()
    assert path.is_symlink(), "a process that is killed cannot put anything away"
    with simulator("--pty", path) as device:
        assert path.exists()
        stop(device, end)
        assert device.process.wait(10) == 0
    assert names_in(tmp_path) == []


@pty_only
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_stopped_before_it_is_ready_it_leaves_nothing(tmp_path: Path, end: signal.Signals) -> None:
    """It is stopped as soon as its past begins to come about, with the link claimed."""
    path, state = tmp_path / "tty", tmp_path / "state"
    command = [sys.executable, "-m", "fieldlog_sim", "--pty", path, "--state", state, "--history", "2000d"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not (state / "device0.new").exists():
            assert process.poll() is None
        process.send_signal(end)
        assert process.wait(10) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("", "interrupted\n")
    assert names_in(tmp_path) == ["state"]


@pty_only
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "EOF"])
def test_the_link_to_the_pty_is_removed_at_the_end(tmp_path: Path, end: str) -> None:
    path = tmp_path / "tty"
    with simulator("--pty", path, fresh=True) as device:
        assert path.is_symlink()
        assert device.url == f"serial:{path}"
        stop(device, end)
        assert device.process.wait(10) == 0
        assert not path.is_symlink()


def stop(device: Simulator, how: str) -> None:
    if how == "EOF":
        assert device.process.stdin is not None
        device.process.stdin.close()
    else:
        device.process.send_signal(signal.Signals[how])


@pty_only
async def test_several_devices_are_numbered_and_their_own(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    port = min(free, 65_000)
    arguments = ("--count", "3", "--pty", tmp_path / "tty", "--udp", f"127.0.0.1:{port}", "--state", tmp_path / "state")
    with simulator(*arguments, links=6) as devices:
        expected = [url for n in range(3) for url in (f"serial:{tmp_path}/tty{n}", f"udp:127.0.0.1:{port + n}")]
        assert devices.urls == expected
        assert len({item["serial"] for item in devices.ready}) == 3
        for item in devices.ready:
            async with fieldlog.connect(str(item["url"])) as device:
                info = await device.logger_info()
                assert (info.serial, info.uid.hex()) == (item["serial"], item["uid"])
    assert names_in(tmp_path / "state") == ["device0.flash", "device1.flash", "device2.flash", "lock"]
    assert names_in(tmp_path) == ["state"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# time


@pytest.mark.parametrize("scale", ["1", "1000", "1000000"])
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT"])
async def test_a_device_that_reads_faster_than_it_can_answers_and_ends(tmp_path: Path, scale: str, end: str) -> None:
    """At the largest scale 7 thousand million rows are due each second."""
    table = tmp_path / "micro.csv"
    rows = (f"{1_700_000_000 + number * 137e-6:.6f},{number},{number / 2}\n" for number in range(200))
    table.write_text("time,a,b\n" + "".join(rows))
    with simulator(*UDP, "--replay", table, "--time-scale", scale) as running:
        async with fieldlog.connect(running.url + "?timeout=3") as device:
            for _ in range(5):
                assert (await device.logger_info()).state == State.LOGGING
        stop(running, end)
        assert running.process.wait(5) == 0


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_second_signal_ends_it_as_it_is(tmp_path: Path) -> None:
    """The end waits for the flash to be put away, here for good."""
    program = tmp_path / "stuck.py"
    program.write_text(
        "import sys, threading\n"
        "from fieldlog_sim.__main__ import main\n"
        "from fieldlog_sim.links.udp import UdpLink\n"
        "def close(link):\n"
        "    print('stuck', flush=True)\n"
        "    threading.Event().wait()\n"
        "UdpLink.close = close\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, str(program), *UDP]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stuck\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


# state


def assert_kept(before: dict[int, bytes], after: dict[int, bytes]) -> None:
    missing = [seq for seq in before if seq not in after]
    assert not missing, f"sealed blocks are gone: {missing}"
    assert all(after[seq] == wire for seq, wire in before.items())


async def kill_and_look_again(folder: Path, seed: int, rounds: int) -> None:
    """Each round ends with the process killed somewhere in the midst of programming a run of marks."""
    randomness = random.Random(seed)
    arguments = (*UDP, "--state", folder, "--time-scale", "200", "--buffers", "2048x4", "--seed", str(seed))
    before: dict[int, bytes] = {}
    for round_ in range(rounds):
        with simulator(*arguments) as running:
            async with fieldlog.connect(running.url) as device:
                after = await log_of(device)
                assert_kept(before, after)
                info = await device.logger_info()
                assert (info.boot_id, info.next_seq > max(after)) == (round_ + 1, True)
                if round_ == 0:
                    await device.request(logger.ARM, logger.ArmRequest(id=1, label="kill", wrap=False))
                assert (await device.logger_info()).state == State.LOGGING
                await add_marks(device, randomness, 20)
                await device.request(logger.SEAL, Empty())
                before = await log_of(device)
                assert len(before) > len(after) + 20
                killed_in = asyncio.create_task(add_marks(device, randomness, 1000))
                for _ in range(randomness.randrange(300)):
                    await asyncio.sleep(0)
                running.process.kill()
                running.process.wait()
                killed_in.cancel()


async def add_marks(device: fieldlog.Device, randomness: random.Random, count: int) -> None:
    for _ in range(count):
        await device.request(logger.MARK, logger.MarkRequest(id=randomness.randrange(2**32), text="x" * 100))


async def test_a_killed_device_keeps_all_that_was_sealed(tmp_path: Path) -> None:
    await kill_and_look_again(tmp_path, 1, 4)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2, 8))
async def test_a_killed_device_keeps_all_that_was_sealed_in_full(tmp_path: Path, seed: int) -> None:
    await kill_and_look_again(tmp_path, seed, 15)


async def test_without_a_state_directory_nothing_is_kept() -> None:
    for _ in range(2):
        with simulator(*UDP) as running:
            async with fieldlog.connect(running.url) as device:
                assert (await device.logger_info()).boot_id == 1
                assert await device.read_setting("device/name") == b""
                await device.write_setting("device/name", b"forgotten")
                await device.request(settings.SAVE, settings.SettingSaveRequest())


def boots_and_sessions(blocks: dict[int, bytes]) -> tuple[int, list[str]]:
    parsed = [parse_block(blocks[seq]) for seq in sorted(blocks)]
    events = [timed.event for b in parsed if b.header.kind == Kind.EVENT for timed in decode_events(b.payload)]
    boots = sum(isinstance(event, Boot) for event in events)
    return boots, [event.label for event in events if isinstance(event, SessionStart)]


async def history_of(arguments: Sequence[str | Path]) -> dict[int, bytes]:
    with simulator(*arguments) as running:
        async with fieldlog.connect(running.url) as device:
            return await log_of(device)


async def test_a_history_is_generated_once(tmp_path: Path) -> None:
    arguments = (*UDP, "--state", tmp_path, "--history", "3d", "--buffers", "2048x4")
    first = await history_of(arguments)
    assert boots_and_sessions(first) == (2, ["history"])
    data = [parse_block(wire) for wire in first.values()]
    frames = sum(block.n_frames for block in data if block.header.kind == Kind.DATA)
    assert frames == pytest.approx(3 * 8640, abs=20)
    second = await history_of(arguments)
    assert_kept(first, second)
    assert boots_and_sessions(second) == (3, ["history"])


async def test_a_replay_is_recorded_once(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("time,temp [Cel]\n" + "".join(f"2020-01-01T{hour:02}:00:00,{hour}.5\n" for hour in range(24)))
    arguments = (*UDP, "--state", tmp_path / "state", "--replay", table, "--buffers", "2048x4")
    first = await history_of(arguments)
    second = await history_of(arguments)
    assert_kept(first, second)
    assert boots_and_sessions(first) == (2, ["table"])
    assert boots_and_sessions(second) == (3, ["table"])


async def test_a_history_that_was_interrupted_is_begun_anew(tmp_path: Path) -> None:
    half_done = tmp_path / "device0.new"
    half_done.write_bytes(b"\0" * 1000)
    blocks = await history_of((*UDP, "--state", tmp_path, "--history", "1d", "--buffers", "2048x4"))
    assert boots_and_sessions(blocks) == (2, ["history"])
    assert not half_done.exists()


async def test_power_can_be_cut_by_an_option() -> None:
    with simulator(*UDP, "--power-cut-after", "5") as running:
        async with fieldlog.connect(running.url + "?timeout=1") as device:
            request = logger.ArmRequest(id=5, streams=(StreamPeriod(s=0),))
            assert (await device.request(logger.ARM, request)).session == 1
            info = await device.logger_info()
            assert (info.boot_id, info.reset_reason, info.state) == (2, "brownout", State.LOGGING)
