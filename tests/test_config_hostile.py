"""Files, command lines and descriptions that no sane person or device would give: each is answered soon, in a sentence."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from pathlib import Path
from typing import cast

import pytest

import fieldlog.config.schema as module
from config_bench import connected
from device_bench import Bench, refused
from fieldlog.cli.output import json_line
from fieldlog.config.channels import coefficients
from fieldlog.config.check import check, checked
from fieldlog.config.document import parse
from fieldlog.config.export import export
from fieldlog.config.log_section import log_problems
from fieldlog.config.model import Plan, Problems
from fieldlog.config.plan import make_plan
from fieldlog.config.present import read_all
from fieldlog.config.schema import read_infos
from fieldlog.config.schema_file import read_schema
from fieldlog.config.target import Target, read_target
from fieldlog.config.template import Identity, resolved
from fieldlog.config.values import Setting, decode, encode, parse_words
from fieldlog.device import Device
from fieldlog_protocol.blocks.metadata import encode_metadata
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands import logger, settings
from fieldlog_protocol.commands.logger import (
    Capability,
    SchemaRequest,
    SchemaResponse,
    SettingFlag,
    SettingInfo,
    SettingType,
)
from fieldlog_protocol.errors import ProtocolError, UsageError
from virtual_link import run

SOON_S = 10.0


def setting(kind: SettingType, unit: str = "", form: str = "", high: float | None = None) -> Setting:
    return Setting("a/b", kind, unit, None, high, None, None, SettingFlag(0), "", (), form)


def problems(text: str, kind: SettingType = SettingType.TEXT) -> list[str]:
    """All that is wrong with a file, for a device with one setting."""
    found, wrong = resolved(parse(text, "f"), Identity())
    target = Target({"a/b": setting(kind, high=120)}, (), "1", Capability(0))
    return [problem.sentence for problem in dict.fromkeys((*wrong, *checked(found, target)[1], *log_problems(found)))]


def _variables(*texts: str) -> str:
    return "[settings]\n'a/b' = '${v0}'\n[variables]\n" + "\n".join(texts)


@pytest.mark.parametrize(
    ("text", "most", "words"),
    [
        (_variables(*(f"v{i} = '${{v{i + 1}}}'" for i in range(150)), "v150 = 'x'"), 5, "more than 50 variables"),
        (
            _variables(*(f"v{i} = '${{v{i + 1}}}${{v{i + 1}}}'" for i in range(30)), "v30 = 'x'"),
            30,
            "more than 10000 characters",
        ),
        (
            _variables(*(f"v{i} = '{''.join(f'${{v{j}}}' for j in range(7))}'" for i in range(7))),
            7,
            "v0 is made of itself: v0 of v0",
        ),
        (_variables(f"v0 = '{'${serial}' * 2000}'"), 1, "no more than 10000 characters"),
        (f"[settings]\n'a/b' = 0x{'f' * 5000}", 1, "thousands of digits"),
        (f"[settings]\n'a/b' = '{'x' * 900_000}'", 1, f"cannot be '{'x' * 80}'...: "),
        (f"[log]\nperiod = '{'9' * 5000}s'\nfor = '{'9' * 5000}w'", 2, "no more than 100 characters"),
        (f"[settings]\n'a/b' = [[0x{'f' * 5000}]]", 1, "thousands of digits"),
        (_variables(f"v0 = 0x{'f' * 5000}"), 2, "thousands of digits"),
        ("".join(f"a{i} = 1\n" for i in range(60_000)) + "=\n" * 24, 10, "the rest was not looked at"),
    ],
    ids=[
        "chain",
        "doubling",
        "rings",
        "long text",
        "digits",
        "long value",
        "long times",
        "digits in lists",
        "digits in a variable",
        "long file",
    ],
)
def test_a_file_is_refused_soon_and_in_few_words(text: str, most: int, words: str) -> None:
    began_s = time.process_time()
    found = problems(text)
    assert time.process_time() - began_s < SOON_S
    assert any(words in sentence for sentence in found), found
    assert len(found) <= most


def test_a_chain_of_variables_that_people_may_write_is_followed() -> None:
    chain = [*(f"v{i} = '${{v{i + 1}}}'" for i in range(40)), "v40 = 'x'"]
    found, wrong = resolved(parse(_variables(*chain), "f"), Identity())
    assert not wrong
    assert found.settings["a/b"].value == "x"


def test_a_key_whose_parts_are_divided_by_a_dot_is_told_how_to_be_written() -> None:
    (sentence,) = problems("[settings]\nalarm.high = 5\n")
    assert 'write "alarm/high" = ...' in sentence


@pytest.mark.parametrize(
    ("kind", "unit", "words"),
    [
        (SettingType.TEXT, "", "a\udcff"),
        (SettingType.I32, "Cel", "1e400 [degF]"),
        (SettingType.I32, "Cel", "1e400 degF"),
        (SettingType.U32, "h", "1e400 min"),
        (SettingType.F32, "h", "1e400 min"),
    ],
)
def test_words_that_stand_for_no_value_are_refused(kind: SettingType, unit: str, words: str) -> None:
    with pytest.raises(UsageError, match="a/b cannot be"):
        encode(setting(kind, unit), parse_words(setting(kind, unit), words))


@pytest.mark.parametrize(
    "line",
    ["step = 1e-320", "min = -inf", "max = inf", f"step = 1{'0' * 400}", f"max = 1{'0' * 400}", "step = nan"],
)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_limits_that_no_number_can_be_held_against_are_refused(tmp_path: Path, kind: str, line: str) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(f'["a/b"]\ntype = "{kind}"\n{line}\n')
    with pytest.raises(Problems, match=r"schema\.toml:3:"):
        read_schema(path)


@pytest.mark.parametrize(
    "limits", ["min = -1e308\nmax = 1e308\nstep = 0.5", "step = 1e300", "min = 1e308\nstep = 1e-37"]
)
def test_numbers_are_held_against_limits_that_are_far_apart(tmp_path: Path, limits: str) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(f'["a/b"]\ntype = "f64"\n{limits}\n')
    described = read_schema(path)["a/b"]
    for number in (0.0, 1.0, 1e308, -1e308, 5e-324):
        try:
            data = encode(described, number)
        except UsageError:
            continue
        assert decode(described, data) == number


def test_large_numbers_of_eight_bytes_go_back_as_they_came() -> None:
    wide = setting(SettingType.F32, form="<d")
    for number in (2.0**128, 1e200, -1.7e308):
        assert encode(wide, decode(wide, struct.pack("<d", number))) == struct.pack("<d", number)


@pytest.mark.parametrize("zone", ["CET-1CEST", "../../etc/passwd", "Moon/Tycho"])
def test_a_zone_that_another_program_wrote_stays_and_is_given_to_no_other(zone: str) -> None:
    bench = Bench()
    blob = encode_metadata({"zone": zone, "site": "Ridge"})
    bench.ask(logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=len(blob), d=blob))

    async def exported_and_planned(device: Device) -> Plan:
        target = await read_target(device)
        text = export(await read_all(device, target, "a logger"))
        found, wrong = resolved(parse(text, "f"), Identity())
        assert not wrong
        return await make_plan(device, check(found, target), target)

    assert run(bench, connected(bench, exported_and_planned)).empty
    (sentence,) = [sentence for sentence in problems(f"[metadata]\nzone = '{zone}'") if "zone" in sentence]
    assert "there is no time zone" in sentence


def test_a_constant_is_no_calibration_unless_the_device_has_it_already() -> None:
    for given in ([5], [0, 0], [1.5, 0.0, 0.0]):
        with pytest.raises(UsageError, match="would make every reading"):
            coefficients("t", Channel("t", "Cel", ChannelType.I16), given)
    kept = Channel("t", "Cel", ChannelType.I16, calibration=(5.0,))
    assert coefficients("t", kept, [5]) == (5.0,)


def test_json_has_no_numbers_that_json_does_not_have() -> None:
    line = json_line({"value": float("nan"), "more": [float("inf"), (1.5, {"x": -float("inf")})], "bytes": b"\1"})
    assert "NaN" not in line
    assert json.loads(line) == {"value": "nan", "more": ["inf", [1.5, {"x": "-inf"}]], "bytes": "01"}


def test_the_device_takes_every_step_of_a_tenth_that_the_host_takes() -> None:
    info = SettingInfo(k="a/tenth", t=SettingType.F32, lo=0.1, hi=100.0, step=0.1, d=struct.pack("<f", 0.1))
    bench = Bench(settings=(info,))
    for tenths in range(1, 1001, 7):
        data = struct.pack("<f", tenths / 10)
        bench.ask(settings.WRITE, settings.SettingWriteRequest(name="a/tenth", val=data))
    between = settings.SettingWriteRequest(name="a/tenth", val=struct.pack("<f", 7.05))
    assert refused(lambda: bench.ask(settings.WRITE, between)) is not None


class Endless:
    """Describes settings without end, one a page, each with as many choices as there can be."""

    def __init__(self, *, silent: bool = False) -> None:
        self.asked = 0
        self._silent = silent

    async def need_logger(self) -> None:
        pass

    async def request(self, _command: object, message: SchemaRequest) -> SchemaResponse:
        self.asked += 1
        if self._silent:
            await asyncio.Event().wait()
        at, choice = message.i or 0, message.c or 0
        info = SettingInfo(k=f"a/{at}", t=SettingType.CHOICE, nc=256, ch=(f"choice {choice}",))
        return SchemaResponse(n=4096, i=at, s=(info,))


async def test_a_description_without_end_is_given_up() -> None:
    device = Endless()
    with pytest.raises(ProtocolError, match="more than 4096 choices in all"):
        await read_infos(cast("Device", device))
    assert device.asked <= 4096 + 16


async def test_a_description_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_S", 0.0)
    with pytest.raises(ProtocolError, match="still describing its settings"):
        await read_infos(cast("Device", Endless(silent=True)))
