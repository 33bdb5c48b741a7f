"""`fieldlog config delete`, `commit`, `load` and `save`: the settings group of SMP as it is, for stock devices above all."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.config.schema import Schema
from fieldlog.config.schema_file import read_schema
from fieldlog.device import Device
from fieldlog_protocol.errors import RefusedError

P = ParamSpec("P")
T = TypeVar("T")


def schema_option(function: Callable[P, T]) -> Callable[P, T]:
    """`--schema FILE`, handed on as `own: Schema | None`: what stands for the description that a stock device lacks."""
    return click.option(
        "--schema",
        "own",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_read,
        metavar="FILE",
        help="TOML that says what the settings of a stock device are; see docs/stock-settings.md.",
    )(function)


def _read(_context: click.Context, _option: click.Parameter, path: Path | None) -> Schema | None:
    return None if path is None else read_schema(path)


@click.command(short_help="Delete stored values.")
@options
@click.argument("keys", nargs=-1, required=True)
def delete(common: Common, keys: tuple[str, ...]) -> None:
    """Delete the stored values of KEYS: most devices have their defaults again after a restart."""

    async def work(device: Device) -> None:
        for number, key in enumerate(keys):
            try:
                await device.delete_setting(key)
            except RefusedError as error:
                text = f"{key}: {error}. {_deleted(keys[:number])}"
                raise RefusedError(error.code, error.group, text, error.details) from error

    _do(common, work)
    common.output.result({"deleted": keys}, lambda: common.output.note(f"deleted: {', '.join(keys)}"))


def _deleted(keys: Sequence[str]) -> str:
    return f"Deleted before it: {', '.join(keys)}" if keys else "Nothing was deleted"


@click.command()
@options
def commit(common: Common) -> None:
    """Put written values into effect. `config set` does so itself."""
    _do(common, Device.commit_settings)
    common.output.result({"committed": True}, lambda: common.output.note("written values are in effect"))


@click.command(short_help="Take the stored values again.")
@options
def load(common: Common) -> None:
    """Let the device take its stored values again; what was written and not saved is forgotten."""
    _do(common, Device.load_settings)
    common.output.result({"loaded": True}, lambda: common.output.note("the stored values hold again"))


@click.command(short_help="Store the present values.")
@options
@click.argument("key", required=False)
def save(common: Common, key: str | None) -> None:
    """Store present values: of KEY, a key or the beginning of several, or all. `config set` does so itself."""
    _do(common, lambda device: device.save_settings(key))
    what = "the present values are stored" if key is None else f"the present values of {key} are stored"
    common.output.result({"saved": key}, lambda: common.output.note(what))


def _do(common: Common, act: Callable[[Device], Coroutine[Any, Any, None]]) -> None:
    async def work() -> None:
        async with common.connect() as device:
            await act(device)

    run(work())
