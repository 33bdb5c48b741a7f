"""Configuration files as text: every place, and every syntax error in one run."""

from __future__ import annotations

import random
import tomllib
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.config.document import MOST_BYTES, parse, read_document, read_file
from fieldlog.config.model import Place, Problems
from fieldlog_protocol.errors import UsageError

ALL_OF_TOML = """\
# a comment with = and [brackets]
bare = 1  # "quoted" too
"quoted \\u00e9.key" = 2
'literal "key"' = 3
dotted . "two parts".three = 4
text = "with \\" and # and ]"
lines = \"\"\"
three "quotes" ""within"" \\\"\"\" and \\
  a continued line\"\"\"\"\"
literals = '''
C:\\new ''two'' '''''
date = 1979-05-27 07:32:00Z
array = [1, [2, 'three'],  # within
  { four = 4, "5".six = [7] },
]
inline = {a.b = 1, c = [{}]}

  [table]
\tindented = -inf
[table . "sub table"]
x = 0xF
[[many]]
name = "first"
  [many.deep]
  y = 1e3
[[many]]
name = "second"
[[many.inner]]
z = true
[last]
"""


def at(text: str, name: str = "file.toml") -> list[str]:
    return [problem.text(name) for problem in parse(text, name).problems]


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], object]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))] or [(path, value)]
    if isinstance(value, list):
        return [leaf for key, item in enumerate(value) for leaf in leaves(item, (*path, key))] or [(path, value)]
    return [(path, value)]


def value_at(text: str, place: Place) -> list[Any]:
    """The values that the text from a place on can be, however far it reaches."""
    rest = "".join(text.splitlines(keepends=True)[place.line - 1 :])[place.column - 1 :]
    found = []
    for end in range(min(len(rest), 80) + 1):
        try:
            found.append(tomllib.loads(f"x = {rest[:end]}")["x"])
        except tomllib.TOMLDecodeError:
            continue
    return found


def test_every_value_of_every_kind_stands_where_its_place_says() -> None:
    document = read_document(ALL_OF_TOML, "all.toml")
    assert document.values == tomllib.loads(ALL_OF_TOML)
    for path, value in leaves(document.values):
        if path == ("last",):
            continue
        place = document.located(value, path).place
        assert place is not None, path
        assert value in value_at(ALL_OF_TOML, place), path


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("bare",), "2:1", "2:8"),
        (("quoted \u00e9.key",), "3:1", "3:23"),
        (("dotted",), "5:1", "5:1"),
        (("dotted", "two parts", "three"), "5:22", "5:30"),
        (("array", 1, 1), "13:17", "13:17"),
        (("array", 2, "5", "six", 0), "14:26", "14:26"),
        (("inline", "a", "b"), "16:13", "16:17"),
        (("table",), "18:4", "18:4"),
        (("table", "indented"), "19:2", "19:13"),
        (("table", "sub table"), "20:10", "20:10"),
        (("many", 0, "deep", "y"), "25:3", "25:7"),
        (("many", 1, "name"), "27:1", "27:8"),
        (("many", 1, "inner", 0, "z"), "29:1", "29:5"),
        (("last",), "30:2", "30:2"),
    ],
)
def test_keys_have_places_too(path: tuple[str | int, ...], key: str, value: str) -> None:
    located = read_document(ALL_OF_TOML, "all.toml").located(None, path)
    assert (str(located.key_place), str(located.place)) == (key, value)


def styled(rng: random.Random, depth: int, numbers: count[int]) -> str:
    """A value in some style, all of whose words are different."""
    kind = rng.randrange(8 if depth else 6)
    word = f"v{next(numbers)}"
    blank = rng.choice(["", " ", "\n  ", " # no ] here\n"])
    simple = [f"1{next(numbers):04}", f'"{word}"', f"'{word}'", f'"""\n{word}""x"""', f"'''{word}\n'x'''", "true"]
    if kind < len(simple):
        return simple[kind]
    if kind == 6:
        items = [blank + styled(rng, depth - 1, numbers) + blank for _ in range(rng.randrange(4))]
        return "[" + ",".join(items) + ("," if items and rng.random() < 0.5 else "") + blank + "]"
    pairs = [f"k{next(numbers)} = {styled(rng, depth - 1, numbers)}" for _ in range(rng.randrange(4))]
    return "{ " + ", ".join(pairs) + " }"


def document_of(rng: random.Random) -> str:
    numbers = count(1)
    lines: list[str] = []
    for _ in range(rng.randrange(1, 12)):
        indent = rng.choice(["", "  ", "\t"])
        name = rng.choice(["k{}", "'k{} q'", '"k{}.é"', "k{}.a.'b.c'"]).format(next(numbers))
        if rng.random() < 0.25:
            lines.append(f"{indent}[{name}]" if rng.random() < 0.5 else f"{indent}[[{name}]]")
        lines.append(f"{indent}{name} = {styled(rng, 3, numbers)}  # {rng.choice('[]{}=')}")
    return rng.choice(["\n", "\r\n"]).join("\n".join(lines).split("\n"))


@given(st.integers(0, 2**32))
def test_places_in_random_documents(seed: int) -> None:
    text = document_of(random.Random(seed))
    document = read_document(text, "random")
    lines = text.replace("\r\n", "\n").split("\n")
    for path, value in leaves(document.values):
        place = document.located(value, path).place
        assert place is not None, (seed, path)
        here = "\n".join([lines[place.line - 1][place.column - 1 :], *lines[place.line :]])
        if isinstance(value, str):
            assert here.lstrip("\"'\n").startswith(value.split("\n")[0]), (seed, path)
        elif not isinstance(value, (dict, list)):
            assert here.startswith(str(value).lower()), (seed, path)
        else:
            assert here.startswith(("[", "{")), (seed, path)


def test_all_syntax_errors_are_told_at_once_and_the_rest_is_read() -> None:
    text = "a = 1\nb =\n[t]\nc = [1,\n  ?,\n  2]\nc2 = 'open\n[t]\nd = 4\n[u\ne = 5\n[v]\nf = 6\nf = 7 8\n"
    assert at(text) == [
        "file.toml:2:4: this is not TOML: invalid value",
        "file.toml:5:3: this is not TOML: invalid value",
        'file.toml:7:6: this is not TOML: expected "\'"',
        "file.toml:8:1: this name is taken already: keep one of the two",
        "file.toml:10:3: this is not TOML: expected ']' at the end of a table declaration",
        "file.toml:14:1: this name is taken already: keep one of the two",
    ]
    assert parse(text, "f").values == {"a": 1, "t": {}, "v": {"f": 6}}
    with pytest.raises(Problems) as raised:
        read_document(text, "file.toml")
    assert len(raised.value.problems) == len(at(text))
    assert str(raised.value) == "\n".join(at(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = '''\nnever closed", "file.toml:1:5: this is not TOML: expected \"'''\""),
        ("a = 1\na = 2", "file.toml:2:1: this name is taken already: keep one of the two"),
        ("a.b = 1\na = 2\n", "file.toml:2:1: this name is taken already: keep one of the two"),
        ("x = 1\na = 9" + "9" * 5000, "file.toml:2:1: this number has thousands of digits"),
        ("x = " + "[" * 3000, "file.toml:1:55: more than 50 tables or arrays are within each other"),
        ("a." * 3000 + "b = 1", "file.toml:1:102: more than 50 tables or arrays are within each other"),
        ("d = 2024-13-99\n", "file.toml:1:9: this is not TOML: expected newline or end of document after a statement"),
        ("a = 1 # \x01\n", "file.toml:1:9: this is not TOML: found invalid character '\\x01'"),
        ("a = 1\r\nb = \rx", "file.toml:2:5: this is not TOML: invalid value"),
    ],
)
def test_one_error_has_its_place(text: str, problem: str) -> None:
    assert at(text) == [problem]


@given(st.text("a1=[]{}.,\"'#\n\\ -é\r\x00", max_size=60))
def test_any_text_is_a_document_or_has_problems_with_places(text: str) -> None:
    document = parse(text, "any")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert document.problems
    else:
        assert not document.problems
        assert document.values == values
    assert all(problem.place for problem in document.problems)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(b"\xef\xbb\xbf[a]\r\nb = 1\r\n")
    document = read_file(path)
    assert document.values == {"a": {"b": 1}}
    assert str(document.key_place(("a", "b"))) == "2:1"
    path.write_bytes("# é\r\nb = 'é".encode() + b"\xff'")
    with pytest.raises(Problems, match=r"some.toml:2:7: the byte 0xff is no UTF-8"):
        read_file(path)
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(Problems, match="no configuration is longer"):
        read_file(path)
    for absent, why in ((tmp_path / "none.toml", "there is no such file"), (tmp_path, "it is a folder")):
        with pytest.raises(UsageError, match=rf"cannot be read: {why}. Nothing was changed"):
            read_file(absent)


def test_what_is_no_toml_at_all_is_told_in_few_words() -> None:
    found = at("<html>\n" * 1000)
    assert len(found) < 50
    assert any("is this a TOML file?" in problem for problem in found)
