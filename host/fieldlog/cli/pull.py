"""`fieldlog pull`."""

from __future__ import annotations

from pathlib import Path

import click

from fieldlog.cli.common import Common, archive_option, options, run
from fieldlog.pull import PullProgress, PullResult
from fieldlog.pull import pull as read_out


@click.command()
@options
@archive_option
@click.option("--no-seal", is_flag=True, help="Leave blocks that are still open for a later pull.")
def pull(common: Common, archive: Path, *, no_seal: bool) -> None:
    """Read a logger out into the archive: only what it lacks. Break it off and repeat it at will."""
    from fieldlog import archive as archives

    async def work() -> tuple[str, PullResult]:
        async with common.connect() as device:
            with archives.open(archive) as store, common.output.progress(f"reading {device.name}") as progress:

                def tell(done: PullProgress) -> None:
                    progress(done.bytes, done.total_bytes)

                return device.name, await read_out(device, store, seal=not no_seal, progress=tell)

    name, result = run(work())
    common.output.result(_json(name, archive, result), lambda: _show(common, archive, result))
    for warning in result.warnings:
        common.output.warn(warning)
    if result.conflicts:
        common.output.warn(
            f"{len(result.conflicts)} blocks of this device have other content than the archive holds under their "
            "numbers. Both are kept, the first is shown. Was its flash copied or restored?"
        )


def _json(name: str, archive: Path, result: PullResult) -> dict[str, object]:
    return {
        "device": name,
        "uid": result.info.uid.hex(),
        "serial": result.info.serial,
        "archive": str(archive),
        "blocks": result.blocks,
        "readings": result.readings,
        "bytes": result.bytes,
        "lost": [[part.start, part.stop - 1] for part in result.lost],
        "open": list(result.open_seqs),
        "conflicts": result.conflicts,
        "sessions": result.sessions,
        "clock_error_us": None if result.sync is None else result.sync.error_us,
        "warnings": result.warnings,
    }


def _show(common: Common, archive: Path, result: PullResult) -> None:
    info = result.info
    what = info.name or info.serial or info.uid.hex()
    if result.blocks:
        blocks = "1 block" if result.blocks == 1 else f"{result.blocks} blocks"
        common.output.line(f"{what}: {result.readings} readings in {blocks}, now in {archive}")
    else:
        common.output.line(f"{what}: nothing new; {archive} is up to date")
    for part in result.lost:
        which = f"block {part.start} is" if len(part) == 1 else f"blocks {part.start} to {part.stop - 1} are"
        common.output.line(f"{which} not on the device any more: noted as a gap")
    if result.open_seqs:
        still = "1 block is" if len(result.open_seqs) == 1 else f"{len(result.open_seqs)} blocks are"
        common.output.line(f"{still} still open: a later pull brings the rest")
