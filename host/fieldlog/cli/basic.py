"""`fieldlog reset`, `echo`, `stats` and `shell`: what any SMP device does."""

from __future__ import annotations

import time

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.failure import exit_code
from fieldlog.device import Device
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import RefusedError, UsageError, VerificationError

SERIAL_RECOVERY = 1


@click.command()
@options
@click.option("--force", is_flag=True, help="Restart even when the device says it is busy.")
@click.option("--bootloader", is_flag=True, help="Restart into the boot loader's serial recovery.")
def reset(common: Common, force: bool, bootloader: bool) -> None:
    """Restart a device."""

    async def work() -> None:
        async with common.connect() as device:
            try:
                await device.reset(force=force, boot_mode=SERIAL_RECOVERY if bootloader else None)
            except RefusedError as error:
                if error.group is None and error.code == Rc.BUSY and not force:
                    text = f"{error}. It was not restarted; --force restarts it all the same"
                    raise RefusedError(error.code, error.group, text) from error
                raise

    run(work())
    common.output.result({"restarting": True}, lambda: common.output.note("the device restarts now"))


@click.command()
@options
@click.argument("text", default="fieldlog")
def echo(common: Common, text: str) -> None:
    """Send TEXT to a device and back, to test the link."""

    async def work() -> tuple[str, float]:
        async with common.connect() as device:
            start = time.perf_counter()
            answer = await device.echo(text)
            return answer, time.perf_counter() - start

    answer, took_s = run(work())
    common.output.result({"text": answer, "seconds": round(took_s, 6)}, lambda: common.output.line(answer))
    common.output.note(f"answered in {took_s * 1000:.1f} ms")
    if answer != text:
        raise VerificationError("the text came back changed: the link or the device spoils what it carries")


@click.command()
@options
@click.argument("group", required=False)
@click.option("--tasks", is_flag=True, help="The tasks of the device's kernel and their stacks.")
@click.option("--memory", is_flag=True, help="The device's memory pools.")
def stats(common: Common, group: str | None, tasks: bool, memory: bool) -> None:
    """Show a device's counters: all groups, or the one named GROUP."""
    if tasks + memory + (group is not None) > 1:
        raise UsageError("give one of GROUP, --tasks and --memory")
    if tasks:
        _show_tasks(common)
    elif memory:
        _show_memory(common)
    else:
        _show_counters(common, group)


def _show_counters(common: Common, group: str | None) -> None:
    async def work() -> tuple[dict[str, dict[str, int]], dict[str, RefusedError]]:
        async with common.connect() as device:
            if group is not None:
                return {group: await device.stats(group)}, {}
            return await _all_counters(device)

    found, refused = run(work())
    rows = [(name, key, value) for name, fields in found.items() for key, value in fields.items()]
    failed = {
        name: {"code": error.code, "group": error.group, "message": str(error)} for name, error in refused.items()
    }
    data: dict[str, object] = {"stats": found}
    common.output.result(
        data | ({"refused": failed} if failed else {}),
        lambda: common.output.table(["group", "counter", "value>"], rows),
    )
    for name, error in refused.items():
        common.output.complain(f"{name}: {error}")
    if refused:
        raise click.exceptions.Exit(exit_code(next(iter(refused.values()))))


async def _all_counters(device: Device) -> tuple[dict[str, dict[str, int]], dict[str, RefusedError]]:
    """The counters of each group, and the refusals of those that have one, such as of an answer that is too long."""
    found: dict[str, dict[str, int]] = {}
    refused: dict[str, RefusedError] = {}
    for name in await device.stat_names():
        try:
            found[name] = await device.stats(name)
        except RefusedError as error:
            refused[name] = error
    return found, refused


def _show_tasks(common: Common) -> None:
    async def work() -> list[tuple[object, ...]]:
        async with common.connect() as device:
            found = await device.tasks()
            return [(n, t.prio, t.tid, t.state, t.stkuse, t.stksiz, t.cswcnt, t.runtime) for n, t in found.items()]

    rows = run(work())
    names = ["name", "priority", "id", "state", "stack_used_words", "stack_words", "switches", "runtime_ticks"]
    data = {"tasks": [dict(zip(names, row, strict=True)) for row in rows]}
    headings = [names[0], *(f"{name.replace('_', ' ')}>" for name in names[1:])]
    common.output.result(data, lambda: common.output.table(headings, rows))


def _show_memory(common: Common) -> None:
    async def work() -> list[tuple[object, ...]]:
        async with common.connect() as device:
            found = await device.memory_pools()
            return [(name, pool.blksiz, pool.nblks, pool.nfree, pool.min) for name, pool in found.items()]

    rows = run(work())
    names = ["name", "block_bytes", "blocks", "free", "least_free"]
    data = {"pools": [dict(zip(names, row, strict=True)) for row in rows]}
    headings = [names[0], *(f"{name.replace('_', ' ')}>" for name in names[1:])]
    common.output.result(data, lambda: common.output.table(headings, rows))


@click.command(context_settings={"ignore_unknown_options": True})
@options
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def shell(common: Common, words: tuple[str, ...]) -> None:
    """Run a command of a device's shell.

    Its options go behind `--`, as in `fieldlog shell -- kernel uptime -p`. A line in one word reaches the device as it is,
    its quotes included. The exit code is 1 if the command fails.
    """

    async def work() -> tuple[str, int]:
        async with common.connect() as device:
            return await _execute(device, words)

    text, code = run(work())
    common.output.result(
        {"output": text, "return": code}, lambda: common.output.lines(text.rstrip("\r\n")) if text.strip() else None
    )
    if code:
        common.output.note(f"the command returned {code}")
        raise click.exceptions.Exit(1)


async def _execute(device: Device, words: tuple[str, ...]) -> tuple[str, int]:
    answer = await device.shell(words)
    return answer.o, answer.ret
