"""Stock devices, which describe no settings: raw values, the rest of the settings group, and a schema that a person wrote."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.cli.main import invoke
from fieldlog.config.model import Problems
from fieldlog.config.schema_file import read_schema
from fieldlog.config.values import Setting, allowed, decode, encode, parse_words
from fieldlog_protocol.commands import settings
from fieldlog_protocol.errors import ProtocolError, UsageError
from simulator import simulator
from smp_peer import Answer, Refuse, udp_peer

SCHEMA = """
["app/interval"]
type = "u32"
unit = "ms"
min = 10
max = 600000
step = 10
default = "1 s"
text = "time between samples"

["app/label"]
type = "text"
max = 16

["app/flags"]
type = "bytes"
"""


def schema_of(folder: Path, text: str) -> dict[str, Setting]:
    path = folder / "schema.toml"
    path.write_text(text, encoding="utf-8")
    return read_schema(path)


def test_a_schema_file_gives_types_units_limits_and_texts(tmp_path: Path) -> None:
    known = schema_of(tmp_path, SCHEMA)
    assert list(known) == ["app/interval", "app/label", "app/flags"]
    interval = known["app/interval"]
    assert (interval.unit, interval.text, interval.default) == ("ms", "time between samples", struct.pack("<I", 1000))
    assert allowed(interval) == "a whole number from 10 to 600000 ms in steps of 10"
    assert encode(interval, parse_words(interval, "2 min")) == struct.pack("<I", 120_000)
    assert encode(known["app/label"], "attic") == b"attic"
    assert encode(known["app/flags"], parse_words(known["app/flags"], "01ff")) == b"\x01\xff"


_WIDTHS = {"u8": "<B", "i8": "<b", "u16": "<H", "i16": "<h", "u32": "<I", "i32": "<i", "u64": "<Q", "i64": "<q"}


@pytest.mark.parametrize(("name", "form"), _WIDTHS.items())
def test_whole_numbers_have_their_width_and_its_limits(tmp_path: Path, name: str, form: str) -> None:
    (one,) = schema_of(tmp_path, f'["a/b"]\ntype = "{name}"\n').values()
    bits = 8 * struct.calcsize(form)
    least, most = (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for number in (least, 1, most):
        assert encode(one, number) == struct.pack(form, number)
        assert decode(one, struct.pack(form, number)) == number
    for number in (least - 1, most + 1):
        with pytest.raises(UsageError, match=f"from {least} to {most}"):
            encode(one, number)
    with pytest.raises(ProtocolError):
        decode(one, b"123")


@given(st.floats(allow_nan=False))
def test_real_numbers_of_eight_bytes_keep_all_their_digits(number: float) -> None:
    one = _real()
    if abs(number) < 2.0**128:
        assert encode(one, number) == struct.pack("<d", number)
        assert decode(one, struct.pack("<d", number)) == number


def _real() -> Setting:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        (one,) = schema_of(Path(folder), '["a/b"]\ntype = "f64"\n').values()
    return one


def test_choices_switches_and_what_cannot_be_written(tmp_path: Path) -> None:
    text = (
        '["m"]\ntype = "choice"\nchoices = ["off", "slow"]\ndefault = "slow"\n'
        '["s"]\ntype = "bool"\nread_only = true\n["r"]\ntype = "f32"\nneeds_restart = true\naffects_link = true\n'
    )
    mode, switch, rate = schema_of(tmp_path, text).values()
    assert (encode(mode, "slow"), decode(mode, b"\0"), mode.default) == (b"\1", "off", b"\1")
    assert switch.read_only
    assert [flag.name for flag in rate.flags] == ["NEEDS_RESTART", "AFFECTS_LINK"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["schema.toml: no setting is described"]),
        ("x = 5\n", ["schema.toml:1:1: a setting is a table"]),
        ('["a"]\nunit = "s"\n', ["schema.toml:1:2: its type is missing"]),
        ('["a"]\ntype = "u23"\n', ["schema.toml:2:8: there is no type 'u23'. Did you mean u32?"]),
        ('["a"]\ntype = 5\n', ["schema.toml:2:8: there is no type 5"]),
        ('["a"]\ntype = "u8"\nmaximum = 5\n', ["schema.toml:3:1: a setting has no 'maximum'"]),
        ('["a"]\ntype = "u8"\nmax = 256\n', ["schema.toml:3:7: 256 is no number of 1 byte: 0 to 255"]),
        ('["a"]\ntype = "u8"\nmin = 1.5\n', ["schema.toml:3:7: min is a whole number for this type"]),
        ('["a"]\ntype = "f32"\nmin = nan\n', ["schema.toml:3:7: min is a number"]),
        ('["a"]\ntype = "f32"\nmin = 2\nmax = 1\n', ["schema.toml:3:7: its lowest value 2 is above its highest 1"]),
        ('["a"]\ntype = "f32"\nstep = 0\n', ["schema.toml:3:8: a step is above 0"]),
        ('["a"]\ntype = "bool"\nmin = 0\n', ["schema.toml:3:7: a bool has no min"]),
        ('["a"]\ntype = "u8"\nunit = 5\n', ["schema.toml:3:8: unit is a text"]),
        ('["a"]\ntype = "u8"\nread_only = 1\n', ["schema.toml:3:13: read_only is true or false"]),
        ('["a"]\ntype = "u8"\nchoices = ["x"]\n', ["schema.toml:3:11: choices go with"]),
        ('["a"]\ntype = "choice"\n', ["schema.toml:1:2: choices are up to 256 different texts"]),
        ('["a"]\ntype = "choice"\nchoices = ["x", "x"]\n', ["schema.toml:3:11: choices are up to 256"]),
        ('["a"]\ntype = "text"\nstep = 2\n', ["schema.toml:3:8: a text has no step"]),
        (
            (
                '["a"]\ntype = "u8"\nmaxx = 1\nmin = 1.5\nmax = 300\nstep = 0\nunit = 5\ntext = 6\ndefault = "5 V"\n'
                'read_only = 1\naffects_link = "no"\nchoices = ["x"]\n'
            ),
            [
                "schema.toml:3:1: a setting has no 'maxx'. Did you mean max?",
                "schema.toml:4:7: min is a whole number",
                "schema.toml:5:7: 300 is no number of 1 byte",
                "schema.toml:6:8: a step is above 0",
                "schema.toml:7:8: unit is a text",
                "schema.toml:8:8: text is a text",
                "schema.toml:10:13: read_only is true or false",
                "schema.toml:11:16: affects_link is true or false",
                "schema.toml:12:11: choices go with",
            ],
        ),
        (
            '["a"]\ntype = "f32"\nunit = "s"\nmin = 5\nmax = 3\ndefault = "5 V"\n["b"]\nunit = 3\nneeds_restart = 3\n',
            [
                "schema.toml:4:7: its lowest value 5 is above its highest 3",
                "schema.toml:6:11: its default does not fit: a cannot be '5 V'",
                "schema.toml:7:2: its type is missing",
                "schema.toml:8:8: unit is a text",
                "schema.toml:9:17: needs_restart is true or false",
            ],
        ),
        ('["a"]\ntype = "u8"\nmax = 5\ndefault = 6\n', ["schema.toml:4:11: its default does not fit: a cannot be 6"]),
        (
            '["a"]\ntype = "u8"\nmax = 5 5\n["b"]\ntpye = "u8"\n',
            [
                "schema.toml:3:9: this is not TOML",
                "schema.toml:4:2: its type is missing",
                "schema.toml:5:1: a setting has no",
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_schema_file_has_its_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(Problems) as caught:
        schema_of(tmp_path, text)
    found = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert len(found) == len(expected)
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


# a stock device


@pytest.fixture(scope="module")
def stock() -> Iterator[str]:
    with simulator("--profile", "smp-server") as running:
        yield running.url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], stock: str) -> Any:
    def work(*words: str, url: str = stock) -> tuple[int, str, str]:
        code = invoke([*words, "-d", url])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return work


def test_typed_on_a_stock_device(run: Any, tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(SCHEMA)
    typed = ("--schema", str(tmp_path / "app.toml"))
    assert run("config", "set", "app/interval=2 s", "app/label=attic", *typed)[0] == 0
    assert run("config", "get", "app/interval")[1] == "hex:d0070000\n"
    assert run("config", "get", "app/interval", *typed)[1] == "2000\n"
    code, _, err = run("config", "set", "app/label=cellar", "app/interval=15 ms", *typed)
    assert code == 2
    assert "in steps of 10" in err
    assert run("config", "get", "app/label", *typed)[1] == "attic\n", "nothing was written"
    shown = json.loads(run("config", "show", "--json", *typed)[1])["settings"]
    assert [(one["key"], one["value"], one["unit"], one["changed"]) for one in shown] == [
        ("app/interval", 2000, "ms", True),
        ("app/label", "attic", "", False),
        ("app/flags", "00", "", False),
    ]
    file = tmp_path / "device.toml"
    assert run("config", "export", "-o", str(file), *typed)[0] == 0
    assert run("config", "diff", str(file), "--exit-code", *typed)[0] == 0
    file.write_text(file.read_text().replace("2000", '"3 s"'))
    assert run("config", "diff", str(file), "--exit-code", *typed)[0] == 1
    assert run("config", "apply", str(file), "--yes", *typed)[0] == 0
    assert run("config", "get", "app/interval", *typed)[1] == "3000\n"
    code, _, _ = run("config", "apply", str(file), "--yes", *typed)
    assert (code, run("config", "diff", str(file), "--exit-code", *typed)[0]) == (0, 0)
    file.write_text('[settings]\n"app/intervall" = 5\n"app/label" = 7\n')
    code, _, err = run("config", "apply", str(file), "--yes", *typed)
    assert code == 2
    assert "device.toml:2:1" in err
    assert "Did you mean app/interval?" in err
    assert "device.toml:3:15" in err
    (tmp_path / "app.toml").write_text('["app/label"]\ntype = "txet"\n')
    code, _, err = run("config", "show", *typed)
    assert code == 2
    assert "app.toml:2:8" in err


def test_keys_that_a_device_does_not_give_are_named_beside_those_that_it_does(run: Any) -> None:
    assert run("config", "set", "app/interval=u32:7")[0] == 0
    code, out, err = run("config", "get", "no/such", "app/interval", "nor/this")
    assert (code, out) == (4, "app/interval = hex:07000000\n")
    assert "no/such: " in err
    assert "nor/this: " in err
    code, out, err = run("config", "get", "no/such", "app/interval", "--json")
    assert code == 4
    assert set(json.loads(out)) == {"error"}


def test_the_rest_of_the_settings_group(run: Any) -> None:
    with simulator("--profile", "smp-server") as own:
        url = own.url
        assert run("config", "set", "app/interval=u32:5", url=url)[0] == 0
        assert run("config", "save", url=url)[0] == 0
        assert run("config", "commit", "--json", url=url)[1] == '{"committed": true}\n'
        assert run("config", "load", url=url)[0] == 0
        assert run("config", "get", "app/interval", url=url)[1] == "hex:05000000\n"
        code, out, err = run("config", "delete", "app/interval", url=url)
        assert (code, out, err) == (0, "", "deleted: app/interval\n")
        code, _, err = run("config", "delete", "app/nothing", url=url)
        assert code == 4
        assert err


def test_the_group_is_asked_as_smp_says() -> None:
    asked = {
        settings.DELETE.key: lambda _: {},
        settings.COMMIT.key: lambda _: {},
        settings.LOAD.key: lambda _: {},
        settings.SAVE.key: lambda _: {},
    }
    with udp_peer(asked) as peer:
        for words in (["delete", "a/b", "c"], ["commit"], ["load"], ["save", "a"], ["save"]):
            assert invoke(["config", *words, "-d", peer.url, "-q"]) == 0
        ours = [(key, body) for key, body in peer.peer.log if key[1] == settings.SAVE.key[1]]
    assert ours == [
        (settings.DELETE.key, {"name": "a/b"}),
        (settings.DELETE.key, {"name": "c"}),
        (settings.COMMIT.key, {}),
        (settings.LOAD.key, {}),
        (settings.SAVE.key, {"name": "a"}),
        (settings.SAVE.key, {}),
    ]


def test_what_a_device_refuses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with udp_peer({settings.DELETE.key: lambda _: Refuse(3, 3)}) as peer:
        assert invoke(["config", "delete", "a/b", "-d", peer.url]) == 4
    assert "a/b" in capsys.readouterr().err


# values of unknown type, one of which the device does not take


class Stock:
    """A device with raw settings: it refuses some writes, the commit or reads, or falls silent from a write on."""

    def __init__(self, **behaviour: Any) -> None:
        self.held = {"a": b"\1", "b": b"\2", "c": b"\3"}
        self.refuses: tuple[str, ...] = behaviour.get("refuses", ())
        self.unread: tuple[str, ...] = behaviour.get("unread", ())
        self.silent_from: str = behaviour.get("silent_from", "")
        self.no_commit: bool = behaviour.get("no_commit", False)
        self._gone = False

    def handlers(self) -> dict[tuple[int, int, int], Any]:
        return {
            settings.READ.key: self.read,
            settings.WRITE.key: self.write,
            settings.COMMIT.key: lambda _: Refuse(3, 3) if self.no_commit else self.heard({}),
            settings.SAVE.key: lambda _: self.heard({}),
        }

    def heard(self, answer: Any) -> Any:
        return None if self._gone else answer

    def read(self, body: dict[str, Any]) -> Any:
        name = body["name"]
        return self.heard(Refuse(3, 3) if name in self.unread else {"val": self.held[name]})

    def write(self, body: dict[str, Any]) -> Any:
        self._gone |= body["name"] == self.silent_from
        if body["name"] in self.refuses:
            return self.heard(Refuse(3, 3))
        self.held[body["name"]] = body["val"]
        return self.heard({})


@pytest.mark.parametrize(
    ("device", "held", "code", "said"),
    [
        (Stock(refuses=("a",)), "123", 4, "That was a. Nothing was written before it, and nothing was changed"),
        (
            Stock(refuses=("c",)),
            "123",
            4,
            "That was c. Written before were a, b: their former values were written back and read back",
        ),
        (
            Stock(refuses=("c",), unread=("a",)),
            "723",
            4,
            "That was c. Not taken back: a. They are written and not stored",
        ),
        (Stock(no_commit=True), "123", 4, "Written before were a, b, c: their former values were written back"),
        (
            Stock(silent_from="b"),
            "723",
            3,
            "That was b. Written and perhaps in effect, and not stored: a, b. They could not be taken back: the link is gone",
        ),
    ],
)
def test_raw_values_are_all_written_or_it_is_said_what_is_left(
    capsys: pytest.CaptureFixture[str], device: Stock, held: str, code: int, said: str
) -> None:
    with udp_peer(device.handlers()) as peer:
        url = f"{peer.url}?timeout=0.2"
        assert invoke(["config", "set", "a=u8:7", "b=u8:8", "c=u8:9", "-d", url]) == code
    assert said in capsys.readouterr().err
    assert "".join(str(value[0]) for value in device.held.values()) == held


@pytest.mark.parametrize("answer", [Refuse(3), {"val": "5"}], ids=["not given", "text"])
def test_settings_that_are_text_are_not_written(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    """Mynewt (config_mgmt.c) leaves bytes out of what it reads, and deletes what is then written without a value."""
    with udp_peer({settings.READ.key: lambda _: answer, settings.WRITE.key: lambda _: {}}) as peer:
        assert invoke(["config", "set", "a/b=str:5", "-d", peer.url]) in (3, 4)
        assert peer.peer.asked(settings.WRITE) == []
    assert capsys.readouterr().err
