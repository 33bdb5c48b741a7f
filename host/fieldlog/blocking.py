"""fieldlog without async: the same code, run by an event loop in a thread of its own.

    with fieldlog.blocking.connect("/dev/ttyACM0") as device:
        print(device.echo("hello"))
        device.call(files.fetch, "/lfs/log.csv", Path("log.csv"))

Rule: nothing is mirrored here. A method of the device that is a coroutine is run to its end; all else passes through.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from fieldlog.archive.store import open_archive
from fieldlog.client import Client
from fieldlog.connection import connect as connect_async
from fieldlog.device import Device
from fieldlog.pull_many import Readout, pull_many

P = ParamSpec("P")
T = TypeVar("T")


class _Portal:
    """An event loop in a thread, and the way in."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fieldlog", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the loop and wait; an interrupt of the waiting thread cancels it there too."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            concurrent.futures.wait([future], timeout=5)
            raise

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call in the loop's thread; wait for what is awaitable, iterate what is an async iterator."""
        result = self.run(_settled(function, args, kwargs))
        return self._iterate(cast("AsyncIterator[Any]", result)) if hasattr(result, "__anext__") else result

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if inspect.isasyncgen(items):
                self.run(_settled(items.aclose, (), {}))


class Blocking:
    """A device or its client, with every coroutine method run to its end."""

    def __init__(self, target: Device | Client, portal: _Portal) -> None:
        self._target = target
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if isinstance(value, Client):
            return Blocking(value, self._portal)
        if not callable(value):
            return value
        return partial(self._portal.call, value)

    def call(self, function: Callable[Concatenate[Device, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of fieldlog that takes the device first, such as `files.fetch`."""
        return cast("T", self._portal.call(function, self._target, *args, **kwargs))


@contextmanager
def connect(url: str | None = None) -> Generator[Blocking]:
    """As `fieldlog.connect`, for a `with` block."""
    portal = _Portal()
    try:
        manager = connect_async(url)
        device = portal.run(manager.__aenter__())
        try:
            yield Blocking(device, portal)
        finally:
            portal.run(manager.__aexit__(None, None, None))
    finally:
        portal.stop()


def pull(urls: str | Sequence[str], folder: str | Path, *, seal: bool = True) -> list[Readout]:
    """Read loggers out, side by side, into the archive in `folder`; see `fieldlog.pull_many.pull_many`.

    What failed is in the `error` of its Readout.
    """
    portal = _Portal()
    try:
        return portal.run(_pull([urls] if isinstance(urls, str) else urls, folder, seal))
    finally:
        portal.stop()


async def _pull(urls: Sequence[str], folder: str | Path, seal: bool) -> list[Readout]:
    with open_archive(folder) as archive:  # here: an open archive belongs to its thread
        return await pull_many(urls, archive, seal=seal)


async def _settled(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
