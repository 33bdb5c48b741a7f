"""One file for many devices: compared first, asked once, each with its own outcome, and no failure stops the others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import fieldlog
from fieldlog.config import many
from fieldlog.config.document import parse
from fieldlog.config.many import Candidate, Stage, Watch, apply_many
from fieldlog.config.model import Problems
from fieldlog.device import Device
from fieldlog.logger_info import LoggerInfo
from fieldlog.transports.ports import SerialPort
from fieldlog.url import DeviceUrl
from fieldlog_protocol.commands import logger
from fieldlog_protocol.errors import LinkError
from fleet_cli import FLEET, NOBODY, Cli, outcomes, toml
from simulator import Simulator, simulator

DEVICES = 4


@pytest.fixture(scope="module")
def loggers() -> Iterator[Simulator]:
    with simulator("--count", str(DEVICES), "--udp", "0", links=DEVICES) as running:
        yield running


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.toml").write_text(FLEET)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_each_device_gets_its_own_and_a_second_time_nothing_changes(cli: Cli, loggers: Simulator) -> None:
    assert cli("config", "set", "device/name=Hut", "--device", loggers.urls[1]) == 0
    assert cli.apply("fleet.toml", loggers.urls, "--yes") == 0
    assert outcomes(cli.out) == ["applied"] * DEVICES
    assert "section 'nowhere' holds for none of these devices" in cli.err
    found = [cli.values(url, "device/name", "alarm/high") for url in loggers.urls]
    assert [values["device/name"] for values in found] == [f"Ridge {number}" for number in range(1, DEVICES + 1)]
    assert [values["alarm/high"] for values in found] == [35.5, 30.0, 35.5, 35.5]
    assert cli("config", "export", "--device", loggers.urls[3]) == 0
    assert "temperature = [0.25, 1.0]" in cli.out
    assert 'site = "Ridge"' in cli.out
    (Path("same.toml")).write_text(FLEET.replace("label:Hut*", "Ridge 2"))
    assert cli.apply("same.toml", loggers.urls, "--yes") == 0
    assert outcomes(cli.out) == ["no change"] * DEVICES


def test_plans_that_are_alike_are_shown_once(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text(toml(41))
    assert cli.apply("a.toml", loggers.urls, "--dry-run") == 0
    assert cli.out.count("-> 41.0 degC") == 2, "three had another value than the fourth"
    assert outcomes(cli.out) == ["would change"] * DEVICES
    assert cli.values(loggers.url, "alarm/high") == {"alarm/high": 35.5}


def test_names_are_listed_in_a_plan_that_is_else_the_same(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text('[settings]\n"device/name" = "Hill ${index}"\n"alarm/low" = -7\n')
    assert cli.apply("a.toml", loggers.urls, "--dry-run") == 0
    assert cli.out.count("alarm/low: ") == 1
    names = cli.out.partition("device/name:\n")[2].partition("  alarm/low")[0].splitlines()
    assert [line.rpartition(" -> ")[2] for line in names] == [f'"Hill {number}"' for number in range(1, DEVICES + 1)]
    Path("a.toml").write_text('[settings]\n"device/name" = "Twin"\n')
    assert cli.apply("a.toml", loggers.urls[:1], "--dry-run") == 0
    assert "\ndevice/name:" in f"\n{cli.out}"
    assert '-> "Twin"' in cli.out.splitlines()[1]


def test_one_that_fails_stops_no_other_and_is_named(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text(toml(42))
    with simulator("--profile", "smp-server") as stock:
        urls = [NOBODY, *loggers.urls, stock.url]
        assert cli.apply("a.toml", urls, "--yes") == 1, "they failed in different ways"
        assert outcomes(cli.out) == ["failed", *["applied"] * DEVICES, "failed"]
        assert cli.err.count("error: ") == 2
        assert "nobody listens at udp:127.0.0.1:1" in cli.err
        assert "does not describe its settings" in cli.err
        assert "--schema FILE" in cli.err
    assert cli.values(loggers.urls[-1], "alarm/high") == {"alarm/high": 42.0}
    assert cli.apply("a.toml", [NOBODY, loggers.url], "--yes") == 3
    assert outcomes(cli.out) == ["failed", "no change"]


def test_one_that_another_host_keeps_a_change_open_on_stops_no_other(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text(toml(43.5))
    with simulator("--udp", "0") as kept:
        asyncio.run(keep_a_change_open(kept.url))
        assert cli.apply("a.toml", [kept.url, *loggers.urls], "--yes", "--wait", "1s") == 4, cli.err
        assert outcomes(cli.out) == ["failed", *["applied"] * DEVICES]
        assert "has another change open, of which nobody has said that it is to stay: after 1 s" in cli.err
        assert "Nothing was changed on it" in cli.err


async def keep_a_change_open(url: str) -> None:
    async with fieldlog.connect(url) as device:
        begin = logger.TransactionRequest(step=logger.TransactionStep.BEGIN, id=777, secs=65_535)
        await device.request(logger.TRANSACTION, begin)


class Stuck(Device):
    """Answers this and that, and never comes to an end."""

    async def has_logger(self) -> bool:
        await asyncio.Event().wait()
        return True

    async def logger_info(self) -> LoggerInfo:
        await asyncio.Event().wait()
        raise AssertionError


async def test_one_that_is_never_done_saying_what_it_is_stops_no_other(
    loggers: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "COMPARING_S", 1)

    @asynccontextmanager
    async def connect(url: DeviceUrl) -> AsyncGenerator[Device]:
        async with fieldlog.connect(url) as device:
            yield Stuck(device.client) if url.text == loggers.urls[1] else device

    found = await apply_many(parse(toml(44.5), "a.toml"), loggers.urls[:3], lambda _: True, wait_s=0, connect=connect)
    assert [candidate.stage for candidate in found] == [Stage.APPLIED, Stage.FAILED, Stage.APPLIED]
    assert isinstance(found[1].error, LinkError)
    assert "had not said all that it was asked after 1 s. Nothing was changed on it" in str(found[1].error)


async def test_one_that_vanishes_while_the_others_are_written_is_named(loggers: Simulator) -> None:
    with simulator("--udp", "0") as doomed:

        def agree(_: Sequence[Candidate]) -> bool:
            doomed.process.kill()
            doomed.process.wait()
            return True

        urls = [f"{doomed.url}?timeout=0.5", *loggers.urls]
        found = await apply_many(parse(toml(43), "a.toml"), urls, agree)
    assert [candidate.stage for candidate in found] == [Stage.FAILED, *[Stage.APPLIED] * DEVICES]
    assert isinstance(found[0].error, LinkError)
    async with fieldlog.connect(loggers.url) as device:
        assert (await device.read_setting("alarm/high")).hex() == "00002c42"


def test_two_ways_to_a_device_are_one_device(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text(toml(44))
    other = loggers.url.replace("127.0.0.1", "localhost")
    found = cli.json("a.toml", [loggers.url, other], "--yes")
    assert sorted(line["outcome"].partition(" as ")[0] for line in found) == ["applied", "same device"]
    assert len({line["device"] for line in found}) == 2


def test_a_file_that_is_wrong_for_one_device_is_written_to_none(cli: Cli, loggers: Simulator) -> None:
    before = [cli.values(url, "alarm/high", "device/name") for url in loggers.urls]
    serial = loggers.ready[2]["serial"]
    Path("a.toml").write_text(
        f'{toml(45)}b = ?\n[devices."serial:{serial}".settings]\n"alarm/hihg" = 1\n"device/serial" = "x"\n[log]\nlable = 1\n'
    )
    assert cli.apply("a.toml", [*loggers.urls, NOBODY], "--yes") == 2
    for problem in (
        "a.toml:3:5: this is not TOML",
        "a.toml:5:1: the device",
        "a.toml:6:19: ",
        "a.toml:8:1: [log] has no",
    ):
        assert cli.err.count(problem) == 1, problem
    assert "Did you mean alarm/high? (" in cli.err, "whose problem it is"
    assert [cli.values(url, "alarm/high", "device/name") for url in loggers.urls] == before


def test_a_file_that_is_no_toml_is_told_even_if_no_device_answers(cli: Cli) -> None:
    Path("a.toml").write_text("[settings\n")
    assert cli.apply("a.toml", [NOBODY], "--yes") == 2
    assert "a.toml:1:10: this is not TOML" in cli.err


def test_without_a_terminal_nobody_can_agree(cli: Cli, loggers: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text(toml(46))
    before = cli.values(loggers.url, "alarm/high")
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert cli.apply("a.toml", [loggers.url]) == 2
        assert "nothing was changed: nobody is there to be asked. Add --yes" in cli.err
        assert cli.values(loggers.url, "alarm/high") == before
        assert cli.apply("a.toml", loggers.urls, "--dry-run") == 0, "to look needs nobody's consent"


def test_keys_of_a_section_for_others_are_looked_at_too(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text('[devices."nowhere".settings]\n"alarm/hihg" = 20\n"alarm/low" = -5\n')
    assert cli.apply("a.toml", loggers.urls[:2], "--dry-run") == 0
    assert "a.toml:2:1: none of these devices has a setting 'alarm/hihg'. Did you mean alarm/high?" in cli.err
    assert "alarm/low" not in cli.err


def test_json_has_a_line_for_each_of_several_and_one_object_for_one(cli: Cli, loggers: Simulator) -> None:
    Path("a.toml").write_text(toml(49))
    found = cli.json("a.toml", [*loggers.urls, NOBODY], "--dry-run")
    assert [line["outcome"] for line in found if line["error"] is None] == ["would change"] * DEVICES
    (failed,) = [line for line in found if line["error"] is not None]
    assert (failed["outcome"], failed["error"]["exit_code"]) == ("failed", 3)
    (one,) = cli.json("a.toml", [loggers.url], "--yes")
    assert (one["outcome"], one["kept"], one["error"]) == ("applied", True, None)
    assert [(change["key"], change["new"]) for change in one["changes"]] == [("alarm/high", 49.0)]


@pytest.mark.parametrize("timeout", ["0s", "1.5s", "20h", "soon"])
def test_the_time_limit_is_one_that_devices_know(cli: Cli, loggers: Simulator, timeout: str) -> None:
    assert cli.apply("fleet.toml", [loggers.url], "--yes", "--timeout", timeout) == 2


def test_all_takes_every_logger_that_answers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text(toml(50))
    with simulator("--count", "2", links=2) as running, simulator("--profile", "smp-server") as stock:
        paths = [url.partition("?")[0].removeprefix("serial:") for url in [*running.urls, stock.url]]
        monkeypatch.setattr("fieldlog.transports.serial_ports", lambda: [SerialPort(path) for path in paths])
        assert cli("config", "apply", "a.toml", "--all", "--yes") == 0
    assert outcomes(cli.out) == ["applied", "applied", "no logger"]
    monkeypatch.setattr("fieldlog.transports.serial_ports", list)
    assert cli("config", "apply", "a.toml", "--all", "--yes") == 3
    assert "Nothing was changed" in cli.err


async def test_problems_stop_everything_before_anybody_is_asked(loggers: Simulator) -> None:
    def never(_: Sequence[Candidate]) -> bool:
        raise AssertionError("asked")

    with pytest.raises(Problems):
        await apply_many(parse("[settings]\nnone = 1\n", "a.toml"), loggers.urls, never)


async def test_a_bug_while_one_is_compared_leaves_the_others_their_end(
    loggers: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: dict[str, Stage] = {}

    def told(candidate: Candidate) -> None:
        stages[candidate.url.text] = candidate.stage
        if candidate.index == 1 and candidate.stage is Stage.APPLYING:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await apply_many(parse(toml(51), "a.toml"), loggers.urls, lambda _: True, watch=Watch(told))
    assert [stages[url] for url in loggers.urls[1:]] == [Stage.APPLIED] * (DEVICES - 1)


def test_twenty_behind_slow_links_take_hardly_longer_than_one(cli: Cli) -> None:
    many = 20
    with simulator("--count", str(1 + many), "--udp", "0", "--latency", "50ms", links=1 + many) as running:
        started = time.monotonic()
        assert cli.apply("fleet.toml", running.urls[:1], "--yes") == 0
        one_s = time.monotonic() - started
        started = time.monotonic()
        assert cli.apply("fleet.toml", running.urls[1:], "--yes") == 0
        all_s = time.monotonic() - started
    assert outcomes(cli.out) == ["applied"] * many
    assert all_s < max(3 * one_s, 10.0), f"{all_s:.1f} s for all, {one_s:.1f} s for one"


def test_devices_of_one_name_are_told_apart(cli: Cli, loggers: Simulator) -> None:
    serials = [str(ready["serial"]) for ready in loggers.ready]
    Path("a.toml").write_text('[settings]\n"device/name" = "Twin"\n')
    assert cli.apply("a.toml", loggers.urls[:2], "--yes") == 0, cli.err
    Path("b.toml").write_text(
        f'{toml(51)}[devices."serial:{serials[1]}".settings]\n"alarm/high" = 52\n"alarm/lowe" = 1\n'
    )
    assert cli.apply("b.toml", loggers.urls[:3], "--yes") == 2
    assert f"(Twin ({serials[1]}))" in cli.err
    Path("b.toml").write_text(Path("b.toml").read_text().replace('"alarm/lowe" = 1', ""))
    assert cli.apply("b.toml", loggers.urls[:3], "--dry-run") == 0, cli.err
    assert f"Twin ({serials[0]})" in cli.out
    assert f"Twin ({serials[1]}):" in cli.out
    Path("a.toml").write_text('[settings]\n"device/name" = "Ridge ${index}"\n')
    assert cli.apply("a.toml", loggers.urls[:2], "--yes") == 0, cli.err
