"""`fieldlog config schema`: what each setting takes, for people and for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.config_raw import schema_option
from fieldlog.cli.config_target import Described, described
from fieldlog.config.export import toml_value
from fieldlog.config.json_schema import json_schema
from fieldlog.config.plan_words import flag_notes, value_text
from fieldlog.config.present import meaning
from fieldlog.config.schema import Schema
from fieldlog.config.values import Setting, allowed
from fieldlog.files import check_target
from fieldlog.whole_file import whole_file
from fieldlog_protocol.errors import UsageError

_TABLE, _JSON_SCHEMA = "table", "json-schema"


@click.command()
@options
@schema_option
@click.option(
    "--format",
    "form",
    type=click.Choice([_TABLE, _JSON_SCHEMA]),
    default=_TABLE,
    show_default=True,
    help="json-schema: for editors, which complete and check configuration files by it.",
)
@click.option(
    "--output", "-o", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where to; else stdout."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def schema(common: Common, form: str, target: Path | None, force: bool, own: Schema | None) -> None:
    """Show what each setting takes and what it is for."""
    if target is not None:
        if form == _TABLE:
            raise UsageError("a table goes to stdout; for a file for editors add --format json-schema")
        check_target(target, force=force)

    async def work() -> Described:
        async with common.connect() as device:
            return await described(device, own, streams=form == _JSON_SCHEMA)

    found = run(work())
    if form == _JSON_SCHEMA:
        _for_editors(common, json_schema(found.target, found.title), target, force=force)
    else:
        _table(common, found.target.schema)


def _for_editors(common: Common, content: Mapping[str, object], target: Path | None, *, force: bool) -> None:
    text = json.dumps(content, indent=1)
    data: dict[str, object] = {"file": None if target is None else str(target)}
    if target is None:
        data |= {"json_schema": content}
    else:
        with whole_file(target, force=force) as aside:
            aside.write_text(text + "\n", encoding="utf-8")
    common.output.result(data, lambda: common.output.lines(text if target is None else str(target)))


def _table(common: Common, known: Schema) -> None:
    rows = [
        (setting.key, allowed(setting), _default(setting), ", ".join(_notes(setting)), setting.text)
        for setting in known.values()
    ]
    data = {"schema": [_setting_json(setting) for setting in known.values()]}
    common.output.result(data, lambda: common.output.table(["setting", "takes", "default", "", "meaning"], rows))


def _default(setting: Setting) -> str:
    return "" if setting.default is None else value_text(setting, setting.default)


def _notes(setting: Setting) -> Iterator[str]:
    if setting.read_only:
        yield "read only"
    yield from flag_notes(setting)


def _setting_json(setting: Setting) -> Mapping[str, object]:
    flags = [flag.name.lower() for flag in setting.flags if flag.name]
    fields = {name: value for name, value in asdict(setting).items() if name != "form"}
    default = None if setting.default is None else toml_value(meaning(setting, setting.default))
    return fields | {
        "default": default,
        "type": setting.type.name.lower(),
        "flags": flags,
        "choices": list(setting.choices),
    }
