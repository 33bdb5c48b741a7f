"""The command line on stock devices: results on stdout, sentences on stderr, the right exit code, nothing raw."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from fieldlog.cli.main import COMMANDS, invoke
from fieldlog.cli.main import cli as fieldlog_commands
from fieldlog_protocol.commands import Command, enum, fs, image, logger, settings, shell, stat
from fieldlog_protocol.commands import os as os_group
from fieldlog_protocol.image import ImageVersion, build_image
from smp_peer import ECHO, PARAMS, Handler, PtyPeer, Refuse, pty_peer
from terminal import CLI, written

OURS = [name for name in COMMANDS if name not in ("clock", "log", "pull", "archive", "export", "plot", "sim", "demo")]
LIGHT = ("numpy", "matplotlib", "pyarrow", "pandas", "bleak", "serial", "rich", "construct", "cbor2", "msgspec")
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\r\n\x00\x7f[red]"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


class Cli:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Ran:
        self._capsys.readouterr()
        code = invoke(words)
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("FIELDLOG_DEVICE", raising=False)
    return Cli(capsys)


@pytest.fixture
def device() -> Iterator[PtyPeer]:
    slot = {"slot": 0, "version": "1.2.3", "hash": bytes(32), "active": True, "confirmed": True}
    handlers: dict[tuple[int, int, int], Handler] = {
        os_group.INFO.key: lambda _: {"output": "Zephyr board"},
        os_group.BOOTLOADER.key: lambda body: {"mode": 1} if body else {"bootloader": "MCUboot"},
        os_group.RESET.key: lambda body: {} if body.get("force") is True else Refuse(10),  # as Zephyr's decoder has it
        os_group.TASKSTAT.key: lambda _: {"tasks": {"main": {"prio": 1, "tid": 2, "state": 3, "stkuse": 4}}},
        os_group.MPSTAT.key: lambda _: {"pool": {"blksiz": 32, "nblks": 4, "nfree": 3, "min": 1}},
        stat.LIST.key: lambda _: {"stat_list": ["net", "flash"]},
        stat.DATA.key: lambda body: {"name": body["name"], "fields": {"rx": 5}},
        shell.EXECUTE.key: lambda body: {"o": " ".join(body["argv"]) + "\r\n", "ret": len(body["argv"]) - 1},
        enum.LIST.key: lambda _: {"groups": [0, 1, 77]},
        image.STATE_READ.key: lambda _: {"images": [slot]},
        image.STATE_WRITE.key: lambda _: {"images": [slot]},
        image.ERASE.key: lambda _: {},
        fs.STATUS.key: lambda _: {"len": 5},
        fs.READ.key: lambda body: {"off": body["off"], "data": b"hello"[body["off"] :], "len": 5},
        fs.HASH.key: lambda body: {"type": body.get("type", "crc32"), "len": 5, "output": 0xABC},
        settings.READ.key: lambda body: {"val": body["name"].encode()},
        settings.WRITE.key: lambda _: {},
    }
    with pty_peer(handlers) as peer:
        yield peer


# what each command prints


def test_info_shows_what_the_device_serves_and_leaves_out_the_rest(cli: Cli, device: PtyPeer) -> None:
    ran = cli("info", "-d", device.path)
    assert ran.code == 0
    for text in ("Zephyr board", "MCUboot, swap using scratch", "4 of 384 bytes", "os, image, 77", "1.2.3"):
        assert text in ran.out
    assert cli("info", "--json", "-d", device.path).json["logger"] is None


def test_one_answer_that_makes_no_sense_takes_nothing_else_from_info(cli: Cli, device: PtyPeer) -> None:
    """A clock chip that nobody has set says the month 0."""
    device.peer.on(os_group.DATETIME_READ, lambda _: {"datetime": "2000-00-00T00:00:00"})
    device.peer.on(os_group.BOOTLOADER, lambda _: {"bootloader": 7})
    ran = cli("info", "-d", device.path)
    assert ran.code == 0
    for text in ("Zephyr board", "4 of 384 bytes", "os, image, 77", "1.2.3"):
        assert text in ran.out
    assert "'2000-00-00T00:00:00' does not exist" in ran.err
    assert "'os bootloader' makes no sense" in ran.err
    assert cli("info", "--json", "-d", device.path).json["clock"] is None


def test_nor_does_one_that_never_comes(cli: Cli, device: PtyPeer) -> None:
    device.peer.on(os_group.BOOTLOADER, lambda _: None)
    ran = cli("info", "-d", f"{device.path}?timeout=0.5")
    assert (ran.code, "Zephyr board" in ran.out) == (0, True)
    assert "did not answer 'os bootloader'" in ran.err


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("echo", "hi"), "hi\n"),
        (("stats", "net"), "group  counter  value\nnet    rx           5\n"),
        (("shell", "version"), "version\n"),
        (("fs", "stat", "/x"), "5\n"),
        (("fs", "hash", "/x"), "crc32 00000abc\n"),
        (("config", "get", "a/b"), "str:a/b\n"),
        (("image", "erase"), ""),
    ],
)
def test_results_go_to_stdout(cli: Cli, device: PtyPeer, words: tuple[str, ...], out: str) -> None:
    ran = cli(*words, "-d", device.path)
    assert (ran.code, ran.out) == (0, out)


@pytest.mark.parametrize(
    ("words", "data"),
    [
        (("stats",), {"stats": {"net": {"rx": 5}, "flash": {"rx": 5}}}),
        (("shell", "version"), {"output": "version\r\n", "return": 0}),
        (("fs", "stat", "/x"), {"name": "/x", "size": 5}),
        (("config", "get", "a", "b"), {"values": {"a": "str:a", "b": "str:b"}}),
        (("config", "set", "a=u32:1"), {"written": ["a"], "saved": False}),
        (("reset", "--force"), {"restarting": True}),
    ],
)
def test_json_is_one_object(cli: Cli, device: PtyPeer, words: tuple[str, ...], data: dict[str, Any]) -> None:
    ran = cli(*words, "--json", "-d", device.path)
    assert ran.code == 0
    assert ran.json == data


def test_tasks_and_memory_are_tables(cli: Cli, device: PtyPeer) -> None:
    assert cli("stats", "--tasks", "--json", "-d", device.path).json["tasks"][0]["name"] == "main"
    assert cli("stats", "--memory", "--json", "-d", device.path).json["pools"][0]["free"] == 3
    assert "stack used words" in cli("stats", "--tasks", "-d", device.path).out
    device.peer.on(os_group.MPSTAT, lambda _: {"mpools": {"0": {"nblks": 316, "nfree": 315, "min": 300}}})
    assert cli("stats", "--memory", "-d", device.path).out.split()[-4:] == ["0", "316", "315", "300"]
    assert cli("stats", "--memory", "--json", "-d", device.path).json["pools"][0]["block_bytes"] is None


def test_a_priority_that_came_without_its_sign_has_it(cli: Cli, device: PtyPeer) -> None:
    """Zephyr with CONFIG_MCUMGR_GRP_OS_TASKSTAT_SIGNED_PRIORITY=n."""
    tasks = {name: {"prio": prio, "tid": 1, "state": 0} for name, prio in (("a", 0xFFFF_FFFF), ("b", -2), ("c", 255))}
    device.peer.on(os_group.TASKSTAT, lambda _: {"tasks": tasks})
    ran = cli("stats", "--tasks", "--json", "-d", device.path)
    assert [task["priority"] for task in ran.json["tasks"]] == [-1, -2, 255]


def test_a_group_of_counters_that_is_refused_hides_no_other(cli: Cli, device: PtyPeer) -> None:
    device.peer.on(
        stat.DATA, lambda body: Refuse(7) if body["name"] == "net" else {"name": body["name"], "fields": {"rx": 5}}
    )
    ran = cli("stats", "-d", device.path)
    assert (ran.code, ran.out) == (4, "group  counter  value\nflash  rx           5\n")
    assert "error: net: the device refused" in ran.err
    found = cli("stats", "--json", "-d", device.path).json
    assert (found["stats"], found["refused"]["net"]["code"]) == ({"flash": {"rx": 5}}, 7)
    assert cli("stats", "net", "-d", device.path).code == 4


def test_a_shell_line_in_one_word_keeps_its_quotes(cli: Cli, device: PtyPeer) -> None:
    """Devices put words together with blanks, and take the line apart themselves."""
    cli("shell", 'write "a  b" \\x', "-d", device.path)
    cli("shell", "write", "a b", "-d", device.path)
    assert [body["argv"] for body in device.peer.asked(shell.EXECUTE)] == [['write "a  b" \\x'], ["write", "a b"]]


def test_a_shell_command_that_fails_fails(cli: Cli, device: PtyPeer) -> None:
    ran = cli("shell", "-d", device.path, "--", "kernel", "-x")
    assert (ran.code, ran.out) == (1, "kernel -x\n")
    assert "returned 1" in ran.err


def test_fetching_a_file_writes_it_beside_and_says_how_it_was_checked(
    cli: Cli, device: PtyPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("fs", "get", "/lfs/sub/x.csv", "-d", device.path)
    assert ran.code == 0
    assert (tmp_path / "x.csv").read_text() == "hello"
    assert "not checked" in ran.out
    assert cli("fs", "get", "/lfs/sub/x.csv", "-d", device.path).code == 2
    assert cli("fs", "get", "/lfs/sub/x.csv", "--force", "-d", device.path).code == 0


@pytest.mark.parametrize("name", ["/", "..", "/lfs/..", r"c:\.."])
def test_a_name_that_is_no_file_name_names_no_file_here(cli: Cli, device: PtyPeer, name: str) -> None:
    assert cli("fs", "get", name, "-d", device.path).code == 2


def test_console_text_is_shown_with_verbose_only(cli: Cli, device: PtyPeer) -> None:
    device.peer.prefix = b"<inf> hello\x1b[2J\r\n"
    assert "hello" not in cli("echo", "x", "-d", device.path).err
    ran = cli("echo", "x", "-v", "-d", device.path)
    assert rf"{device.path}: <inf> hello\x1b[2J" in ran.err
    assert "hello" not in ran.out


def test_inspect_needs_no_device_and_tells_a_damaged_image(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "fw.bin"
    data = build_image(random.Random(1).randbytes(500), ImageVersion(1, 2, 3, 4))
    file.write_bytes(data)
    ran = cli("image", "inspect", str(file), "--json")
    assert (ran.code, ran.json["version"], ran.json["hash_checked"]) == (0, "1.2.3+4", "right")
    file.write_bytes(data.replace(data[100:104], b"oops"))
    ran = cli("image", "inspect", str(file))
    assert ran.code == 5
    assert "damaged" in ran.err


def test_devices_lists_ports(cli: Cli) -> None:
    assert isinstance(cli("devices", "--json").json["devices"], list)


# exit codes and sentences


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nope",), 2, "no command 'nope'"),
        (("ech",), 2, "Did you mean 'echo'"),
        (("echo", "--nope"), 2, "No such option"),
        (("fs", "get"), 2, "Missing argument"),
        (("echo", "-d", "ttyX"), 2, "names no device"),
        (("echo", "-d", "ble:"), 2, "ble:NAME"),
        (("echo", "-d", "sim:", "-d", "sim:"), 2, "takes one --device"),
        (("echo", "-d", "/dev/ttyNONE9"), 3, "no serial port"),
        (("echo", "-d", "/dev/null"), 3, "not a serial port"),
        (("echo", "-d", "udp:127.0.0.1:9"), 3, "nobody listens"),
        (("echo", "-d", "sim:no-such-profile"), 2, "did not start"),
        (("flash", __file__, "-d", "/dev/ttyNONE9"), 5, "not an MCUboot image"),
        (("flash", "/nowhere", "-d", "sim:"), 2, "does not exist"),
    ],
)
def test_every_mistake_has_a_sentence_and_a_code(cli: Cli, words: tuple[str, ...], code: int, says: str) -> None:
    ran = cli(*words)
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert ran.err.count("See `") <= 1


def test_errors_are_objects_with_json(cli: Cli, device: PtyPeer) -> None:
    ran = cli("stats", "nope", "--json", "-d", device.path)
    assert ran.code == 0
    device.peer.on(stat.DATA, lambda _: Refuse(2, 2))
    ran = cli("stats", "nope", "--json", "-d", device.path)
    error = ran.json["error"]
    assert (ran.code, error["exit_code"], error["kind"]) == (4, 4, "RefusedError")
    assert (error["group"], error["code"]) == (2, 2)


@pytest.mark.parametrize("words", [("identify",), ("selftest",)])
def test_logger_commands_on_a_stock_device_say_what_is_missing(
    cli: Cli, device: PtyPeer, words: tuple[str, ...]
) -> None:
    ran = cli(*words, "-d", device.path)
    assert ran.code == 4
    assert "no fieldlog logger group" in ran.err


@pytest.mark.parametrize("words", [("show",), ("schema",), ("export",)])
def test_a_device_that_describes_no_settings_says_so(cli: Cli, device: PtyPeer, words: tuple[str, ...]) -> None:
    ran = cli("config", *words, "-d", device.path)
    assert ran.code == 4
    assert "`fieldlog config get`" in ran.err


def test_a_busy_device_is_restarted_by_force(cli: Cli, device: PtyPeer) -> None:
    ran = cli("reset", "-d", device.path)
    assert ran.code == 4
    assert "--force" in ran.err
    assert cli("reset", "--force", "-d", device.path).code == 0


def test_a_busy_port(cli: Cli, device: PtyPeer) -> None:
    import serial

    with serial.Serial(device.path, exclusive=True):
        ran = cli("echo", "-d", device.path)
    assert ran.code == 3
    assert "in use" in ran.err


@pytest.mark.parametrize("babble", [None, b"\xf8\xc3\xfe\xe0\x9c\xff" * 9, b"boot: \x1b[0mhello\r\n" * 4])
def test_silence_and_garbage_end_in_time_without_raw_bytes(cli: Cli, device: PtyPeer, babble: bytes | None) -> None:
    device.peer.handlers[PARAMS] = lambda _: None if babble is None else device.say(babble)
    device.peer.on(image.STATE_READ, lambda _: None)
    start = time.monotonic()
    ran = cli("info", "-d", f"{device.path}?timeout=0.5")
    assert time.monotonic() - start < 4
    assert ran.code == 3
    assert "nobody answered" in ran.err
    _assert_harmless(ran.err)


def test_the_default_patience_is_six_seconds(cli: Cli, device: PtyPeer) -> None:
    device.peer.lose = lambda: True
    start = time.monotonic()
    assert cli("echo", "-d", device.path).code == 3
    assert 5 < time.monotonic() - start < 9


@pytest.mark.parametrize("words", [("echo",), ("stats",), ("shell", "x"), ("fs", "stat", "x"), ("image", "list")])
def test_unplugging_in_mid_command_ends_at_once(cli: Cli, device: PtyPeer, words: tuple[str, ...]) -> None:
    for key in device.peer.handlers:
        if key != PARAMS:
            device.peer.handlers[key] = lambda _: device.unplug()
    start = time.monotonic()
    ran = cli(*words, "-d", device.path)
    assert time.monotonic() - start < 2
    assert ran.code == 3
    assert "was lost" in ran.err


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("echo", "x" * 400), os_group.ECHO),
        (("shell", "x" * 400), shell.EXECUTE),
        (("config", "set", "a=u8:1", "b=hex:" + "00" * 400), settings.WRITE),
    ],
    ids=["echo", "shell", "config set"],
)
def test_what_is_too_long_for_the_device_is_not_sent(
    cli: Cli, device: PtyPeer, words: tuple[str, ...], command: Command[Any, Any]
) -> None:
    """It takes 384 bytes with 4 of framing, and would drop what is longer without a word."""
    ran = cli(*words, "-d", device.path)
    assert ran.code == 2
    assert "takes no more than 380" in ran.err
    assert device.peer.asked(command) == []


def test_what_just_fits_is_sent_and_who_tells_no_limit_is_asked(cli: Cli, device: PtyPeer) -> None:
    fits = "x" * (380 - 8 - 6)
    assert cli("echo", fits, "-d", device.path).code == 0
    assert cli("echo", f"{fits}x", "-d", device.path).code == 2
    device.peer.handlers[PARAMS] = lambda _: Refuse(8)
    assert cli("echo", f"{fits}x", "-d", device.path).code == 0


# a hostile device


def _assert_harmless(text: str) -> None:
    raw = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not raw, f"{raw!r} in {text!r}"


def _make_evil(peer: PtyPeer) -> None:
    slot = {"slot": 0, "version": EVIL, "hash": b"", "active": True}
    peer.peer.prefix = EVIL.encode() + b"\n"
    peer.peer.handlers |= {
        shell.EXECUTE.key: lambda _: {"o": EVIL, "ret": 0},
        stat.LIST.key: lambda _: {"stat_list": [EVIL]},
        stat.DATA.key: lambda _: {"name": EVIL, "fields": {EVIL: 1}},
        image.STATE_READ.key: lambda _: {"images": [slot]},
        os_group.INFO.key: lambda _: {"output": EVIL},
        os_group.BOOTLOADER.key: lambda _: {"bootloader": EVIL},
        os_group.TASKSTAT.key: lambda _: {"tasks": {EVIL: {"prio": 1, "tid": 2, "state": 3}}},
        os_group.MPSTAT.key: lambda _: {EVIL: {"blksiz": 1, "nblks": 2, "nfree": 3, "min": 4}},
        fs.HASH.key: lambda _: {"type": EVIL, "len": 1, "output": 1},
        settings.READ.key: lambda _: {"val": EVIL.encode()},
        ECHO: lambda _: {"r": EVIL},
        logger.INFO.key: lambda body: (
            {"parts": 1, "uid": b"x", "log": 1, "serial": EVIL, "fw": EVIL, "block": 1}
            | {"boot": 1, "tick": 1, "state": 0, "first": 0, "next": 1, "reset": EVIL, "product": EVIL}
        ),
        logger.SELF_TEST_START.key: lambda _: {},
        logger.SELF_TEST_RESULT.key: lambda _: {
            "run": False,
            "n": 1,
            "i": 0,
            "r": [{"n": EVIL, "ok": True, "x": EVIL}],
        },
        logger.SCHEMA.key: lambda _: {
            "n": 1,
            "i": 0,
            "s": [{"k": EVIL, "t": 5, "u": EVIL, "x": EVIL, "d": EVIL.encode()}],
        },
    }


HOSTILE = [
    ("shell", "x"),
    ("stats",),
    ("stats", "--tasks"),
    ("stats", "--memory"),
    ("image", "list"),
    ("info",),
    ("echo", "x"),
    ("fs", "hash", "x"),
    ("selftest",),
    ("config", "show"),
    ("config", "schema"),
    ("config", "export"),
    ("config", "get", EVIL),
]


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize("flags", [("-v",), ("--json",)])
def test_control_characters_never_reach_a_pipe(
    cli: Cli, device: PtyPeer, words: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    _make_evil(device)
    ran = cli(*words, *flags, "-d", device.path)
    _assert_harmless(ran.out)
    _assert_harmless(ran.err)
    assert "evil" in ran.out + ran.err


def test_the_reason_that_a_device_gives_is_data_too(cli: Cli, device: PtyPeer) -> None:
    device.peer.handlers[ECHO] = lambda _: {"rc": 1, "rsn": EVIL}
    ran = cli("echo", "-d", device.path)
    assert ran.code == 4
    assert "evil" in ran.err
    _assert_harmless(ran.err)


@pytest.mark.parametrize("words", [("stats",), ("shell", "x"), ("info",), ("config", "show")])
def test_control_characters_never_reach_a_terminal(device: PtyPeer, words: tuple[str, ...]) -> None:
    """A terminal gets rich's own sequences for tables, and none of the device's."""
    _make_evil(device)
    seen = written(CLI, [*words, "-d", device.path], columns=200).encode()
    for raw in (b"\x1b]0;", b"\x1b[2J", b"\x07", b"\x9b", b"\x00", "\u202e".encode(), b"\x7f"):
        assert raw not in seen
    assert rb"\x1b]0;owned" in seen.replace(b"\r\n", b"")
    assert b"[red]" in seen.replace(b"\r\n", b"")


# the program as a whole


def _program(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", "from fieldlog.cli.main import main; main()", *words], env=environment, **options
    )


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fieldlog.cli.main import invoke\n"
        "assert invoke(['--help']) == 0 and invoke(['--version']) == 0\n"
        f"print([name for name in {LIGHT!r} if name in sys.modules], file=sys.stderr)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ran.stderr.strip() == "[]"
    assert ran.stdout.splitlines()[-1].startswith("fieldlog ")


@pytest.mark.parametrize("name", OURS)
def test_every_command_explains_itself(cli: Cli, name: str) -> None:
    ran = cli(name, "--help")
    assert ran.code == 0
    assert "Usage: fieldlog" in ran.out


def helps(group: click.Group, words: str = "") -> Iterator[tuple[str, str]]:
    """What calls each command that does something, and its help in one line."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from helps(command, f"{words}{name} ")
            elif command is not None:
                yield f"{words}{name}", " ".join(command.get_help(click.Context(command)).split())


def test_help_says_what_an_option_takes_and_how_often() -> None:
    several = set[str]()
    for words, told in helps(fieldlog_commands):
        assert "RANGE" not in told, words
        urls = "--device URL" in told
        assert ("what the device writes to its console" in told) == urls, words
        if urls and "Again for more" in told[told.index("--device URL") :].partition("--passkey")[0]:
            several.add(words)
    assert several == {"pull", "config apply", "provision"}


def test_a_reader_that_has_seen_enough_ends_it_quietly(device: PtyPeer) -> None:
    device.peer.on(stat.LIST, lambda _: {"stat_list": [f"group{n}" for n in range(20)]})
    device.peer.on(stat.DATA, lambda body: {"name": body["name"], "fields": {f"counter{n}": n for n in range(10)}})
    reader, writer = os.pipe()
    os.close(reader)
    child = _program("stats", "-d", device.path, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")


def test_an_interrupt_ends_with_130_and_one_word(device: PtyPeer) -> None:
    import signal

    device.peer.handlers[ECHO] = lambda _: None
    child = _program("echo", "-d", f"{device.path}?timeout=60", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while ECHO not in [key for key, _ in device.peer.log]:
        assert time.monotonic() < deadline
        device.peer.asked_something.wait(0.1)
        device.peer.asked_something.clear()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, b"", b"interrupted\n")
