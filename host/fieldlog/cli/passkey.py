"""Asking for a passkey in a terminal, while the link waits."""

from __future__ import annotations

import asyncio
import re
import sys

import click

from fieldlog.text import printable


async def ask(name: str) -> int | None:
    """The passkey of a device; None where nothing is typed."""
    while True:
        click.echo(f"passkey that {printable(name)} shows, or that stands on its label: ", err=True, nl=False)
        typed = (await _line()).strip()
        if re.fullmatch(r"\d{1,6}", typed, re.ASCII):
            return int(typed)
        if not typed:
            return None
        click.echo("a passkey is a number of at most six digits", err=True)


async def _line() -> str:
    """A line of the terminal. The event loop waits for it, so that Ctrl-C is heard and the link goes on."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(sys.stdin.fileno(), ready.set)
    except NotImplementedError:
        return await asyncio.to_thread(sys.stdin.readline)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
