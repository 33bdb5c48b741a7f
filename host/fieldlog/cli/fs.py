"""`fieldlog fs`: files on a device."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from pathlib import Path

import click

from fieldlog import files
from fieldlog.cli.common import Common, on_interrupt, options, run
from fieldlog.files import Transferred
from fieldlog.partial import partials
from fieldlog.steady_link import SteadyLink, recognisable
from fieldlog.url import choose
from fieldlog_protocol.errors import UsageError


@click.group()
def fs() -> None:
    """Fetch, store and check files on a device.

    SMP can neither list nor delete files: their names must be known, such as /lfs/log.csv.
    """


@fs.command()
@options
@click.argument("name")
@click.option("--output", "-o", "target", type=click.Path(path_type=Path), help="Where to; else its own name, here.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def get(common: Common, name: str, target: Path | None, force: bool) -> None:
    """Fetch the file NAME, checked by the device's hash where it offers one.

    What arrives is kept beside the file until it is whole; after a break the same command goes on there. A link over the
    air that breaks is opened again by itself.
    """
    path = _target(name, target)
    files.check_target(path, force=force)

    url = choose(common.url)

    async def work() -> Transferred:
        async with common.connect(url) as device:
            with common.output.progress(f"fetching {name}") as progress:

                def fetch() -> Awaitable[Transferred]:
                    return files.fetch(device, name, path, force=force, progress=progress)

                if not url.reconnect_s:
                    return await fetch()
                known = await recognisable(device)
                return await SteadyLink(device, url.reconnect_s, known, common.output.note).ask(fetch)

    with on_interrupt(lambda: _kept(name, path)):
        done = run(work())
    data = {
        "name": name,
        "file": str(path),
        "size": done.size,
        "verified": done.verified,
        "announced": done.announced,
        "now": done.now,
        "resumed": done.resumed,
    }
    common.output.result(data, lambda: common.output.line(f"{path}: {done.size} bytes{_checked(done)}"))
    _remark(common, name, done)


@fs.command()
@options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("name")
def put(common: Common, file: Path, name: str) -> None:
    """Store FILE on the device as NAME; an existing one is replaced."""
    content = file.read_bytes()

    async def work() -> Transferred:
        async with common.connect() as device:
            with common.output.progress(f"storing {name}") as progress:
                return await files.store(device, content, name, progress=progress)

    with on_interrupt(f"{name} may be incomplete on the device now. Repeat the command to store all of it"):
        done = run(work())
    data = {"name": name, "file": str(file), "size": done.size, "verified": done.verified}
    common.output.result(data, lambda: common.output.line(f"{name}: {done.size} bytes{_checked(done)}"))


@fs.command()
@options
@click.argument("name")
def stat(common: Common, name: str) -> None:
    """Show the size of the file NAME in bytes."""

    async def work() -> int:
        async with common.connect() as device:
            return await files.size(device, name)

    size = run(work())
    common.output.result({"name": name, "size": size}, lambda: common.output.line(str(size)))


@fs.command("hash")
@options
@click.argument("name")
@click.option("--type", "kind", help="Kind of hash, such as crc32 or sha256; else the device's default.")
def hash_(common: Common, name: str, kind: str | None) -> None:
    """Show the device's own hash of the file NAME."""

    async def work() -> tuple[str, int, str]:
        async with common.connect() as device:
            answer = await files.digest(device, name, kind)
            output = answer.output.hex() if isinstance(answer.output, bytes) else f"{answer.output:08x}"
            return answer.type, answer.len, output

    used, length, output = run(work())
    data = {"name": name, "type": used, "size": length, "hash": output}
    common.output.result(data, lambda: common.output.line(f"{used} {output}"))


def _kept(name: str, target: Path) -> str:
    """What an interrupted fetch leaves here."""
    for partial in partials(target):
        return f"{partial.stat().st_size} bytes of {name} are kept in {partial}. Repeat the command to go on there"
    return f"nothing of {name} was kept here. Repeat the command to fetch it"


def _remark(common: Common, name: str, done: Transferred) -> None:
    if done.resumed:
        common.output.note(f"{done.resumed} bytes of it were here from an earlier call")
    elif done.dropped:
        common.output.note(f"what an earlier call had kept is no longer how {name} begins: all of it was fetched anew")
    if done.size < done.announced:
        common.output.warn(f"{name} shrank from {done.announced} bytes while it was fetched")
    elif done.now > done.size:
        common.output.warn(
            f"{name} has grown to {done.now} bytes while it was fetched; here are the {done.size} of the start. "
            "Fetch it again, with --force, for the rest"
        )


def _checked(done: Transferred) -> str:
    if done.verified:
        return f", {done.verified} agrees"
    empty = not (done.size or done.now)
    return ", as empty as on the device" if empty else ", not checked: the device offers no hash"


def _target(name: str, target: Path | None) -> Path:
    """Where a fetched file goes: the last part of the name that the user gave, unless told otherwise."""
    own = re.split(r"[/\\:]", name)[-1]
    if target is not None:
        return target / own if target.is_dir() and own else target
    if own in ("", ".", ".."):
        raise UsageError(f"{name!r} is no file name. Say with --output where the file shall go")
    return Path(own)
