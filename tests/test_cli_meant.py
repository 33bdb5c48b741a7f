"""A command that there is not: what was meant by it is told, in one wording wherever it stands."""

from __future__ import annotations

import click
import pytest

from fieldlog.cli.main import cli, invoke
from fieldlog.cli.meant import SYNONYMS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("log start", "there is no command 'log start'. Did you mean 'log arm'?"),
        ("log start --label roof", "Did you mean 'log arm'?"),
        ("log stat", "there is no command 'log stat'. Did you mean 'log status'?"),
        ("import flash.bin", "there is no command 'import'. Did you mean 'archive import'?"),
        ("config import a.toml", "Did you mean 'config apply'?"),
        ("config list", "Did you mean 'config show'?"),
        ("status", "Did you mean 'info' or 'log status'?"),
        ("version", "Did you mean '--version' or 'info'?"),
        ("arm", "Did you mean 'log arm'?"),
        ("Download", "Did you mean 'pull'?"),
        ("update", "Did you mean 'flash'?"),
        ("scan", "Did you mean 'devices'?"),
        ("clock set", "Did you mean 'clock sync'?"),
        ("exprot", "there is no command 'exprot'. Did you mean 'export'?"),
        ("xyzzy", "there is no command 'xyzzy'. See `fieldlog --help`."),
        ("log xyzzy", "there is no command 'log xyzzy'. See `fieldlog log --help`."),
    ],
)
def test_a_command_that_there_is_not_is_told_what_is_meant(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[0]
    first = words.partition(" ")[0]
    group = first if first in ("log", "config", "clock") else ""
    assert err.count(f"See `{' '.join(filter(None, ('fieldlog', group, '--help')))}`.") == 1


def test_what_is_meant_are_commands_and_what_is_said_are_none() -> None:
    def names(line: str) -> click.Command | None:
        command: click.Command | None = cli
        for word in line.split():
            command = command.get_command(click.Context(cli), word) if isinstance(command, click.Group) else None
        return command

    for group, synonyms in SYNONYMS.items():
        for name, meant in synonyms.items():
            assert names(f"{group} {name}") is None
            assert all(names(line) is not None or line in ("--help", "--version") for line in meant), (name, meant)
