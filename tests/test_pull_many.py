"""Pulls of many devices at once: one result each, nobody waits for nobody, and no failure stops the others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fieldlog.archive
import fieldlog.blocking
from fieldlog.cli.main import invoke
from fieldlog.pull import pull as pull_device
from fieldlog.pull_many import AT_ONCE, Readout, Stage, pull_many
from fieldlog.transports.ports import SerialPort
from fieldlog.url import distinct
from fieldlog_protocol.blocks.block import Block, Kind
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import ProtocolError
from simulator import Simulator, simulator
from smp_peer import Answer, Handler, pty_peer
from terminal import CLI, screen, written

DEVICES = 3


@pytest.fixture(scope="module")
def loggers() -> Iterator[Simulator]:
    """They have recorded and are idle."""
    with simulator("--count", str(DEVICES), "--history", "2h", links=DEVICES) as running:
        for url in running.urls:
            assert invoke(["log", "stop", "--device", url]) == 0
        yield running


@pytest.fixture(scope="module")
def stock() -> Iterator[Simulator]:
    with simulator("--profile", "smp-server") as running:
        yield running


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


def recorded(folder: Path) -> dict[str, list[Block]]:
    """What each device recorded. Events are left out: a pull may leave a clock sync on the device."""
    with fieldlog.archive.open(folder) as archive:
        return {log.info().uid: log.blocks(Kind.SCHEMA) + log.blocks(Kind.DATA) for log in archive.logs()}


def pull_words(*urls: str) -> list[str]:
    return ["pull", *(word for url in urls for word in ("--device", url))]


class Cli:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = invoke(words)
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """By the URL that was given."""
        code, out, _ = self(*words, "--json")
        return code, {line["url"]: line for line in map(json.loads, out.splitlines())}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_several_at_once_leave_the_same_archive_as_one_after_the_other(
    cli: Cli, loggers: Simulator, tmp_path: Path
) -> None:
    code, found = cli.json(*pull_words(*loggers.urls))
    assert code == 0
    assert [found[url]["outcome"] for url in loggers.urls] == ["done"] * DEVICES
    assert len({line["uid"] for line in found.values()}) == DEVICES
    assert all(line["readings"] > 0 and line["error"] is None for line in found.values())
    for url in loggers.urls:
        assert invoke([*pull_words(url), "--archive", "single"]) == 0
    assert recorded(tmp_path / "archive") == recorded(tmp_path / "single")
    assert {line["readings"] for line in cli.json(*pull_words(*loggers.urls))[1].values()} == {0}


def test_one_that_fails_stops_no_other_and_is_named(cli: Cli, loggers: Simulator) -> None:
    code, out, err = cli(*pull_words("/dev/ttyNONE9", *loggers.urls))
    assert code == 3
    assert err.count("error: ") == 1
    assert "/dev/ttyNONE9" in err
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[-1] for row in rows] == ["failed", *["done"] * DEVICES]
    assert rows[0] == ["/dev/ttyNONE9", "/dev/ttyNONE9", "failed"], "what has told no name goes by its URL"


def test_failures_of_different_kinds_are_exit_code_1(cli: Cli, stock: Simulator) -> None:
    code, found = cli.json(*pull_words("/dev/ttyNONE9", stock.url))
    assert code == 1
    assert [found[url]["error"]["exit_code"] for url in ("/dev/ttyNONE9", stock.url)] == [3, 4]
    assert [line["outcome"] for line in found.values()] == ["failed", "failed"]
    assert cli(*pull_words(stock.url, stock.url))[0] == 4, "the same port twice is one device"


def test_a_device_that_two_urls_lead_to_is_read_once(cli: Cli) -> None:
    with pty_peer(answers()) as one, pty_peer(answers()) as other:
        code, found = cli.json(*pull_words(one.path, other.path))
        seals = len(one.peer.asked(logger.SEAL)) + len(other.peer.asked(logger.SEAL))
    assert code == 0
    outcomes = sorted(line["outcome"] for line in found.values())
    assert outcomes[0] == "done"
    assert outcomes[1] in {f"same device as {one.path}", f"same device as {other.path}"}
    assert seals == 1


def test_where_one_way_to_a_device_fails_the_other_is_tried(cli: Cli) -> None:
    with pty_peer(answers()) as one, pty_peer(answers()) as other:
        first = [one, other]

        def unplug_whoever_is_first(_: dict[str, Any]) -> Answer:
            if first:
                port = next(port for port in first if port.peer.asked(logger.SEAL))
                first.clear()
                port.unplug()
                return None
            return {"next": 0}

        for port in (one, other):
            port.peer.on(logger.SEAL, unplug_whoever_is_first)
        code, found = cli.json(*pull_words(one.path, other.path))
    assert sorted(line["outcome"] for line in found.values()) == ["done", "failed"]
    assert code == 3


def answers(uid: int = 1) -> dict[tuple[int, int, int], Handler]:
    """An empty logger."""
    info: dict[str, Any] = {
        "parts": 1,
        "uid": bytes([uid] * 8),
        "log": 1,
        "block": 1024,
        "boot": 1,
        "tick": 5,
        "state": 0,
    }
    return {
        logger.INFO.key: lambda _: info | {"first": 0, "next": 0},
        logger.SEAL.key: lambda _: {"next": 0},
        logger.SESSIONS.key: lambda _: {"n": 0, "s": []},
        logger.CLOCK_PROBE.key: lambda _: {"boot": 1, "rx": 1000, "tx": 1000},
    }


def test_ports_named_twice_are_one() -> None:
    urls = distinct(["/dev/ttyX", "sim:", "serial:/dev/ttyX?baud=9600", "udp:h", "udp:h:1337", "udp:h:1338", "sim:"])
    assert [url.text for url in urls] == ["/dev/ttyX", "sim:", "udp:h", "udp:h:1338", "sim:"]


def test_a_link_to_a_port_is_that_port(tmp_path: Path) -> None:
    (tmp_path / "port").touch()
    (tmp_path / "link").symlink_to("port")
    assert len(distinct([str(tmp_path / "port"), str(tmp_path / "link")])) == 1


async def test_no_more_are_read_at_once_than_documented(tmp_path: Path) -> None:
    """More loggers than that, none of which answers its seal before the last that may be is asked."""
    waiting: set[int] = set()
    most = 0

    def seal(number: int, _: dict[str, Any]) -> Answer:
        nonlocal most
        waiting.add(number)
        most = max(most, len(waiting))
        return {"next": 0}

    def told(readout: Readout) -> None:
        if readout.over:
            waiting.discard(numbers[readout.url.text])

    with ExitStack() as stack, fieldlog.archive.open(tmp_path) as archive:
        ports = [stack.enter_context(pty_peer(answers(number))) for number in range(AT_ONCE + 3)]
        numbers = {port.path: number for number, port in enumerate(ports)}
        for number, port in enumerate(ports):
            port.peer.on(logger.SEAL, partial(seal, number))
        done = await pull_many([port.path for port in ports], archive, told=told)
    assert {readout.stage for readout in done} == {Stage.DONE}
    assert 1 < most <= AT_ONCE


async def test_a_bug_in_one_pull_is_raised_when_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pull_device
    seen: list[Readout] = []

    async def pull(device: Any, *args: Any, **kwargs: Any) -> Any:
        if device.name == one.path:
            raise ZeroDivisionError
        return await real(device, *args, **kwargs)

    monkeypatch.setattr("fieldlog.steady_pull.pull", pull)
    with pty_peer(answers(1)) as one, pty_peer(answers(2)) as other:
        archive = fieldlog.archive.open(tmp_path)
        with archive, pytest.raises(ZeroDivisionError):
            await pull_many([one.path, other.path], archive, told=seen.append)
    assert [readout.stage for readout in seen if readout.name == other.path][-1] is Stage.DONE


# --all


@contextmanager
def ports(monkeypatch: pytest.MonkeyPatch, *paths: str) -> Generator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("fieldlog.transports.serial_ports", lambda: [SerialPort(path) for path in paths])
        yield


def test_all_reads_every_logger_that_answers(
    cli: Cli, loggers: Simulator, stock: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = [running.partition("?")[0].removeprefix("serial:") for running in loggers.urls]
    with pty_peer() as silent, ports(monkeypatch, *present, stock.port, f"{silent.path}?timeout=0.3"):
        silent.peer.lose = lambda: True
        code, out, err = cli("pull", "--all")
    assert (code, "error" in err) == (0, False)
    outcomes = [" ".join(line.split()[-2:]) for line in out.splitlines()[1:]]
    assert [text.endswith("done") for text in outcomes] == [True] * DEVICES + [False] * 2
    assert outcomes[DEVICES:] == ["no logger", "no answer"]
    assert f"nobody answered on {silent.path}" in err


def test_what_is_named_beside_all_must_answer(
    cli: Cli, loggers: Simulator, stock: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ports(monkeypatch, loggers.port):
        code, found = cli.json("pull", "--all", "--device", stock.url)
    assert code == 4
    assert sorted(line["outcome"] for line in found.values()) == ["done", "failed"]


def test_all_of_nothing_is_no_device(cli: Cli, stock: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    with ports(monkeypatch):
        assert cli("pull", "--all")[0] == 3
    with ports(monkeypatch, stock.port):
        code, _, err = cli("pull", "--all")
    assert code == 3
    assert "no logger answered at 1 port" in err


# interrupts and progress


def test_an_interrupt_tells_the_state_of_each(tmp_path: Path) -> None:
    with simulator("--history", "5d", "--baud", "20000") as slow, simulator("--history", "1h") as quick:
        command = [sys.executable, "-m", "fieldlog.cli", *pull_words(slow.url, quick.url), "--json"]
        environment = os.environ | {"FIELDLOG_ARCHIVE": str(tmp_path / "archive")}
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert child.stdout is not None
        first = json.loads(child.stdout.readline())  # the quick one is done: the slow one is being read
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (first["url"], first["outcome"], child.returncode) == (quick.url, "done", 130)
    device, end = map(json.loads, out.splitlines())
    assert (device["outcome"], end["error"]["exit_code"]) == ("interrupted", 130)
    assert "what has arrived is in the archive. Repeat" in err
    told = device["blocks"]
    with fieldlog.archive.open(tmp_path / "archive") as archive:
        by_uid = {log.info().uid: log for log in archive.logs()}
        del by_uid[first["uid"]]
        held = sum(len(log.held()) for log in by_uid.values())
    assert held >= told


def test_each_device_has_a_line_of_progress(tmp_path: Path) -> None:
    with (
        simulator("--history", "12h", "--baud", "115200") as one,
        simulator("--history", "12h", "--baud", "115200") as two,
    ):
        text = written(CLI, pull_words(one.url, two.url))
    drawn = text.replace("\r", "\n").splitlines()
    for url in (one.port, two.port):
        bars = [line for line in drawn if url in line and "━" in line]
        assert any("readings" in line and "B/s" in line and "0:00:" in line for line in bars), "rate and time left"
    assert "━" not in "".join(screen(text)), "the bars are gone when the work is done"


# the Parquet files


def rows(folder: Path) -> int:
    import pyarrow.dataset

    readings = folder / "readings"
    return int(pyarrow.dataset.dataset(readings, partitioning="hive").count_rows()) if readings.exists() else 0


def test_the_parquet_files_are_brought_up_to_date_behind_the_links(
    cli: Cli, loggers: Simulator, tmp_path: Path
) -> None:
    code, found = cli.json(*pull_words(*loggers.urls), "--no-parquet")
    assert (code, rows(tmp_path / "archive")) == (0, 0)
    assert invoke(pull_words(loggers.urls[0])) == 0
    assert rows(tmp_path / "archive") == sum(line["readings"] for line in found.values()) > 0


def test_parquet_files_that_cannot_be_written_are_a_warning(cli: Cli, loggers: Simulator, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "readings").touch()
    code, found = cli.json(*pull_words(loggers.urls[0]))
    (line,) = found.values()
    assert (code, line["outcome"]) == (0, "done")
    assert "The readings are safe in the archive" in line["warnings"][-1]
    code, _, err = cli(*pull_words(*loggers.urls))
    assert (code, err.count("The readings are safe in the archive")) == (0, 1)


# without async


def test_without_async(loggers: Simulator, tmp_path: Path) -> None:
    done = fieldlog.blocking.pull(loggers.urls, tmp_path / "mine")
    assert [readout.stage for readout in done] == [Stage.DONE] * DEVICES
    assert all(readout.result and readout.result.readings for readout in done)


def test_without_async_where_a_loop_is_running(loggers: Simulator, tmp_path: Path) -> None:
    """As in a notebook."""

    async def cell() -> list[Readout]:
        return fieldlog.blocking.pull(loggers.urls[0], tmp_path / "mine")

    (done,) = asyncio.run(cell())
    assert done.result is not None


def test_a_failure_is_in_the_readout(tmp_path: Path) -> None:
    with pty_peer(answers()) as peer:
        peer.peer.on(logger.CLOCK_PROBE, lambda _: {"boot": 1, "rx": 1000, "tx": 1000})
        peer.peer.on(logger.SESSIONS, lambda _: {"n": 9, "s": [], "more": True})
        (done,) = fieldlog.blocking.pull(peer.path, tmp_path / "mine")
    assert isinstance(done.error, ProtocolError)
    assert done.stage is Stage.FAILED
