"""The pages for whoever writes a device's firmware are held to the declarations, and to what the host does."""

from __future__ import annotations

import re
import shlex
import time
import zlib
from binascii import crc_hqx
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, get_args

import cbor2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fieldlog.archive
from archive_data import LOG_ID, UID, PaperLogger
from fieldlog.cli.main import invoke
from fieldlog.clock_sync import TICK_HZ
from fieldlog.message_sizes import ONE_LINE
from fieldlog_protocol.blocks import events, schema
from fieldlog_protocol.blocks.block import (
    BLOCK_SIZES,
    DROPPED_UNKNOWN,
    HEADER,
    MAGIC,
    OVERHEAD,
    TRAILER,
    VERSION,
    Block,
    BlockHeader,
    Encoding,
    Flag,
    Kind,
    build_block,
    pad,
    parse_block,
)
from fieldlog_protocol.blocks.codecs import CODECS
from fieldlog_protocol.blocks.decode import decode_frames
from fieldlog_protocol.blocks.encoder import BlockEncoder
from fieldlog_protocol.blocks.events import Mark, SessionStart, TimedEvent, decode_events, encode_events
from fieldlog_protocol.blocks.rawc import check_value
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Schema, Stream, merge_schema, schema_blocks
from fieldlog_protocol.commands import TABLE, Command, Group, Op, logger, os, settings
from fieldlog_protocol.commands.logger import Capability, SettingType, State, StopReason
from fieldlog_protocol.error_texts import RC_TEXTS
from fieldlog_protocol.framing import ConsoleFraming
from fieldlog_protocol.layout import Layout
from fieldlog_protocol.seal import is_damaged, sealed
from fieldlog_protocol.wire import Packet, encode_body, encode_error
from simulator import simulator
from smp_peer import Peer, PtyPeer, Refuse, pty_peer
from tools.command_reference import PAGES, renewed

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CELLS = re.compile(r"(?<!\\)\|")


@cache
def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """What stands on a page under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of the tables in a text, heads left out."""
    lines = text.splitlines()
    tables = [line for line, after in zip(lines, [*lines[1:], ""], strict=True) if line[:1] == "|" != after[:4]]
    kept = [line for line in tables if not line.startswith("|---") and not _is_head(lines, line)]
    return [[cell.strip() for cell in CELLS.split(line)[1:-1]] for line in kept]


def _is_head(lines: list[str], line: str) -> bool:
    following = lines.index(line) + 1
    return following < len(lines) and lines[following].startswith("|---")


def vector(title: str) -> bytes:
    found = re.search(rf"```hex\n# {title}\n(.*?)```", page("blocks"), re.DOTALL)
    assert found is not None, title
    return bytes.fromhex(found[1])


# references


def test_what_sources_and_pages_refer_to_is_there() -> None:
    sources = [path for part in ("protocol", "host", "firmware_sim", "tests") for path in (ROOT / part).rglob("*.py")]
    referred = 0
    for path in {*sources, *DOCS.glob("*.md")} - {Path(__file__)}:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(SMP|DESIGN|LOG-FORMAT)\.md", text), path
        for target, anchor, more in re.findall(r"docs/([\w-]+)\.md#([\w-]+)((?:, #[\w-]+)*)", text):
            referred += 1
            for wanted in [anchor, *re.findall(r"#([\w-]+)", more)]:
                assert wanted in anchors(target), f"{path}: docs/{target}.md#{wanted}"
    assert referred > 40
    for path in DOCS.glob("*.md"):
        for target, anchor in re.findall(r"\]\(([\w-]*)(?:\.md)?#([\w-]+)\)", path.read_text(encoding="utf-8")):
            assert anchor in anchors(target or path.stem), f"{path.name}: {target}#{anchor}"


@cache
def anchors(name: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# SMP and the FL group


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_tables_of_commands_are_those_of_the_declarations(path: Path) -> None:
    """`python -m tools.command_reference` writes them anew."""
    assert path.read_text(encoding="utf-8") == renewed(path.read_text(encoding="utf-8"))


def test_every_message_of_the_group_has_its_table() -> None:
    tables = re.findall(r"<!-- (?!end)(.+?) -->", page("fl-group"))
    for command in logger.COMMANDS:
        assert f"command {command.id}" in tables or {
            message.__name__ for message in (command.request, command.response)
        } <= {*tables}
    for part in (logger.StreamPeriod, logger.TestResult):
        [said] = [line for line in page("fl-group").split("\n\n") if line.startswith(part.__name__)]
        assert all(f"`{field.encode_name}`" in said for field in msgspec.structs.fields(part))


def test_golden_messages_of_the_smp_page() -> None:
    echo = Packet(Op.WRITE, 1, Group.OS, 0, 0x42, encode_body(os.EchoRequest(d="hi"))).encode()
    params = Packet(Op.READ, 1, Group.OS, 6, 7, b"\xa0").encode()
    said = [bytes.fromhex(cells[1].strip("`")) for cells in rows(section("smp", "Messages"))[-2:]]
    assert said == [echo, params]
    error = encode_error(1, 9, 9).hex()
    assert f"`{error}`" in page("smp")
    assert ConsoleFraming().encode(echo) == b"\x06\x09" + b"ABAKAAAGAABCAKFhZGJoaZsK" + b"\n"
    assert "`0609` `ABAKAAAGAABCAKFhZGJoaZsK` `0a`" in page("smp")
    assert f"a message of {ONE_LINE} bytes" in page("smp").replace("\n", " ")
    codes = {int(cell) for cells in rows(section("smp", "Errors")) for cell in cells[::2]}
    assert codes == {*RC_TEXTS}


def test_a_check_inside_a_request() -> None:
    plain, checked = (bytes.fromhex(cells[1].strip("`")) for cells in rows(section("firmware", "Raw framing")))
    assert sealed(plain) == checked
    assert not is_damaged(checked)
    assert int.from_bytes(checked[14:18], "big") == zlib.crc32(checked[:9] + checked[18:])


# blocks


def test_header_and_trailer_lie_where_the_page_says() -> None:
    table = [cells for cells in rows(section("blocks", "Header, payload, trailer")) if len(cells) == 4 and cells[2]]
    layout = [cells[:3] for cells in table]
    expected = [[str(at), code, name] for at, code, name in fields_of(HEADER)]
    expected += [[f"B-{TRAILER.size - at}", code, name] for at, code, name in fields_of(TRAILER)]
    assert layout == expected
    text = page("blocks")
    assert f"0x{MAGIC:04X}" in text
    assert f"version ({VERSION})" in text
    assert f"{', '.join(map(str, BLOCK_SIZES[:-1]))} or {BLOCK_SIZES[-1]} bytes" in text
    assert f"0x{DROPPED_UNKNOWN:04X}" in text
    assert f"payload_len + {OVERHEAD} bytes" in text
    assert [(kind.value, kind.name) for kind in Kind] == [(0, "DATA"), (1, "SCHEMA"), (2, "EVENT")]
    assert [(item.value, item.name) for item in Encoding] == [(0, "RAW"), (1, "PACKED"), (2, "RAWC")]
    flags = [cells for cells in rows(section("blocks", "Header, payload, trailer")) if len(cells) == 2]
    assert [int(cells[0]) for cells in flags] == [flag.value for flag in Flag]


def fields_of(layout: Layout[Any]) -> list[tuple[int, str, str]]:
    """Where each field lies, its type and its name."""
    found = layout.dtype.fields or {}
    return [(place[1], f"u{8 * place[0].itemsize}", name) for name, place in found.items()]


def test_check_values() -> None:
    digits = b"123456789"
    said = [cells[5] for cells in rows(section("blocks", "Header, payload, trailer")) if len(cells) == 7]
    assert [int(value, 16) for value in said] == [crc_hqx(digits, 0), zlib.crc32(digits), check_value(digits)]


CLIMATE = Stream(
    0,
    "climate",
    1_000_000,
    (
        Channel("temperature", "Cel", ChannelType.I16, exponent=-2, missing=-32768),
        Channel("humidity", "%", ChannelType.U16, exponent=-1),
    ),
)
READINGS = ([2100, 2101, 2101, 2103, 2102, 2104], [500, 499, 499, 500, 498, 500])


@pytest.mark.parametrize(("title", "encoding"), [("RAW", 0), ("packed", 1), ("RAWC", 2)])
def test_vectors_of_blocks(title: str, encoding: int) -> None:
    wire = vector(title)
    decoded = decode_frames([wire], CLIMATE)
    assert [column.tolist() for column in decoded.columns] == [*READINGS]
    assert decoded.ticks.tolist() == [65536 + TICK_HZ * index for index in range(6)]
    encoder = BlockEncoder(CLIMATE, 256, Encoding(encoding))
    for tick, *values in zip(decoded.ticks.tolist(), *READINGS, strict=True):
        assert encoder.push(tick, values)
    opening = BlockHeader(seq=7 + encoding, t0=0, boot_id=3, session=2, schema_id=1, flags=16, utc=1_790_000_000)
    assert build_block(encoder.seal(opening)) == wire
    assert f"{', '.join(map(str, READINGS[0]))} and {', '.join(map(str, READINGS[1]))}" in page("blocks").replace(
        "\n", " "
    )


def test_vectors_of_descriptions_and_events() -> None:
    described = Schema(bytes.fromhex("a1b2c3d4"), 0x1234, "1.4.0", "hut", 1, (CLIMATE,))
    [(_, payload)] = schema_blocks(described, 256)
    assert payload == vector("SCHEMA payload")
    assert merge_schema([schema.parse_schema_part(payload)]) == described
    told = [TimedEvent(65536, SessionStart(2, "spring")), TimedEvent(70000, Mark("snow"))]
    assert encode_events(told) == vector("EVENT payload")
    assert decode_events(vector("EVENT payload")) == told


LONG_TYPES = ["u8", "i16", "u16", "i32"]


def long_readings() -> list[list[int]]:
    words = section("blocks", "The readings of the long example").strip("`\n").split()
    starts = [words.index(kind) for kind in LONG_TYPES]
    return [list(map(int, words[a + 1 : b])) for a, b in zip(starts, [*starts[1:], len(words)], strict=True)]


def numpy_type(kind: str) -> str:
    return f"<{kind[0]}{int(kind[1:]) // 8}"


def encoded(types: list[str], columns: list[list[int]]) -> bytes:
    arrays = [np.array(column, numpy_type(kind)) for kind, column in zip(types, columns, strict=True)]
    return CODECS[Encoding.PACKED].encode(arrays)


@cache
def page_decoder() -> Callable[[bytes, int, list[str]], list[list[int]]]:
    found = re.search(r"```python\n(def unpack.*?)```", page("blocks"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1].replace("\nprint(", "\nassert ("), names)
    decoder: Callable[[bytes, int, list[str]], list[list[int]]] = names["unpack"]
    return decoder


def test_the_long_vector_holds_every_predictor() -> None:
    payload, readings = vector("long"), long_readings()
    assert {len(column) for column in readings} == {70}
    assert page_decoder()(payload, 70, LONG_TYPES) == readings
    assert encoded(LONG_TYPES, readings) == payload
    codes = payload[9:13]
    assert sorted(code >> 6 for code in codes) == [0, 1, 2, 3]
    assert {code & 63 < 31 for code in codes} == {True, False}


LIMITS = {kind.name.lower(): (kind.minimum, kind.maximum) for kind in list(ChannelType)[:6]}


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[str], list[list[int]]]:
    """Series of several groups that lead every predictor and packing to be chosen: noise, walks, ramps, and extremes."""
    types = draw(st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=4))
    frames = draw(st.sampled_from([1, 2, 3, 64, 65, 66, 130, 200]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found: list[list[int]] = []
    for kind in types:
        low, high = LIMITS[kind]
        order, size = draw(st.integers(0, 2)), draw(st.sampled_from([0, 1, 3, 40, 5000, 2**20, 2**31]))
        series = rng.geometric(0.4, frames) * rng.choice([-size, size], frames) + rng.integers(-size, size + 1, frames)
        for _ in range(order):
            series = np.cumsum(series)
        found.append(((series + (low + high) // 2 - low) % (high - low + 1) + low).tolist())
    return types, found


@given(columns())
def test_the_decoder_on_the_page_reads_whatever_is_packed(given_columns: tuple[list[str], list[list[int]]]) -> None:
    types, readings = given_columns
    assert page_decoder()(encoded(types, readings), len(readings[0]), types) == readings


@given(columns())
def test_the_least_encoder_makes_valid_payloads(given_columns: tuple[list[str], list[list[int]]]) -> None:
    """Deltas in plain widths, as the page says."""
    types, readings = given_columns
    frames = len(readings[0])
    payload = b"".join(
        (column[0] % 2 ** int(kind[1:])).to_bytes(int(kind[1:]) // 8, "little")
        for kind, column in zip(types, readings, strict=True)
    )
    for first in range(1, frames, 64):
        codes, planes = b"", b""
        for column in readings:
            deltas = [b - a for a, b in zip(column[first - 1 :], column[first : first + 64], strict=False)]
            signed = [(delta + 2**31) % 2**32 - 2**31 for delta in deltas]
            residuals = [2 * delta if delta >= 0 else -2 * delta - 1 for delta in signed]
            width = max(residuals).bit_length()
            codes += bytes([1 << 6 | 31 + width])
            plane = sum(residual << width * index for index, residual in enumerate(residuals))
            planes += plane.to_bytes((len(residuals) * width + 7) // 8, "little")
        payload += codes + planes
    stream = Stream(0, "s", 1, tuple(Channel(f"c{i}", "", ChannelType[kind.upper()]) for i, kind in enumerate(types)))
    header = BlockHeader(encoding=Encoding.PACKED, seq=0, t0=0, boot_id=1, n_channels=len(types))
    decoded = decode_frames([build_block(Block(header, frames, frames - 1, payload))], stream)
    assert [column.tolist() for column in decoded.columns] == readings


@pytest.mark.parametrize("struct", [schema.SchemaPart, schema.StreamRun, schema.Stream, schema.Channel])
def test_keys_of_descriptions(struct: type[msgspec.Struct]) -> None:
    said = [cells[0] for cells in rows(section("blocks", struct.__name__))]
    fields = msgspec.structs.fields(struct)
    assert said == [f"`{field.encode_name}`{'' if field.required else '?'}" for field in fields]


def test_numbers_of_types_and_events() -> None:
    said = re.search(r"Types: (.*?)\.\s", section("blocks", "Channel"), re.DOTALL)
    assert said is not None
    assert said[1].split() == "; ".join(f"{kind.value} {kind.name.lower()}" for kind in ChannelType).split()
    table = rows(section("blocks", "EVENT blocks"))
    assert [int(kind) for kind, _, _ in table] == [*range(len(get_args(events.KnownEvent)))]
    values: dict[object, object] = {int: 1, str: "x", bytes: b"x"}
    for kind, name, keys in table:
        fields = msgspec.structs.fields(getattr(events, name))
        assert {*re.findall(r"`(\w+)`", keys)} == {field.encode_name for field in fields}
        payload = cbor2.dumps([[5, int(kind), {field.encode_name: values[field.type] for field in fields}]])
        assert type(decode_events(payload)[0].event).__name__ == name
    reasons = re.search(r"`r` reason: ([\w, ]+)", page("blocks"))
    assert reasons is not None
    assert reasons[1].strip().split(", ") == [reason.name.lower() for reason in StopReason][1:]


# step by step


STEPS = rows(section("firmware", "Step by step"))


def test_capabilities() -> None:
    said = [int(bit) for bits, *_ in STEPS if re.fullmatch(r"[\d, ]+", bits) for bit in bits.split(", ")]
    assert said[-len(Capability) :] == [bit.value for bit in Capability]


class LeastLogger:
    """What the page asks for, up to some step, and nothing else: answered from a table, no simulator behind it."""

    def __init__(self, port: PtyPeer, steps: range) -> None:
        paper = PaperLogger((CLIMATE,), boot_id=3)
        paper.schema()
        paper.events((0, SessionStart(1, "spring")))
        paper.data(CLIMATE, np.arange(600) * TICK_HZ, 2100 + np.arange(600) % 7, 500 + np.arange(600) % 5)
        self.log = paper.blocks
        self.recording, self.caps, self.led = False, 0, b"\1"
        self._begun_ns = time.monotonic_ns()
        table = self.table()
        for step in steps:
            self.caps |= sum(map(int, re.findall(r"\b\d{2,}\b", STEPS[step][1].partition("capabilit")[2])))
            for command in served(step):
                port.peer.on(command, table[command.key])
            if "stock settings" in STEPS[step][1]:
                port.peer.on(settings.READ, lambda _: {"val": self.led})
                port.peer.on(settings.WRITE, self.set)
        self.peer: Peer = port.peer

    def table(self) -> dict[tuple[int, int, int], Callable[[dict[str, Any]], Any]]:
        info = {0: self.who, 1: self.what}
        answers: dict[Command[Any, Any], Callable[[dict[str, Any]], Any]] = {
            logger.INFO: lambda body: info[body.get("p", 0)](),
            logger.SESSIONS: lambda _: {
                "n": 1,
                "s": [{"id": 1, "label": "spring", "boot": 3, "start": 0, "first": 1, "frames": 600, "why": 0}],
            },
            logger.BLOCKS: self.blocks,
            logger.CLOCK_PROBE: lambda _: {"boot": 3, "rx": self.tick, "tx": self.tick},
            logger.SEAL: lambda _: {"next": len(self.log)},
            logger.CLOCK_ANCHOR: lambda _: {},
            logger.STREAMS: lambda _: self.stream,
            logger.ARM: self.arm,
            logger.STOP: self.stop,
            logger.LATEST: self.latest,
            logger.MARK: lambda _: {"tick": self.tick},
            logger.RELEASE: lambda _: {},
            logger.ERASE: lambda _: {"next": len(self.log)},
            logger.SCHEMA: lambda _: {"n": 1, "i": 0, "s": [{"k": "log/led", "t": int(SettingType.BOOL)}]},
            logger.SELF_TEST_START: lambda _: {},
            logger.SELF_TEST_RESULT: lambda _: {"run": False, "n": 1, "i": 0, "r": [{"n": "log", "ok": True}]},
            logger.IDENTIFY: lambda _: {},
        }
        return {command.key: answer for command, answer in answers.items()}

    @property
    def tick(self) -> int:
        return 700 * TICK_HZ + (time.monotonic_ns() - self._begun_ns) * TICK_HZ // 10**9

    def who(self) -> dict[str, Any]:
        return {"parts": 2, "uid": UID, "log": LOG_ID, "block": 256, "caps": self.caps}

    def what(self) -> dict[str, Any]:
        state = State.LOGGING if self.recording else State.IDLE
        return {
            "parts": 2,
            "boot": 3,
            "tick": self.tick,
            "state": int(state),
            "first": 0,
            "next": len(self.log),
            "token": 99,
        }

    stream: ClassVar[dict[str, Any]] = {
        "n": 1,
        "i": 0,
        "id": 0,
        "name": "climate",
        "us": 1_000_000,
        "nc": 2,
        "c": 0,
        "ch": [
            {"n": "temperature", "u": "Cel", "t": 1, "exp": -2, "miss": -32768},
            {"n": "humidity", "u": "%", "t": 4, "exp": -1},
        ],
    }

    def blocks(self, body: dict[str, Any]) -> dict[str, Any]:
        """As they are laid end to end from `q` on, and no reply beyond the log's end."""
        held = b"".join(self.log[body["q"] :])
        return {"q": body["q"], "o": body["o"], "f": 0, "d": held[body["o"] : body["o"] + body["n"]]}

    def arm(self, _: dict[str, Any]) -> dict[str, Any]:
        self.recording = True
        return {"session": 2, "state": int(State.LOGGING)}

    def stop(self, _: dict[str, Any]) -> dict[str, Any] | Refuse:
        self.recording = False
        return {"session": 2, "next": len(self.log)}

    def latest(self, body: dict[str, Any]) -> dict[str, Any]:
        frame = self.tick.to_bytes(8, "little") + bytes.fromhex("3408f401")
        return {"s": body["s"], "c": 600, "n": 1, "d": frame}

    def set(self, body: dict[str, Any]) -> dict[str, Any]:
        self.led = body["val"]
        return {}


def served(step: int) -> list[Command[Any, Any]]:
    """The commands of the group that a step of the page names."""
    said = STEPS[step][1]
    if not said.startswith("FL "):
        return []
    ops = {"read": [Op.READ], "write": [Op.WRITE], "both": [Op.READ, Op.WRITE]}
    named = re.findall(r"\b(\d+) [a-z ]+ \((read|write|both)\)", said)
    table = {command.key: command for command in TABLE}
    return [table[op, Group.LOGGER, int(id_)] for id_, kind in named for op in ops[kind]]


def commands(step: int) -> list[list[str]]:
    return [shlex.split(words)[1:] for words in re.findall(r"`(fieldlog [^`]+)`", STEPS[step][2])]


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PtyPeer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    with pty_peer() as found:
        monkeypatch.setenv("FIELDLOG_DEVICE", found.path)
        yield found


LAST = 8


@pytest.mark.parametrize("step", range(LAST + 1))
def test_what_a_step_of_the_page_makes_possible(step: int, port: PtyPeer, tmp_path: Path) -> None:
    """Each of its commands works with what is served up to there; and not before it, where the group is asked."""
    assert STEPS[step][0] == str(step)
    device = LeastLogger(port, range(step + 1))
    (tmp_path / "flash.bin").write_bytes(b"".join(pad(wire, 256) for wire in device.log))
    if step > 1:
        assert invoke(["pull", "-q"]) == 0
    for words in commands(step):
        assert invoke(words) == 0, words
    assert step < 2 or invoke(["archive", "check"]) == 0


@pytest.mark.parametrize("step", range(2, LAST + 1))
def test_a_step_needs_all_that_it_names(step: int, port: PtyPeer) -> None:
    """Without any one of the commands of a step something of it is refused."""
    for missing in served(step):
        device = LeastLogger(port, range(step + 1))
        assert invoke(["pull", "-q", "--no-seal"]) == 0
        del port.peer.handlers[missing.key]
        assert [words for words in commands(step) if invoke(words) != 0], missing.name
        assert device.peer.asked(missing), missing.name


def test_a_pull_without_sealing(port: PtyPeer) -> None:
    LeastLogger(port, range(3))
    del port.peer.handlers[logger.SEAL.key]
    assert invoke(["pull", "--no-seal"]) == 0


def test_what_is_said_of_a_wrong_device_is_what_is_written() -> None:
    host = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "host").rglob("*.py"))
    sentences = [cells[0].strip("`") for cells in rows(section("firmware", "Try it"))]
    assert len(sentences) >= 4
    assert all(sentence in host for sentence in sentences)


def test_descriptions_that_lack_what_the_page_asks_for(port: PtyPeer, capsys: pytest.CaptureFixture[str]) -> None:
    said = re.search(r"refuses a description without ([^.]*)\.", page("fl-group"))
    assert said is not None
    needed = re.findall(r"`(\w+)`", said[1])
    assert len(needed) == 8
    for key in needed:
        device = LeastLogger(port, range(3))
        parts = {0: device.who, 1: device.what}

        def info(body: dict[str, Any], parts: Any = parts, key: str = key) -> dict[str, Any]:
            return {name: value for name, value in parts[body.get("p", 0)]().items() if name != key}

        port.peer.on(logger.INFO, info)
        capsys.readouterr()
        assert invoke(["pull"]) == 3
        assert f"lacks {key!r}" in capsys.readouterr().err
    LeastLogger(port, range(3))
    assert invoke(["pull"]) == 0


def test_numbers_named_in_sentences_are_members_of_the_enums() -> None:
    for name in ("State", "Capability", "StartMode", "StopReason", "SettingType", "SettingFlag", "ClockSource"):
        declared: type[IntEnum] = getattr(logger, name)
        assert all(
            f"{item.value} {item.name.lower().replace('_', ' ')}" in page("fl-group").replace("\n", " ")
            for item in declared
        )


def test_a_whole_block_is_what_the_page_shows() -> None:
    assert parse_block(vector("packed")).payload == bytes.fromhex("3408f401 4080 1226850c")


def test_headers_of_a_device_are_as_the_page_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulator("--history", "20min") as device:
        monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path))
        assert invoke(["log", "mark", "snow", "-d", device.url]) == 0
        assert invoke(["pull", "-q", "-d", device.url]) == 0
    with fieldlog.archive.open(tmp_path) as archive:
        [log] = archive.logs()
        blocks = [parse_block(log.copies(seq)[0]) for seq in range(log.held().start, log.held().stop)]
    assert {block.header.kind for block in blocks} == {*Kind}
    described = [index for index, block in enumerate(blocks) if block.header.kind == Kind.SCHEMA]
    assert max(np.diff([0, *described, len(blocks)])) <= 65
    for block in blocks:
        header = block.header
        if header.kind == Kind.DATA:
            continue
        said = (header.n_channels, header.encoding, header.dropped, block.n_frames, block.span, header.stream)
        assert said == (0, 0, 0, 1, 0, 0)
        if header.kind == Kind.EVENT:
            assert {event.tick for event in decode_events(block.payload)} == {header.t0}
    sessions = {block.header.session for block in blocks if block.header.kind != Kind.EVENT}
    assert sessions == {1}, "descriptions bear the session that they are written in"


@pytest.mark.parametrize("encoding", [Encoding.RAW, Encoding.PACKED])
def test_a_timed_stream_has_its_time_in_front(encoding: Encoding) -> None:
    ticks, opened = [1000, 1600, 1610, 5000], [0, 1, 0, 1]
    stream = Stream(1, "door", 0, (Channel("open", "", ChannelType.BOOL),), timed=True, time_resolution=8)
    encoder = BlockEncoder(stream, 256, encoding)
    assert all(encoder.push(tick, [value]) for tick, value in zip(ticks, opened, strict=True))
    block = encoder.seal(BlockHeader(seq=0, t0=0, boot_id=1))
    times = [(tick - ticks[0]) // 8 for tick in ticks]
    assert (block.header.n_channels, block.header.t0, block.span) == (2, ticks[0], times[-1] * 8)
    if encoding == Encoding.PACKED:
        assert page_decoder()(block.payload, 4, ["u32", "u8"]) == [times, opened]
    else:
        frames = [time.to_bytes(4, "little") + bytes([value]) for time, value in zip(times, opened, strict=True)]
        assert block.payload == b"".join(frames)
